"""A server's versions, compared with the expected ones."""

"""What a server is, against what is expected of it."""

"""Questions to a server, one file a check."""

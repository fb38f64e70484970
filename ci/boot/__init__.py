"""A server started on this host: its process, log and port, and its way to the first token."""

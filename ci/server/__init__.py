"""A server seen from outside: typed client, process on this host, log tail."""

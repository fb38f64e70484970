"""A server seen from outside: one door to it, and readers of all that comes through."""

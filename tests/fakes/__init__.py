"""Stand-ins at the boundary: what the code under test talks to, of known behaviour."""

"""Which routes that change a server for everybody answer without a key."""

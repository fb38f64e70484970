"""The questions to a server in their order, and who gets a server to put them to."""

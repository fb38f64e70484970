"""What can be known in seconds, asked before anything that takes minutes is begun."""

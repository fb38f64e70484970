"""What checks found, as data and as pages."""

"""What is true of a server against what it says: faults, probes, and an end under load."""

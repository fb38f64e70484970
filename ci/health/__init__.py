"""What is true of a server against what it says: faults, probes, and an end under load."""

LEAVES = ("truth.md", "answers.jsonl", "probes.yaml", "compose.yaml", "server-*.log")
"""Patterns of the files that it leaves beside a report."""

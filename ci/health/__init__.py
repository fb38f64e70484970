"""Faults caused on purpose, what the probes answer meanwhile, and a shutdown under load."""

LEAVES = ("truth.md", "answers.jsonl", "probes.yaml", "compose.yaml", "server-*.log")
"""Patterns of the files that it leaves beside a report."""

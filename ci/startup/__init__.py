"""How long a start takes, phase by phase: alone, against budgets, and beside a baseline."""

LEAVES = ("starts.jsonl", "baseline.log", "candidate.log")
"""Patterns of the files that it leaves beside a report."""

"""Requests that nobody wrote: drawn from a server's schema, sent, and judged."""

LEAVES = ("fuzz.jsonl",)
"""Patterns of the files that it leaves beside a report."""

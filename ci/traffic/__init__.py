"""Real streams to a URL, paced and judged one by one.

`stage` is the whole; `pace.streams` is the load alone, for whoever needs streams beside
something else. `docs/traffic.md` says what each word means.
"""

LEAVES = ("traffic.jsonl",)
"""Patterns of the files that it leaves beside a report."""

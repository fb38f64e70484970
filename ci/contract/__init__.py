"""What users and dashboards rely on: recorded from a server, and compared with another's."""

LEAVES = ("contract.md", "contract-*.json")
"""Patterns of the files that it leaves beside a report."""

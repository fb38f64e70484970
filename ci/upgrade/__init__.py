"""The upgrade advisor: two SGLang versions, tried with one user's flags and dashboards."""

LEAVES = ("upgrade.md", "contract-*.json", "server-*.log")
"""Patterns of the files that it leaves beside a report."""

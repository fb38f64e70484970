"""Smoke cases: a pytest plugin, a suite, and the runner that turns them into a check."""

from pathlib import Path

SUITE = Path(__file__).parent / "suite"
"""The suite that ships with this package."""

ANSWERS = "server answers"
"""Name of the case that is written, FAILED, when the rest of a session isn't worth trying."""

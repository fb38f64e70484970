"""Smoke cases: a pytest plugin, a suite, and the runner that turns them into a check."""

from pathlib import Path

SUITE = Path(__file__).parent / "suite"
"""The suite that ships with this package."""

ANSWERS = "server answers"
"""Name of the case that is written, FAILED, when the rest of a session isn't worth trying."""

SECRETS = "SGLANG_SMOKE_SECRETS"
"""Variable by which a suite's process learns what it must never show; no case gets it."""

"""Prove SGLang serving images, from a commit to production."""

__version__ = "0.1.0"
"""The version of this package; `pyproject.toml` has the same."""

"""Prove SGLang serving images, from a commit to production."""

__version__ = "0.1.0"
"""The version of this package; `pyproject.toml` has the same."""

SGLANG = "sglang"
"""Name of the engine's profile that is used where none is named.

It stands here, below the settings, so that a smoke case's process needn't load them.
"""

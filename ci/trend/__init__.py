"""Nightly history for people: the same figures of many reports, drawn over time.

Nothing here judges: a stored number from another day is no baseline (`docs/gate.md`).
"""

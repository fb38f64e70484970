"""The gate: is this candidate slower than that baseline, with known error rates.

`compare` measures two live servers in interleaved pairs of blocks and says PASSED, FAILED or
INCONCLUSIVE; `self_test` shows on a user's own machine how often it errs. `docs/gate.md` says
what is promised. Pure Python: a comparison has tens of pairs, and all that is exact about
them costs microseconds.
"""

LEAVES = ("pairs.jsonl", "twins.jsonl", "baseline.log", "candidate.log")
"""Patterns of the files that it leaves beside a report."""

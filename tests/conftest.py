"""What every tier shares: how inputs are drawn.

A run of the tests draws the same inputs each time, so that what a change broke is told from
what chance found. `--hypothesis-profile=search` looks for more, anew at every run.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("same")

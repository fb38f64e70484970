"""What every tier shares: how inputs are drawn, and that bytecode is kept.

A run of the tests draws the same inputs each time, so that what a change broke is told from
what chance found. `--hypothesis-profile=search` looks for more, anew at every run. And bytecode is
kept, whatever the shell says: otherwise each command that a test starts compiles this package anew.
"""

from __future__ import annotations

import os
import sys

from hypothesis import settings

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("same", max_examples=50, derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("same")

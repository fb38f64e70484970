"""Smoke sessions in this process: quick, and told as cases by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ci.report.model import Case
from ci.smoke import SUITE
from ci.verdict import Outcome

QUIET = ("-p", "no:faulthandler", "-p", "no:cacheprovider", "-q", "-s", "--tb=short")


def session(url: str, results: Path, *arguments: str) -> dict[str, Case]:
    """Run pytest with the plugin in this process, and return its cases by name."""
    results.touch()
    options = [f"--sglang-url={url}", f"--sglang-results={results}", "--sglang-timeout=1"]
    own = ["-c", os.devnull, f"--rootdir={SUITE}", f"--confcutdir={SUITE}"]
    pytest.main([*QUIET, *own, "-p", "ci.smoke.plugin", *options, *arguments])
    lines = results.read_text("utf-8").splitlines()
    cases = [Case.model_validate_json(line) for line in lines]
    assert len({case.name for case in cases}) == len(cases), "two cases have one name"
    return {case.name: case for case in cases}


def failed(cases: dict[str, Case]) -> set[str]:
    """Return the names of the failed cases; none may be an error."""
    errors = [case for case in cases.values() if case.outcome is Outcome.ERROR]
    assert not errors, errors
    return {name for name, case in cases.items() if case.outcome is Outcome.FAILED}

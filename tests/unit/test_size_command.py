"""`sglang-ci size` from the command line to its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.report.write import load
from tests.fakes.layout import write_tar
from tests.unit.commands import Command
from tests.unit.size_samples import files

pytestmark = pytest.mark.unit


def image(name: str, last: int) -> str:
    """Write a layout whose second layer has so many bytes, and return its name."""
    steps = [{"created_by": "FROM base"}, {"created_by": "COPY . /app"}]
    content, _ = files((b"base", b"x" * last), {"history": steps})
    return str(write_tar(Path(name), content))


def test_a_grown_image_fails_and_an_equal_one_passes(command: Command) -> None:
    """A build goes on with an image that has grown, or stops with one that hasn't."""
    old, new = image("old.tar", 1000), image("new.tar", 5000)
    strict = ("--set", "budgets.size_floor=100")
    assert command("size", new, "--baseline", new, *strict) == 0
    assert command("size", new, "--baseline", old, *strict) == 1
    failed = [
        case.name for case in load(Path("report")).checks[0].cases if case.outcome == "FAILED"
    ]
    assert failed == ["total", "layer: COPY . /app"]


def test_what_cant_be_read_is_told_at_once(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped name costs a report, or reads as a bad image."""
    here = image("x.tar", 1)
    Path("x.json").write_text("{}")
    for arguments in (
        ("size", "nowhere.tar"),
        ("size", here, "--baseline", "r.example/x"),
        ("size", here, "--installed", "x.json"),
        ("size", here, "--baseline-installed", "x.json"),
    ):
        assert command(*arguments) == 2
    assert not Path("report").exists()
    assert "--baseline-installed needs --baseline" in capsys.readouterr().err


def test_listings_name_the_packages(command: Command) -> None:
    """Packages are told of the wrong image."""
    here = image("x.tar", 1)
    for name, count in (("old", 10**9), ("new", 2 * 10**9)):
        entry = {"name": "torch", "version": "2", "bytes": count}
        told = {"schema_version": "1.1", "python": "3", "distributions": [entry]}
        Path(f"{name}.json").write_text(json.dumps(told))
    asked = ("--baseline", here, "--installed", "new.json", "--baseline-installed", "old.json")
    assert command("size", here, *asked) == 1
    assert load(Path("report")).cause.startswith("size: package: torch: 1 GB to 2 GB")

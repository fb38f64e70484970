"""Requests that nobody wrote, sent by the module to the image's own server."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import Dagger, said

pytestmark = [pytest.mark.engine, pytest.mark.long]

FEW = """
[fuzz]
include = ["GET /v1/.*", "POST /generate"]
examples = 6
"""


def test_the_image_is_asked_what_its_schema_allows_and_forbids(
    dagger: Dagger, tmp_path: Path
) -> None:
    """What draws requests isn't there, or the server isn't reached, or nothing is kept of it."""
    config, kept = tmp_path / "sglang-ci.toml", tmp_path / "kept"
    config.write_text(FEW)
    asked = ("image", "serve", "fuzz", "directory", "export", f"--path={kept}")
    ran = dagger("call", "--config", str(config), *asked)
    assert ran.returncode == 0, said(ran)
    (check,) = load(kept).checks
    assert (check.name, check.verdict) == ("fuzz", Verdict.PASSED), check.cause
    assert len((kept / "fuzz.jsonl").read_text().splitlines()) >= 6

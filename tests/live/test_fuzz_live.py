"""Drawn requests at a real SGLang: harmless operations pass, a known defect shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.boot.process import ServerProcess
from ci.fuzz.known import packaged
from ci.fuzz.stage import Fuzzing
from ci.report.model import Check
from ci.settings import Settings
from ci.settings.fuzz import FuzzSettings
from ci.stages import StageResult, Tell, checked
from ci.verdict import Outcome, Verdict

pytestmark = pytest.mark.live

pytest.importorskip("schemathesis")


def fuzzed(url: str, folder: Path, *operations: str, **told: Any) -> Check:
    """Return what a short run against a server found."""
    settings = FuzzSettings(**({"examples": 5, "include": operations} | told))

    async def ask(tell: Tell) -> StageResult:
        return await Fuzzing(url, settings, tell, lambda _: None).run(folder)

    return anyio.run(checked, "fuzz", ask)


def test_operations_of_a_real_server(live_server: ServerProcess, tmp_path: Path) -> None:
    """The check can't read SGLang's own description, or blames it for refusing nonsense."""
    check = fuzzed(live_server.url, tmp_path, "POST /v1/tokenize", r"GET /v1/models/\{model\}")
    assert check.verdict is Verdict.PASSED, check.cause
    assert len(check.cases) == 2
    assert check.facts["sglang"] == Settings().image.sglang_version


@pytest.mark.long
def test_a_malformed_regex_is_found_by_itself(live_server: ServerProcess, tmp_path: Path) -> None:
    """What breaks a real server in one field of seventy isn't found, and neither is its field."""
    others = tuple(one for one in packaged() if not one.id.startswith("stop_regex"))
    told: dict[str, Any] = {"packaged": False, "known": others, "edges": 600, "drawing": 2.0}
    check = fuzzed(live_server.url, tmp_path, "POST /v1/completions", **told)
    (found,) = (case for case in check.cases if case.outcome is Outcome.FAILED)
    assert "unterminated subpattern" in found.message
    assert '"stop_regex": "("' in found.details


def test_a_known_defect_of_a_real_server(live_server: ServerProcess, tmp_path: Path) -> None:
    """The list of known defects excuses what isn't there, or not what is."""
    bare = fuzzed(live_server.url, tmp_path, "POST /parse_function_call", packaged=False)
    assert bare.verdict is Verdict.FAILED
    assert "HTTP 500" in bare.cause
    excused = fuzzed(live_server.url, tmp_path, "POST /parse_function_call")
    assert excused.verdict is Verdict.PASSED, excused.cause
    assert "accepted as" in excused.cases[0].message

"""From pytest's outcomes to cases: who is to blame, in one line, whatever a user's file does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.report.model import Case
from ci.verdict import Outcome
from tests.fakes.sglang import FakeSglang
from tests.unit.smoke_sessions import session

pytestmark = pytest.mark.unit

USER_FILE = """
import httpx, pytest
from ci.errors import CheckBroken, NotReady

def test_good(generate): assert generate("a").text
def test_assertion(): assert 1 == 2, "one is not two\\nand a second line"
def test_bare_assertion(): assert [1] == [2]
def test_fail(): pytest.fail("said so")
def test_own_error(): {}["key"]
def test_unknown_fixture(nothing): pass
def test_skip(): pytest.skip("not today")
@pytest.mark.xfail(reason="known to be bad")
def test_expected(): assert False
@pytest.mark.xfail(strict=True, reason="was bad once")
def test_unexpected_pass(): pass
def test_status(client): client.get("/nothing").raise_for_status()
def test_not_json(client): client.get("/metrics").json()
def test_other_host(): httpx.get("http://127.0.0.1:1/")
def test_bad_scheme(client): client.get("nonsense://x")
def test_server_fault(): raise NotReady("weights", 3, "nothing")
def test_made_up(): raise httpx.ReadTimeout("of no request")
def test_long_line(): assert False, "x" * 1000
def test_own_fault(): raise CheckBroken("the tape is torn")
def test_group(): raise ExceptionGroup("both", [KeyError("a"), AssertionError("in a task")])
@pytest.fixture
def torn_down(generate):
    yield
    raise OSError("left behind")
def test_teardown(torn_down): pass
@pytest.fixture
def asserting(): assert False, "not set up"
def test_setup(asserting): pass
@pytest.mark.needs("magic")
def test_unknown_capability(): pass
@pytest.mark.needs("embedding")
def test_incapable(): pass
@pytest.mark.parametrize("number", [1, 2])
def test_parameters(number): pass
class TestGroup:
    def test_inside(self): pass
"""

WANTED = {
    "test_good": (Outcome.PASSED, ""),
    "test_assertion": (Outcome.FAILED, "one is not two"),
    "test_bare_assertion": (Outcome.FAILED, "assert [1] == [2]"),
    "test_fail": (Outcome.FAILED, "said so"),
    "test_own_error": (Outcome.ERROR, "KeyError: 'key'"),
    "test_unknown_fixture": (Outcome.ERROR, "fixture 'nothing' not found"),
    "test_skip": (Outcome.SKIPPED, "not today"),
    "test_expected": (Outcome.SKIPPED, "expected to fail: known to be bad"),
    "test_unexpected_pass": (Outcome.FAILED, "[XPASS(strict)] was bad once"),
    "test_status": (Outcome.FAILED, 'GET /nothing: HTTP 404: {"detail": "Not Found"}'),
    "test_other_host": (Outcome.ERROR, "ConnectError: [Errno 111] Connection refused"),
    "test_server_fault": (Outcome.FAILED, "not ready: phase 'weights' took over 3 s: nothing"),
    "test_made_up": (Outcome.ERROR, "ReadTimeout: of no request"),
    "test_long_line": (Outcome.FAILED, "x" * 300 + "…"),
    "test_own_fault": (Outcome.ERROR, "the tape is torn"),
    "test_group": (Outcome.FAILED, "in a task"),
    "test_teardown": (Outcome.ERROR, "OSError: left behind"),
    "test_setup": (Outcome.FAILED, "not set up"),
    "test_unknown_capability": (Outcome.ERROR, "ValueError: 'magic' is not a valid Capability"),
    "test_incapable": (Outcome.SKIPPED, "the server was started without --is-embedding"),
    "test_parameters[1]": (Outcome.PASSED, ""),
    "test_parameters[2]": (Outcome.PASSED, ""),
    "TestGroup::test_inside": (Outcome.PASSED, ""),
}
STARTS = {
    "test_not_json": (Outcome.FAILED, "the answer is not JSON: '# HELP sglang:"),
    "test_bad_scheme": (Outcome.ERROR, "UnsupportedProtocol: "),
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """The cases of one run of the user's file against a good server."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "test_mine.py").write_text(USER_FILE)
    with FakeSglang() as fake:
        return session(fake.url, folder / "cases", str(folder))


def test_all_arrive(cases: dict[str, Case]) -> None:
    """Each test of a file is one case, named by file and function; else some are lost."""
    names = {f"test_mine.py::{name}" for name in {**WANTED, **STARTS}}
    assert set(cases) == names


@pytest.mark.parametrize("name", WANTED)
def test_blame(cases: dict[str, Case], name: str) -> None:
    """Whose fault it is, in one line; else a user's mistake is taken for a bad server."""
    case = cases[f"test_mine.py::{name}"]
    assert (case.outcome, case.message) == WANTED[name]


@pytest.mark.parametrize("name", STARTS)
def test_blame_that_starts(cases: dict[str, Case], name: str) -> None:
    """Whose fault it is, where only the line's start is ours."""
    case = cases[f"test_mine.py::{name}"]
    outcome, start = STARTS[name]
    assert case.outcome is outcome
    assert case.message.startswith(start)


def test_details_show_the_place(cases: dict[str, Case]) -> None:
    """A case that did not pass keeps its traceback; else nobody can find the line."""
    bad = [case for case in cases.values() if case.outcome in {Outcome.FAILED, Outcome.ERROR}]
    unplaced = {case.name.partition("::")[2] for case in bad if "test_mine.py" not in case.details}
    assert unplaced == {"test_unexpected_pass", "test_unknown_capability"}


def test_progress_lines_are_only_on_demand(tmp_path: Path) -> None:
    """The results file holds cases only, unless the runner asks for more."""
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    session("http://127.0.0.1:1", tmp_path / "plain", str(tmp_path))
    lines = (tmp_path / "plain").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["test_one.py::test_one"]


def test_same_names_are_told_apart(tmp_path: Path) -> None:
    """Files of the same name in two packages give cases of different names."""
    for folder in ("one", "two"):
        package = tmp_path / folder
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "test_same.py").write_text("def test_it(): pass\n")
    cases = session("http://127.0.0.1:1", tmp_path / "cases", str(tmp_path))
    assert len(cases) == 2
    assert all(name.endswith("test_same.py::test_it") for name in cases)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--sglang-url is required"),
        (["--sglang-url=localhost:30000"], "'localhost:30000' does not begin with http://"),
    ],
)
def test_url_is_required(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """Without a server's URL nothing starts, and the option is named."""
    assert pytest.main(["-p", "ci.smoke.plugin", "-c/dev/null", *arguments, str(tmp_path)]) == 4
    assert told in capsys.readouterr().err

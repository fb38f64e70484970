"""Generating against a fake server, replaying, and which faults fail which cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.cases.compose import CAPABILITIES
from ci.cases.coverage import Coverage
from ci.cases.folder import source_name
from ci.cases.model import FILE, read
from ci.cases.stage import CasesWanted
from ci.errors import NotSglang, Unreachable, UsageError
from ci.report.model import Case
from ci.verdict import Outcome, Verdict
from tests.fakes.meddling import FAULTS, meddling
from tests.fakes.sglang import FakeSglang, Settings
from tests.rare import rare
from tests.unit.generated_cases import generated
from tests.unit.smoke_runs import NOWHERE
from tests.unit.smoke_sessions import failed, session

pytestmark = pytest.mark.unit

FILES = {FILE, "coverage.json", "coverage.md"}
SHAPED = {"regex", "choice", "select", "fork", "multi_turn", "prefix_reuse", "stop", "json_schema"}
FAILS = {
    "ignores_constraints": SHAPED,
    "ignores_stop": {"stop"},
    "ignores_limit": {"tokens"},
    "forgets": {"multi_turn", "prefix_reuse"},
    "cache_off": {"prefix_reuse"},
    "constant": set(CAPABILITIES),
    "impossible_logprobs": {"select"},
    "wrong_option": {"select"},
    "unrepeatable": {"fork"},
}
"""For each fault of a server, the capabilities whose cases must fail, and no others."""


@pytest.fixture(scope="module")
def good() -> Iterator[FakeSglang]:
    """A good server."""
    with FakeSglang() as fake:
        yield fake


@pytest.fixture(scope="module")
def folder(good: FakeSglang, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one case a capability, generated against the good server."""
    out = tmp_path_factory.mktemp("made") / "own-cases"
    check = generated(good.url, out, count=len(CAPABILITIES), topic="invoice")
    assert check.verdict is Verdict.PASSED, check.cause
    return out


def by_capability(folder: Path, names: set[str]) -> set[str]:
    """Return the capabilities of the cases of these names in a report."""
    known = {case.name: case.capability for case in read(folder / FILE).cases}
    return {known[name.partition("[")[2].rstrip("]")] for name in names}


def replayed(url: str, folder: Path, results: Path) -> dict[str, Case]:
    """Replay a folder's cases as any smoke cases, and return them by name."""
    return session(url, results, str(folder), "--sglang-timeout=10")


def test_good_server_passes(good: FakeSglang, folder: Path, tmp_path: Path) -> None:
    """Cases fail on the server that they were made on."""
    assert {path.name for path in folder.iterdir()} == {*FILES, "test_own_cases.py"}
    cases = replayed(good.url, folder, tmp_path / "cases")
    assert {case.outcome for case in cases.values()} == {Outcome.PASSED}
    assert by_capability(folder, set(cases)) == set(CAPABILITIES)


@pytest.mark.parametrize("fault", rare(FAILS, 3))
def test_fault_fails_its_cases(good: FakeSglang, folder: Path, tmp_path: Path, fault: str) -> None:
    """A fault goes unseen, or is told as another one."""
    with meddling(good.url, fault) as bad:
        cases = replayed(bad.url, folder, tmp_path / "cases")
    assert by_capability(folder, failed(cases)) == FAILS[fault]


def test_every_fault_is_tried() -> None:
    """A fault that the proxy knows is one that nobody notices."""
    assert set(FAILS) == set(FAULTS)


def test_lacking_server_is_skipped(folder: Path, tmp_path: Path) -> None:
    """A server without grammars fails cases that it never promised."""
    with FakeSglang(Settings(grammar_backend="none")) as fake:
        cases = replayed(fake.url, folder, tmp_path / "cases")
    passed = {name for name, case in cases.items() if case.outcome is Outcome.PASSED}
    assert by_capability(folder, passed) == {"tokens"}
    assert not failed(cases)


def test_same_seed_writes_the_same_bytes(good: FakeSglang, tmp_path: Path) -> None:
    """A file changes with each run, so that nobody can review or cache it."""
    made = [tmp_path / name for name in ("one", "two", "other")]
    for out, seed in zip(made, (7, 7, 8), strict=True):
        generated(good.url, out, count=2, seed=seed, capability="stop")
    one, two, other = (
        {
            path.name.replace(source_name(out), "test.py"): path.read_bytes()
            for path in out.iterdir()
        }
        for out in made
    )
    assert one == two
    assert one[FILE] != other[FILE]


def test_coverage_counts_what_is_there(folder: Path) -> None:
    """The page claims cases, keywords or constructs that no case has."""
    found = Coverage.model_validate_json((folder / "coverage.json").read_bytes())
    assert found.cells == {"invoice": dict.fromkeys(CAPABILITIES, 1)}
    assert found.cases == len(CAPABILITIES)
    schemas = [case for case in read(folder / FILE).cases if case.capability == "json_schema"]
    told = json.dumps(schemas[0].model_dump(exclude_none=True))
    words = {word.removeprefix("type: ") for word in found.schema_keywords}
    assert all(f'"{word}"' in told for word in words)
    assert {"properties", "required", "additionalProperties"} <= words
    assert "invoice | 1 | 1" in (folder / "coverage.md").read_text()


def test_bad_server_gets_no_passed_check(good: FakeSglang, tmp_path: Path) -> None:
    """Cases that a bad server can't pass vanish without a word."""
    with meddling(good.url, "ignores_stop") as bad:
        check = generated(bad.url, tmp_path / "out", count=2, capability="stop")
    assert check.verdict is Verdict.FAILED
    assert check.cause.startswith("covers stop: 8 of 8 programs fail: line: ended by stop")
    assert read(tmp_path / "out" / FILE).cases == ()


def test_lacking_server_is_said(tmp_path: Path) -> None:
    """A capability that a server lacks counts as covered, or as a fault."""
    with FakeSglang(Settings(grammar_backend="none")) as fake:
        check = generated(fake.url, tmp_path / "out", count=2, capability="regex")
    assert [case.outcome for case in check.cases] == [Outcome.SKIPPED, Outcome.INCONCLUSIVE]
    assert check.cases[0].message == "the server was started without a grammar backend"


def test_recorded_answers_hold_on_the_same_server(good: FakeSglang, tmp_path: Path) -> None:
    """A recording fails where nothing has changed, or passes where the answer has."""
    made, changed = tmp_path / "made", tmp_path / "changed"
    for out in (made, changed):
        generated(good.url, out, count=1, capability="regex", record=True)
    answer = read(changed / FILE).cases[0].properties[-1].model_dump()["text"]
    told = json.dumps(answer, ensure_ascii=False)
    text = (changed / FILE).read_text()
    assert told in text
    (changed / FILE).write_text(text.replace(told, '"another"'))
    assert not failed(replayed(good.url, made, tmp_path / "first"))
    cases = replayed(good.url, changed, tmp_path / "second")
    assert "recorded was 'another'" in next(iter(cases.values())).message


def test_no_server_is_the_server_s_fault(tmp_path: Path) -> None:
    """A server that is down is a traceback, or leaves empty files."""
    with pytest.raises(Unreachable):
        generated(NOWHERE, tmp_path / "out")
    with FakeSglang(faults=["hang"]) as fake, pytest.raises(NotSglang):
        generated(f"{fake.url}/other", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    """Somebody's files are overwritten, or mixed with ours."""
    (tmp_path / "theirs.txt").touch()
    with pytest.raises(UsageError, match="holds other files"):
        CasesWanted(tmp_path, 1, 1)
    with pytest.raises(UsageError, match="is no folder"):
        CasesWanted(tmp_path / "theirs.txt", 1, 1)
    with pytest.raises(UsageError, match="--topic cooking: not known; there are support_ticket"):
        CasesWanted(tmp_path / "new", 1, 1, topics=("cooking",))

"""What is said of a run from its records, its exit code and its output."""

from __future__ import annotations

import json

import pytest

from ci.report.model import Case
from ci.smoke import ANSWERS
from ci.smoke.tape import Tape, aftermath, idle
from ci.verdict import Outcome

pytestmark = pytest.mark.unit

BUDGET = 9.0
FOREIGN = (
    *(b"", b"nonsense", b"[1]", b"5", b'{"outcome": "GREAT"}', b"\xff"),
    *(b'{"left": 5}', b'{"collected": "many"}', b'{"running": {}}'),
)


def tape(*records: object) -> Tape:
    """Return a tape that was fed these records."""
    fed = Tape(on_case=lambda _: None)
    for record in records:
        fed.feed(record if isinstance(record, bytes) else json.dumps(record).encode())
    return fed


def case(name: str, outcome: Outcome = Outcome.PASSED) -> dict[str, str]:
    """Return a case's record."""
    return {"name": name, "outcome": outcome.value}


def said(run: Tape, code: int | None, output: str = "") -> str:
    """Return the line that is said of a run; empty where nothing is."""
    found = aftermath(run, code, output, BUDGET)
    assert found is None or (found.name, found.outcome) == ("suite", Outcome.ERROR)
    return found.message if found else ""


@pytest.mark.parametrize(("code", "outcome"), [(0, Outcome.PASSED), (1, Outcome.FAILED)])
def test_whole_run_needs_no_word(code: int, outcome: Outcome) -> None:
    """A run of which every case arrived adds nothing; else every good run would be an error."""
    assert said(tape({"collected": 1}, {"running": "a"}, case("a", outcome)), code) == ""


def test_missing_results_are_counted() -> None:
    """Cases that gave no result are never taken for passed."""
    run = tape({"collected": 3}, {"running": "a"}, case("a"))
    assert said(run, 0) == "2 of 3 cases gave no result"


def test_budget_names_the_case() -> None:
    """The case in which the budget ended is named; else nobody knows what was slow."""
    run = tape({"collected": 2}, {"running": "a"}, case("a"), {"running": "b"})
    assert said(run, None) == "smoke.budget, 9 s, was spent in case 'b'"


def test_signal_names_the_case() -> None:
    """The case that crashed pytest is named."""
    assert said(tape({"collected": 1}, {"running": "a"}), -11) == (
        "pytest was ended by SIGSEGV in case 'a'"
    )


def test_stopped_session_needs_no_word() -> None:
    """A session that stopped because the server is dead has said so already."""
    run = tape(
        {"collected": 9}, {"running": "a"}, case("a", Outcome.FAILED), case(ANSWERS, Outcome.FAILED)
    )
    assert said(run, 2) == ""


@pytest.mark.parametrize(
    ("code", "output", "line"),
    [
        (3, "x\nINTERNALERROR> E  KeyError: 1\n", "pytest broke: INTERNALERROR> E KeyError: 1"),
        (
            1,
            "Traceback (most recent call last):\nModuleNotFoundError: No module named 'pytest'\n",
            "pytest did not start: ModuleNotFoundError: No module named 'pytest'",
        ),
        (4, "ERROR: file not found: /x\n", "pytest refused to start: ERROR: file not found: /x"),
        (4, "", "pytest refused to start"),
        (5, "", "no case was found"),
        (9, "", "pytest exited with 9"),
    ],
)
def test_exit_codes_are_told(code: int, output: str, line: str) -> None:
    """Each of pytest's exit codes is told in words, with the line that says most."""
    assert said(tape(), code, output) == line


def test_cases_that_were_not_selected_need_no_word() -> None:
    """A folder of which a selection leaves nothing is an error, though another has what it asks."""
    run = tape({"found": 3}, {"collected": 0})
    assert aftermath(run, 5, "", BUDGET, selecting=True) is None
    assert said(run, 5) == "no case was found"
    assert said(tape({"found": 0}), 5) == "no case was found"


def test_cases_that_were_all_skipped_are_told() -> None:
    """A folder of which every case was skipped looks as if it had passed."""
    skips = [case("a", Outcome.SKIPPED) | {"message": "no chat"}, case("b", Outcome.SKIPPED)]
    found = idle(tape(*skips), "mine")
    assert found
    assert (found.name, found.outcome) == ("cases of mine", Outcome.SKIPPED)
    assert found.message == "all 2 were skipped; the first, 'a': no chat"
    assert idle(tape(*skips, case("c")), "mine") is None
    assert idle(tape(), "mine") is None


def test_what_was_left_behind_is_kept() -> None:
    """Nobody learns that a case left a process."""
    assert tape({"left": ["sleep 600"]}, {"left": ["sleep 7"]}).left == ["sleep 600", "sleep 7"]


def test_the_name_in_the_report_may_be_another() -> None:
    """Two folders' cases of one name can't be told apart, or are counted as missing."""
    run = Tape(on_case=lambda _: None, name=lambda name: f"b/{name}")
    for record in ({"collected": 1}, {"running": "a"}, case("a")):
        run.feed(json.dumps(record).encode())
    assert [one.name for one in run.cases] == ["b/a"]
    assert said(run, 0) == ""


def test_failure_without_a_case_is_told() -> None:
    """Where pytest counts a failure that no case shows, the run isn't passed."""
    run = tape({"collected": 1}, {"running": "a"}, case("a"))
    assert said(run, 1) == "pytest counts a failure that no case shows"


def test_output_is_kept() -> None:
    """The end of what pytest printed is kept as details."""
    found = aftermath(tape(), 3, "\n".join(f"line {number}" for number in range(99)), BUDGET)
    assert found
    assert found.details.endswith("line 98")
    assert "line 1\n" not in found.details


@pytest.mark.parametrize("line", FOREIGN)
def test_foreign_lines_are_left_out(line: bytes) -> None:
    """What isn't a record changes nothing; else a case's stray output breaks the check."""
    run = tape(line)
    assert (run.cases, run.collected, run.running, run.left) == ([], 0, "", [])


def test_cases_are_passed_on() -> None:
    """Each case is told as it arrives."""
    heard: list[Case] = []
    run = Tape(heard.append)
    run.feed(json.dumps(case("a")).encode())
    assert [one.name for one in heard] == ["a"]

"""Who answers: a restart, another server, and servers by turns are told from one that stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from ci.errors import AnswerFault, NameUnresolved, SglangCiError
from ci.report.model import Case
from ci.server.identity import NAME, Identity, Watched
from ci.verdict import Outcome

pytestmark = pytest.mark.unit

A = {"version": "0.5.23", "model_path": "/m", "port": 1, "host": "h", "startup_time": {"load": 1.5}}
RESTARTED = A | {"startup_time": {"load": 1.6}}
RESEEDED = A | {"random_seed": 5}
NEWER = A | {"version": "0.5.24", "startup_time": {"load": 1.6}}
GONE = AnswerFault("http://x/server_info", "connection refused")
LONG = "another server answers: version 0.5.23, then 0.5.24 (between look 1 and look 2)"


def case_of(*answers: dict[str, Any] | SglangCiError) -> Case:
    """Return what is said of a server that gave these answers one after the other."""
    left: Iterator[dict[str, Any] | SglangCiError] = iter(answers)

    async def ask() -> dict[str, Any]:
        answer = next(left)
        if isinstance(answer, SglangCiError):
            raise answer
        return answer

    async def look() -> Case:
        watched = Watched(ask)
        for number in range(len(answers)):
            await watched.look(f"look {number}")
        return watched.case()

    return anyio.run(look)


def test_one_server_passes() -> None:
    """A server that stays is called another one."""
    found = case_of(A, A | {"internal_states": [{"load": 7}]}, A)
    assert (found.name, found.outcome) == (NAME, Outcome.PASSED)
    assert found.message == "version 0.5.23, asked 3 times"


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (RESTARTED, "restarted: version 0.5.23 was started anew (between look 1 and look 2)"),
        (RESEEDED, "restarted: version 0.5.23 was started anew (between look 1 and look 2)"),
        (NEWER, LONG),
        (NEWER | {"model_path": "/n"}, LONG.replace(" (", "; model /m, then /n (")),
        (
            RESTARTED | {"port": 2},
            "another server answers: address h:1, then h:2 (between look 1 and look 2)",
        ),
    ],
)
def test_a_change_fails_and_is_named(later: dict[str, Any], message: str) -> None:
    """A restart in the middle passes, or nobody knows what changed and when."""
    found = case_of(A, A, later, later)
    assert (found.outcome, found.message) == (Outcome.FAILED, message)


def test_servers_by_turns_are_not_called_bad() -> None:
    """Two good replicas behind one URL are called a restart; two versions there pass."""
    found = case_of(A, RESTARTED, A, RESTARTED)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.message == "2 servers of 0.5.23 answer by turns: give each one's own URL"
    assert case_of(A, NEWER, A).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((GONE, GONE), "http://x/server_info: connection refused"),
        (({}, {"vllm_config": "x"}), "/server_info tells no version, model or start"),
    ],
)
def test_a_server_that_does_not_say_is_skipped(answers: Any, why: str) -> None:
    """A server of another engine fails for want of `/server_info`."""
    found = case_of(*answers)
    assert found.outcome is Outcome.SKIPPED
    assert found.message == f"the server doesn't say who it is: {why}"


def test_a_server_that_says_it_no_longer_fails() -> None:
    """A server that ended after the last case passes; a lost name in the network is its fault."""
    found = case_of(A, GONE, A)
    assert found.outcome is Outcome.PASSED
    found = case_of(A, GONE)
    assert found.outcome is Outcome.FAILED
    assert found.message.startswith("it no longer answers: http://x/server_info")
    assert case_of(A, NameUnresolved("no address")).outcome is Outcome.ERROR


def test_what_cannot_be_seen_is_said() -> None:
    """A version alone is taken for a proof that nothing was restarted."""
    found = case_of({"version": "1"}, {"version": "1"})
    assert found.outcome is Outcome.PASSED
    assert found.message.endswith("it tells nothing of its start, so that none can be seen")


def test_no_start_is_like_another() -> None:
    """The order of keys, or a value that an older server lacks, is taken for a start."""
    one, two = {"startup_time": {"a": 1, "b": 2}}, {"startup_time": {"b": 2, "a": 1}}
    assert Identity.of(one) == Identity.of(two)
    assert not Identity.of({"random_seed": None}).told

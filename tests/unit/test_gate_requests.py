"""From records of requests to a block of the gate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci.bench.records import ErrorKind, RequestRecord
from ci.errors import BadAnswer
from ci.gate.requests import block_of

pytestmark = pytest.mark.unit

URL = "http://127.0.0.1:1"


def record(index: int) -> RequestRecord:
    """Return a whole answer of three tokens: TTFT 1 s, TPOT 2 s, e2e 5 s."""
    return RequestRecord(
        index=index,
        asked_tokens=3,
        started=index,
        ended=index + 6,
        times=(index + 1, index + 3, index + 5),
        output_tokens=3,
        output=f"answer {index}",
    )


def failed(index: int, kind: ErrorKind) -> RequestRecord:
    """Return a request that went wrong."""
    return replace(record(index), error=kind, detail="at once")


def test_a_block_has_every_request_s_times() -> None:
    """A metric is another than its name says, or a request is lost."""
    found = block_of(URL, [record(0), record(1)], 2)
    assert found.metrics == {"ttft": (1, 1), "tpot": (2, 2), "e2e": (5, 5)}
    assert not found.problem


def test_answers_stand_in_the_order_of_the_prompts() -> None:
    """Answers to different prompts are held against each other."""
    found = block_of(URL, [record(1), record(0)], 2)
    assert found.answers == ("answer 0", "answer 1")
    tokens = [replace(record(0), output_ids=(4, 5))]
    assert block_of(URL, tokens, 1).answers == ((4, 5),)
    assert block_of(URL, [replace(record(0), output="")], 1).answers == ()


def test_an_answer_without_counts_has_no_time_per_token() -> None:
    """What wasn't measured is 0, or another request's."""
    found = block_of(URL, [replace(record(0), output_tokens=None), record(1)], 2)
    assert list(found.metrics["tpot"]) == [2]
    assert list(found.metrics["e2e"]) == [5, 5]


def test_a_failed_request_makes_the_block_unusable() -> None:
    """Requests that fail fast make a candidate look fast."""
    found = block_of(URL, [record(0), failed(1, ErrorKind.CUT)], 2)
    assert found.problem == "1 of 2 requests failed: stream cut: at once"
    assert not found.metrics


def test_fewer_requests_than_asked_make_the_block_unusable() -> None:
    """A block that ended early counts."""
    assert block_of(URL, [record(0)], 2).problem == "1 requests were made, 2 asked for"
    assert block_of(URL, [], 2).problem


def test_a_server_that_answers_nothing_is_broken() -> None:
    """A dead candidate is inconclusive."""
    dead = [failed(0, ErrorKind.REFUSED), failed(1, ErrorKind.REFUSED)]
    with pytest.raises(BadAnswer, match="none of 2 requests was answered: connection refused"):
        block_of(URL, dead, 2)


def test_our_own_limits_don_t_break_a_server() -> None:
    """A machine without free sockets makes a candidate FAILED."""
    ours = [failed(0, ErrorKind.CLIENT), failed(1, ErrorKind.REFUSED)]
    assert block_of(URL, ours, 2).problem.startswith("2 of 2 requests failed")

"""Real streams, told apart one by one, and what is said of them as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.commands.outcome import USAGE
from ci.errors import KeyRefused, Unreachable, UsageError
from ci.report.model import Case, Check
from ci.report.write import load
from ci.settings.traffic import TrafficSettings
from ci.stages import Stages, checked
from ci.traffic.binomial import at_most, below, interval
from ci.traffic.findings import OTHERS, by_slot, cases
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import Paced, streams
from ci.traffic.records import Ending, StreamRecord
from ci.traffic.stage import RECORDS, traffic
from ci.verdict import Outcome, Verdict
from tests.fakes.faulty import (
    BEHAVIOURS,
    Connection,
    answering,
    answers,
    closed_port,
    listening,
    saying,
)
from tests.fakes.faulty import reset as reset_at_close
from tests.fakes.relay import relaying
from tests.fakes.sglang import FakeSglang
from tests.fakes.sglang import Settings as Fake
from tests.live.quiet import Quiet
from tests.rare import rare
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

HANG = 60.0
FAST: dict[str, Any] = {"rate": 100.0, "output_tokens": 4, "patience": 0.5, "limit": 5.0}
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def options(requests: int = 6, **asked: Any) -> TrafficOptions:
    """Return a few streams, started fast."""
    return TrafficOptions(TrafficSettings(**FAST | asked), requests=requests)


def sent(url: str, asked: TrafficOptions) -> tuple[list[StreamRecord], Paced]:
    """Return what comes of streams."""
    found: list[StreamRecord] = []

    async def send() -> Paced:
        with anyio.fail_after(HANG):
            return await streams(url, asked, found.append)

    return found, anyio.run(send)


def judged(url: str, asked: TrafficOptions, folder: Path) -> Check:
    """Return the check of streams."""
    work = partial(traffic, url, asked, Stages(Quiet(), folder))
    return anyio.run(checked, "traffic", work)


def named(check: Check) -> dict[str, Case]:
    """Return the cases by name."""
    return {case.name: case for case in check.cases}


def test_good_streams_of_both_apis_pass(tmp_path: Path) -> None:
    """A good server is called bad, or one of the two APIs is never asked."""
    with FakeSglang() as server:
        check = judged(server.url, options(20, rate=40), tmp_path)
    cases, figures = named(check), {one.name: one.value for one in check.figures}
    assert cases["no stream failed"].outcome is Outcome.PASSED, check.cases
    assert cases["no stream was cut"].outcome is Outcome.PASSED
    assert "no stream was slow" not in cases
    assert {"/generate", "/v1/chat/completions"} <= set(server.asked)
    lines = [json.loads(line) for line in (tmp_path / RECORDS).read_text().splitlines()]
    assert (
        len(lines)
        == figures["good streams"]
        == server.asked.count("/generate") + (server.asked.count("/v1/chat/completions"))
    )
    assert all(0 < one["ttft"] < one["seconds"] for one in lines)
    bound = figures["rate of losses, at most (95 %)"]
    assert bound == pytest.approx(1 - 0.05 ** (1 / len(lines)))
    assert [plot.title for plot in check.plots][1:] == ["TTFT by slot"]


@pytest.mark.parametrize(
    ("fault", "api", "ending", "why"),
    [
        ("cut_stream", "generate", Ending.CUT, "it ended inside an event"),
        ("cut_stream", "chat", Ending.CUT, "it ended inside an event"),
        ("stream_without_finish", "generate", Ending.CUT, "it ended without finish_reason"),
        ("stream_without_finish", "chat", Ending.CUT, "it ended without finish_reason"),
        ("stream_without_done", "chat", Ending.CUT, "it ended without [DONE]"),
        ("stream_without_done", "generate", Ending.GOOD, ""),
        ("hang", "generate", Ending.FAILED, "no answer within 0.5 s"),
        ("reset", "chat", Ending.FAILED, "connection cut before an answer"),
        ("unavailable", "generate", Ending.FAILED, "HTTP 503"),
        ("malformed_json", "chat", Ending.FAILED, "HTTP 200, and application/json"),
        ("endless_body", "generate", Ending.FAILED, "HTTP 200, and application/json"),
    ],
)
def test_each_fault_of_a_server_is_told_apart(
    fault: str, api: str, ending: Ending, why: str
) -> None:
    """A stream that was lost counts as good, or a refused one as cut."""
    with FakeSglang(faults={fault}) as server:
        found, _ = sent(server.url, options(2, api=api))
    assert {one.ending for one in found} == {ending}, found
    assert all(one.why.startswith(why) for one in found), found
    assert (ending is not Ending.FAILED) == all(one.ttft is not None for one in found)


def events(*told: Any, done: bool = True) -> bytes:
    """Return a stream of events with a clean end."""
    lines = [f"data: {json.dumps(one)}\n\n" for one in told]
    return SSE + "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


TOKEN = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ABORT = {"text": "", "meta_info": {"completion_tokens": 1, "finish_reason": {"type": "abort"}}}
GATEWAY = {"error": {"message": "stream failed", "type": "server_error"}}


@pytest.mark.parametrize(
    ("answer", "ending", "why"),
    [
        (events(TOKEN, LAST), Ending.GOOD, ""),
        (events(TOKEN, GATEWAY), Ending.CUT, "an event tells an error: stream failed"),
        (events(TOKEN, GATEWAY, LAST), Ending.CUT, "an event tells an error: stream failed"),
        (events(TOKEN), Ending.CUT, "it ended without finish_reason"),
        (events(TOKEN, LAST, done=False), Ending.CUT, "it ended without [DONE]"),
        (events(ABORT), Ending.CUT, "aborted by the server"),
        (events([1]), Ending.CUT, "an event holds no JSON object"),
        (SSE + b"data: {\n\n", Ending.CUT, "Expecting property name"),
        (SSE, Ending.CUT, "it ended without finish_reason"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ending.FAILED, "HTTP 200, and nothing"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", Ending.FAILED, "answers in broken HTTP"),
    ],
)
def test_a_clean_end_is_no_proof_of_a_whole_stream(answer: bytes, ending: Ending, why: str) -> None:
    """A gateway that hides a cut stream behind `[DONE]` loses streams that nobody counts."""
    with listening(saying(answer)) as url:
        found, _ = sent(url, options(1, api="chat", model="m"))
    assert [one.ending for one in found] == [ending], found
    assert found[0].why.startswith(why)


@pytest.mark.parametrize(
    "kind",
    [
        *("not HTTP", "endless header", "slow header", "web page", "redirect", "closing"),
        *("silent", "unavailable", "key wanted", "blunt", "packed flood"),
    ],
)
def test_what_is_no_server_fails_in_its_time(kind: str) -> None:
    """Broken headers or a silent port hang the traffic, or end it with a traceback."""
    with listening(BEHAVIOURS[kind]) as url:
        found, _ = sent(url, options(2, model="m", limit=1.0))
    assert [one.ending for one in found] == [Ending.FAILED] * 2
    assert all(one.why for one in found)


@pytest.mark.parametrize("reset", [False, True])
def test_a_stream_that_stalls_or_is_reset_is_cut(*, reset: bool) -> None:
    """A server that hangs after its first token has lost nothing."""

    def behave(connection: Connection) -> None:
        connection.request()
        connection.send(events(TOKEN, done=False))
        connection.closing.wait(0.1 if reset else None)
        reset_at_close(connection)

    with listening(behave) as url:
        found, _ = sent(url, options(1, api="chat", model="m"))
    assert [one.ending for one in found] == [Ending.CUT]
    assert found[0].why == ("the answer was cut" if reset else "it stalled for 0.5 s")
    assert found[0].ttft is not None


def test_a_stream_without_end_is_ended() -> None:
    """One stream that trickles for ever keeps a run from ending."""

    def behave(connection: Connection) -> None:
        connection.request()
        connection.send(SSE)
        connection.repeat(f"data: {json.dumps(TOKEN)}\n\n".encode(), 0.05)

    with listening(behave) as url:
        found, _ = sent(url, options(1, api="chat", model="m", limit=0.4))
    assert [one.ending for one in found] == [Ending.CUT]
    assert found[0].why == "it did not end within 0.4 s"


def test_streams_are_counted_by_the_slot_that_the_router_names(tmp_path: Path) -> None:
    """Losses of one slot are laid on the other, or on nobody."""
    with FakeSglang() as blue, FakeSglang(faults={"stream_without_finish"}) as green:
        headers = ["X-Sglang-Slot: blue", "X-Sglang-Slot: green"]
        with relaying([blue.url, green.url], lambda at: int(at % 4 == 3), headers=headers) as url:
            check = judged(url, options(16, model="m", rate=30), tmp_path)
            other = options(1, model="m", slot_headers=("x-other",))
            assert [one.slot for one in sent(url, other)[0]] == [""]
    figures = {one.name: one.value for one in check.figures}
    assert (
        figures["streams, blue"] + figures["streams, green"]
        == figures["good streams"] + (figures["cut streams"])
    )
    assert figures["cut streams"] == figures["streams, green"] > 0
    assert check.facts["blue"] == f"{figures['streams, blue']:g} good, 0 failed, 0 cut"
    assert check.verdict is Verdict.FAILED
    assert "(green): it ended without finish_reason" in named(check)["no stream was cut"].message
    assert {one.name for one in check.plots[0].series} >= {"blue", "green", "lost"}
    lost = next(one for one in check.plots[0].series if one.name == "lost")
    assert sum(rate for _, rate in lost.points[:-1]) == figures["cut streams"]


@pytest.mark.parametrize(
    ("header", "retried"),
    [("x-sglang-retries: 1", True), ("x-sglang-retries: +2", True), ("x-sglang-retries: 0", False)],
)
def test_a_routers_retries_are_told(header: str, *, retried: bool) -> None:
    """A slot that answers only at the second try looks like a good one."""
    with FakeSglang() as server, relaying([server.url], headers=[header]) as url:
        found, _ = sent(url, options(1, model="m"))
    assert [one.retried for one in found] == [retried]
    assert found[0].ending is Ending.GOOD


def record(slot: str, ttft: float | None = 0.1, slow: float = 1.0) -> StreamRecord:
    """Return a good stream of a slot."""
    late = ttft is not None and ttft > slow
    return StreamRecord(0, "chat", "now", 0.0, 1.0, Ending.GOOD, slot=slot, ttft=ttft, slow=late)


@pytest.mark.parametrize(
    ("blue", "others", "share", "outcome"),
    [
        (10, 90, 10, Outcome.PASSED),
        (30, 70, 10, Outcome.FAILED),
        (0, 100, 10, Outcome.FAILED),
        (0, 5, 10, Outcome.INCONCLUSIVE),
        (5, 0, 90, Outcome.INCONCLUSIVE),
        (0, 0, 10, Outcome.INCONCLUSIVE),
        (0, 50, 0, Outcome.PASSED),
        (1, 50, 0, Outcome.FAILED),
        (50, 0, 100, Outcome.PASSED),
    ],
)
def test_an_expected_share_needs_streams_that_show_it(
    blue: int, others: int, share: float, outcome: Outcome
) -> None:
    """A router that gives a canary nothing passes as one that gives it a tenth."""
    asked = TrafficOptions(expect={"blue": share})
    seen = [record("blue")] * blue + [record("green")] * others + [record("")]
    found = {one.name: one for one in cases(seen, asked)}
    assert found[f"share of blue is {share} %"].outcome is outcome


def test_slow_streams_are_told_where_that_is_asked() -> None:
    """A stream whose first token is late passes."""
    asked = TrafficOptions(TrafficSettings(slow=1.0))
    for seen, outcome in (
        ([record("blue"), record("blue", 1.5)], Outcome.FAILED),
        ([record("blue")], Outcome.PASSED),
        ([record("blue", None)], Outcome.INCONCLUSIVE),
    ):
        found = {one.name: one.outcome for one in cases(seen, asked)}
        assert found["no stream was slow"] is outcome


def test_a_slow_server_is_slow() -> None:
    """The time to the first token is measured to something else."""
    with FakeSglang(Fake(token_seconds=0.1)) as server:
        found, _ = sent(server.url, options(2, slow=0.05))
    assert all(one.slow and one.ending is Ending.GOOD for one in found)
    assert all(0.1 <= (one.ttft or 0) < one.seconds for one in found)


def test_a_header_that_differs_each_time_names_no_slots() -> None:
    """A report has a thousand figures because a proxy numbers its answers."""
    found = by_slot([record(f"request-{at}") for at in range(1000)])
    assert len(found) == 9
    assert len(found[OTHERS]) == 992


def test_traffic_that_saw_nothing_never_passes() -> None:
    """A run in which no stream ended is green."""
    assert {one.outcome for one in cases([], TrafficOptions())} == {Outcome.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("seconds", "requests", "starts"),
    [(None, None, 120), (None, 7, 7), (10, None, 20), (10, 7, 7), (1, 70, 2), (0.1, None, 1)],
)
def test_traffic_is_bounded_in_count_and_time(
    seconds: float | None, requests: int | None, starts: int
) -> None:
    """A run never ends, or ends before what was asked for."""
    assert TrafficOptions(TrafficSettings(), seconds, requests).starts == starts


@pytest.mark.parametrize(
    "asked",
    [
        *({"seconds": 0}, {"seconds": float("inf")}, {"requests": 0}, {"requests": 10**9}),
        *({"expect": {"blue": 101}}, {"expect": {"blue": 60, "green": 50}}),
    ],
)
def test_traffic_that_makes_no_sense_is_refused(asked: dict[str, Any]) -> None:
    """A typing error starts streams without end."""
    with pytest.raises(UsageError):
        TrafficOptions(**asked)


def test_a_start_without_room_is_left_out_and_told(tmp_path: Path) -> None:
    """A hung server is asked by ever more streams, or by fewer than said."""
    with FakeSglang(faults={"hang"}) as server:
        asked = options(20, concurrency=2, patience=1.0)
        check = judged(server.url, asked, tmp_path)
        paths = Counter(server.asked)
    assert paths["/generate"] + paths["/v1/chat/completions"] == 2
    case = named(check)["the traffic was as asked"]
    assert case.outcome is Outcome.INCONCLUSIVE
    assert case.message.startswith("18 of 20 starts were left out")


def test_who_runs_streams_beside_something_else_ends_them_without_a_loss() -> None:
    """The end of a demonstration cuts its own streams, and counts them."""
    found: list[StreamRecord] = []

    async def send(url: str) -> Paced:
        ended, asked = anyio.Event(), options(1000, rate=20)

        def tell(one: StreamRecord) -> None:
            found.append(one)
            if len(found) == 3:
                ended.set()

        with anyio.fail_after(HANG):
            return await streams(url, asked, tell, ended)

    with FakeSglang(Fake(token_seconds=0.05)) as server:
        paced = anyio.run(send, server.url)
    assert 3 < len(found) == paced.started < 30
    assert {one.ending for one in found} == {Ending.GOOD}


def test_a_url_where_nothing_answers_or_a_key_is_wanted_is_told_first() -> None:
    """A missing key reads as a server that loses everything."""
    with pytest.raises(Unreachable):
        sent(f"http://127.0.0.1:{closed_port()}", options())
    with FakeSglang(Fake(api_key="k")) as server:
        with pytest.raises(KeyRefused):
            sent(server.url, options())
        assert server.asked == ["/v1/models"]


def test_the_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guarded server can't be watched."""
    monkeypatch.setenv("SGLANG_API_KEY", "k")
    with FakeSglang(Fake(api_key="k")) as server:
        found, _ = sent(server.url, options(2))
    assert {one.ending for one in found} == {Ending.GOOD}


def test_a_server_that_dies_in_the_middle_cuts_and_then_fails(tmp_path: Path) -> None:
    """A killed server's open streams aren't told from those that never began."""
    port = closed_port()
    argv = [sys.executable, "-m", "tests.fakes.sglang", "--port", str(port)]
    process = subprocess.Popen([*argv, "--token-seconds", "0.1"])
    found: list[StreamRecord] = []

    def tell(one: StreamRecord) -> None:
        found.append(one)
        if len(found) == 3:
            process.kill()

    try:
        _until(lambda: answers(port))
        asked = options(60, rate=20, api="generate", output_tokens=8)
        anyio.run(partial(streams, f"http://127.0.0.1:{port}", asked, tell))
    finally:
        process.kill()
        process.wait()
    endings = Counter(one.ending for one in found)
    assert endings[Ending.GOOD] >= 3
    assert endings[Ending.CUT] >= 1
    assert endings[Ending.FAILED] >= 1
    reasons = {one.why for one in found if one.ending is Ending.FAILED}
    assert "connection refused" in reasons  # beside those whose answer had not begun


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_command_leaves_report_and_records(command: Command, tmp_path: Path) -> None:
    """The tool can't be called, or leaves nothing to look at."""
    with FakeSglang() as server:
        url = server.url
        words = ("--requests", "5", "--rate", "20", "--slow", "5")
        assert command("traffic", url, *words) == 0
        assert len((tmp_path / "report" / RECORDS).read_text().splitlines()) == 5
        assert command("traffic", url, "--seconds", "0.5", "--expect", "blue=10") == 3
        (check,) = load(tmp_path / "report").checks
        assert named(check)["share of blue is 10 %"].message == "no answer named its slot"
        server.faults.add("unavailable")
        assert command("traffic", url, "--requests", "1") == 1
    assert command("traffic", url, "--concurrency", "9") == USAGE
    assert command("traffic", url, "--expect", "blue=many") == USAGE
    assert command("traffic", url, "--set", "engine.profile=vllm") == USAGE


@pytest.mark.parametrize(("number", "code"), rare([(signal.SIGTERM, 143), (signal.SIGINT, 130)]))
@pytest.mark.long
def test_a_signal_leaves_a_report_of_what_was_seen(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Who ends a run early loses all that it saw, or gets a pass for it."""
    records = tmp_path / "report" / RECORDS
    with FakeSglang(Fake(token_seconds=0.02)) as server:
        argv = [sys.executable, "-m", "ci", "traffic", server.url, "--rate", "20"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        try:
            _until(lambda: records.is_file() and len(records.read_text().splitlines()) > 3)
            process.send_signal(number)
            assert process.wait(HANG) == code
        finally:
            process.kill()
            process.wait()
    report = load(tmp_path / "report")
    (check,) = report.checks
    assert report.verdict is Verdict.ERROR
    assert report.interrupted == number.name
    assert named(check)["no stream was cut"].outcome is Outcome.PASSED
    figures = {one.name: one.value for one in check.figures}
    assert figures["good streams"] == len(records.read_text().splitlines()) > 3
    assert check.plots


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 60), (1, 60), (3, 100), (50, 100)])
def test_bounds_are_exact(hits: int, count: int) -> None:
    """A bound on the losses is better than the streams allow."""
    bound = at_most(hits, count)
    assert exact(hits, count, bound) == pytest.approx(0.05, rel=1e-9)
    low, high = interval(hits, count)
    assert exact(hits, count, high) == pytest.approx(0.025, rel=1e-9)
    assert hits == 0 or 1 - exact(hits - 1, count, low) == pytest.approx(0.025, rel=1e-9)
    assert low <= hits / count <= bound <= high
    assert hits or (low == 0 and bound == pytest.approx(1 - 0.05 ** (1 / count)))


def exact(hits: int, count: int, share: float) -> float:
    """Return the chance of at most `hits` of `count`, by whole numbers."""
    rate = Fraction(share)
    ways = (comb(count, at) * rate**at * (1 - rate) ** (count - at) for at in range(hits + 1))
    found = float(sum(ways))
    assert below(hits, count, share) == pytest.approx(found, rel=1e-9)
    return found


def test_all_lost_is_bounded_by_all() -> None:
    """The end of the range divides by nothing."""
    assert at_most(5, 5) == 1
    assert interval(0, 0) == (0, 1)
    assert interval(5, 5)[1] == 1
    assert below(5, 5, 1.0) == 1


def test_an_answer_of_another_status_says_it() -> None:
    """The reason of a refusal is lost on the way to the report."""
    with listening(answering(302, "", location="https://elsewhere.example/")) as url:
        found, _ = sent(url, options(1, model="m"))
    assert found[0].why == "HTTP 302, redirects to https://elsewhere.example/"
    assert found[0].status == 302

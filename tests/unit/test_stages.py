"""Stages and the graph on this host: whatever happens, a whole report and no process left."""

from __future__ import annotations

import os
import signal

import anyio
import pytest

from ci import stages as stages_module
from ci.concurrency import one_error, unless
from ci.errors import BadAnswer, LaunchBlocked, ServerExited, SglangCiError
from ci.report.model import Case, NotRun, Report
from ci.stages import StageResult, Stages, Tell
from ci.verdict import Outcome, Verdict
from tests.live.quiet import Quiet
from tests.unit.commands import HANG

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CASE = Case(name="seen before", outcome=Outcome.PASSED)


async def good(tell: Tell) -> StageResult:
    """Tell a case that passed."""
    tell(CASE)
    return StageResult()


async def one_stage(stages: Stages, error: BaseException) -> Report:
    """Report a run of one stage, which finds one case and then raises `error`."""

    async def work(tell: Tell) -> StageResult:
        tell(CASE)
        raise error

    async def run() -> None:
        await stages.run("odd", work)

    with anyio.fail_after(HANG):
        return await stages.report(run)


async def test_what_a_stage_found_before_its_fault_is_kept() -> None:
    """A stage that ends early loses its figures, or the next one shows them as its own."""
    stages = Stages(Quiet())

    async def broken(_: Tell) -> StageResult:
        stages.so_far = lambda: StageResult(facts={"seen": "so far"})
        raise BadAnswer("http://h", "HTTP 500")

    async def run() -> None:
        await stages.run("first", broken)
        await stages.fail("second", BadAnswer("http://h", "HTTP 500"))

    first, second = (await stages.report(run)).checks
    assert first.facts == {"seen": "so far"}
    assert second.facts == {}


@pytest.mark.parametrize(
    ("error", "verdict", "words"),
    [
        (BadAnswer("http://h", "HTTP 500"), Verdict.FAILED, "http://h: HTTP 500"),
        (LaunchBlocked("no GPU", 70), Verdict.ERROR, "no GPU"),
        (KeyError("x"), Verdict.ERROR, "the check itself broke: KeyError: 'x'"),
        (RecursionError(), Verdict.ERROR, "the check itself broke: RecursionError"),
        (ExceptionGroup("two", [KeyError()]), Verdict.ERROR, "the check itself broke: Exception"),
        (AssertionError("bug"), Verdict.ERROR, "the check itself broke: AssertionError: bug"),
    ],
)
async def test_a_stage_that_raises_becomes_a_check(
    error: Exception, verdict: Verdict, words: str
) -> None:
    """A bug of ours reads as a bad server, or ends the run without a report."""
    report = await one_stage(Stages(Quiet()), error)
    (check,) = report.checks
    assert (check.name, check.verdict, report.verdict) == ("odd", verdict, verdict)
    assert words in check.cause
    assert check.cases[1:] == (CASE,)
    broke = not isinstance(error, SglangCiError)
    assert ("Traceback" in check.cases[0].details) is broke


async def test_a_death_ends_its_stage() -> None:
    """A server dies while it is asked, and the stage waits for its answer."""
    stages = Stages(Quiet())

    async def forever(_: Tell) -> StageResult:
        await anyio.sleep(HANG)
        return StageResult()

    with anyio.fail_after(HANG / 2):
        check = await stages.run("odd", forever, death=died)
    assert check.cause == DEATH


async def died() -> SglangCiError:
    """Return the death of a server, a moment later."""
    await anyio.sleep(0.1)
    return ServerExited(-9, "odd", "SIGKILL")


DEATH = "runs to its end: server exited with -9 in phase 'odd': SIGKILL"


async def test_a_death_explains_the_failure_that_was_seen_before_it() -> None:
    """A killed server reads as one that refuses connections, without its exit code."""
    refused = Case(name="asked", outcome=Outcome.FAILED, message="connection refused")

    async def failed(tell: Tell) -> StageResult:
        tell(CASE)
        tell(refused)
        return StageResult()

    check = await Stages(Quiet()).run("odd", failed, death=died)
    assert check.cause.startswith(DEATH)
    assert check.cases[1:] == (CASE, refused)
    passed = await Stages(Quiet()).run("odd", good, death=died)
    assert passed.cases == (CASE,)


async def test_a_failure_of_a_living_server_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check that failed waits for a death that never comes."""
    monkeypatch.setattr(stages_module, "LAST_LOOK", 0.05)

    async def never() -> SglangCiError:
        await anyio.sleep(HANG)
        return LaunchBlocked("x", 68)

    async def failed(_: Tell) -> StageResult:
        return StageResult(facts={"seen": "nothing"})

    with anyio.fail_after(HANG / 2):
        check = await Stages(Quiet()).run("odd", failed, death=never)
    assert (check.cases, check.facts) == ((), {"seen": "nothing"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_the_stage_and_closes_what_is_open(number: signal.Signals) -> None:
    """Ctrl-C leaves a server running, loses what was found, or reads as a verdict."""
    stages, closed = Stages(Quiet()), list[str]()

    async def interrupted(tell: Tell) -> StageResult:
        tell(CASE)
        os.kill(os.getpid(), number)
        await anyio.sleep(HANG)
        return StageResult()

    async def work() -> None:
        try:
            await stages.run("first", good)
            await stages.run("second", interrupted)
            await stages.run("third", good)
        finally:
            closed.append("server")

    with anyio.fail_after(HANG / 2):
        report = await stages.report(work, not_run=(NotRun(stage="image", needs="x"),))
    assert closed == ["server"]
    assert report.interrupted == number.name
    assert [check.name for check in report.checks] == ["first", "second"]
    assert report.checks[1].cases[1:] == (CASE,)
    assert report.checks[1].cause == f"runs to its end: interrupted by {number.name}"
    assert (report.verdict, report.not_run[0].stage) == (Verdict.ERROR, "image")


async def test_signals_are_watched_before_the_work_begins() -> None:
    """A signal in the first instant ends the process with its server running."""
    stages = Stages(Quiet())

    async def at_once() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(HANG)

    with anyio.fail_after(HANG / 2):
        assert (await stages.report(at_once)).interrupted == "SIGTERM"


async def test_an_error_of_a_group_is_raised_alone() -> None:
    """A server's fault arrives as "unhandled errors in a TaskGroup"."""
    ours = LaunchBlocked("x", 68)
    with pytest.raises(LaunchBlocked), one_error():
        raise BaseExceptionGroup("g", [KeyError(), BaseExceptionGroup("h", [ours])])
    with pytest.raises(KeyError), one_error():
        raise ExceptionGroup("g", [KeyError()])
    with pytest.raises(ExceptionGroup), one_error():
        raise ExceptionGroup("g", [KeyError(), ValueError()])


async def test_unless_prefers_neither_too_soon() -> None:
    """Work that is done is thrown away, or a fault is waited for."""

    async def never() -> Exception:
        await anyio.sleep(HANG)
        return KeyError()

    async def done() -> str:
        return "done"

    async def fault() -> Exception:
        return KeyError("fault")

    async def forever() -> None:
        await anyio.sleep(HANG)

    with anyio.fail_after(HANG / 2):
        assert await unless(done, never) == "done"
        with pytest.raises(KeyError, match="fault"):
            await unless(forever, fault)

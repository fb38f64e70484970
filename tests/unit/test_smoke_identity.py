"""Smoke on a server that changes under it: restarted, replaced, killed, or of another engine."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci.smoke.run import SmokeOptions
from ci.verdict import Outcome, Verdict
from tests.fakes.faulty import BEHAVIOURS, answers, closed_port, listening
from tests.fakes.relay import after, relaying
from tests.fakes.sglang import FakeSglang, Settings
from tests.unit.smoke_runs import HANG_LIMIT, own, run, who

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_another_version_from_the_fortieth_request_on_fails() -> None:
    """A proxy that goes over to another version in the middle of the suite passes."""
    with (
        FakeSglang() as one,
        FakeSglang(Settings(version="0.5.24")) as two,
        relaying([one.url, two.url], after(40)) as url,
    ):
        check = run(url, SmokeOptions(select="generate or openai or stop or bad_request"))
    assert check.verdict is Verdict.FAILED
    assert who(check).outcome is Outcome.FAILED
    assert who(check).message.startswith("another server answers: version 0.5.23, then 0.5.24")


@pytest.mark.long
def test_another_start_of_the_same_version_is_a_restart(tmp_path: Path) -> None:
    """A server that was restarted between two cases passes, since both starts answer well."""
    text = "import pytest\n@pytest.mark.parametrize('n', range(4))\n"
    text += "def test_it(n, client): client.get('/model_info').raise_for_status()\n"
    with FakeSglang() as one, FakeSglang() as two, relaying([one.url, two.url], after(3)) as url:
        check = own(tmp_path / "cases", text, url)
    assert check.verdict is Verdict.FAILED
    assert who(check).message.startswith("restarted: version 0.5.23 was started anew (between")


@contextmanager
def started(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server of its own process until the block ends."""
    argv = [sys.executable, "-m", "tests.fakes.sglang", f"--port={port}"]
    with subprocess.Popen(argv, cwd=ROOT) as process:
        try:
            until = time.monotonic() + HANG_LIMIT
            while not answers(port):
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


KILLING = """
import pathlib, time
def test_before(generate): generate("a")
def test_between():
    pathlib.Path({asked!r}).touch()
    while not pathlib.Path({done!r}).exists():
        time.sleep(0.05)
def test_after(generate): generate("a")
"""


@pytest.mark.long
def test_a_killed_server_that_is_back_for_the_next_case_fails(tmp_path: Path) -> None:
    """A crash between two cases goes unnoticed, since a supervisor started the server anew."""
    asked, done, ended = tmp_path / "asked", tmp_path / "done", threading.Event()
    port = closed_port()

    def supervise() -> None:
        with started(port) as first:
            while not asked.exists() and not ended.wait(0.05):
                pass
            first.kill()
            first.wait()
        with started(port):
            done.touch()
            ended.wait()

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        while not answers(port):
            time.sleep(0.05)
        text = KILLING.format(asked=str(asked), done=str(done))
        check = own(tmp_path / "cases", text, f"http://127.0.0.1:{port}")
    finally:
        ended.set()
        thread.join()
    assert [case.outcome for case in check.cases] == [*3 * [Outcome.PASSED], Outcome.FAILED]
    assert who(check).message.startswith("restarted: ")


@pytest.mark.long
def test_a_server_without_server_info_is_skipped_with_a_reason(tmp_path: Path) -> None:
    """A server of another engine fails because it can't be told from its next start."""
    with listening(BEHAVIOURS["web page, not found"]) as url:
        check = own(tmp_path / "cases", "def test_it(): pass\n", url)
    assert check.verdict is Verdict.PASSED
    assert who(check).outcome is Outcome.SKIPPED
    assert "/server_info: HTTP 404" in who(check).message


def test_who_answers_is_no_case_that_ran(tmp_path: Path) -> None:
    """A run in which each case was skipped passes, because the server said who it is."""
    text = "import pytest\ndef test_it(): pytest.skip('not today')\n"
    with FakeSglang() as fake:
        check = own(tmp_path / "cases", text, fake.url)
    assert check.verdict is Verdict.ERROR
    assert who(check).message == "no case ran"

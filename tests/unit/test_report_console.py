"""Progress: the right form for each reader, and no reader that can disturb a run."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from ci.report.console import PlainProgress
from ci.report.earlier import took
from ci.report.github import GithubProgress
from ci.report.model import Report
from ci.report.progress import progress_for
from ci.report.terminal import RichProgress
from ci.report.write import ReportFolder
from ci.verdict import Verdict
from tests.unit import report_samples
from tests.unit.report_players import GITHUB, TERMINAL, Screen, Ticks, play, told
from tests.unit.report_samples import any_report, unhurried

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("stream", "environ", "kind"),
    [
        (Screen(), TERMINAL, RichProgress),
        (Screen(), {**TERMINAL, "NO_COLOR": "1"}, PlainProgress),
        (Screen(), {"TERM": "dumb"}, PlainProgress),
        (Screen(), {}, PlainProgress),
        (io.StringIO(), TERMINAL, PlainProgress),
        (io.StringIO(), GITHUB, GithubProgress),
        (Screen(), {**TERMINAL, **GITHUB}, GithubProgress),
        (io.StringIO(), {"GITHUB_ACTIONS": "false"}, PlainProgress),
    ],
)
def test_each_reader_gets_its_form(
    stream: io.StringIO, environ: dict[str, str], kind: type
) -> None:
    """A log is full of cursor movements, or a terminal or GitHub gets bare lines."""
    assert type(progress_for(stream, environ)) is kind


def test_one_plain_line_an_event() -> None:
    """A log without a terminal lacks events, their times, or the closing table."""
    stream = io.StringIO()
    report = report_samples.report(report_samples.versions(label="0.5.14"))
    play(PlainProgress(stream, Ticks()), report, Path("/srv/report"))
    assert stream.getvalue().splitlines() == [
        "[    1.0] versions: started (at most 370 s)",
        "[    2.0] versions: FAILED sglang: expected 0.5.14, the server says 0.5.23",
        "[    3.0] versions: PASSED torch",
        "[    4.0] versions: SKIPPED driver: no GPU here",
        "[    5.0] versions: FAILED in 0.40 s, 1 passed, 1 failed, 1 skipped: "
        "sglang: expected 0.5.14, the server says 0.5.23",
        "[    6.0] stopping the server",
        "",
        "check     verdict  time    cases",
        "versions  FAILED   0.40 s  1 passed, 1 failed, 1 skipped",
        "",
        "FAILED: versions: sglang: expected 0.5.14, the server says 0.5.23",
        "not run here: image: needs a Dagger engine (Docker is enough): dagger call ci",
        "not run here: publish: needs a registry: dagger call ci --publish-to REF",
        "report: /srv/report/index.html",
    ]


def test_phases_are_told_with_their_budgets() -> None:
    """Whoever waits for a server can't see in which phase it is, nor for how long."""
    text = told(report_samples.good(), {})
    assert "readiness: port open … (at most 300 s)\n" in text
    assert "readiness: port open took 24.0 s\n" in text
    assert "report: " not in text


def test_who_waits_is_told_how_long_it_took(tmp_path: Path) -> None:
    """Nobody knows whether to wait for a minute or for an hour, though it ran here yesterday."""
    assert took(tmp_path) == {}
    (tmp_path / "report.json").write_text("{}")
    assert took(tmp_path) == {}
    run = report_samples.report(report_samples.readiness(), report_samples.versions(label="0.5.14"))
    with ReportFolder.open(tmp_path) as folder:
        folder.write(run)
    earlier = took(tmp_path)
    assert set(earlier) >= {("readiness", ""), ("readiness", "port open")}
    assert {name for name, _ in earlier} == {
        one.name for one in run.checks if one.verdict is Verdict.PASSED
    }
    stream = io.StringIO()
    play(progress_for(stream, {}, earlier), run)
    assert "readiness: started (at most 370 s, 25.6 s last time)\n" in stream.getvalue()
    assert re.search(r"port open … \(at most 300 s, .* s last time\)\n", stream.getvalue())
    assert "versions: started (at most 370 s)\n" in stream.getvalue()


@unhurried
@given(any_report())
def test_plain_lines_are_plain(report: Report) -> None:
    """A server's words move the cursor, or look like events of ours."""
    text = told(report, {})
    assert not [sign for sign in text if sign != "\n" and (ord(sign) < 32 or ord(sign) == 127)]
    events = 1 + sum(2 + 2 * len(c.phases) + len(c.cases) for c in report.checks)
    closing = 2 + len(report.checks) + 2 + len(report.not_run)
    assert len(text.split("\n")) == events + closing + 1


def test_what_an_encoding_lacks_is_replaced() -> None:
    """On a machine with an ASCII locale the first special sign ends the run."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    PlainProgress(stream).note("port open … café")
    stream.flush()
    assert raw.getvalue().endswith(b"port open ? caf?\n")


PLAYER = """
import os, sys
from pathlib import Path
from ci.report.progress import progress_for
from tests.unit import report_samples
from tests.unit.report_players import play
sys.stdin.readline()
play(progress_for(sys.stdout, os.environ), report_samples.bad(), Path("/srv/report"))
sys.stderr.write("done")
"""


def player(stdout: int, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that plays a run on `stdout`, once it gets a line."""
    kept = {key: os.environ[key] for key in ("PATH",) if key in os.environ}
    return subprocess.Popen(
        [sys.executable, "-c", PLAYER],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=kept | environ,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("environ", [{}, GITHUB])
def test_a_reader_that_goes_away_disturbs_nothing(environ: dict[str, str]) -> None:
    """`sglang-ci ci | head` ends in a traceback, or with another exit code than its verdict."""
    reader, writer = os.pipe()
    process = player(writer, environ)
    os.close(reader)
    os.close(writer)
    _, said = process.communicate(b"\n", timeout=60)
    assert (process.returncode, said) == (0, b"done")


def test_a_terminal_that_goes_away_disturbs_nothing() -> None:
    """A closed terminal window ends the run in a traceback, with the server left behind."""
    master, slave = pty.openpty()
    process = player(slave, TERMINAL)
    os.close(slave)
    os.close(master)
    _, said = process.communicate(b"\n", timeout=60)
    assert (process.returncode, said) == (0, b"done")


def test_a_full_disk_under_the_log_disturbs_nothing() -> None:
    """A run whose log goes to a full disk ends in a traceback."""
    with Path("/dev/full").open("wb") as full:
        process = player(full.fileno(), {})
        _, said = process.communicate(b"\n", timeout=60)
    assert (process.returncode, said) == (0, b"done")

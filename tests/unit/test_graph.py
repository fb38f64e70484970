"""The questions in their order, and two drivers that put them to the same servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.errors import ServerExited, SglangCiError
from ci.graph.prove import prove
from ci.graph.questions import QUESTIONS, Question
from ci.graph.seen import RunOptions, Seen
from ci.graph.subject import commit_of
from ci.image import installed
from ci.platform import TINY_MODEL
from ci.report.model import Case, Check, Report
from ci.report.write import load
from ci.settings import Settings
from ci.settings.observe import ObserveSettings
from ci.stages import Death, StageResult, Stages, Tell
from ci.verdict import Outcome, Verdict
from tests.fakes.launched import Plan, install
from tests.fakes.observed import observed
from tests.fakes.sglang import FakeSglang
from tests.live.quiet import Quiet
from tests.rare import rare
from tests.unit.commands import Command
from tests.unit.launching import LAUNCH, free_port, kill_group

pytestmark = pytest.mark.unit

CASE = """
def test_completion(ask):
    usage = ask.complete("a").usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
"""
"""A user's case that some of the servers below fail, and at which some die."""


def question(name: str, outcome: Outcome = Outcome.PASSED, **kind: Any) -> Question:
    """Return a question with a known answer."""

    async def ask(_: Seen, __: Stages, tell: Tell) -> StageResult:
        tell(Case(name=name, outcome=outcome))
        return StageResult()

    return replace(Question(name, f"{name}?", ask), **kind)


def asked(*questions: Question, seen: Seen | None = None) -> tuple[Report, bool]:
    """Return the report of these questions to a server, and whether all answers were good."""
    stages, good = Stages(Quiet()), list[bool]()

    async def work() -> None:
        at = seen or Seen("http://127.0.0.1:1", RunOptions(Settings()))
        good.append(await prove(at, stages, questions))

    return anyio.run(stages.report, work), good[0]


def names(report: Report) -> list[str]:
    """Return the checks' names, and those of what was left out, in brackets."""
    return [
        *(check.name for check in report.checks),
        *(f"({one.stage}: {one.needs})" for one in report.not_run),
    ]


def test_every_question_has_a_name_of_its_own() -> None:
    """Two checks of one report can't be told apart, or one is told in no words."""
    assert len({one.name for one in QUESTIONS}) == len(QUESTIONS)
    assert all(one.asks.endswith("?") for one in QUESTIONS)
    checks = ["readiness", "versions", "smoke", "exposure", "observe", "health"]
    assert [one.name for one in QUESTIONS] == [*checks, "bench", "compare", "shutdown"]
    assert [one.name for one in QUESTIONS if one.measures] == ["bench", "compare"]


def test_only_a_good_server_is_measured() -> None:
    """A bad server is put under load for minutes."""
    report, good = asked(
        question("one", Outcome.FAILED), question("load", measures=True), question("two")
    )
    assert names(report) == ["one", "two", "(load: a server that passes its other checks)"]
    assert not good


def test_nothing_is_asked_of_a_server_that_is_not_ready() -> None:
    """Each question waits for a server that never comes, or the report doesn't name them."""
    report, good = asked(question("ready", Outcome.FAILED, first=True), question("two"))
    assert names(report) == ["ready", "(two: a server that gets ready)"]
    assert not good


def test_what_is_lacking_is_said_and_what_is_no_part_is_not() -> None:
    """A question that can't be asked is left out in silence."""
    report, good = asked(
        question("here"),
        question("lacking", needs=lambda _: "a baseline"),
        question("elsewhere", needs=lambda _: None),
    )
    assert names(report) == ["here", "(lacking: a baseline)"]
    assert good


def test_a_board_that_a_renamed_metric_empties_is_named(tmp_path: Path) -> None:
    """An image whose metric was renamed goes out, and nobody knows which panel is empty now."""
    board = tmp_path / "grafana.json"
    panel = {"title": "Running", "targets": [{"expr": "sglang:num_running_requests"}]}
    board.write_text(json.dumps({"panels": [panel]}))
    told: dict[str, Any] = {"boards": [board], "prometheus": "", "scraper": "prometheus-3"}
    (one,) = (question for question in QUESTIONS if question.name == "observe")
    with observed() as url:
        for in_ci in (False, True):
            settings = Settings(observe=ObserveSettings(in_ci=in_ci, **told))
            report, good = asked(one, seen=Seen(url, RunOptions(settings)))
            assert (names(report), good) == (["observe"] if in_ci else [], not in_ci)
    assert report.verdict is Verdict.FAILED
    assert report.cause.startswith(
        "observe: grafana.json: panel Running: sglang:num_running_requests doesn't exist on this"
        " server; perhaps sglang:num_running_reqs"
    )


class Dead(Seen):
    """A server that has ended, and whose end can be seen."""

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return True

    def death(self, question: str) -> Death | None:
        """Return its end, at once."""

        async def died() -> SglangCiError:
            await anyio.lowlevel.checkpoint()
            return ServerExited(-9, question, "SIGKILL")

        return died


def test_a_server_that_ended_after_its_last_answer_is_no_good_one() -> None:
    """A server that dies between two questions, or after the last, PASSES."""
    dead = Dead("http://127.0.0.1:1", RunOptions(Settings()))
    report, good = asked(question("last", ends=False, first=True), seen=dead)
    assert (report.verdict, good) == (Verdict.FAILED, False)
    assert report.cause.startswith("server: runs to its end: server exited with -9")


@pytest.mark.parametrize(
    ("version", "commit"),
    [
        ("0.5.23", ""),
        ("0.5.24.dev12+g1a2b3c4d5", "1a2b3c4d5"),
        ("0.5.24.dev12+1a2b3c4d5e6f", "1a2b3c4d5e6f"),
        ("0.5.23+cu130", ""),
    ],
)
def test_commit_of_a_version(version: str, commit: str) -> None:
    """The head of a report names a commit that is none, or lacks the one that is told."""
    assert commit_of(version) == commit


SERVERS = {
    "good": Plan(),
    "not ready": Plan(faults=("unavailable",)),
    "other version": Plan(version="0.5.22"),
    "bad answers": Plan(faults=("usage_off_by_one",)),
    "bad streams": Plan(faults=("stream_without_done",)),
    "dies while it starts": Plan(dies_after=0.2, open_after=30, last_words="ValueError: why"),
    "dies between two": Plan(dies_on="/server_info", exit_code=-9, last_words="ValueError: why"),
    "dies of smoke": Plan(dies_on="/v1/completions", last_words="ValueError: why"),
    "dies of bench": Plan(dies_on="/metrics", last_words="ValueError: why"),
}
NOT_BAD = "not bad"
VERDICTS = {
    "good": ["PASSED", "PASSED", "PASSED", NOT_BAD],
    "not ready": ["FAILED"],
    "other version": ["PASSED", "FAILED", "PASSED"],
    "bad answers": ["PASSED", "PASSED", "FAILED"],
    "dies while it starts": ["FAILED"],
    "dies of smoke": ["PASSED", "PASSED", "FAILED"],
    "dies of bench": ["PASSED", "PASSED", "PASSED", "FAILED"],
}
"""Of readiness, versions, smoke and bench, as far as they are asked: its metrics count no token."""


@pytest.mark.parametrize("kind", rare(SERVERS))
def test_both_drivers_ask_the_same(
    kind: str, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stage, an order, a tolerance or a word differs between host and container."""
    for name, value in install(tmp_path / "installed", SERVERS[kind]).items():
        monkeypatch.setenv(name, value)
    here = on_this_host(command, tmp_path / "host")
    beside = as_in_a_container(command, tmp_path / "container")
    if kind != "dies between two":  # either of them may be the one that sees it
        assert told(here, kind) == told(beside, kind)
    if kind in VERDICTS:
        assert [verdict for _, verdict, _ in told(here, kind)] == VERDICTS[kind]
    for report in (here, beside):
        if kind.startswith("dies"):
            assert report.verdict is Verdict.FAILED
            assert "ValueError: why" in report.cause
        if kind == "good":
            assert report.facts["SGLang"] == "0.5.23"
            assert report.facts["sglang-ci"]
    left = [{one.stage for one in report.not_run} for report in (here, beside)]
    if kind != "dies between two":
        assert left[0] - {"image", "publish", "shutdown"} == left[1] - {"shutdown"}


def told(report: Report, kind: str) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return name, verdict and cases of each check, but for what only one driver can see.

    What a server had answered when it died of a question is chance, so only its death counts in
    the check that failed. What a measurement can tell on a busy machine is chance too: only what
    it calls bad has to agree.
    """
    return [
        (
            check.name,
            outcome_of(check, check.verdict.value),
            [
                (one.name, outcome_of(check, one.outcome.value))
                for one in check.cases
                if one.name != "process started"
                and not (
                    kind.startswith("dies of")
                    and check.verdict is Verdict.FAILED
                    and one.name != "runs to its end"
                )
            ],
        )
        for check in report.checks
        if check.name not in {"preflight", "shutdown"}
    ]


def outcome_of(check: Check, outcome: str) -> str:
    """Return an outcome in a check, as far as it doesn't depend on how busy this machine is."""
    unsure = {Outcome.PASSED, Outcome.INCONCLUSIVE, Outcome.SKIPPED}
    return NOT_BAD if check.name == "bench" and outcome in unsure else outcome


def asked_of(folder: Path) -> list[str]:
    """Return the options of both drivers; the load is small and its figures aren't believed."""
    (folder / "cases").mkdir(parents=True)
    (folder / "cases/test_own.py").write_text(CASE)
    values = ("smoke.builtin=false", "readiness.first_token=1", "bench.requests=16")
    more = ("bench.warm_up_requests=0", "bench.poll=0")
    fixed = [part for text in (*values, *more) for part in ("--set", text)]
    return [*fixed, "--smoke", str(folder / "cases"), "--report-dir", str(folder / "report")]


def on_this_host(command: Command, folder: Path) -> Report:
    """Prove a fake server that `ci` starts."""
    command("ci", "--set", "server.device=cpu", *asked_of(folder))
    return load(folder / "report")


def as_in_a_container(command: Command, folder: Path) -> Report:
    """Prove a fake server that `launch.sh` started elsewhere, as the module's prober does."""
    options, port, log = asked_of(folder), str(free_port()), folder / "server.log"
    listing = folder / "inventory.json"
    with listing.open("wb") as out:
        bare = {**os.environ, "PYTHONPATH": ""}
        subprocess.run([sys.executable, installed.__file__], stdout=out, env=bare, check=True)
    known = ("--log", str(log), "--model-path", str(TINY_MODEL), "--inventory", str(listing))
    with launched({"PORT": port, "LOG_FILE": str(log), "DEVICE": "cpu"}):
        command("prove", f"http://127.0.0.1:{port}", *known, *options)
    assert "server_args=" in (folder / "report/server.log").read_text()
    return load(folder / "report")


@contextmanager
def launched(variables: dict[str, str]) -> Iterator[None]:
    """Run `launch.sh` for as long as the context lasts, from its log's first line on."""
    with subprocess.Popen(
        ["bash", str(LAUNCH)],
        env=os.environ | variables | {"MODEL_PATH": str(TINY_MODEL)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            while not Path(variables["LOG_FILE"]).exists() and process.poll() is None:
                time.sleep(0.01)
            yield
        finally:
            kill_group(process.pid)


def test_a_question_alone_is_asked_of_a_running_server(command: Command) -> None:
    """`sglang-ci wait` or `versions` does otherwise than the whole graph does."""
    with FakeSglang() as server:
        for name, check in (("wait", "readiness"), ("versions", "versions")):
            assert command(name, server.url, "--set", "image.sglang_version=0.5.23") == 0
            assert [one.name for one in load(Path("report")).checks] == [check]

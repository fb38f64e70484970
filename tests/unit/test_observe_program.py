"""A Prometheus that is started for a moment: its configuration, and that it ends in any case."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
import yaml

from ci.boards.model import Query
from ci.errors import CheckBroken
from ci.observe import program
from ci.observe.ask import Prometheus
from ci.observe.program import Program
from ci.observe.relabel import renaming

pytestmark = pytest.mark.unit

RULE = Query("rule a:b", "sum(sglang:queue)", "a:b", (("team", "x"),))


def script(folder: Path, text: str) -> str:
    """Return a program that stands for a Prometheus, and writes a line for each start."""
    path = folder / "prometheus"
    path.write_text(f'#!/bin/sh\necho "$$ $*" >> {folder}/starts\n{text}\n')
    path.chmod(0o755)
    return str(path)


def started(folder: Path) -> list[str]:
    """Return the line of each start: the process id, and the arguments."""
    return (folder / "starts").read_text().splitlines()


def alive(folder: Path) -> list[int]:
    """Return the started processes that live."""
    ids = [int(line.split()[0]) for line in started(folder)]
    return [one for one in ids if psutil.pid_exists(one)]


def running(path: str, **told: Any) -> Program:
    """Return a program for a server."""
    more: dict[str, Any] = {
        "rules": (RULE,),
        "relabels": renaming({"a_(.+)": "a:$1"}),
        "budget": 5.0,
    }
    return Program(path=path, server="http://127.0.0.1:9/base", **(more | told))


async def _use(asked: Program) -> None:
    async with asked.running(1.0):
        pass


def test_a_taken_port_is_tried_again_and_then_told(tmp_path: Path) -> None:
    """Somebody takes the port in between, and the check fails, or tries for ever."""
    path = script(tmp_path, "echo 'level=error err=\"address already in use\"'; exit 1")
    with pytest.raises(CheckBroken, match=r"ended with 1: level=error .*already in use"):
        anyio.run(_use, running(path))
    assert len(started(tmp_path)) == program.TRIES


def test_one_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Nobody learns why no query was asked."""
    path = script(tmp_path, "echo level=info; echo level=error bad rules; exit 2")
    with pytest.raises(CheckBroken, match="ended with 2: level=error bad rules"):
        anyio.run(_use, running(path))
    assert len(started(tmp_path)) == 1
    with pytest.raises(CheckBroken, match=r"ended with 127|ended with 126"):
        anyio.run(_use, running(str(tmp_path / "none")))


def test_one_that_never_gets_ready_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check waits for ever, or leaves a process."""
    monkeypatch.setattr(program, "STARTS", 1.0)
    path = script(tmp_path, "exec sleep 100")
    with pytest.raises(CheckBroken, match="didn't get ready within 1 s"):
        anyio.run(_use, running(path))
    assert not alive(tmp_path)


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C leaves a Prometheus, which scrapes the server for as long as the machine is up."""
    path = script(tmp_path, "exec sleep 100")

    async def interrupted() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_use, running(path))
            while not (tmp_path / "starts").exists():
                await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()

    anyio.run(interrupted)
    assert not alive(tmp_path)


def test_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It scrapes something else, without the key, or says the key to everybody on the machine."""
    monkeypatch.setenv("SGLANG_API_KEY", "secret-of-mine")
    kept = tmp_path / "kept"
    copied = f"for f in $*; do :; done; cp -r $(dirname ${{1#*=}}) {kept}; exit 1"
    with pytest.raises(CheckBroken):
        anyio.run(_use, running(script(tmp_path, copied)))
    found = yaml.safe_load((kept / "prometheus.yml").read_text())
    (scrape,) = found["scrape_configs"]
    assert scrape["static_configs"][0]["targets"] == ["127.0.0.1:9"]
    assert scrape["metrics_path"] == "/base/metrics"
    assert scrape["metric_relabel_configs"][0]["replacement"] == "a:$1"
    assert scrape["authorization"]["credentials_file"].endswith("/key")
    assert (kept / "key").read_text() == "secret-of-mine"
    assert stat.S_IMODE((kept / "key").stat().st_mode) & 0o077 == 0
    assert "secret-of-mine" not in "".join(started(tmp_path))
    (group,) = yaml.safe_load((kept / "rules.yml").read_text())["groups"]
    assert group["rules"] == [
        {"record": "a:b", "expr": "sum(sglang:queue)", "labels": {"team": "x"}}
    ]
    assert "--web.listen-address=127.0.0.1:" in started(tmp_path)[0]


def test_versions_are_read(tmp_path: Path) -> None:
    """What metrics are called is judged for another Prometheus than the one that is there."""
    path = script(tmp_path, "echo 'prometheus, version 2.42.0+ds (branch: x)' >&2")
    assert program.version_of(path) == "2.42.0+ds"
    assert program.version_of(script(tmp_path, "exit 1")) == ""
    assert program.version_of(str(tmp_path / "none")) == ""
    assert program.found("") == program.found("no-such-program-at-all") == ""


def test_something_else_is_no_prometheus(tmp_path: Path) -> None:
    """A web page that answers 200 to everything has data for every query."""
    from tests.fakes.serving import JsonHandler, serving

    class Page(JsonHandler):
        def do_GET(self) -> None:  # noqa: N802 - the server calls it so
            self.send(200, b"<html>")

    async def asked(url: str) -> str:
        async with Prometheus.at(url, 5.0) as api:
            return await api.version() + str(await api.asked("up"))

    with serving(Page) as url, pytest.raises(CheckBroken, match="without a Prometheus' JSON"):
        anyio.run(asked, url)

"""The benchmark of switches, as far as it goes without a server."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks import switches
from benchmarks.switches import ENVIRONMENT, Run, measured, parts, settings_of
from ci.report.model import Check, Phase, now
from tests.unit.launching import program

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SETTINGS = """
[server]
flags = ["--mem-fraction-static=0.4"]
environment = { OWN = "1" }
[readiness]
port_open = 360.0
"""


async def test_servers_are_those_of_the_settings_file(tmp_path: Path) -> None:
    """Servers on a GPU are started with the flags and budgets of a laptop."""
    (file := tmp_path / "gpu.toml").write_text(SETTINGS)
    run = Run(Path("/tmp/short"), 1, settings_of(Namespace(config=file)))  # noqa: S108 - not made
    found = run.deployment("canary", {"TURNED": "x"}).grounds.settings
    assert found.server.flags == ("--mem-fraction-static=0.4", "--random-seed=1")
    assert found.server.environment == {"OWN": "1", "TURNED": "x"}
    assert found.readiness.port_open == 360
    assert found.smoke.select == "greedy"
    assert found.environments[ENVIRONMENT].deploy.strategy == "canary"
    assert settings_of(Namespace(config=None)).server.environment == {"OMP_NUM_THREADS": "1"}


def test_nothing_is_begun_after_its_time(tmp_path: Path) -> None:
    """A machine that is lent for minutes is given back with nothing measured."""
    assert list(Run(tmp_path, 1).left(3)) == [0, 1, 2]
    assert not list(Run(tmp_path, 1, seconds=5, since=time.monotonic() - 6).left(3))


def test_seconds_by_kinds_of_steps() -> None:
    """Two shifts of one switch count as one figure, or none has a name."""
    names = ("1. start x in blue", "2. shift new requests: blue 100 %", "3. shift new requests: x")
    phases = tuple(Phase(name=name, start=0, seconds=2) for name in names)
    check = Check(name="deploy", started=now(), seconds=6, phases=phases)
    assert parts(check) == {"start": 2, "shift": 4}


async def test_what_was_seen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour of switches ends in an error of the benchmark's own."""

    async def nothing(*_: object) -> tuple[float, float]:
        return 2.0, 1.0

    async def replaced(_: Run) -> dict[str, float]:
        return {"downtime": 3.0}

    @asynccontextmanager
    async def silent(*_: object) -> AsyncIterator[None]:
        yield

    for name, stub in (("switch", nothing), ("abort", nothing), ("replace", replaced)):
        monkeypatch.setattr(Run, name, stub)
    monkeypatch.setattr(switches, "streaming", silent)
    monkeypatch.setattr(switches, "clear", nothing)
    told = Namespace(config=None, seconds=60, rate=1, switches=2, aborts=1, replacements=1)
    found = await measured(told)
    assert (found["switches"], found["aborts"], found["streams"]) == (2, 1, 0)
    assert found["seconds of a replacement"] == {
        "downtime": {"least": 3.0, "median": 3.0, "most": 3.0}
    }


async def test_the_memory_in_use_on_each_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A benchmark tells of no memory at all, or ends where there is no driver."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await switches.used() == {}
    program(tmp_path / "nvidia-smi", 'echo "GPU-0, 57871"; echo "GPU-1, [N/A]"')
    assert await switches.used() == {"GPU-0": 57871}

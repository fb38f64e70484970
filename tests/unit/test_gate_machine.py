"""Other work on the machine: seen, told, waited for, and not held against a server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.gate import machine as module
from ci.gate.blocks import BlockResult
from ci.gate.compare import Comparison, compare
from ci.gate.machine import Glance, Machine, OtherWork, Spent, between
from ci.gate.result import result_of
from ci.verdict import Verdict
from tests.unit.gate_samples import QUICK, Servers
from tests.unit.judged import check_of

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 30.0
STAT = "cpu  100 20 30 400 50 6 7 80 0 0\ncpu0 1 1 1 1\n"
SELF = "{pid} (a (b) c) S {parent} 1 {session} 0 -1 0 0 0 0 0 {user} 50 {below} 0 20 0 1 0 9 9 9\n"
EMPTY = Glance(0.0)


def process(
    seconds: float, parent: int = 1, session: int = 1, below: float = 0.0, name: str = "x"
) -> Spent:
    """Return what a process has spent."""
    return Spent(name, parent, session, seconds, below)


def after(processes: Mapping[int, Spent], busy: float, idle: float = 0.0) -> Glance:
    """Return a glance ten seconds later."""
    return Glance(10.0, busy, idle, processes=processes)


def test_the_kernels_tables_are_read(tmp_path: Path) -> None:
    """Another column is taken for the steal, or a process's name breaks its line."""
    (tmp_path / "stat").write_text(STAT)
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text("some avg10=1.00 total=2500000\nfull total=9\n")
    (tmp_path / "77").mkdir()
    text = SELF.format(pid=77, parent=5, session=6, user=100, below=200)
    (tmp_path / "77" / "stat").write_text(text)
    (tmp_path / "sys").mkdir()
    found = Glance.now(tmp_path)
    hundredth = os.sysconf("SC_CLK_TCK") / 100
    assert found.busy == pytest.approx(1.5 / hundredth)
    assert found.idle == pytest.approx(4.5 / hundredth)
    assert found.stolen == pytest.approx(0.8 / hundredth)
    assert found.waited == 2.5
    seen = found.processes[77]
    assert (seen.name, seen.parent, seen.session) == ("a (b) c", 5, 6)
    assert (seen.seconds, seen.below) == pytest.approx((1.5 / hundredth, 2 / hundredth))


def test_a_machine_without_these_tables_is_quiet(tmp_path: Path) -> None:
    """The gate crashes where /proc is another one's."""
    found = Glance.now(tmp_path)
    assert (found.busy, found.waited, found.processes) == (0, 0, {})
    assert not between(found, found, frozenset({1}), 2).disturbs(0.1)


def test_this_machine_is_read() -> None:
    """The kernel's tables have another form than the fake ones."""
    found = Glance.now()
    assert found.busy > 0
    assert found.processes[os.getpid()].parent == os.getppid()


def test_ours_are_this_process_and_all_below_it() -> None:
    """A server's own work is taken for somebody else's, or another's for ours."""
    processes = {
        1: process(0.0, parent=0),
        10: process(2.0, parent=1),
        11: process(3.0, parent=10, session=11),
        12: process(4.0, parent=1, session=11, name="orphan of ours"),
        20: process(5.0, parent=1, name="gcc"),
        21: process(0.5, parent=20, below=100.0, name="make"),
    }
    work = between(EMPTY, after(processes, busy=14.5, idle=5.0), frozenset({10}), 2)
    assert work.others == pytest.approx(0.55)
    assert dict(work.names) == {"gcc": pytest.approx(0.5), "make": pytest.approx(0.55)}
    assert "others took 0.6 of 2 cores (make 0.6, gcc 0.5)" in str(work)
    assert between(EMPTY, after(processes, busy=14.5), None, 2).others is None


@pytest.mark.parametrize(
    ("others", "idle", "stolen", "disturbs"),
    [
        (1.0, 0.0, 0.0, True),
        (1.0, 1.5, 0.0, False),
        (0.1, 0.0, 0.0, False),
        (0.0, 1.0, 0.5, True),
        (None, 0.0, 0.0, False),
        (None, 0.0, 0.5, True),
    ],
)
def test_what_disturbs(others: float | None, idle: float, stolen: float, *, disturbs: bool) -> None:
    """Work on idle cores sets pairs aside, or a stolen core does nothing."""
    work = OtherWork(2, others, idle, stolen, 0.0)
    assert work.disturbs(0.1) is disturbs
    assert not work.disturbs(1.0)


@given(st.floats(0, 9), st.floats(0, 9), st.floats(0, 9))
def test_nobody_took_less_than_nothing(one: float, other: float, busy: float) -> None:
    """Clocks that run apart by a tick make a share negative."""
    before = Glance(0.0, busy, processes={1: process(one)})
    work = between(before, after({1: process(other)}, busy=busy), frozenset({1}), 2)
    assert work.others is not None
    assert work.others >= 0


class Busy:
    """A machine on which others work for some of the looks at it."""

    def __init__(self, looks: Iterator[bool]) -> None:
        self._looks, self._busy, self._at = looks, 0.0, 0.0

    def __call__(self) -> Glance:
        """Return the next glance."""
        self._at += 1.0
        self._busy += 2.0 if next(self._looks, False) else 0.0
        return Glance(self._at, self._busy, idle=0.0)


async def run(machine: Machine, servers: Servers, wait: float = 5.0) -> Comparison:
    """Compare on a machine on which others work."""
    options = replace(QUICK, warmup=0, wait=wait)
    with anyio.fail_after(HANG):
        block = machine.watched(servers)
        return await compare(block, "old", "new", options, settle=machine.settle)


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for a second, and have two cores."""
    monkeypatch.setattr(module, "LOOK", 0.01)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


async def test_a_disturbed_pair_is_measured_anew_and_told() -> None:
    """A compiler that runs beside one block is held against a server."""
    looks = iter([False, False, False, True])
    found = await run(Machine(frozenset({1}), 0.1, Busy(looks)), Servers())
    assert found.verdict is Verdict.PASSED
    assert len(found.disturbed) == 1
    assert not found.broken
    assert found.waited > 0
    check = check_of("compare", lambda tell: result_of(found, tell))
    assert "pairs measured anew for other work on this machine: 1" in check.cases[0].message
    assert "others took 2.0 of" in check.cases[0].details


async def test_a_client_that_is_late_beside_other_work_burns_no_pair() -> None:
    """One other boot on the machine ends a comparison by its client's event loop."""
    looks = iter([False, True] * 2)
    problems = dict.fromkeys(range(1, 3), "its event loop was 54.0 ms late at p99, over 50.0 ms")
    found = await run(Machine(frozenset({1}), 0.1, Busy(looks)), Servers(problems=problems))
    assert found.verdict is Verdict.PASSED
    assert not found.broken
    assert found.disturbed


async def test_what_else_ran_is_told_where_it_didnt_take_much() -> None:
    """A user learns that the client was late, and not why."""
    servers = Servers(problems={1: "late"})
    found = await run(Machine(frozenset({1}), 0.1, Busy(iter([]))), servers)
    assert "late; meanwhile" in found.broken[0]


async def test_a_machine_that_never_gets_quiet_is_bounded_and_named() -> None:
    """A comparison waits for ever, or becomes INCONCLUSIVE without a word on why."""
    machine = Machine(frozenset({1}), 0.1, Busy(cycle([True])))
    found = await run(machine, Servers(noise=0.5), wait=0.05)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert len(found.disturbed) == QUICK.spares
    assert len(found.counted) == len(found.pairs)
    check = check_of("compare", lambda tell: result_of(found, tell))
    assert "other work on this machine: " in check.cases[1].message


async def test_any_other_work_may_be_allowed() -> None:
    """A user who wants no pair set aside can't have it."""
    machine = Machine(frozenset({1}), 1.0, Busy(cycle([True])))
    found = await run(machine, Servers())
    assert not found.disturbed


async def test_a_server_elsewhere_is_not_told_from_others() -> None:
    """Servers in other containers are taken for a disturbance, and no pair ever counts."""
    machine = Machine.of(["http://elsewhere:1"], 0.1)
    block = machine.watched(Servers())
    assert (await block("x", 1)).disturbance == ""


def test_a_server_of_somebody_else_is_ours_while_it_is_measured() -> None:
    """Two servers that a user started are taken for other work, and no pair ever counts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert module._listener(f"http://127.0.0.1:{port}") == os.getpid()
    assert module._listener("http://127.0.0.1:1") is None


async def test_a_block_keeps_what_it_measured() -> None:
    """Watching changes a block's result."""

    async def block(_: str, seed: int) -> BlockResult:
        return BlockResult({"ttft": (float(seed),)}, ("yes",))

    watched = Machine(frozenset({1}), 0.1, Busy(iter([]))).watched(block)
    assert await watched("x", 3) == BlockResult({"ttft": (3.0,)}, ("yes",))

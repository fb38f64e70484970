"""What happens on our servers' GPUs beside them is seen, told, and held against nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping

import anyio
import pytest

from ci.errors import NotReady
from ci.gate.blocks import BlockResult
from ci.gate.gpu import LOOK, STATE, USAGE, GpuWatch
from ci.gate.machine import Machine

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OURS = {10, 11}
Rows = list[list[str]]


class Driver:
    """Answers as `nvidia-smi` does; each answer may change while it is watched."""

    def __init__(
        self, users: Rows | None, state: Rows | None = None, usage: str | None = None
    ) -> None:
        self.users, self.state, self.usage = users, state, usage
        self.asked = 0

    async def __call__(self, query: tuple[str, ...]) -> Rows | None:
        """Answer a query."""
        self.asked += 1
        if query == USAGE:
            return None if self.usage is None else [[line] for line in self.usage.splitlines()]
        return self.state if query == STATE else self.users


def user(pid: int, gpu: str = "GPU-a", name: str = "python3") -> list[str]:
    """Return a process that has memory on a GPU."""
    return [gpu, str(pid), name, "700"]


def card(reasons: str, gpu: str = "GPU-a", index: str = "0") -> list[str]:
    """Return the state of a GPU."""
    return [gpu, index, "1200", reasons]


CASES: Mapping[str, tuple[Rows, Rows, list[str]]] = {
    "nobody else": ([user(10), user(11)], [card("0x0000000000000000")], []),
    "another": (
        [user(10), ["GPU-a", "99", "/opt/train", "v2", "700"]],
        [card("0x0000000000000000")],
        ["/opt/train v2 (99) has memory on GPU 0"],
    ),
    "too hot": (
        [user(10)],
        [card("0x0000000000000020")],
        ["GPU 0 was slowed down as it is too hot (1200 MHz)"],
    ),
    "its own cap on power": ([user(10)], [card("0x0000000000000004")], []),
    "idle": ([user(10)], [card("0x0000000000000001")], []),
    "another's GPU": (
        [user(10), user(99, "GPU-b")],
        [card("0x0", "GPU-a"), card("0x0000000000000040", "GPU-b", "1")],
        [],
    ),
    "none of ours": ([user(99)], [card("0x0000000000000020")], []),
    "no clocks are told": ([user(10)], [["GPU-a", "0", "[N/A]", "[N/A]"]], []),
    "half an answer": ([user(10), ["GPU-a"]], [], []),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_disturbs_a_gpu_is_told(name: str) -> None:
    """A pair is held against a server whose GPU another one used, or a quiet GPU stops the gate."""
    users, state, told = CASES[name]
    assert await GpuWatch(Driver(users, state)).look(OURS) == told


PMON = """\
# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command
# Idx           #    C/G      %      %      %      %      %      %    name
    0         10     C     61     12      -      -      -      -    python3
    0         99     C     {sm}     22      -      -      -      -    python3
"""
"""As driver 580 prints it."""


@pytest.mark.parametrize(
    ("sm", "told"),
    [("98", ["python3 (99) computed on GPU 0"]), ("-", []), ("4", [])],
    ids=["computes", "idle", "nearly idle"],
)
async def test_a_guest_that_only_has_memory_disturbs_nobody(sm: str, told: list[str]) -> None:
    """A server that idles beside them would have every pair set aside."""
    driver = Driver([user(10), user(99)], [card("0x0")], PMON.format(sm=sm))
    assert await GpuWatch(driver).look(OURS) == told


async def test_a_guest_that_comes_and_goes_is_seen() -> None:
    """A look before and one after the block miss what was there between."""
    driver = Driver([user(10)], [card("0x0")])
    async with GpuWatch(driver).watched(OURS) as seen:
        await anyio.sleep(LOOK / 2)
        driver.users = [user(10), user(99)]
        await anyio.sleep(LOOK)
        driver.users = [user(10)]
        await anyio.sleep(LOOK)
    assert list(seen) == ["python3 (99) has memory on GPU 0"]


async def test_a_machine_without_a_driver_is_asked_once() -> None:
    """Each block on a CPU waits for programs that aren't there."""
    driver = Driver(None)
    async with GpuWatch(driver).watched(OURS) as seen:
        await anyio.sleep(2 * LOOK)
    assert driver.asked == 1
    assert not seen


async def test_a_pair_is_set_aside_for_a_guest_on_its_gpu() -> None:
    """The gate holds against a candidate what another's training took."""
    ours = os.getpid()
    quiet = Driver([user(ours)], [card("0x0")])
    busy = Driver([user(ours), user(99)], [card("0x0")])
    found = [
        await Machine(frozenset({ours}), share, gpus=GpuWatch(driver)).watched(block)("http://a", 1)
        for driver, share in ((quiet, 0.1), (busy, 0.1), (busy, 1.0))
    ]
    told = [result.disturbance for result in found]
    assert "(99) has memory" in told[1]
    assert not any("GPU" in told[number] for number in (0, 2))


async def block(_: str, seed: int) -> BlockResult:
    """Measure a block as long as a look."""
    await anyio.sleep(LOOK)
    return BlockResult({"ttft": (float(seed),)})


async def test_a_servers_fault_stays_what_it_is() -> None:
    """An error out of a block is wrapped by who watches, and reads as a bug of ours."""
    with pytest.raises(NotReady):
        async with GpuWatch(Driver([user(10)], [card("0x0")])).watched(OURS):
            raise NotReady("serving", 1.0, "nothing")

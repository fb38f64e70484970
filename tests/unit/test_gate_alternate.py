"""Two servers of which only one can be up at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from ci.errors import NotReady
from ci.gate.alternate import booted
from ci.gate.compare import compare
from ci.verdict import Verdict
from tests.unit.gate_samples import QUICK, Servers

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Machine:
    """Boots servers, at most one at a time."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.boots: list[str] = []

    @asynccontextmanager
    async def boot(self, name: str) -> AsyncIterator[str]:
        """Have `name` up."""
        assert not self.up, "another server is up"
        if name == "broken":
            raise NotReady("serving", 1.0, "nothing")
        self.up.append(name)
        self.boots.append(name)
        try:
            yield f"http://{name}"
        finally:
            self.up.remove(name)


async def test_a_comparison_of_servers_that_cant_both_be_up() -> None:
    """Both are up at once, one is measured while the other is meant, or a start is shared."""
    machine, servers = Machine(), Servers({"http://new": 0.5})
    block = booted(servers, machine.boot)
    found = await compare(block, "old", "new", replace(QUICK, warmup=0))
    assert not machine.up
    assert found.verdict is Verdict.FAILED
    assert [f"http://{name}" for name in machine.boots] == [server for server, _ in servers.calls]
    assert len(machine.boots) == 2 * len(found.pairs)


async def test_a_candidate_that_doesnt_start_is_at_fault() -> None:
    """A failed start is inconclusive, or leaves the other server up."""
    machine = Machine()
    with pytest.raises(NotReady):
        await compare(booted(Servers(), machine.boot), "old", "broken", QUICK)
    assert not machine.up

"""The self-test: what a user is told of the gate on their own machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from ci.gate import self_test as module
from ci.gate.self_test import SelfTest, result_of, self_test
from ci.report.model import Check
from ci.verdict import Outcome, Verdict
from tests.unit.gate_samples import QUICK, Servers
from tests.unit.judged import check_of

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Proxies:
    """Stand in for the proxies; `slow` is by how much one really slows what it should slow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slower: dict[str, float] = {}
        self.works = True
        self.up = 0
        monkeypatch.setattr(module, "slowed", self.slowed)
        monkeypatch.setattr(module, "RUNS", 100)

    @asynccontextmanager
    async def slowed(self, url: str, share: float) -> AsyncIterator[str]:
        """Yield a URL of its own."""
        self.up += 1
        name = f"{url}#{self.up}"
        self.slower[name] = share if self.works else 0.0
        yield name


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Proxies:
    """Return proxies without processes."""
    return Proxies(monkeypatch)


def outcomes(check: Check) -> list[Outcome]:
    """Return the outcomes of the cases."""
    return [case.outcome for case in check.cases]


def checked(test: SelfTest) -> Check:
    """Return the check of a self-test."""
    return check_of("compare self-test", partial(result_of, test))


async def test_a_gate_that_works(proxies: Proxies) -> None:
    """The self-test of a good gate on a quiet machine doesn't pass."""
    servers = Servers(proxies.slower)
    check = checked(await self_test(servers, "here", QUICK))
    assert check.verdict is Verdict.PASSED
    names = [case.name for case in check.cases]
    assert names == ["equal servers", "server slowed by 10 %", "power"]
    assert check.facts["simulated false alarms"].startswith("0 % of 100 runs (0 % to ")
    assert check.facts["simulated power"].startswith("100 % of 100 runs (")


async def test_equal_servers_take_all_their_pairs(proxies: Proxies) -> None:
    """The noise is judged by the few pairs after which a run may end."""
    test = await self_test(Servers(proxies.slower), "here", QUICK)
    assert len(test.equal.pairs) == QUICK.schedule.pairs


async def test_one_server_never_sees_a_prompt_twice(proxies: Proxies) -> None:
    """The second block of each pair is answered from the cache of the first."""
    servers = Servers(proxies.slower)
    test = await self_test(servers, "here", QUICK)
    assert len({seed for _, seed in servers.calls}) == len(servers.calls)
    assert test.equal.agreement.share is None


async def test_a_twin_sees_the_same_prompts(proxies: Proxies) -> None:
    """Two servers are measured by different prompts, as no comparison does."""
    servers = Servers(proxies.slower)
    test = await self_test(servers, "here", QUICK, twin="there")
    assert {server.partition("#")[0] for server, _ in servers.calls} == {"here", "there"}
    assert len({seed for _, seed in servers.calls}) == len(servers.calls) // 2
    assert test.equal.agreement.share == 1


async def test_a_proxy_that_slows_nothing_fails_the_self_test(proxies: Proxies) -> None:
    """A gate that lets a slow server past calls itself good."""
    proxies.works = False
    check = checked(await self_test(Servers(proxies.slower), "here", QUICK))
    assert outcomes(check) == [Outcome.PASSED, Outcome.FAILED, Outcome.PASSED]
    assert check.cause == "server slowed by 10 %: it got past the gate"


async def test_a_false_alarm_fails_the_self_test(proxies: Proxies) -> None:
    """A gate that blocks equal servers calls itself good."""
    test = await self_test(Servers(proxies.slower), "here", QUICK)
    check = checked(replace(test, equal=test.slower))
    assert outcomes(check)[0] is Outcome.FAILED
    assert check.cause == "equal servers: a false alarm"


@pytest.mark.long
async def test_a_noisy_machine_is_inconclusive_and_says_what_it_takes(proxies: Proxies) -> None:
    """A user trusts a gate that finds nothing on their machine."""
    test = await self_test(Servers(proxies.slower, noise=0.5), "here", QUICK)
    check = checked(test)
    assert outcomes(check)[2] is Outcome.INCONCLUSIVE
    assert "power 95 % takes " in check.cases[2].message


async def test_a_chosen_share(proxies: Proxies) -> None:
    """The server is slowed by another share than the user asked for."""
    test = await self_test(Servers(proxies.slower), "here", QUICK, share=0.5)
    assert sorted(proxies.slower.values()) == [0, 0, 0, 0.5]
    assert checked(test).cases[1].name == "server slowed by 50 %"


async def test_a_cut_run_measured_no_noise(proxies: Proxies) -> None:
    """Rates of errors are simulated from nothing."""
    problems = dict.fromkeys(range(1, 999), "1 of 3 requests failed")
    check = checked(await self_test(Servers(problems=problems), "here", QUICK))
    assert set(outcomes(check)) == {Outcome.INCONCLUSIVE}
    assert check.cases[2].message == "no noise was measured"

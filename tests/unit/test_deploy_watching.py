"""A watch: what streams of our own find that a router can't count, and what they can't decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pytest

from ci.deploy.judged import Judged
from ci.deploy.sequential import LossRule
from ci.deploy.watching import Losses
from ci.deploy.world import RouteSeen
from ci.report.model import Case
from ci.settings.traffic import TrafficSettings
from ci.verdict import Verdict
from tests.fakes.fake_router import FakeRouter
from tests.fakes.sglang import FakeSglang

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OWN = TrafficSettings(rate=60, api="generate", output_tokens=2, patience=1)
NOBODY = "127.0.0.1:9"


async def watched(
    faults: Sequence[str] | None = (),
    stable: Sequence[str] | None = (),
    *,
    share: int = 50,
    own: TrafficSettings = OWN,
) -> tuple[Judged, list[Case]]:
    """Watch green for a second, beside blue; None is a server that isn't there."""
    router, told = FakeRouter(), list[Case]()
    with ExitStack() as stack:
        for slot, flaws in (("blue", stable), ("green", faults)):
            address = NOBODY
            if flaws is not None:
                server = stack.enter_context(FakeSglang(faults=flaws))
                address = server.url.removeprefix("http://")
            await router.point(slot, address)
        await router.shift({"blue": 100 - share, "green": share})
        losses = Losses(router, LossRule(), told.append, own, poll=0.05)
        return await losses.watch("green", share, 1), told


@pytest.mark.parametrize("share", [50, 100])
async def test_an_answer_that_only_its_reader_can_judge(share: int) -> None:
    """A slot that aborts its streams inside of a 200 gets all traffic."""
    judged, told = await watched(["stream_without_finish"], share=share)
    assert judged.verdict is Verdict.FAILED
    assert f"losses of green at {share} %, of our streams" in judged.cause
    assert [case.outcome.value for case in told] == ["FAILED"]


async def test_a_slot_that_answers_nothing_is_bad() -> None:
    """A dead or hung slot is waited for."""
    assert (await watched(None))[0].verdict is Verdict.INCONCLUSIVE
    assert (await watched(["unavailable"]))[0].verdict is Verdict.FAILED


async def test_a_slot_that_hangs_is_bad() -> None:
    """A hung slot keeps its share, as no request to it ever fails for the router."""
    impatient = OWN.model_copy(update={"patience": 0.15})
    judged, _ = await watched(["hang"], own=impatient)
    assert judged.verdict is Verdict.FAILED
    assert "of our streams" in judged.cause


@pytest.mark.long
async def test_our_streams_alone_let_nothing_pass() -> None:
    """A slot that no user has asked passes, or a bad stable slot is held against it."""
    for stable in ((), ["unavailable"], None):
        judged, told = await watched(stable=stable)
        assert judged.verdict is Verdict.INCONCLUSIVE, judged
        assert "of users' requests" in judged.cause
        assert not told


async def test_what_hits_both_is_no_fault_of_one() -> None:
    """A network's fault takes a good release back."""
    both = ["stream_without_finish"]
    assert (await watched(both, both))[0].verdict is Verdict.INCONCLUSIVE


class Asked(FakeRouter):
    """A router whose users send 300 requests after its first look, all at once."""

    def __init__(self, *, bad: bool) -> None:
        """Have all requests to green fail, where it is bad."""
        super().__init__()
        self._bad, self._looks = bad, 0

    async def seen(self) -> Mapping[str, RouteSeen]:
        """Return every slot."""
        self._looks += 1
        for _ in range(300 if self._looks == 2 else 0):
            slot = self.begin()
            assert slot
            self.end(slot, failed=self._bad and slot == "green")
        return await super().seen()


@pytest.mark.parametrize(("bad", "verdict"), [(True, Verdict.FAILED), (False, Verdict.PASSED)])
async def test_users_requests_decide_without_ours(*, bad: bool, verdict: Verdict) -> None:
    """The users' losses don't count, or their good answers."""
    router, told = Asked(bad=bad), list[Case]()
    for slot in ("blue", "green"):
        await router.point(slot, f"{slot}.invalid:1")
    await router.shift({"blue": 50, "green": 50})
    losses = Losses(router, LossRule(), told.append, poll=0.01)
    assert (await losses.watch("green", 50, 0.2)).verdict is verdict
    assert len(told) == 1

"""A watch: what a slot loses, of its users' requests and of streams of our own, and its speed.

The router counts what fails and what is cut, and can't look into an answer: SGLang sheds load by
a 200 whose stream ends with an abort. So streams of our own go to both slots beside the users',
each judged by itself. They can condemn a slot; only the users' requests let it pass. Where speed is
judged too, a slow slot is condemned as one that loses requests is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import anyio

from ci.concurrency import one_error
from ci.deploy.judged import Judged
from ci.deploy.seams import Router
from ci.deploy.sequential import LossRule
from ci.deploy.speed import Speed, SpeedStep
from ci.deploy.watch import LossWatch
from ci.deploy.world import SLOTS, WHOLE, RouteSeen, Traffic
from ci.errors import ServerFault
from ci.report.model import Case
from ci.settings.traffic import TrafficSettings
from ci.stages import Tell
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import streams
from ci.traffic.records import Ending, StreamRecord
from ci.verdict import Verdict, judge

Routes = Mapping[str, RouteSeen]


class Losses:
    """Judges a slot by what it loses, and by its speed.

    A slot that loses too much or is too slow is told at once, and one that isn't when its seconds
    are over. Where they are over too soon to tell, the next watch of that slot and share goes on
    with what is known.

    Args:
        router: What counts the users' requests.
        rule: What may be lost; its rate of false aborts is parted between users' and our streams.
        tell: Is told what each watch found.
        own: The streams of our own; none where None.
        speed: Judges its speed beside the other slot's; None where that isn't judged.
        poll: Seconds between two looks.
    """

    def __init__(
        self,
        router: Router,
        rule: LossRule,
        tell: Tell,
        own: TrafficSettings | None = None,
        poll: float = 1.0,
        *,
        speed: Speed | None = None,
    ) -> None:
        self._router, self._tell, self._own, self._poll = router, tell, own, poll
        self._speed = speed
        self._rule = replace(rule, false_abort=rule.false_abort / 2) if own else rule
        self._counted = {slot: Traffic() for slot in SLOTS}
        self._open: tuple[str, int, tuple[LossWatch, LossWatch]] | None = None

    async def watch(self, slot: str, share: int, seconds: float) -> Judged:
        """Judge a slot that has a share of 100 for so many seconds at least."""
        other = next(name for name in SLOTS if name != slot)
        stable = "" if share == WHOLE else other
        users, ours = await self._begun(slot, share, stable)
        async with (
            self._streams(slot, stable, seconds) as counted,
            self._measured(slot, other, share) as pace,
        ):
            with anyio.move_on_after(seconds):
                while not any(one and one.verdict is Verdict.FAILED for one in (users, ours, pace)):
                    await anyio.sleep(self._poll)
                    users, ours = users.looked(await self._router.seen()), ours.looked(counted())
        return self._judged(slot, share, (users, ours), pace)

    def _judged(
        self, slot: str, share: int, losses: tuple[LossWatch, LossWatch], pace: SpeedStep | None
    ) -> Judged:
        """Return what a watch found; what isn't known yet is gone on with by the next one."""
        cases = [_lost(share, *losses)]
        if pace and self._speed and (pace.known or self._speed.lacks(pace)):
            cases.append(pace.case())
        verdict = judge(Verdict(case.outcome.value) for case in cases)
        decisive = next(case for case in cases if case.outcome.value == verdict.value)
        self._open = (slot, share, losses) if verdict is Verdict.INCONCLUSIVE else None
        if not self._open:
            for case in cases if verdict is Verdict.PASSED else [decisive]:
                self._tell(case)
        return Judged(verdict, f"{decisive.name}: {decisive.message}")

    @asynccontextmanager
    async def _measured(
        self, slot: str, stable: str, share: int
    ) -> AsyncIterator[SpeedStep | None]:
        """Measure both slots while the context lasts, where their speed is judged."""
        if self._speed is None:
            yield None
            return
        routes = await self._router.seen()
        async with self._speed.measuring(slot, stable, share, routes) as pace:
            yield pace

    async def _begun(self, slot: str, share: int, stable: str) -> tuple[LossWatch, LossWatch]:
        if self._open and self._open[:2] == (slot, share):
            return self._open[2]
        begun = partial(LossWatch.begun, candidate=slot, stable=stable, rule=self._rule)
        return begun(await self._router.seen()), begun(self._ours())

    def _ours(self) -> Routes:
        """Return what came of our own streams, as a router would count it."""
        return {slot: RouteSeen(traffic=traffic) for slot, traffic in self._counted.items()}

    @asynccontextmanager
    async def _streams(
        self, slot: str, stable: str, seconds: float
    ) -> AsyncIterator[Callable[[], Routes]]:
        """Send streams to the slots for as long as the context lasts; yield what counts them."""
        if self._own is None:
            yield self._ours
            return
        routes, until = await self._router.seen(), anyio.Event()
        with one_error():
            async with anyio.create_task_group() as tasks:
                for name in filter(None, (slot, stable)):
                    url = f"http://{routes[name].address}"
                    tasks.start_soon(self._send, name, url, seconds, until)
                yield self._ours
                until.set()
                tasks.cancel_scope.deadline = anyio.current_time() + self._own.patience

    async def _send(self, slot: str, url: str, seconds: float, until: anyio.Event) -> None:
        """Send streams to one slot; one that answers nothing at all has lost one."""
        assert self._own  # noqa: S101 - by `_streams`
        try:
            await streams(
                url, TrafficOptions(self._own, seconds), partial(self._count, slot), until
            )
        except ServerFault:
            self._add(slot, Traffic(requests=1, failed=1))

    def _count(self, slot: str, record: StreamRecord) -> None:
        failed, cut = record.ending is Ending.FAILED, record.ending is Ending.CUT
        self._add(slot, Traffic(requests=1, failed=int(failed), cut=int(cut)))

    def _add(self, slot: str, more: Traffic) -> None:
        known = self._counted[slot]
        self._counted[slot] = Traffic(
            known.requests + more.requests, known.failed + more.failed, known.cut + more.cut
        )


def _lost(share: int, users: LossWatch, ours: LossWatch) -> Case:
    """Return the case on what a slot lost: our streams' where they condemn it, or the users'."""
    bad = ours.verdict is Verdict.FAILED
    case, whose = (ours if bad else users).case(), "our streams" if bad else "users' requests"
    return case.model_copy(update={"name": f"{case.name} at {share} %, of {whose}"})

"""A watch: the losses of a slot's real traffic, look by look, until they are known."""

from __future__ import annotations

import anyio

from ci.deploy.judged import Judged
from ci.deploy.seams import Router
from ci.deploy.sequential import LossRule
from ci.deploy.watch import LossWatch
from ci.deploy.world import SLOTS, WHOLE
from ci.stages import Tell
from ci.verdict import Verdict


class Losses:
    """Judges a slot's traffic by what the router counts of it.

    A slot that loses too much is told at once, and one that doesn't when its seconds are over.
    Where they are over too soon to tell, the next watch of that slot and share goes on with what
    is known.

    Args:
        router: What counts.
        rule: What may be lost, and with which rates of error that is judged.
        tell: Is told what each watch found.
        poll: Seconds between two looks.
    """

    def __init__(self, router: Router, rule: LossRule, tell: Tell, poll: float = 1.0) -> None:
        self._router, self._rule, self._tell, self._poll = router, rule, tell, poll
        self._open: tuple[str, int, LossWatch] | None = None

    async def watch(self, slot: str, share: int, seconds: float) -> Judged:
        """Judge a slot that has a share of 100 for so many seconds at least."""
        watch = await self._begun(slot, share)
        with anyio.move_on_after(seconds):
            while watch.verdict is not Verdict.FAILED:
                await anyio.sleep(self._poll)
                watch = watch.looked(await self._router.seen())
        case = watch.case()
        known = watch.verdict is not Verdict.INCONCLUSIVE
        self._open = None if known else (slot, share, watch)
        if known:
            self._tell(case.model_copy(update={"name": f"{case.name} at {share} %"}))
        return Judged(watch.verdict, f"{case.name} at {share} %: {case.message}")

    async def _begun(self, slot: str, share: int) -> LossWatch:
        if self._open and self._open[:2] == (slot, share):
            return self._open[2]
        stable = "" if share == WHOLE else next(name for name in SLOTS if name != slot)
        return LossWatch.begun(await self._router.seen(), slot, stable, self._rule)

"""A watch: the losses of a slot's real traffic, look by look, until they are known."""

from __future__ import annotations

import anyio

from ci.deploy.judged import Judged, WatchSlot
from ci.deploy.seams import Router
from ci.deploy.sequential import LossRule
from ci.deploy.watch import LossWatch
from ci.deploy.world import SLOTS, WHOLE
from ci.stages import Tell
from ci.verdict import Verdict


def losses_of(router: Router, rule: LossRule, tell: Tell, poll: float = 1.0) -> WatchSlot:
    """Return what judges a slot's traffic by what the router counts of it.

    A slot that loses too much is told at once, and one that doesn't when its seconds are over.

    Args:
        router: What counts.
        rule: What may be lost, and with which rates of error that is judged.
        tell: Is told what each watch found.
        poll: Seconds between two looks.
    """

    async def watch_slot(slot: str, share: int, seconds: float) -> Judged:
        stable = "" if share == WHOLE else next(name for name in SLOTS if name != slot)
        watch = LossWatch.begun(await router.seen(), slot, stable, rule)
        with anyio.move_on_after(seconds):
            while watch.verdict is not Verdict.FAILED:
                await anyio.sleep(poll)
                watch = watch.looked(await router.seen())
        case = watch.case()
        if watch.verdict is not Verdict.INCONCLUSIVE:
            tell(case)
        return Judged(watch.verdict, f"{case.name}: {case.message}")

    return watch_slot

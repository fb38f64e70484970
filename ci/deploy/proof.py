"""The proof of a slot: the graph's own questions, put to the slot's address."""

from __future__ import annotations

from ci.deploy.judged import Judged, ProveSlot
from ci.graph.prove import prove
from ci.graph.questions import QUESTIONS
from ci.graph.seen import RunOptions, Seen
from ci.settings import Settings
from ci.stages import Stages
from ci.verdict import Verdict, judge

ASKED = tuple(one for one in QUESTIONS if not (one.measures or one.ends))
"""What a slot is asked: all but what puts it under load, as it shares its host with others."""


def proof_of(settings: Settings, stages: Stages) -> ProveSlot:
    """Return what proves a slot by the settings; each question is a check of the run."""

    async def prove_slot(slot: str, address: str) -> Judged:
        stages.progress.note(f"proving {slot} at {address}")
        known = len(stages.checks)
        seen = Seen(url=f"http://{address}", asked=RunOptions(settings))
        await prove(seen, stages, ASKED)
        checks = stages.checks[known:]
        verdict = judge(check.verdict for check in checks)
        bad = next((check for check in checks if check.verdict is not Verdict.PASSED), None)
        return Judged(verdict, f"{bad.name}: {bad.cause}" if bad else "")

    return prove_slot

"""Asks a server every question, in order, as far as the answers so far make sense of the next."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ci.graph.questions import QUESTIONS, Question
from ci.graph.seen import Seen
from ci.graph.subject import subject
from ci.stages import Stages
from ci.verdict import Verdict

UNREADY = "a server that gets ready"
ENDED = "a server that still runs"
UNWELL = "a server that passes its other checks"


async def prove(seen: Seen, stages: Stages, questions: Sequence[Question] = QUESTIONS) -> bool:
    """Ask every question of a server, and return whether all answers were good.

    What isn't asked is said in the report, with what it needs.

    Args:
        seen: The server, and what can be seen of it.
        stages: The run that the answers go to.
        questions: What is asked, in this order.
    """
    good, over, stopped = True, "", False
    stages.facts |= seen.facts
    for question in questions:
        needs = over or question.needs(seen)
        if needs is None:
            continue
        if needs or (question.measures and not good):
            stages.left_out(question.name, needs or UNWELL)
            continue
        passed = await _passes(question, seen, stages)
        good, stopped = good and passed, question.ends
        if question.first:
            stages.facts |= await subject(seen) if passed else {}
            over = "" if passed else UNREADY
        elif seen.ended and not passed:
            over = ENDED
    if good and not stopped and seen.ended and (death := seen.death("after the last question")):
        await stages.fail("server", await death())
        return False
    return good


async def _passes(question: Question, seen: Seen, stages: Stages) -> bool:
    """Ask one question; the server's end is a bad answer to any but those that wait for it."""
    death = None if question.first or question.ends else seen.death(question.name)
    check = await stages.run(question.name, partial(question.ask, seen, stages), death=death)
    return check.verdict is Verdict.PASSED

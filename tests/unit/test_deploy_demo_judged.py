"""What the demonstration makes of the streams that it saw."""

from __future__ import annotations

import pytest

from ci.deploy.demo import _judged, _Seen
from ci.report.model import Case
from ci.traffic.pace import Paced
from ci.traffic.records import Ending, StreamRecord
from ci.verdict import Outcome

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def seen(*, lost: Ending, left_out: int) -> _Seen:
    """Return what was seen: streams of the good releases, and 20 of C from second 100 on."""
    found = _Seen(0.0, paced=Paced(120, left_out))
    found.shares = {"blue": [(0, 100), (100, 50), (110, 50), (120, 100)], "green": []}
    for at in (*range(100), *(100 + each / 2 for each in range(20))):
        ending = Ending.GOOD if at < 100 else lost
        found.records.append(StreamRecord(0, "generate", "now", at, 1.0, ending, slot="blue"))
    return found


@pytest.mark.parametrize(
    ("lost", "outcome"), [(Ending.CUT, Outcome.PASSED), (Ending.GOOD, Outcome.FAILED)]
)
async def test_a_machine_that_is_too_slow_for_the_pace_shows_the_same(
    lost: Ending, outcome: Outcome
) -> None:
    """A newcomer's busy laptop makes the demonstration INCONCLUSIVE, which lost no stream."""
    told: list[Case] = []
    result = await _judged(seen(lost=lost, left_out=499), told.append)
    assert {case.name: case.outcome for case in told} == {
        "no stream failed": Outcome.PASSED,
        "no stream was cut": Outcome.PASSED,
        "C loses streams": outcome,
    }
    assert "499 of 619 starts were left out" in str(result.facts["pace"])

"""What streams show: cases, figures and facts, as a whole and by slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ci.report.model import Case, Figure
from ci.traffic.binomial import CONFIDENCE, at_most, interval
from ci.traffic.options import TrafficOptions
from ci.traffic.pace import Paced
from ci.traffic.records import Ending, StreamRecord
from ci.verdict import Outcome

NOBODY, OTHERS = "no slot", "other slots"
MOST_SLOTS = 8
"""Slots that are told apart; a header that differs in each answer names no slots."""
SHARE_CONFIDENCE = 0.99
"""Of the interval in which an expected share has to lie."""
MOST_LEFT_OUT = 0.1
"""Share of starts that may be left out before the traffic isn't the one that was asked for."""


def cases(records: Sequence[StreamRecord], options: TrafficOptions) -> Iterator[Case]:
    """Yield the cases that streams decide."""
    yield _none_was("no stream failed", records, Ending.FAILED)
    yield _none_was("no stream was cut", records, Ending.CUT)
    if options.asked.slow is not None:
        yield _none_slow(records, options.asked.slow)
    for slot, share in options.expect.items():
        yield _share(slot, share / 100, records)


def pace_case(paced: Paced) -> Case:
    """Say whether the traffic was what was asked for."""
    enough = paced.left_out <= MOST_LEFT_OUT * (paced.started + paced.left_out)
    told = left_out(paced) + ("" if enough else "; lower --rate")
    outcome = Outcome.PASSED if enough else Outcome.INCONCLUSIVE
    return Case(name="the traffic was as asked", outcome=outcome, message=told)


def left_out(paced: Paced) -> str:
    """Return how many starts were left out, and why; empty where none was."""
    if not paced.left_out:
        return ""
    asked = paced.started + paced.left_out
    return f"{paced.left_out} of {asked} starts were left out: all others were still under way"


def _none_was(name: str, records: Sequence[StreamRecord], ending: Ending) -> Case:
    count, bad = len(records), [one for one in records if one.ending is ending]
    if not count:
        return Case(name=name, outcome=Outcome.INCONCLUSIVE, message="no stream came to its end")
    if bad:
        return Case(
            name=name,
            outcome=Outcome.FAILED,
            message=f"{len(bad)} of {count} streams{_of_slots(bad)}: {_reasons(bad)}",
            details="\n".join(f"{one.at} {one.slot or NOBODY}: {one.why}" for one in bad[:100]),
        )
    bound = f"a rate of at most {at_most(0, count):.2%} ({CONFIDENCE:.0%})"
    return Case(name=name, outcome=Outcome.PASSED, message=f"0 of {count} streams: {bound}")


def _none_slow(records: Sequence[StreamRecord], most: float) -> Case:
    name, seen = "no stream was slow", [one for one in records if one.ttft is not None]
    if not seen:
        return Case(name=name, outcome=Outcome.INCONCLUSIVE, message="no first token came")
    slow = [one for one in seen if one.slow]
    worst = max(one.ttft or 0.0 for one in seen)
    told = f"{len(slow)} of {len(seen)} first tokens{_of_slots(slow)} took over {most:g} s"
    outcome = Outcome.FAILED if slow else Outcome.PASSED
    return Case(name=name, outcome=outcome, message=f"{told}; the slowest {worst:.3g} s")


def _share(slot: str, expected: float, records: Sequence[StreamRecord]) -> Case:
    """Hold a slot's share against what is expected; too few streams to show anything don't pass."""
    known = [one for one in records if one.slot]
    hits, count = sum(one.slot == slot for one in known), len(known)
    low, high = interval(hits, count, SHARE_CONFIDENCE) if count else (0.0, 1.0)
    outcome = Outcome.PASSED
    if not low <= expected <= high:
        outcome = Outcome.FAILED
    elif not count or (hits == 0 and expected > 0) or (hits == count and expected < 1):
        outcome = Outcome.INCONCLUSIVE
    told = f"{hits} of {count} streams: {low:.1%} to {high:.1%} ({SHARE_CONFIDENCE:.0%})"
    told = told if count else "no answer named its slot"
    name = f"share of {slot} is {100 * expected:g} %"
    return Case(name=name, outcome=outcome, message=told)


def by_slot(records: Sequence[StreamRecord]) -> dict[str, list[StreamRecord]]:
    """Return the streams of each slot, the busiest first."""
    counts = Counter(one.slot or NOBODY for one in records)
    kept = [name for name, _ in counts.most_common(MOST_SLOTS)]
    found: dict[str, list[StreamRecord]] = {name: [] for name in kept}
    for one in records:
        slot = one.slot or NOBODY
        found.setdefault(slot if slot in kept else OTHERS, []).append(one)
    return found


def figures(records: Sequence[StreamRecord]) -> Iterator[Figure]:
    """Yield what was counted and measured."""
    if not records:
        return
    for ending in Ending:
        yield Figure(name=f"{ending} streams", value=_count(records, ending))
    lost, count = len(records) - _count(records, Ending.GOOD), len(records)
    low, high = interval(lost, count)
    yield Figure(name="rate of losses", value=lost / count, better="lower", low=low, high=high)
    bound = at_most(lost, count)
    yield Figure(name="rate of losses, at most (95 %)", value=bound, better="lower")
    yield Figure(name="retried streams", value=sum(one.retried for one in records))
    for slot, own in by_slot(records).items():
        yield Figure(name=f"streams, {slot}", value=len(own))
        times = sorted(one.ttft for one in own if one.ttft is not None)
        for level in (50, 99) if times else ():
            value = times[max(-(-len(times) * level // 100), 1) - 1]
            name = f"TTFT p{level}, {slot}"
            yield Figure(name=name, value=value, unit="s", better="lower")


def facts(records: Sequence[StreamRecord]) -> dict[str, str]:
    """Return what is told of each slot in one line."""
    return {
        slot: ", ".join(f"{_count(own, ending)} {ending}" for ending in Ending)
        for slot, own in by_slot(records).items()
    }


def _count(records: Sequence[StreamRecord], ending: Ending) -> int:
    return sum(one.ending is ending for one in records)


def _reasons(records: Sequence[StreamRecord]) -> str:
    counts = Counter(one.why for one in records).most_common(3)
    return ", ".join(f"{why} ({count})" if len(counts) > 1 else why for why, count in counts)


def _of_slots(records: Sequence[StreamRecord]) -> str:
    names = sorted({one.slot or NOBODY for one in records})
    return f" ({', '.join(names[:MOST_SLOTS])})" if names and names != [NOBODY] else ""

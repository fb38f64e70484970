"""Finds properties that can't fail, by holding them against runs that are wrong.

A property is vacuous if it accepts every counter-example that is made of a good run; a case if
a server that gives one constant answer to everything would pass it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ci.cases.model import GeneratedCase
from ci.cases.observed import Observed, ObservedRun
from ci.cases.program import Select, flat
from ci.cases.properties import Agree, AnyProperty

CONSTANTS = (
    *("", " ", "\n", "a", "A", "0", "1", "42", "-", ".", "x" * 64, "abc", "yes", "no", "true"),
    *("null", "none", "[]", "{}", "{", "[", '""', '"a"', "[0]", '{"a": 1}', "ok", "OK.", "error"),
    *("The answer is 42.", "I'm sorry, but I can't help with that.", "\N{REPLACEMENT CHARACTER}"),
)
"""What a server says that says the same to everything."""


def why_vacuous(case: GeneratedCase, run: ObservedRun) -> str:
    """Return why a case can't fail as it should; empty where it can.

    Args:
        case: The case.
        run: A run in which all its properties hold.
    """
    for one in case.properties:
        if void := one.void(run):
            return f"{one.holds}: {void}"
        if all(not one.problem(wrong) for wrong in counter_examples(one, run)):
            return f"{one.holds}: accepts every counter-example"
    for text in CONSTANTS:
        for ending in ("stop", "length"):
            wrong = constant(case, run, text, ending)
            if not any(one.problem(wrong) for one in case.properties):
                return f"a server that always says {text!r} passes"
    return ""


def counter_examples(one: AnyProperty, run: ObservedRun) -> Iterator[ObservedRun]:
    """Yield runs that are wrong in what a property is about, each in one way."""
    for name in one.about:
        seen = run[name]
        for wrong in (*_said_wrong(seen), *_counted_wrong(seen), *_scored_wrong(seen)):
            yield ObservedRun({**run.answers, name: wrong}, run.page)
    if isinstance(one, Agree):
        return
    yield ObservedRun(
        {name: replace(seen, prompt_tokens=run.page + 1) for name, seen in run.answers.items()}
    )


def constant(case: GeneratedCase, run: ObservedRun, text: str, ending: str) -> ObservedRun:
    """Return the run of a case on a server that says `text` to everything."""
    selections = {step.select: step for step in flat(case.program) if isinstance(step, Select)}
    answers = {}
    for name, seen in run.answers.items():
        scores = tuple(replace(one, mean=-1.0, alone=-1.0, echo=text) for one in seen.scores)
        said = selections[name].options[0] if name in selections else text
        answers[name] = Observed(said, ending, "", seen.prompt_tokens, 1, 0, scores)
    return ObservedRun(answers, run.page)


def _said_wrong(seen: Observed) -> Iterator[Observed]:
    if seen.scores:
        return  # what is selected is no text of the server's
    text = seen.text
    for other in (*CONSTANTS, text[:-1], f"{text}~", f"~{text}", text[::-1], text.swapcase()):
        if other != text:
            yield replace(seen, text=other)


def _counted_wrong(seen: Observed) -> Iterator[Observed]:
    yield replace(seen, cached_tokens=0)
    yield replace(seen, completion_tokens=seen.completion_tokens + 1)
    yield replace(seen, matched="")
    yield replace(seen, ending="length" if seen.ending == "stop" else "stop")


def _scored_wrong(seen: Observed) -> Iterator[Observed]:
    """Yield selections with the scores of other options."""
    others = (*seen.scores[1:], *seen.scores[:1])
    if len(set(seen.scores)) > 1:
        pairs = zip(seen.scores, others, strict=True)
        yield replace(seen, scores=tuple(replace(one, echo=other.echo) for one, other in pairs))
        worst = min(seen.scores, key=lambda one: one.mean)
        yield replace(seen, text=worst.option)

"""Composes cases from a seed: a topic's facts, a task, a form, and the properties to hold.

No model is asked. The same seed gives the same cases in the same order, for ever as long as
`GENERATOR` is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ci.cases import forms
from ci.cases.model import GeneratedCase
from ci.cases.program import Fork, Gen, Program, Say, Select
from ci.cases.properties import (
    Agree,
    AnyProperty,
    Grows,
    Matches,
    OneOf,
    Reuses,
    Selected,
    Stopped,
    Tokens,
    Valid,
)
from ci.cases.topics import TOPICS, Topic

GENERATOR = "1"
"""Version of the vocabulary and of what is made of it: another one gives other cases."""

TEXT = 192
"""Most tokens of an answer that a regular expression binds: more than any has letters."""
JSON = 320
"""The same for JSON, with some white space."""
PENALTY = 1.0

Made = tuple[Program, tuple[AnyProperty, ...]]
OPENINGS = ("You are {}.", "You work as {}.", "Act as {}.", "Answer as {} would.")
ASKING = ("Read this {}:", "Here is the {}:", "Consider the {} below.", "What follows is a {}.")


@dataclass(frozen=True)
class Draws:
    """What a composer draws from: a topic and a stream of random choices."""

    topic: Topic
    random: Random

    def prompt(self, task: str, facts: int = 2) -> str:
        """Return a prompt with some of the facts and a task."""
        draw, topic = self.random, self.topic
        told = draw.sample(topic.facts, k=facts)
        opening = draw.choice(OPENINGS).format(topic.role)
        asking = draw.choice(ASKING).format(topic.item)
        bullets = "\n".join(f"- {fact}" for fact in told)
        return f"{opening} {asking}\n{bullets}\n{task}\n"

    def fields(self) -> list[forms.RecordField]:
        """Return the fields of a record to ask for."""
        return forms.varied(self.topic.fields, self.random)

    def shape(self) -> tuple[str, str]:
        """Return what a prompt calls a layout, and a record in it as a regular expression."""
        layout = self.random.choice(list(forms.LAYOUTS))
        return layout, forms.LAYOUTS[layout](self.fields())

    def code(self) -> forms.RecordField:
        """Return a short field of a shape of its own."""
        prefix = "".join(self.random.choice("BCDFGKLMPRTV") for _ in range(3))
        return forms.code("code", prefix, self.random.choice((3, 4, 5)))


def json_schema(desk: Draws) -> Made:
    """A record by JSON schema."""
    fields = desk.fields()
    schema = forms.record(fields)
    asked = ", ".join(field.name for field in fields)
    program = (
        Say(say=desk.prompt(f"Give {asked} as one JSON object.")),
        Gen(gen="record", max_tokens=JSON, json_schema=schema, penalty=PENALTY),
    )
    return program, (Valid(of="record", json_schema=schema, limit=JSON),)


def regex(desk: Draws) -> Made:
    """A record as text."""
    layout, shape = desk.shape()
    program = (
        Say(say=desk.prompt(f"Write the record as {layout}.")),
        Gen(gen="record", max_tokens=TEXT, regex=shape),
    )
    return program, (Matches(of="record", regex=shape),)


def choice(desk: Draws) -> Made:
    """Two questions in a row, each answered by one of its options, which have none in common."""
    labels, levels = _shuffled(desk, desk.topic.labels), _shuffled(desk, desk.topic.levels)
    program = (
        Say(say=desk.prompt(f"Its kind is one of {', '.join(labels)}.") + "Kind: "),
        Gen(gen="kind", max_tokens=32, regex=forms.one_of(labels)),
        Say(say=f"\nIts state is one of {', '.join(levels)}.\nState: "),
        Gen(gen="state", max_tokens=32, regex=forms.one_of(levels)),
    )
    return program, (OneOf(of="kind", options=labels), OneOf(of="state", options=levels))


def select(desk: Draws) -> Made:
    """The most probable option, and a sentence that goes on from it."""
    options = tuple(f" {label}" for label in _shuffled(desk, desk.topic.labels))
    code = desk.code()
    program = (
        Say(say=desk.prompt("Choose its kind.") + "Kind:"),
        Select(select="kind", options=options),
        Say(say="\nCode: "),
        Gen(gen="code", max_tokens=32, regex=code.regex),
    )
    return program, (Selected(of="kind", options=options), Matches(of="code", regex=code.regex))


def fork(desk: Draws) -> Made:
    """Two branches that are asked the same, and one that isn't, from one prompt."""
    same, (layout, shape), code = desk.random.choice(("first", "main")), desk.shape(), desk.code()
    asked = Say(say=f"Write the {same} record as {layout}.\n")
    program = (
        Say(say=desk.prompt("Three clerks answer, each alone.", facts=3)),
        Fork(
            fork=(
                (asked, Gen(gen="one", max_tokens=TEXT, regex=shape)),
                (asked, Gen(gen="two", max_tokens=TEXT, regex=shape)),
                (Say(say="Code: "), Gen(gen="three", max_tokens=32, regex=code.regex)),
            )
        ),
    )
    return program, (
        Agree(of=("one", "two")),
        Matches(of="one", regex=shape),
        Matches(of="two", regex=shape),
        Matches(of="three", regex=code.regex),
    )


def multi_turn(desk: Draws) -> Made:
    """A conversation of three turns, each on top of all before."""
    states, code, (layout, shape) = desk.topic.levels, desk.code(), desk.shape()
    program = (
        Say(say=desk.prompt("Talk it over.") + "User: Which code has it?\nAssistant: "),
        Gen(gen="first", max_tokens=32, regex=code.regex),
        Say(say=f"\nUser: Is it {' or '.join(states)}?\nAssistant: "),
        Gen(gen="second", max_tokens=32, regex=forms.one_of(states)),
        Say(say=f"\nUser: Sum up as {layout}.\nAssistant: "),
        Gen(gen="third", max_tokens=TEXT, regex=shape),
    )
    return program, (
        Matches(of="first", regex=code.regex),
        OneOf(of="second", options=states),
        Matches(of="third", regex=shape),
        Grows(of="second", after="first"),
        Grows(of="third", after="second"),
    )


def prefix_reuse(desk: Draws) -> Made:
    """A long prompt, and one that begins with it."""
    first, second = desk.code(), desk.code()
    program = (
        Say(say=desk.prompt("Note all of it, then give its code.", facts=6) + "Code: "),
        Gen(gen="first", max_tokens=32, regex=first.regex),
        Say(say="\nAnd the code of its copy: "),
        Gen(gen="second", max_tokens=32, regex=second.regex),
    )
    return program, (
        Reuses(of="second", after="first"),
        Matches(of="second", regex=second.regex),
    )


def stop(desk: Draws) -> Made:
    """An answer that a grammar leads to a stop string, and beyond it where that is ignored."""
    mark, code = desk.random.choice((" END", " STOP", "\n##", " ;;")), desk.code()
    before = rf"{code.regex}, [a-z]{{3,7}}"
    program = (
        Say(say=desk.prompt("Give its code and one word, then what nobody reads.")),
        Gen(gen="line", max_tokens=TEXT, regex=f"{before}{mark} [a-z]{{4,8}}", stop=mark),
    )
    return program, (Stopped(of="line", stop=mark), Matches(of="line", regex=before))


def tokens(desk: Draws) -> Made:
    """An answer of an exact number of tokens."""
    count = desk.random.randint(2, 24)
    program = (
        Say(say=desk.prompt("Say more about it.")),
        Gen(gen="text", max_tokens=count, ignore_eos=True),
    )
    return program, (Tokens(of="text", exactly=count),)


CAPABILITIES: dict[str, Callable[[Draws], Made]] = {
    one.__name__: one
    for one in (
        *(json_schema, regex, choice, select, fork),
        *(multi_turn, prefix_reuse, stop, tokens),
    )
}
"""What a case can try, by its name."""


def candidates(
    seed: int, topics: Sequence[str] = (), capabilities: Sequence[str] = ()
) -> Iterator[GeneratedCase]:
    """Yield cases without end, all topics and capabilities in turn.

    Args:
        seed: Where the random choices start.
        topics: Names from `TOPICS`; all where empty.
        capabilities: Names from `CAPABILITIES`; all where empty.
    """
    random = Random(f"sglang-ci {GENERATOR} {seed}")  # noqa: S311 - to be repeatable
    while True:
        for topic in _mixed(random, topics or tuple(TOPICS)):
            for capability in _mixed(random, capabilities or tuple(CAPABILITIES)):
                yield _composed(topic, capability, random)


def key(case: GeneratedCase) -> str:
    """Return what tells a case from its duplicates: its program, white space and case aside."""
    program = [step.model_dump(exclude_defaults=True) for step in case.program]
    return " ".join(json.dumps(program, ensure_ascii=False).casefold().split())


def _composed(topic: str, capability: str, random: Random) -> GeneratedCase:
    program, properties = CAPABILITIES[capability](Draws(TOPICS[topic], random))
    case = GeneratedCase(
        name="-", topic=topic, capability=capability, program=program, properties=properties
    )
    digest = hashlib.sha256(key(case).encode()).hexdigest()[:8]
    return case.model_copy(update={"name": f"{topic}-{capability}-{digest}"})


def _mixed(random: Random, some: Sequence[str]) -> list[str]:
    return random.sample(list(some), k=len(some))


def _shuffled(desk: Draws, some: Sequence[str]) -> tuple[str, ...]:
    return tuple(_mixed(desk.random, some))

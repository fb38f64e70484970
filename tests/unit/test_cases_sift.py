"""What is dropped, and why: duplicates, what a server lacks, what doesn't hold, what can't fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest

from ci.cases.language import Tried
from ci.cases.model import GeneratedCase
from ci.cases.observed import Observed, ObservedRun, Score
from ci.cases.properties import (
    Agree,
    AnyProperty,
    Equals,
    Grows,
    Matches,
    OneOf,
    Reuses,
    Selected,
    Stopped,
    Tokens,
    Valid,
)
from ci.cases.sift import Sifted, Why, sift
from ci.cases.vacuous import CONSTANTS, why_vacuous
from ci.engines.profile import Capability
from tests.unit.generated_cases import GOOD, case, run

pytestmark = pytest.mark.unit

CODE = "[A-Z]{2}-[0-9]{2}"
LONG = replace(GOOD, prompt_tokens=60, cached_tokens=60)
PASSING = "a server that always says"

VACUOUS: dict[str, tuple[AnyProperty, ObservedRun, str]] = {
    "anything": (Matches(of="a", regex=r"[\s\S]*"), run(), PASSING),
    "any line": (Matches(of="a", regex=".*"), run(), PASSING),
    "any word": (Matches(of="a", regex="[A-Za-z]+"), run(a=replace(GOOD, text="AB")), PASSING),
    "any json": (Valid(of="a", json_schema={}, limit=8), run(a=replace(GOOD, text="12")), PASSING),
    "any object": (
        Valid(of="a", json_schema={"type": "object"}, limit=8),
        run(a=replace(GOOD, text='{"size": 3}')),
        PASSING,
    ),
    "yes or no": (
        OneOf(of="a", options=("yes", "no")),
        run(a=replace(GOOD, text="yes")),
        PASSING,
    ),
    "one option": (
        Selected(of="s", options=(" red",)),
        run(s=Observed(" red", scores=(Score(" red", -2.0, -2.0, ": red"),))),
        "accepts every counter-example",
    ),
    "only agreement": (Agree(of=("a", "b")), run(), PASSING),
    "no page": (Reuses(of="b", after="a"), run(99), "fills no page"),
    "one token": (
        Tokens(of="a", exactly=1),
        run(a=replace(GOOD, ending="length", completion_tokens=1)),
        PASSING,
    ),
}

USEFUL: dict[str, tuple[AnyProperty, ObservedRun]] = {
    "shape": (Matches(of="a", regex=CODE), run()),
    "options": (OneOf(of="a", options=("AB-12", "CD-34")), run()),
    "selection": (Selected(of="s", options=(" red", " blue")), run()),
    "stop": (Stopped(of="a", stop=";"), run(a=replace(GOOD, matched=";"))),
    "tokens": (Tokens(of="a", exactly=6), run(a=replace(GOOD, ending="length"))),
    "reuse": (Reuses(of="b", after="a"), run(b=LONG)),
    "recorded": (Equals(of="a", text="AB-12"), run()),
    "schema": (
        Valid(of="a", json_schema={"type": "object", "required": ["size"]}, limit=8),
        run(a=replace(GOOD, text='{"size": 3}')),
    ),
}


@pytest.mark.parametrize("name", VACUOUS)
def test_vacuous_is_found(name: str) -> None:
    """A case that a useless server passes counts as coverage."""
    one, good, told = VACUOUS[name]
    assert one.problem(good) == "", "the run isn't good"
    assert told in why_vacuous(case(one), good)


@pytest.mark.parametrize("name", USEFUL)
def test_useful_is_kept(name: str) -> None:
    """A case that finds faults is thrown away."""
    one, good = USEFUL[name]
    assert why_vacuous(case(one), good) == ""


def test_growing_prompt_needs_another_property() -> None:
    """A case of nothing but growing prompts, which any server that counts passes, is kept."""
    good = run(b=LONG)
    assert PASSING in why_vacuous(case(Grows(of="b", after="a")), good)
    assert why_vacuous(case(Grows(of="b", after="a"), Matches(of="a", regex=CODE)), good) == ""


def test_constants_are_all_different() -> None:
    """A constant that stands there twice hides one that is missing."""
    assert len(set(CONSTANTS)) == len(CONSTANTS)


def sifted(
    cases: Sequence[GeneratedCase],
    tried: dict[str, Tried],
    absent: dict[Capability, str] | None = None,
    *,
    record: bool = False,
) -> Sifted:
    """Sift cases, each with what its run is to show; a good one where nothing is told."""

    async def runner(some: Sequence[GeneratedCase]) -> list[Tried]:
        return [tried.get(one.name, run()) for one in some]

    return anyio.run(lambda: sift(iter(cases), 2, absent or {}, runner, record=record))


def named(name: str, *properties: AnyProperty, regex: str = CODE) -> GeneratedCase:
    """Return a case of that name, with a program of its own."""
    made = case(*(properties or (Matches(of="a", regex=CODE),)), regex=f"{regex}{name}?")
    return made.model_copy(update={"name": name})


def test_dropped_ones_are_replaced() -> None:
    """Fewer cases come than there are, or one that was dropped comes all the same."""
    wrong = run(a=replace(GOOD, text="no"))
    cases = [named("a"), named("b"), named("c"), named("c").model_copy(update={"name": "d"})]
    found = sifted([*cases, named("e"), named("f")], {"a": wrong, "c": "HTTP 400"})
    assert [one.name for one in found.kept] == ["b", "e"]
    told = [(one.case.name, one.why) for one in found.dropped]
    assert told == [("a", Why.BROKEN), ("c", Why.BROKEN), ("d", Why.DUPLICATE)]
    assert found.dropped[1].told == "HTTP 400"


def test_what_depends_on_batches_is_no_fault() -> None:
    """A server whose batches change numbers is called bad, for what it never promised."""
    apart = run(b=replace(GOOD, text="CD-34"))
    both = (Agree(of=("a", "b")), Matches(of="a", regex=CODE))
    found = sifted([named("a", *both)], {"a": apart})
    assert [one.why for one in found.dropped] == [Why.UNSTEADY]
    wrong = run(a=replace(GOOD, text="no"), b=replace(GOOD, text="yes"))
    assert [one.why for one in sifted([named("a", *both)], {"a": wrong}).dropped] == [Why.BROKEN]


def test_what_a_server_lacks_is_not_tried() -> None:
    """A server without grammars fails, or is asked for what it can't do."""
    found = sifted([named("a")], {}, {Capability.REGEX: "no grammar backend"})
    assert [(one.why, one.told) for one in found.dropped] == [(Why.LACKING, "no grammar backend")]


def test_answers_are_recorded_only_where_asked() -> None:
    """A recording fails on the next model although nobody wanted one, or records nothing."""
    plain, golden = (sifted([named("a")], {}, record=record).kept[0] for record in (False, True))
    assert [one.holds for one in plain.properties] == ["matches"]
    assert [one.holds for one in golden.properties] == ["matches", "equals", "equals"]

"""Each property holds of what it should, and says in one line what it doesn't hold of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ci.cases.json_start import relaxed, start_of
from ci.cases.observed import Observed, Score
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
from tests.unit.generated_cases import GOOD, case, run

pytestmark = pytest.mark.unit

SCHEMA = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "maximum": 9},
        "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2},
    },
    "required": ["size", "tags"],
    "additionalProperties": False,
}
VALID = Valid(of="a", json_schema=SCHEMA, limit=20)
WHOLE = '{"size": 3, "tags": ["x", "y"]}'
CODE = "[A-Z]{2}-[0-9]{2}"
SELECTED = Selected(of="s", options=(" red", " blue"))


def said(text: str, ending: str = "stop", **others: Any) -> Observed:
    """Return an answer."""
    return replace(GOOD, text=text, ending=ending, **others)


def scored(text: str, *scores: Score) -> Observed:
    """Return a selection."""
    return Observed(text, scores=scores)


RED, BLUE = Score(" red", -2.0, -2.0, "x: red"), Score(" blue", -1.0, -1.0, "x: blue")

HOLDS: dict[str, tuple[AnyProperty, dict[str, Observed]]] = {
    "matches": (Matches(of="a", regex=CODE), {}),
    "valid": (VALID, {"a": said(WHOLE)}),
    "valid start": (VALID, {"a": said('{"size": 3,  \n ', "length", completion_tokens=20)}),
    "one of": (OneOf(of="a", options=("x", "AB-12")), {}),
    "selected": (SELECTED, {}),
    "selected, near": (SELECTED, {"s": scored(" blue", RED, replace(BLUE, alone=-1.05))}),
    "stopped": (Stopped(of="a", stop=" END"), {"a": said("AB", matched=" END")}),
    "tokens": (Tokens(of="a", exactly=6), {"a": said("AB", "length")}),
    "agree": (Agree(of=("a", "b")), {}),
    "reuses": (Reuses(of="b", after="a"), {"b": said("AB", cached_tokens=39)}),
    "grows": (Grows(of="b", after="a"), {"b": said("AB", prompt_tokens=50)}),
    "equals": (Equals(of="a", text="AB-12"), {}),
}

FAILS: dict[str, tuple[AnyProperty, dict[str, Observed], str]] = {
    "longer": (Matches(of="a", regex=CODE), {"a": said("AB-123")}, "not of the shape"),
    "line after": (Matches(of="a", regex=CODE), {"a": said("AB-12\n")}, "not of the shape"),
    "not ended": (Matches(of="a", regex=CODE), {"a": said("AB-12", "length")}, "ended by 'length'"),
    "no json": (VALID, {"a": said("sorry")}, "no JSON"),
    "invalid": (VALID, {"a": said(WHOLE.replace("3", "30"))}, "$.size: 30 is greater than"),
    "incomplete": (VALID, {"a": said('{"size": 3}')}, "'tags' is a required property"),
    "cut by itself": (VALID, {"a": said('{"size": 3, ', "length")}, "no JSON"),
    "whole though cut": (
        VALID,
        {"a": said("{}", "length", completion_tokens=20)},
        "'size' is a required property",
    ),
    "bad start": (
        VALID,
        {"a": said('{"other": 3,  ', "length", completion_tokens=20)},
        "'other' was unexpected",
    ),
    "no start": (VALID, {"a": said("   ", "length", completion_tokens=20)}, "no object or array"),
    "no option": (OneOf(of="a", options=("x", "y")), {}, "'AB-12' is no option"),
    "less probable": (SELECTED, {"s": scored(" red", RED, BLUE)}, "' blue' is more probable"),
    "other text": (
        SELECTED,
        {"s": scored(" blue", RED, replace(BLUE, echo="x: red"))},
        "a text that ends in 'x: red' was scored",
    ),
    "other score": (
        SELECTED,
        {"s": scored(" blue", RED, replace(BLUE, alone=-3.0))},
        "scores -1.000 among the options and -3.000 alone",
    ),
    "no logarithm": (
        SELECTED,
        {"s": scored(" blue", RED, replace(BLUE, mean=1.0, alone=1.0))},
        "no log-probability",
    ),
    "option missing": (SELECTED, {"s": scored(" blue", BLUE)}, "not one score for each"),
    "not stopped": (Stopped(of="a", stop=" END"), {}, "not at ' END'"),
    "leaked": (
        Stopped(of="a", stop=" END"),
        {"a": said("AB END", matched=" END")},
        "' END' in 'AB END'",
    ),
    "too many": (Tokens(of="a", exactly=5), {"a": said("AB", "length")}, "6 tokens, not 5"),
    "ended early": (Tokens(of="a", exactly=6), {}, "ended by 'stop'"),
    "differ": (Agree(of=("a", "b")), {"b": said("CD-34")}, "a: 'AB-12', but b: 'CD-34'"),
    "not reused": (Reuses(of="b", after="a"), {"b": said("AB", cached_tokens=38)}, "38 tokens"),
    "forgotten": (Grows(of="b", after="a"), {}, "40 tokens of prompt after 40"),
    "other answer": (Equals(of="a", text="CD-34"), {}, "recorded was 'CD-34'"),
}


@pytest.mark.parametrize("name", HOLDS)
def test_holds(name: str) -> None:
    """A good server fails."""
    one, answers = HOLDS[name]
    assert one.problem(run(**answers)) == ""


@pytest.mark.parametrize("name", FAILS)
def test_fails_and_says_why(name: str) -> None:
    """A bad server passes, or nobody can tell why it failed."""
    one, answers, told = FAILS[name]
    problem = one.problem(run(**answers))
    assert told in problem
    assert problem.startswith(f"{one.about[0]}: ")
    assert "\n" not in problem


def test_every_kind_is_tried_both_ways() -> None:
    """A kind of property is never seen failing."""
    assert {one[0].holds for one in HOLDS.values()} == {one[0].holds for one in FAILS.values()}


def test_prefix_below_a_page_says_nothing() -> None:
    """A server with large pages fails, or passes without having been seen to reuse anything."""
    one = Reuses(of="b", after="a")
    assert "fills no page" in one.void(run(64))
    assert one.void(run(1)) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": [1, 2', {"a": 1, "b": [1]}),
        ('{"a": "x, {\\" ', {}),
        ('{"a": {"b": 2}', {"a": {"b": 2}}),
        ("[[1], [2, 3", [[1], [2]]),
        ("{ \n\t ", {}),
        ('{"a": 12, "b": 3', {"a": 12}),
        ('{"a": 12 \n', {"a": 12}),
    ],
    ids=["list", "string", "object", "lists", "space", "number", "after a number"],
)
def test_start_of_json(text: str, value: Any) -> None:
    """A good answer that ran out of tokens in white space fails."""
    assert start_of(text) == value


@pytest.mark.parametrize(
    "text", ["", "abc", '"x', "{]", '{"a" 1, ', "}", '{"a" 1', "[1]]", '{"a": 1} and more']
)
def test_no_start_of_json(text: str) -> None:
    """Anything passes for the start of an answer."""
    with pytest.raises(ValueError, match=r"."):
        start_of(text)


def test_relaxed_schema_keeps_what_a_start_can_break() -> None:
    """The start of a wrong answer passes."""
    found = relaxed(SCHEMA)
    assert "required" not in found
    assert "minItems" not in found["properties"]["tags"]
    assert found["properties"]["size"] == SCHEMA["properties"]["size"]  # type: ignore[index]


def test_needs_follow_from_program_and_properties() -> None:
    """A case fails on a server that can't do it, where it should be skipped."""
    assert case(SELECTED).needs == ("generation", "logprobs", "native", "regex")
    assert "prefix_cache" in case(Reuses(of="b", after="a")).needs

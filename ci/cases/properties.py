"""Properties of a run, none of which asks whether an answer is clever.

Each says in one line what is wrong with a run, or nothing. `sure` tells those that hold on every
good server from those that depend on how its batches are computed.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ci.cases.json_start import relaxed, start_of
from ci.cases.observed import ObservedRun, Score
from ci.cases.program import CasePart, Name
from ci.secrets.veil import ending

NEAR = 0.1
"""How far two scores of the same option may lie apart: batching changes a model's numbers."""


class Property(CasePart):
    """Something that must hold of a run."""

    sure: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ()

    @property
    def about(self) -> tuple[str, ...]:
        """Names of the answers that it is about."""
        return (str(getattr(self, "of")),)  # noqa: B009 - each subclass has its own type of it

    def problem(self, run: ObservedRun) -> str:
        """Return in one line what is wrong; empty where it holds."""
        raise NotImplementedError

    def void(self, run: ObservedRun) -> str:
        """Return why nothing can be said of this run; empty where something can."""
        return "" if run else "nothing ran"


class Matches(Property):
    """The whole answer has a shape, and ended because the shape did."""

    needs = ("regex",)
    holds: Literal["matches"] = "matches"
    of: Name
    regex: str

    def problem(self, run: ObservedRun) -> str:
        """Say what doesn't fit."""
        seen = run[self.of]
        if not re.fullmatch(self.regex, seen.text):
            return f"{self.of}: not of the shape {self.regex}: {seen.text!r}"
        return "" if seen.ending == "stop" else f"{self.of}: ended by {seen.ending!r}, not 'stop'"


class Valid(Property):
    """The answer is valid by a JSON schema, or the start of such where tokens ran out."""

    needs = ("json_schema",)
    holds: Literal["valid"] = "valid"
    of: Name
    json_schema: dict[str, Any]
    limit: int = Field(ge=1, description="Tokens that the answer may have.")

    def problem(self, run: ObservedRun) -> str:
        """Say what isn't valid, and where."""
        seen = run[self.of]
        cut = seen.ending == "length" and seen.completion_tokens >= self.limit
        try:
            value, whole = _json(seen.text, cut=cut)
        except ValueError as error:
            return f"{self.of}: no JSON: {error}: {seen.text!r}"
        first = _first_error(value, self.json_schema if whole else relaxed(self.json_schema))
        return f"{self.of}: {first}" if first else ""


class OneOf(Property):
    """The answer is one of the options."""

    needs = ("regex",)
    holds: Literal["one_of"] = "one_of"
    of: Name
    options: tuple[str, ...]

    def problem(self, run: ObservedRun) -> str:
        """Say what came instead."""
        text = run[self.of].text
        return "" if text in self.options else f"{self.of}: {text!r} is no option"


class Selected(Property):
    """The option that was selected is the one that the server holds for the most probable."""

    needs = ("logprobs",)
    holds: Literal["selected"] = "selected"
    of: Name
    options: tuple[str, ...]

    def problem(self, run: ObservedRun) -> str:
        """Say which option has another score than it should."""
        seen = run[self.of]
        if tuple(score.option for score in seen.scores) != self.options:
            return f"{self.of}: not one score for each option"
        for score in seen.scores:
            if wrong := _misscored(score):
                return f"{self.of}: {score.option!r} {wrong}"
        best = max(seen.scores, key=lambda score: score.alone)
        chosen = next((score for score in seen.scores if score.option == seen.text), None)
        if chosen is None:
            return f"{self.of}: {seen.text!r} is no option"
        if (
            chosen.mean < max(score.mean for score in seen.scores)
            or chosen.alone + NEAR < best.alone
        ):
            return f"{self.of}: {chosen.option!r} was selected, {best.option!r} is more probable"
        return ""


class Stopped(Property):
    """The answer ended at a stop string, and doesn't hold it."""

    holds: Literal["stopped"] = "stopped"
    of: Name
    stop: str

    def problem(self, run: ObservedRun) -> str:
        """Say how it ended instead."""
        seen = run[self.of]
        if seen.ending != "stop" or seen.matched != self.stop:
            return f"{self.of}: ended by {seen.ending} {seen.matched!r}, not at {self.stop!r}"
        return f"{self.of}: {self.stop!r} in {seen.text!r}" if self.stop in seen.text else ""


class Tokens(Property):
    """The answer has as many tokens as are allowed, and ended because of that."""

    holds: Literal["tokens"] = "tokens"
    of: Name
    exactly: int = Field(ge=1)

    def problem(self, run: ObservedRun) -> str:
        """Say how many there are."""
        seen = run[self.of]
        if seen.completion_tokens != self.exactly:
            return f"{self.of}: {seen.completion_tokens} tokens, not {self.exactly}"
        return "" if seen.ending == "length" else f"{self.of}: ended by {seen.ending!r}"


class Agree(Property):
    """Branches that were asked the same say the same."""

    sure = False
    holds: Literal["agree"] = "agree"
    of: tuple[Name, ...] = Field(min_length=2)

    @property
    def about(self) -> tuple[str, ...]:
        """Names of the branches' answers."""
        return self.of

    def problem(self, run: ObservedRun) -> str:
        """Say which differ."""
        first = run[self.of[0]].text
        other = next((name for name in self.of if run[name].text != first), "")
        return f"{self.of[0]}: {first!r}, but {other}: {run[other].text!r}" if other else ""


class Reuses(Property):
    """A prompt finds another in the cache that it begins with, up to a page."""

    needs = ("prefix_cache",)
    holds: Literal["reuses"] = "reuses"
    of: Name
    after: Name

    def problem(self, run: ObservedRun) -> str:
        """Say how much was found."""
        cached, known = run[self.of].cached_tokens, self._known(run)
        return "" if cached >= known else f"{self.of}: {cached} tokens cached, {known} were known"

    def void(self, run: ObservedRun) -> str:
        """Say so where the prompt is shorter than a page."""
        return "" if self._known(run) > 0 else f"the prompt of {self.after} fills no page"

    def _known(self, run: ObservedRun) -> int:
        return run[self.after].prompt_tokens - run.page


class Grows(Property):
    """A later turn's prompt holds an earlier turn's prompt and answer."""

    holds: Literal["grows"] = "grows"
    of: Name
    after: Name

    def problem(self, run: ObservedRun) -> str:
        """Say by how much it grew."""
        now, before = run[self.of].prompt_tokens, run[self.after].prompt_tokens
        return "" if now > before + 1 else f"{self.of}: {now} tokens of prompt after {before}"


class Equals(Property):
    """The answer is the one that was recorded: only for the same model and numerics."""

    sure = False
    holds: Literal["equals"] = "equals"
    of: Name
    text: str

    def problem(self, run: ObservedRun) -> str:
        """Show both."""
        text = run[self.of].text
        return "" if text == self.text else f"{self.of}: {text!r}, recorded was {self.text!r}"


AnyProperty = Annotated[
    Matches | Valid | OneOf | Selected | Stopped | Tokens | Agree | Reuses | Grows | Equals,
    Field(discriminator="holds"),
]


def _json(text: str, *, cut: bool) -> tuple[Any, bool]:
    """Return the value of a text, or of its start where it may be cut, and whether it is whole."""
    try:
        return json.loads(text), True
    except ValueError:
        if not cut:
            raise
        return start_of(text), False


def _first_error(value: Any, schema: Any) -> str:
    jsonschema: Any = importlib.import_module("jsonschema")  # it has no types
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return next((f"{error.json_path}: {error.message}" for error in errors), "")


def _misscored(score: Score) -> str:
    if not score.echo.endswith(score.option):
        return f"was asked, and a text that ends in {ending(score.echo, 40)!r} was scored"
    if not all(-math.inf < one <= NEAR for one in (score.mean, score.alone)):
        return f"has no log-probability: {score.mean}"
    if abs(score.mean - score.alone) > NEAR:
        return f"scores {score.mean:.3f} among the options and {score.alone:.3f} alone"
    return ""

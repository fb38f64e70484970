"""What is composed from a seed: the same again, no two alike, and forms that bound themselves."""

from __future__ import annotations

import importlib
import json
import re
from itertools import islice
from typing import Any

import pytest

from ci.cases.compose import CAPABILITIES, JSON, TEXT, candidates, key
from ci.cases.model import FILE, CaseFile, GeneratedCase, Provenance, read, text
from ci.cases.program import Gen, flat
from ci.cases.topics import TOPICS
from ci.errors import UsageError
from tests.fakes.grammar import text_for

pytestmark = pytest.mark.unit

CELLS = len(TOPICS) * len(CAPABILITIES)
MANY: list[GeneratedCase] = list(islice(candidates(3), 6 * CELLS))
jsonschema: Any = importlib.import_module("jsonschema")


def gens(case: GeneratedCase) -> list[Gen]:
    """Return a case's generations."""
    return [step for step in flat(case.program) if isinstance(step, Gen)]


def test_same_seed_gives_the_same() -> None:
    """A run can't be repeated, or every seed gives the same cases."""
    assert list(islice(candidates(3), CELLS)) == MANY[:CELLS]
    assert list(islice(candidates(4), CELLS)) != MANY[:CELLS]


def test_first_round_covers_every_cell() -> None:
    """A topic or a capability is left out of a run that has room for it."""
    assert len({(case.topic, case.capability) for case in MANY[:CELLS]}) == CELLS


def test_names_tell_cases_apart() -> None:
    """Two cases have one name in a report, or one case has two."""
    assert len({case.name for case in MANY}) == len({key(case) for case in MANY})
    assert len({key(case) for case in MANY}) > 5 * CELLS


def test_white_space_and_letter_case_make_no_other_case() -> None:
    """A duplicate counts as coverage."""
    spaced = MANY[0].model_dump()
    spaced["program"][0]["say"] = spaced["program"][0]["say"].upper().replace(" ", "  ")
    assert key(GeneratedCase.model_validate(spaced)) == key(MANY[0])


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_forms_have_an_instance_that_fits_the_limit(capability: str) -> None:
    """A form that nothing fulfils, or that is unbounded, fails on every good server."""
    for case in MANY:
        if case.capability == capability:
            for step in gens(case):
                bounded(step)


def bounded(step: Gen) -> None:
    """Assert that a generation's form is possible, bounded, and shorter than its limit."""
    if step.json_schema is not None:
        jsonschema.Draft202012Validator.check_schema(step.json_schema)
        whole = text_for({"json_schema": json.dumps(step.json_schema)}) or ""
        assert step.json_schema["additionalProperties"] is False
        assert len(whole) < JSON
    elif step.regex is not None:
        shortest = text_for({"regex": step.regex}) or ""
        assert re.fullmatch(step.regex, shortest)
        assert not re.search(r"(?<!\\)[*+]|\.(?<!\\\.)", step.regex), step.regex
        assert len(shortest) < TEXT


def test_file_is_read_as_it_was_written(tmp_path: Any) -> None:
    """What is replayed isn't what was tried."""
    known = ("invoice",)
    by = Provenance(
        generator="1",
        seed=3,
        count=9,
        topics=known,
        capabilities=known,
        recorded=False,
        model="m",
        server="1",
        language="2",
    )
    file = CaseFile(provenance=by, cases=tuple(MANY[:CELLS]))
    (tmp_path / FILE).write_text(text(file))
    assert read(tmp_path / FILE) == file


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cases": [{}]}, "cases.0.name: Field required"),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
    ],
    ids=["case", "version"],
)
def test_other_files_are_refused(tmp_path: Any, change: dict[str, Any], told: str) -> None:
    """A file of another version or a damaged one is a traceback."""
    whole = {"schema_version": 1, "cases": [], **change}
    (tmp_path / FILE).write_text(json.dumps(whole))
    with pytest.raises(UsageError) as caught:
        read(tmp_path / FILE)
    assert told in str(caught.value) or "provenance" in str(caught.value)
    with pytest.raises(UsageError, match="can't be read: No such file"):
        read(tmp_path / "none.json")


def test_property_about_nothing_is_refused() -> None:
    """A misspelt name in an edited file makes a property that never holds or never fails."""
    wrong = MANY[0].model_dump()
    wrong["properties"][0]["of"] = "nobody" if wrong["properties"][0]["holds"] != "agree" else []
    with pytest.raises(ValueError, match=r"nobody|at least 2"):
        GeneratedCase.model_validate(wrong)
    twice = MANY[0].model_dump()
    twice["program"] = [*twice["program"], *twice["program"]]
    with pytest.raises(ValueError, match="two answers have one name"):
        GeneratedCase.model_validate(twice)

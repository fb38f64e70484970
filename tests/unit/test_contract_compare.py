"""What the comparison of two contracts calls broken, new, unsure and worth noting."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ci.contract.check import accepting, broken, cases
from ci.contract.compare import ContractChange, compare
from ci.contract.introspect import flags_part
from ci.contract.model import Contract, ContractPart
from ci.contract.page import page
from ci.contract.routes import routes_part
from ci.contract.rules import ChangeKind, weigh
from ci.settings.contract import AcceptedChange
from ci.verdict import Outcome
from tests.unit.contract_samples import INTERFACE, OPENAPI, contract

pytestmark = pytest.mark.unit

TODAY = date(2026, 11, 23)


def changes(old: Contract, new: Contract) -> list[ContractChange]:
    """Return all changes of two contracts."""
    return [change for part in compare(old, new) for change in part.changes]


def told(old: Contract, new: Contract) -> list[tuple[str, str]]:
    """Return kind and name of all changes."""
    return [(change.kind.value, change.id) for change in changes(old, new)]


def test_a_contract_equals_itself() -> None:
    """Something differs where nothing does, and every upgrade fails."""
    same = contract(flags=flags_part(INTERFACE), routes=routes_part(OPENAPI))
    assert not changes(same, same)
    outcomes = [case.outcome for case in cases(compare(same, same), accepting())]
    assert outcomes.count(Outcome.PASSED) == 2
    assert Outcome.FAILED not in outcomes


def flags(**changed: Any) -> Contract:
    """Return a contract whose first flag differs by `changed`."""
    first, *others = INTERFACE["flags"]
    return contract(flags=flags_part({**INTERFACE, "flags": [first | changed, *others]}))


FLAG = "flags --tensor-parallel-size"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"default": 2}, [("broken", f"{FLAG} default")]),
        ({"type": "text"}, [("broken", f"{FLAG} type")]),
        ({"type": "human_int"}, [("notice", f"{FLAG} type")]),
        ({"takes": "nothing"}, [("broken", f"{FLAG} takes")]),
        ({"choices": ["1"]}, [("broken", f"{FLAG} choices")]),
        ({"help": "Deprecated."}, [("notice", f"{FLAG} deprecated"), ("notice", f"{FLAG} help")]),
        ({"names": ["--tensor-parallel-size"]}, [("broken", "flags --tp-size")]),
        ({"names": ["--tp-size"]}, [("broken", FLAG)]),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
def test_flags(changed: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """A changed flag is missed, or a harmless change blocks a release."""
    assert told(flags(), flags(**changed)) == expected


def test_a_renamed_flag_names_its_new_name() -> None:
    """A person has to search for what became of a flag."""
    names = ["--tensor-parallel-sizes", "--tp-size"]
    gone = changes(flags(), flags(names=names))[0]
    assert gone.hint == "perhaps renamed to --tensor-parallel-sizes"
    assert gone.after is not None


@pytest.mark.parametrize(
    ("item", "facet", "before", "after", "expected"),
    [
        ("POST /x request.a", "required", False, True, ChangeKind.BROKEN),
        ("POST /x request.a", "required", True, False, ChangeKind.NEW),
        ("POST /x response 200.a", "required", True, False, ChangeKind.BROKEN),
        ("POST /x response 200.a", "required", False, True, ChangeKind.NEW),
        ("POST /x request.a", "types", ["string", "null"], ["string"], ChangeKind.BROKEN),
        ("POST /x request.a", "types", ["string"], ["string", "null"], ChangeKind.NEW),
        ("POST /x response 200.a", "types", ["string"], ["string", "null"], ChangeKind.BROKEN),
        ("POST /x response 200.a", "types", ["string", "null"], ["string"], ChangeKind.NEW),
        ("POST /x request.a", "types", ["any"], ["string"], ChangeKind.BROKEN),
        ("POST /x request.a", "types", ["string"], ["any"], ChangeKind.NEW),
        ("POST /x request.a", "types", ["any"], ["any", "null"], None),
        ("POST /x request.a", "enum", ["a", "b"], ["a"], ChangeKind.BROKEN),
        ("POST /x request.a", "enum", ["a"], ["a", "b"], ChangeKind.NEW),
        ("POST /x request.a", "enum", None, ["a"], ChangeKind.BROKEN),
        ("POST /x request.a", "enum", ["a"], None, ChangeKind.NEW),
        ("POST /x request.a", "default", 1, 2, ChangeKind.BROKEN),
        ("chat", "status", 400, 422, ChangeKind.BROKEN),
        ("key", "types", ["string"], ["number"], ChangeKind.BROKEN),
        ("key", "types", [], ["number"], None),
        ("sglang:x", "labels", ["a", "b"], ["a"], ChangeKind.BROKEN),
        ("sglang:x", "labels", ["a"], ["a", "b"], ChangeKind.NEW),
        ("sglang:x", "type", "gauge", "counter", ChangeKind.BROKEN),
        ("sglang:x", "state", "at once", "seen", None),
        ("sglang:x", "state", "at once", "after an event", ChangeKind.NOTICE),
    ],
)
def test_facets(
    item: str, facet: str, before: Any, after: Any, expected: ChangeKind | None
) -> None:
    """A breach passes, or an offer fails."""
    assert weigh(item, facet, before, after) is expected


def test_what_lies_in_a_lost_route_is_not_told_again() -> None:
    """One lost route is hundreds of lines."""
    old = contract(routes=routes_part(OPENAPI))
    new = contract(routes={"GET /other": {}})
    assert ("broken", "routes POST /generate") in told(old, new)
    assert len(told(old, new)) == 2


def test_a_new_required_field_breaks_and_a_new_optional_one_does_not() -> None:
    """Every client of the route gets 422, and the comparison passes."""
    old = contract(routes={"POST /x": {}, "POST /x request": {"types": ["object"]}})
    for required, kind in ((True, "broken"), (False, "new")):
        more = {"POST /x request.key": {"types": ["string"], "required": required}}
        new = contract(routes=old.parts["routes"].items | more)
        assert told(old, new) == [(kind, "routes POST /x request.key")]


def test_a_null_hides_what_was_below() -> None:
    """A field that happened to be null fails an upgrade."""
    old = contract(server_info={"a": {"types": ["object"]}, "a.b": {"types": ["number"]}})
    new = contract(server_info={"a": {"types": []}})
    assert told(old, new) == [("unsure", "server_info a.b")]


def test_parts_that_one_side_lacks() -> None:
    """What nobody looked at counts as kept."""
    known = contract(flags=flags_part(INTERFACE))
    unknown = contract(flags=ContractPart(unknown="a URL"))
    absent = contract(flags=ContractPart(absent="none there"))
    for old, new, outcome, why in (
        (known, unknown, Outcome.INCONCLUSIVE, "a URL"),
        (unknown, known, Outcome.SKIPPED, "a URL"),
        (known, absent, Outcome.FAILED, "gone"),
    ):
        case = next(iter(cases(compare(old, new), accepting())))
        assert case.outcome is outcome
        assert why in case.message or why in case.details


def test_a_metric_of_a_used_baseline_is_unsure() -> None:
    """A metric that only other traffic brings to life fails an upgrade."""
    metric = {"type": "counter", "labels": []}
    new = contract(metrics={"sglang:other_thing": {**metric, "state": "at once"}})
    for state, kind in (("seen", "unsure"), ("at once", "broken"), ("after an event", "broken")):
        old = contract(metrics={"sglang:x_total": {**metric, "state": state}})
        assert told(old, new)[0] == (kind, "metrics sglang:x_total")


RULES = {
    "the facet": ("flags --tensor-parallel-size default", TODAY, Outcome.PASSED),
    "the item": ("flags --tensor-*", TODAY, Outcome.PASSED),
    "expired": ("flags --tensor-*", date(2026, 11, 22), Outcome.FAILED),
    "another": ("flags --dtype*", TODAY, Outcome.FAILED),
}


@pytest.mark.parametrize("name", RULES)
def test_accepted_changes(name: str) -> None:
    """An accepted change blocks, or one that nobody accepts passes, or one for ever."""
    item, until, outcome = RULES[name]
    rule = AcceptedChange(item=item, until=until, reason="we know")
    allowance, found = accepting((rule,), TODAY), compare(flags(), flags(default=2))
    case = next(iter(cases(found, allowance)))
    assert case.outcome is outcome
    assert ("we know" in case.message) == (name != "another")
    assert bool(allowance.unused(broken(found))) == (name == "another")
    text = page(flags(), flags(default=2), found, allowance)
    assert "| `--tensor-parallel-size` default | 1 | 2 |" in text
    assert ("accepted until 2026-" in text, "accepted only until 2026-" in text) == (
        outcome is Outcome.PASSED,
        name == "expired",
    )


def test_no_breach_is_lost_in_a_long_list() -> None:
    """Breaches beyond the first ones pass."""
    items = {f"--flag-{number:03}x{number}": {"takes": "nothing"} for number in range(120)}
    found = compare(contract(flags=items), contract(flags={"-z": {"takes": "a value"}}))
    failed = [case for case in cases(found, accepting()) if case.outcome is Outcome.FAILED]
    assert len(failed) == 51
    assert len(failed[-1].details.splitlines()) == 70

"""What is recorded of a server, against one that pretends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.contract import answers, metrics
from ci.contract.check import accepting, cases
from ci.contract.compare import compare
from ci.contract.exposition import families
from ci.contract.introspect import read_interface
from ci.contract.model import Contract, load, save
from ci.contract.record import installed, record
from ci.contract.schema import Flattener
from ci.contract.shape import body_shape, shape
from ci.errors import BadAnswer, NotSglang, SglangCiError, UsageError
from ci.verdict import Outcome
from tests.unit.contract_samples import INTERFACE, OPENAPI, Pretender, contract

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SETTLE", 0.1)


def recorded(server: Pretender, found: dict[str, Any] | None = None) -> Contract:
    """Return the contract of a pretender."""
    return anyio.run(lambda: record("http://x:1", found, transport=server.transport))


def test_a_recording_keeps_every_part() -> None:
    """A part of the contract is recorded as empty, and nothing of it is ever compared."""
    found = recorded(Pretender(), INTERFACE)
    assert {name for name, part in found.parts.items() if not part.items} == set()
    assert found.sglang == "0.5.23"
    assert found.parts["metrics"].items["sglang:running"] == {
        "type": "gauge",
        "labels": ["pid"],
        "state": "at once",
        "name for Prometheus 2.42": "sglang_running",
        "name for Prometheus 3": "sglang:running",
    }
    aborted = found.parts["metrics"].items["sglang:num_aborted_requests_total"]
    assert aborted["state"] == "after an event"
    assert found.parts["sampling"].items["/generate tokens without a limit"] == {"default": 128}
    assert found.parts["answers"].items["generate: bad JSON"]["status"] == 400
    assert found.parts["flags"].items["--dtype"]["deprecated"] is True


def test_two_recordings_of_one_server_are_equal(tmp_path: Path) -> None:
    """Ids, times or the order of requests make a server differ from itself."""
    server = Pretender()
    first = recorded(server, INTERFACE)
    save(first, tmp_path / "a.json")
    server.info |= {"port": 2, "startup": {"load": 3}}
    second = recorded(server, INTERFACE)
    for pair in ((load(tmp_path / "a.json"), second), (second, first)):
        assert not [change for part in compare(*pair) for change in part.changes]


def test_a_server_without_metrics_fails() -> None:
    """Every dashboard is empty, and the comparison passes."""
    good, bad = Pretender(), Pretender()
    bad.metrics = False
    found = compare(recorded(good), recorded(bad))
    failed = [case for case in cases(found, accepting()) if case.outcome is Outcome.FAILED]
    assert [case.name for case in failed] == ["metrics all"]
    assert "--enable-metrics" in failed[0].message


def test_what_a_url_does_not_show_is_said() -> None:
    """Flags that nobody could see count as kept."""
    found = recorded(Pretender())
    assert "launch flags" in found.parts["flags"].unknown
    both = compare(recorded(Pretender(), INTERFACE), found)
    told = {case.name: case.outcome for case in cases(both, accepting())}
    assert told["flags"] is Outcome.INCONCLUSIVE
    assert told["sampling engine temperature"] is Outcome.INCONCLUSIVE


def test_nothing_that_ends_a_server_is_sent() -> None:
    """The recording kills the server that it records: an empty text, or token ids."""
    for request in answers.requests("m", 10):
        body = request.body if isinstance(request.body, dict) else {}
        assert body.get("text") != ""
        assert "input_ids" not in body
    names = [request.name for request in answers.requests("m", 10)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        ("/server_info", (500, {}), BadAnswer),
        ("/openapi.json", (200, []), BadAnswer),
        ("/v1/models", (200, {"data": []}), BadAnswer),
        ("/metrics", (500, {}), BadAnswer),
    ],
)
def test_broken_pages(path: str, answer: tuple[int, Any], error: type[SglangCiError]) -> None:
    """A broken page is recorded as one that says nothing."""
    server = Pretender()
    server.pages[path] = answer
    with pytest.raises(error, match=path):
        recorded(server)


def test_a_stranger_is_no_server() -> None:
    """Anything that answers 404 has an empty contract."""
    server = Pretender()
    server.pages |= {"/server_info": (404, {}), "/model_info": (404, {})}
    with pytest.raises(NotSglang):
        recorded(server)


def test_routes_do_not_depend_on_the_names_of_schemas() -> None:
    """A schema that only moved is a breach."""
    moved = json.loads(json.dumps(OPENAPI).replace("Ask", "Question"))
    before = installed({**INTERFACE, "openapi": OPENAPI}, "a").parts["routes"]
    assert before == installed({**INTERFACE, "openapi": moved}, "b").parts["routes"]
    text = before.items["POST /generate request.text"]
    assert (text["types"], text["required"]) == (["null", "string"], True)
    assert before.items["POST /generate request.mode"]["enum"] == ["fast", "slow"]
    assert before.items["POST /generate request.inner"]["types"] == ["object"]


def test_alternatives_are_laid_over_each_other() -> None:
    """A field that only one alternative needs counts as needed by all."""
    one = {
        "type": "object",
        "required": ["kind", "a"],
        "properties": {"kind": {"const": "one"}, "a": {}},
    }
    two = {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "two"}}}
    items = Flattener({}).items("x", {"anyOf": [one, two]}, required=True)
    assert items["x.kind"]["enum"] == ["one", "two"]
    assert items["x.kind"]["required"] is True
    assert items["x.a"]["required"] is False


def test_shapes_hold_codes_and_no_other_values() -> None:
    """An error's code may change unseen, or an id makes two answers differ."""
    items = body_shape("body", '{"id": "7f", "code": 400, "list": [1, "a"], "no": null}', "")
    assert items["body.id"] == {"types": ["string"]}
    assert items["body.code"] == {"types": ["number"], "value": "400"}
    assert items["body.list.*"] == {"types": ["number", "string"]}
    assert items["body.no"] == {"types": []}
    stream = 'data: {"error": {"code": 400}}\n\ndata: [DONE]\n\n'
    items = body_shape("body", stream, "text/event-stream")
    assert items["body event.error.code"]["value"] == "400"
    assert items["body ends"] == {"value": "[DONE]"}
    assert body_shape("body", stream[:20], "text/event-stream")["body ends"] == {
        "value": "no [DONE]"
    }
    assert body_shape("body", "oops", "text/html") == {"body": {"types": ["text"]}}
    assert "a.a.a" not in shape("a", {"a": {"a": 1}}, depth=1)


EXPOSED = """# HELP sglang:time seconds
# TYPE sglang:time histogram
sglang_time_bucket{a="1",le="0.1"} 0
sglang_time_sum{a="1"} 0
sglang_time_count{a="x\\"{}, b=\\"y"} 0
sglang_time_created{a="1"} 0
# TYPE sglang:asked counter
sglang_asked_total 1
sglang_asked_created 1
{"odd.name",b="2"} 3
"""


def test_families_have_the_names_that_queries_use() -> None:
    """Dashboards ask for a name that isn't the recorded one."""
    found = families(EXPOSED)
    assert {name: (family.type, sorted(family.labels or ())) for name, family in found.items()} == {
        "sglang_time": ("histogram", ["a"]),
        "sglang_asked_total": ("counter", []),
        "odd.name": ("untyped", ["b"]),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not a recorded contract"),
        ('{"schema_version": "2.0"}', "not a recorded"),
        ("", "not"),
    ],
)
def test_other_files_are_no_recordings(tmp_path: Path, text: str, problem: str) -> None:
    """A wrong file is taken for an empty contract, or is a traceback."""
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=problem):
        load(tmp_path / "x.json")
    with pytest.raises(UsageError):
        load(tmp_path / "missing.json")
    with pytest.raises(UsageError):
        read_interface(tmp_path / "x.json")


def test_a_recording_of_a_later_schema_is_refused(tmp_path: Path) -> None:
    """A newer recording is half read and compared."""
    save(contract().model_copy(update={"schema_version": "2.0"}), tmp_path / "x.json")
    with pytest.raises(UsageError, match="record it again"):
        load(tmp_path / "x.json")

"""Requests with one field at its edge: every field has them, and nothing else is unusual."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ci.fuzz.drawn import DrawnRequest, RequestKind, Wanted
from ci.fuzz.edges import Edges
from ci.fuzz.fields import DescribedApi

pytestmark = pytest.mark.unit

pytest.importorskip("jsonschema_rs")

TEXTS = {"anyOf": [{"type": "string"}, {"items": {"type": "string"}, "type": "array"}]}
CHAT = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "messages": {"type": "array", "items": {"$ref": "#/components/schemas/Message"}},
        "logprobs": {"type": "boolean", "default": False},
        "top_logprobs": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "stop_regex": TEXTS,
        "effort": {"type": "string", "enum": ["low", "high"]},
        "max_tokens": {"type": "integer"},
    },
}
MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"type": "string"}, "content": TEXTS},
}
GENERATE = {
    "type": "object",
    "properties": {
        "text": TEXTS,
        "input_ids": {},
        "sampling_params": {"type": "object", "additionalProperties": True},
    },
}
LISTED = [
    {"name": "rank", "in": "query", "schema": {"type": "integer"}},
    {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},
    {"name": "level", "in": "query", "required": True, "schema": {"type": "integer"}},
]
FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "temperature": {"type": "number"},
    },
}


def _operation(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"post": {"requestBody": {"content": {kind: {"schema": schema}}, "required": True}}}


_GENERATING = _operation("application/json", GENERATE)["post"]
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/v1/chat/completions": _operation(
            "application/json", {"$ref": "#/components/schemas/Chat"}
        ),
        "/generate": {"post": _GENERATING},
        "/loads/{name}": {"get": {"parameters": LISTED}},
        "/audio": _operation("multipart/form-data", FORM),
        "/ready": {"get": {}},
    },
    "components": {"schemas": {"Chat": CHAT, "Message": MESSAGE}},
}
CHAT_LABEL = "POST /v1/chat/completions"
USUAL = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}


def drawn(
    label: str, kind: RequestKind, *, edges: int = 10_000, seed: int = 1
) -> list[DrawnRequest]:
    """Return the requests of an operation and kind."""
    wanted = Wanted((label,), 5, edges, seed, 10.0, 8)
    return Edges(DOCUMENT, label, wanted).of(kind)


def texts(label: str, kind: RequestKind, field: str) -> set[str]:
    """Return the bodies in which a field isn't as usual."""
    return {one.text for one in drawn(label, kind) if one.field == field}


def test_a_number_is_drawn_at_its_edges() -> None:
    """A number without a bound kills the server, and no request had it."""
    found = texts(CHAT_LABEL, RequestKind.VALID, "top_logprobs")
    for edge in ("0", "1", "-1", "100000", "2147483648", "9223372036854775808", "null"):
        assert any(text.endswith(f'"top_logprobs": {edge}}}') for text in found), edge
    heights = texts(CHAT_LABEL, RequestKind.INVALID, "temperature")
    for beyond in ("-1", "3", "1e+308", "1e999", "NaN", '"NaN"', "null", "[]"):
        assert any(text.endswith(f'"temperature": {beyond}}}') for text in heights), beyond


def test_a_text_is_drawn_as_what_no_regex_grammar_or_template_is() -> None:
    """A malformed regex is a 500, and no request had one."""
    found = [
        json.loads(text)["stop_regex"]
        for text in texts(CHAT_LABEL, RequestKind.VALID, "stop_regex")
    ]
    for malformed in ("", "(", "root ::= (", '{"type": "?"}', "{{", "\0", "\ud800"):
        assert malformed in found
    listed = texts(CHAT_LABEL, RequestKind.VALID, "stop_regex[]")
    assert ["("] in [json.loads(text)["stop_regex"] for text in listed]


def test_what_a_switch_turns_on_is_drawn_with_it() -> None:
    """`top_logprobs` of 100000 does nothing without `logprobs`, and is taken for harmless."""
    found = texts(CHAT_LABEL, RequestKind.VALID, "top_logprobs with logprobs")
    assert json.dumps(USUAL | {"logprobs": True, "top_logprobs": 100000}) in found
    assert not texts(CHAT_LABEL, RequestKind.VALID, "temperature with logprobs")


def test_an_invalid_request_is_wrong_in_one_field_only() -> None:
    """A server that checks one field of seventy is never asked about the others."""
    wrong = drawn(CHAT_LABEL, RequestKind.INVALID)
    assert {"messages", "messages[]", "messages[].role", "stop_regex", "effort"} <= {
        one.field for one in wrong
    }
    for one in wrong:
        body, name = json.loads(one.text), one.field.partition("[")[0].partition(" ")[0]
        others = {key: value for key, value in body.items() if key not in {name, "logprobs"}}
        assert others == {key: value for key, value in USUAL.items() if key != name}
    assert json.dumps({"max_tokens": 8}) in texts(CHAT_LABEL, RequestKind.INVALID, "messages")


def test_fields_that_the_schema_is_silent_of_are_drawn_too() -> None:
    """The schema says of `sampling_params` that it is an object, and nothing in it is drawn."""
    found = texts("POST /generate", RequestKind.VALID, "sampling_params.stop_regex")
    sampled = [json.loads(text)["sampling_params"] for text in found]
    assert {"stop_regex": "(", "max_new_tokens": 8} in sampled
    most = [one.text for one in drawn("POST /generate", RequestKind.VALID)]
    assert not [text for text in most if '"max_new_tokens": 1000' in text or '"n": 1000' in text]
    tokens = texts("POST /generate", RequestKind.VALID, "input_ids")
    assert tokens
    assert not [text for text in tokens if '"text"' in text]


def test_parameters_of_path_and_query_are_drawn() -> None:
    """Only bodies are tried."""
    label = "GET /loads/{name}"
    valid, wrong = (drawn(label, kind) for kind in (RequestKind.VALID, RequestKind.INVALID))
    asked = [parse_qs(urlsplit(one.target).query) for one in valid]
    assert {"rank": ["9223372036854775808"], "level": ["1"]} in asked
    assert "/loads/%28?level=1" in [one.target for one in valid]
    assert all(not one.body and urlsplit(one.target).path.startswith("/loads/") for one in valid)
    assert "/loads/a" in [one.target for one in wrong]  # without what it needs
    assert {"level": ["NaN"]} in [parse_qs(urlsplit(one.target).query) for one in wrong]
    assert not [one for one in wrong if one.field == "name"]


def test_a_form_is_drawn_and_the_same_each_time() -> None:
    """A form can't be repeated by its seed, or isn't tried."""
    first, second = (drawn("POST /audio", RequestKind.VALID) for _ in range(2))
    assert first == second
    assert any('name="temperature"\r\n\r\n1e999' in one.text for one in first)
    assert first[0].headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert any(one.field == "file" for one in drawn("POST /audio", RequestKind.INVALID))


def test_an_operation_without_fields_has_nothing_invalid() -> None:
    """What forbids nothing is blamed for that."""
    assert [one.target for one in drawn("GET /ready", RequestKind.VALID)] == ["/ready"]
    assert drawn("GET /ready", RequestKind.INVALID) == []


def test_a_seed_chooses_where_there_are_too_many() -> None:
    """A run can't be repeated, or always leaves out the same fields."""
    chosen = [drawn(CHAT_LABEL, RequestKind.VALID, edges=5, seed=seed) for seed in (1, 1, 2)]
    assert len(chosen[0]) == 5
    assert chosen[0] == chosen[1] != chosen[2]
    ordered = [one.field for one in drawn(CHAT_LABEL, RequestKind.INVALID)]
    deep = [index for index, name in enumerate(ordered) if name.startswith("messages[].")]
    assert min(deep) > max(ordered.index(name) for name in ("effort", "stop_regex[]"))


def test_an_operation_like_one_before_it_is_asked_less() -> None:
    """PUT and POST of one path take twice as long, and find the same."""
    twins = DOCUMENT | {"paths": {"/a": DOCUMENT["paths"]["/generate"] | {"put": _GENERATING}}}
    both = ("PUT /a", "POST /a")
    assert len(Edges(twins, "POST /a", Wanted(both, 5, 1, 1, 10.0, 8)).of(RequestKind.INVALID)) == 1
    first, second, alone = (
        Edges(twins, label, Wanted(asked, 5, 50, 1, 10.0, 8)).of(RequestKind.VALID)
        for label, asked in (("PUT /a", both), ("POST /a", both), ("POST /a", ("POST /a",)))
    )
    assert (len(first), len(second), len(alone)) == (50, 5, 50)


def test_a_schema_that_refers_to_itself_has_an_end() -> None:
    """A schema of trees is drawn from for ever."""
    tree = {
        "type": "object",
        "required": ["left"],
        "properties": {
            "left": {"anyOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "null"}]}
        },
    }
    described = DescribedApi({"components": {"schemas": {"Tree": tree}}})
    names = [field.name for field in described.fields("/x", tree, {})]
    assert names[:2] == ["left", "left.left"]
    assert len(names) < 10
    assert described.least(tree) == {"left": None}

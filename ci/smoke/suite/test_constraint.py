r"""Constrained output: JSON, YAML and XML shapes by regex, JSON schema and EBNF.

Every grammar bounds its own length, so that a random model reaches its end. Only a JSON schema
leaves white space free: an answer that ran out of tokens there must be the start of a valid one.
"""

import json
import re

import pytest

from ci.smoke.answers import Generation
from ci.smoke.ask import Ask
from ci.smoke.record import Incapable
from ci.smoke.server import Server

PROMPT = "Describe the thing:\n"

SHAPES = {
    "json": r'\{"name": "[a-z]{1,8}", "count": [0-9]{1,3}\}',
    "yaml": r"name: [a-z]{1,8}\ncount: [0-9]{1,3}\ntags:\n  - [a-z]{1,6}\n  - [a-z]{1,6}\n",
    "xml": r'<thing id="[0-9]{1,3}"><name>[a-z]{1,8}</name><count>[0-9]{1,3}</count></thing>',
}
"""Regular expressions that mean the same to SGLang's grammar backends and to Python."""

EBNF = r"""root ::= "<list>" item item? "</list>"
item ::= "<item kind=\"" kind "\">" digit digit? "</item>"
kind ::= "big" | "small"
digit ::= [0-9]
"""
EBNF_AS_REGEX = r'<list>(<item kind="(big|small)">[0-9]{1,2}</item>){1,2}</list>'

SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "enum": ["yes", "no"]},
        "size": {"type": "integer", "enum": [1, 2, 3]},
    },
    "required": ["answer", "size"],
    "additionalProperties": False,
}
VALID = [f'{{"answer":"{answer}","size":{size}}}' for answer in ("yes", "no") for size in (1, 2, 3)]
"""All that `SCHEMA` allows, without white space."""


def follows(answer: Generation, shape: str) -> None:
    """Assert that an answer has the whole shape, and ended because of that."""
    assert answer.ending == "stop", f"it ended by {answer.ending!r} in: {answer.text!r}"
    assert re.fullmatch(shape, answer.text), f"not of the shape asked for: {answer.text!r}"


def allowed(text: str, ending: str | None) -> None:
    """Assert that a text is what `SCHEMA` allows, or the start of that where tokens ran out."""
    bare = "".join(text.split())
    if ending == "length":
        assert any(one.startswith(bare) for one in VALID), f"not of the schema: {text!r}"
        return
    assert bare in VALID, f"not of the schema: {text!r}"
    assert json.loads(text)["answer"] in {"yes", "no"}, f"not of the schema: {text!r}"


@pytest.mark.needs("regex", "native")
@pytest.mark.parametrize("shape", SHAPES)
def test_regex(ask: Ask, shape: str) -> None:
    """Text in the shape of a format, by a regular expression."""
    follows(ask.generate(PROMPT, max_new_tokens=128, regex=SHAPES[shape]), SHAPES[shape])


@pytest.mark.needs("regex", "native")
def test_regex_while_sampling(ask: Ask) -> None:
    """A regular expression holds at temperature 1 too."""
    follows(ask.generate(PROMPT, temperature=1, regex="[0-9]{2}:[a-f]{3}"), "[0-9]{2}:[a-f]{3}")


@pytest.mark.needs("ebnf", "native")
def test_ebnf(ask: Ask) -> None:
    """XML by a grammar in EBNF."""
    follows(ask.generate(PROMPT, max_new_tokens=128, ebnf=EBNF), EBNF_AS_REGEX)


@pytest.mark.needs("json_schema", "native")
def test_json_schema(ask: Ask) -> None:
    """JSON by a schema, on `/generate`."""
    answer = ask.generate(PROMPT, max_new_tokens=64, json_schema=json.dumps(SCHEMA))
    allowed(answer.text, answer.ending)


@pytest.mark.needs("json_schema", "chat")
def test_json_schema_in_chat(ask: Ask, server: Server) -> None:
    """JSON by a schema, as `response_format` of a chat."""
    if server.server_info.get("reasoning_parser"):
        raise Incapable("the model may spend all tokens on thoughts, which no schema binds")
    form = server.constrained("json_schema", SCHEMA)
    choice = ask.chat("Describe the thing.", max_tokens=64, **form).choices[0]
    allowed(choice.message.content or "", choice.finish_reason)

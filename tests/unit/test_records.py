"""A server's log as records: what stands in one, and what never does."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.boot.log import ENDED, ServerLog, _Tail, last
from ci.deploy.world import Release
from ci.platform import records
from ci.platform.records import JsonFormatter, WithoutProbes, labelled, resource

pytestmark = pytest.mark.unit

LOGS = Path(__file__).parent / "logs"
REQUESTS = "sglang.srt.utils.request_logger.stdout"
ACCESS = ("127.0.0.1:5", "POST", "/generate?key=sk-1", "1.1", 200)
STAMP = re.compile(r"^\[[^\]]*\] ")
"""What a text begins with that SGLang's own configuration makes of a record."""
SECRET = "what the user wrote"


def record(name: str, text: str, *arguments: object, **more: Any) -> logging.LogRecord:
    """Return a record of a logger."""
    made = logging.makeLogRecord({"name": name, "msg": text, "args": arguments, **more})
    made.levelname = logging.getLevelName(made.levelno)
    return made


def told(name: str, text: str, *arguments: object, **more: Any) -> dict[str, Any]:
    """Return what stands on a record's one line."""
    line = JsonFormatter().format(record(name, text, *arguments, **more))
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def raise_for(key: str) -> None:
    """Raise a KeyError."""
    raise KeyError(key)


def failure() -> Any:
    """Return what a logger gets of an error that another one caused."""
    try:
        try:
            raise_for("first\nline")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError:
        return sys.exc_info()


def test_a_record_says_when_who_and_what() -> None:
    """A line has no zone, no milliseconds or no level."""
    found = told("sglang.srt", "%d of %s", 3, "four", levelno=logging.WARNING, created=1.5)
    assert found["time"] == "1970-01-01T00:00:01.500+00:00"
    assert datetime.fromisoformat(found["time"]).tzinfo
    assert (found["level"], found["logger"]) == ("warning", "sglang.srt")
    assert found["message"] == "3 of four"
    assert str(os.getpid()) in found["process"]


@pytest.mark.parametrize("arguments", [(1, 2), ("a",)])
def test_arguments_that_do_not_fit_lose_nothing(arguments: tuple[object, ...]) -> None:
    """A wrong call of a logger costs its line."""
    assert "of %d" in told("sglang", "of %d", *arguments)["message"]


def test_a_traceback_is_one_record() -> None:
    """A traceback comes as twenty records, each without the others."""
    found = told("sglang", "failed", levelno=logging.ERROR, exc_info=failure())
    assert (found["exception.type"], found["exception.message"]) == ("ValueError", "second")
    trace = found["exception.stacktrace"]
    assert trace.startswith("Traceback")
    assert "KeyError: 'first" in trace
    assert trace.endswith("ValueError: second\n")


def test_an_answer_of_http_has_fields_and_no_query() -> None:
    """A key in a URL's query stands in the log."""
    found = told("uvicorn.access", '%s - "%s %s HTTP/%s" %d', *ACCESS)
    assert found["message"] == "POST /generate 200"
    assert (found["method"], found["path"], found["status"]) == ("POST", "/generate", 200)
    assert "sk-1" not in json.dumps(found)


@pytest.mark.parametrize(
    ("path", "status", "kept"),
    [
        *(("/health", 200, False), ("/metrics?a", 200, False), ("/health", 503, True)),
        *(("/", 200, True), ("//x/health", 200, True)),
    ],
)
def test_probes_are_left_out_while_all_is_well(path: str, status: int, *, kept: bool) -> None:
    """The log is full of probes, or one that failed isn't seen."""
    asked = record("uvicorn.access", "%s %s %s %s %s", "a:1", "GET", path, "1.1", status)
    assert WithoutProbes().filter(asked) is kept


TOKEN = 424_242
"""A token of what the user wrote."""
keys = st.sampled_from(
    [
        *("text", "prompt", "messages", "items", "instruct", "prompt_token_ids", "logit_bias"),
        *("response_format", "cache_salt", "matched", "user", "obj", "out", "meta_info", "usage"),
        *("sampling_params", "finish_reason", "never_heard_of", "custom_labels", "metadata"),
    ]
)
events = st.recursive(
    st.sampled_from([SECRET, [TOKEN], {str(TOKEN): 1.0}, [{"deep": SECRET}], {SECRET: 1}, None]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(keys, events, max_size=5))
def test_no_content_of_a_request_is_told(told_of: dict[str, object]) -> None:
    """What a user wrote stands in the log once somebody raised --log-requests-level."""
    event = {**told_of, "timestamp": "2026", "event": "request.finished", "rid": "r-1"}
    found = told(REQUESTS, json.dumps(event))
    assert SECRET not in json.dumps(found)
    assert str(TOKEN) not in json.dumps(found["request"])
    assert (found["message"], found["request_id"]) == ("request.finished", "r-1")


def test_what_is_no_users_is_told() -> None:
    """Nothing is left of a request by which a slow one could be explained."""
    meta = {"id": "r", "finish_reason": {"type": "stop", "matched": TOKEN}, "prompt_tokens": 7}
    sampling = {"max_new_tokens": 3, "temperature": float("nan"), "stop": [SECRET]}
    event = {
        "event": "request.finished",
        "obj": {"stream": True, "text": SECRET, "sampling_params": sampling},
        "out": {"text": SECRET, "meta_info": {**meta, "e2e_latency": 0.25}},
    }
    assert told(REQUESTS, json.dumps(event))["request"] == {
        "obj": {"stream": True, "sampling_params": {"max_new_tokens": 3, "temperature": "nan"}},
        "out": {
            "meta_info": {
                "id": "r",
                "finish_reason": {"type": "stop"},
                "prompt_tokens": 7,
                "e2e_latency": 0.25,
            }
        },
    }


class Unspeakable:
    """What can't be told."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_what_cannot_be_told_costs_no_line() -> None:
    """A record that can't be made ends in twenty lines of text on the error output."""
    assert "RuntimeError" in told("sglang", "%s", Unspeakable())["message"]
    assert told("sglang", "%(a)s", {"b": 1})["message"].startswith("%(a)s")


def test_labels_take_no_fields_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label named `message` stands in each line in place of what is said."""
    monkeypatch.setenv(records.RESOURCE, "message=x,time=x,request_id=x,own=y")
    found = told("sglang", "text")
    assert (found["message"], found["own"]) == ("text", "y")
    assert found["time"] != "x"
    assert "request_id" not in found


@pytest.mark.parametrize("headers", [None, "x", {}, {"traceparent": 1}, {"traceparent": "0-1-2"}])
def test_a_trace_is_told_where_there_is_one(headers: object) -> None:
    """A line can't be found by its trace, or a caller's nonsense costs the line."""
    event = {"event": "request.received", "rid": "r", "headers": headers}
    assert "trace_id" not in told(REQUESTS, json.dumps(event))
    event["headers"] = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    found = told(REQUESTS, json.dumps(event))
    assert (found["trace_id"], found["span_id"]) == ("ab" * 16, "cd" * 8)


@pytest.mark.parametrize(
    "text", [f"Receive: obj=GenerateReqInput(text={SECRET!r})", json.dumps([SECRET]), '{"event"']
)
def test_a_request_as_text_is_not_shown(text: str) -> None:
    """A request in a form that can't be looked into is written as it is."""
    found = told(REQUESTS, text)
    assert SECRET not in json.dumps(found)
    assert "--log-requests-format json" in found["message"]


def test_a_resource_is_told_in_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows which release a line is of."""
    release = Release("sha256:" + "0a" * 32, "registry.example/team/x", "0.5.23")
    environment = labelled({"A": "1"}, release.labels("prod", "blue"))
    monkeypatch.setenv(records.RESOURCE, environment[records.RESOURCE])
    found = told("sglang", "text")
    assert found["image_digest"] == release.digest
    assert (found["environment"], found["slot"], found["version"]) == ("prod", "blue", "0.5.23")
    assert environment["A"] == "1"


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(min_size=1)))
def test_what_is_labelled_is_read_again(labels: dict[str, str]) -> None:
    """A comma or a space in a label tears the others apart, or a user's own label is lost."""
    found = resource(labelled({records.RESOURCE: "own=1,a=mine"}, labels)[records.RESOURCE])
    assert found == {**labels, "own": "1", "a": "mine"}


OUTSIDE = f"""
import json, logging, logging.config, sys
from ci.platform import records
records.activate()
logging.basicConfig(level=logging.INFO, force=True, format="[] %(message)s")
logging.getLogger("sglang").info("early")
logging.config.dictConfig(json.loads(records.CONFIG.read_text()))
logging.getLogger("sglang").debug("below")
logging.getLogger("sglang").info("above")
logging.getLogger({REQUESTS!r}).info('{{"event": "request.received", "rid": "r"}}')
import uvicorn.config
uvicorn.config.LOGGING_CONFIG["formatters"]["access"]["fmt"] = "as SGLang does"
logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
for path in ("/health", "/generate"):
    logging.getLogger("uvicorn.access").info('%s %s %s %s %d', "a:1", "GET", path, "1.1", 200)
raise ValueError("uncaught\\nin two lines")
"""


@pytest.mark.parametrize("level", ["info", "debug"])
def test_every_logger_of_a_server_writes_records(level: str) -> None:
    """SGLang's configuration of its own, or uvicorn's, writes text between the records."""
    given_to = {"LOG_LEVEL": level, records.CONFIG_PATH: str(records.CONFIG)}
    ran = subprocess.run(
        [sys.executable, "-c", OUTSIDE],
        env=os.environ | given_to,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [json.loads(line) for line in (ran.stdout + ran.stderr).splitlines()]
    messages = [line["message"] for line in lines]
    below = ["below"] if level == "debug" else []
    assert sorted(messages) == sorted(
        [*below, "early", "above", "request.received", "GET /generate 200", "uncaught exception"]
    )
    assert "in two lines" in lines[messages.index("uncaught exception")]["exception.message"]


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
def test_a_log_of_records_is_read_like_one_of_text(path: Path) -> None:
    """With records the phases of a start, or why a server died, aren't known any more."""
    text, recorded = ServerLog(0.0), ServerLog(0.0)
    for at, line in enumerate(path.read_text().splitlines()):
        text.add(line, float(at))
        message = STAMP.sub("", line)
        formatted = JsonFormatter().format(record("sglang", message)) if message != line else line
        recorded.add(formatted, float(at))
    assert recorded.explain() == text.explain()
    assert recorded.phases() == text.phases()


def test_a_raised_error_is_why_a_server_died() -> None:
    """The traceback of a record isn't looked into."""
    log = ServerLog(0.0)
    log.add(JsonFormatter().format(record("sglang", "scheduler", exc_info=failure())), 1.0)
    assert log.explain() == "ValueError: second"


def test_a_record_ends_no_log() -> None:
    """What a user or a library says is taken for the server's end."""
    log = ServerLog(0.0)
    log.add(JsonFormatter().format(record("sglang", f"x\n{ENDED}\nlaunch.sh: refused")), 1.0)
    assert not log.ended.is_set()


def test_a_long_or_odd_record_is_read_whole(tmp_path: Path) -> None:
    """A long traceback that comes in two reads, or one with U+2028 in it, explains nothing."""
    error = record("sglang", "y" * 30_000 + "\u2028", exc_info=failure())
    line = JsonFormatter().format(error) + "\n"
    path = tmp_path / "server.log"
    path.write_text(line[:20_000])
    log, tail = ServerLog(0.0), _Tail(path)
    assert not tail.lines()
    path.write_text(line)
    for one in tail.lines():
        log.add(one, 1.0)
    assert log.reason() == last(path).reason() == "ValueError: second"


@pytest.mark.parametrize("line", ['{"time": "x"', '{"time": "x"}', '{"time": "x", "message": 3}'])
def test_what_only_looks_like_a_record_is_text(line: str) -> None:
    """A line of a user's own program ends the reading of a log."""
    log = ServerLog(0.0)
    log.add(line, 1.0)
    assert log.last_line().endswith(line if "3" not in line else "3")

"""A server's log as JSON, one record a line: SGLang's plugin and `logging`'s formatter for it.

Where `launch.sh` has LOG_FORMAT=json, SGLang takes `logging.json`, beside this file, as the
`dictConfig` of each of its processes, and `activate` gives uvicorn the same formatter. What the
fields are stands in `docs/logs.md`. Of a request only what no user can have written is told, of
what `--log-requests-format json` says, and its text form isn't shown.
Sources: `utils/common.py`, `utils/log_utils.py` and `utils/request_logger.py` of SGLang 0.5.23.
"""

from __future__ import annotations

import json
import logging
import logging.config
import math
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote

CONFIG = Path(__file__).with_name("logging.json")
CONFIG_PATH = "SGLANG_LOGGING_CONFIG_PATH"
"""The variable by which SGLang is told of a `dictConfig`."""
RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
"""OpenTelemetry's variable for what a whole process is: `key=value,…`, per-cent encoded."""
LEVEL = os.environ.get("LOG_LEVEL", "info").upper()
"""The least level; `logging.json` reads it here, as a file can't read a variable."""
FIELDS = frozenset(
    (
        *("time", "level", "logger", "process", "message", "request", "request_id"),
        *("trace_id", "span_id", "method", "path", "status", "client"),
        *("exception.type", "exception.message", "exception.stacktrace"),
    )
)
"""What a record itself says, which no label may say in its place."""
REQUESTS = "sglang.srt.utils.request_logger"
TOLD_OF = frozenset(("obj", "out", "meta_info", "sampling_params", "finish_reason", "usage"))
"""Tables of a request's record that are looked into; any other may hold what a user wrote."""
NAMES = frozenset(("id", "type", "model", "weight_version"))
"""Texts of them that are no user's; of all else only numbers and truth values are told."""
MATCHED = frozenset(("matched", "user", "seed"))
"""Numbers of them that may be a token, or somebody."""
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})-.*")
"""A request's trace context, by W3C; SGLang tells headers that its own variable names."""
UNSHOWN = "a request isn't shown as text: --log-requests-format json tells it without its content"
PROBED = ("/health", "/health_generate", "/metrics", "/ping", "/readyz", "/livez")
"""Paths that probes and scrapers ask all day."""


def activate() -> None:
    """Have all of a process write records: before SGLang configures it, and uvicorn too.

    SGLang's parent sets a text format while it reads its flags, whatever is configured already.
    """
    if os.environ.get(CONFIG_PATH) != str(CONFIG):
        return
    logging.config.dictConfig(json.loads(CONFIG.read_text()))
    logging.basicConfig = _configured
    sys.excepthook = _uncaught
    try:
        from uvicorn.config import LOGGING_CONFIG
    except ImportError:  # a process that doesn't answer HTTP
        return
    for name in ("default", "access"):
        LOGGING_CONFIG["formatters"][name] = {"()": f"{__name__}.{JsonFormatter.__name__}"}
    LOGGING_CONFIG.setdefault("filters", {})["probes"] = {
        "()": f"{__name__}.{WithoutProbes.__name__}"
    }
    LOGGING_CONFIG["handlers"]["access"].setdefault("filters", []).append("probes")


def _configured(**_asked: Any) -> None:
    """Take the place of `basicConfig` where it is known what is written."""


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger().critical("uncaught exception", exc_info=(kind, error, trace))


class WithoutProbes(logging.Filter):
    """Leaves out answers to probes that are as they should be; others are of interest."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record of uvicorn's access log is written."""
        told = _access(record)
        return not (told.get("path") in PROBED and told.get("status") == 200)  # noqa: PLR2004


class JsonFormatter(logging.Formatter):
    """Makes one line of JSON of a record, whatever stands in it.

    Args:
        _asked: How a text would be formatted, which SGLang and uvicorn say: of no meaning here.
    """

    def __init__(self, **_asked: Any) -> None:
        super().__init__()
        named = resource(os.environ.get(RESOURCE, ""))
        self._resource = {name: text for name, text in named.items() if name not in FIELDS}

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without its end."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": f"{_title() or record.processName}[{record.process}]",
        }
        try:
            told |= {**dict(_message(record)), **_error(record)}
            line = json.dumps(told | self._resource, ensure_ascii=False, allow_nan=False)
        except Exception as error:  # noqa: BLE001 - a record that can't be told mustn't be lost
            told |= {"message": f"a record can't be told: {type(error).__name__}"}
            line = json.dumps(told | self._resource, ensure_ascii=False)
        return line


def resource(text: str) -> dict[str, str]:
    """Return the pairs of OpenTelemetry's resource attributes; what is no pair is left out."""
    pairs = (part.split("=", 1) for part in text.split(",") if "=" in part)
    return {name.strip(): unquote(value.strip()) for name, value in pairs if name.strip()}


def labelled(environment: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """Return a server's environment in which its resource has these labels; own ones win."""
    own = environment.get(RESOURCE, "")
    known = resource(own)
    added = [f"{k}={quote(v, safe=':')}" for k, v in labels.items() if v and k not in known]
    return {**environment, RESOURCE: ",".join(filter(None, (own, *added)))}


def _message(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    """Yield what a record says: a text, an answer of the HTTP server, or what befell a request."""
    if access := _access(record):
        yield "message", "{method} {path} {status}".format(**access)
        yield from access.items()
        return
    text = _text(record)
    if not record.name.startswith(REQUESTS):
        yield "message", text
        return
    try:
        event = json.loads(text)
        name = event.pop("event")
    except (ValueError, KeyError, AttributeError, TypeError):
        yield "message", UNSHOWN
        return
    event.pop("timestamp", None)
    yield "message", name
    if request_id := event.pop("rid", None):
        yield "request_id", request_id
    if context := TRACEPARENT.fullmatch(str(_header(event))):
        yield from context.groupdict().items()
    yield "request", _without_content(event)


def _header(event: Mapping[str, Any]) -> Any:
    """Return the trace context that a request came with; None where it had none."""
    told = event.get("headers")
    return told.get("traceparent") if isinstance(told, Mapping) else None


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that don't fit their text
        return f"{record.msg} {record.args}"


def _access(record: logging.LogRecord) -> dict[str, Any]:
    """Return what uvicorn says of an answer; empty for any other record."""
    if record.name != "uvicorn.access" or not isinstance(record.args, tuple):
        return {}
    try:
        client, method, target, _, status = record.args
    except ValueError:
        return {}
    path = str(target).partition("?")[0]
    return {"method": method, "path": path, "status": status, "client": client}


def _error(record: logging.LogRecord) -> dict[str, str]:
    """Return what was raised, in OpenTelemetry's words, its whole traceback as one text."""
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    kind, error, trace = record.exc_info
    return {
        "exception.type": kind.__qualname__,
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(kind, error, trace)),
    }


def _without_content(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was told of a request, as far as no user can have written it."""
    told: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            if key in TOLD_OF and (inner := _without_content(value)):
                told[key] = inner
        elif isinstance(value, bool) or (key in NAMES and isinstance(value, str)):
            told[key] = value
        elif isinstance(value, int | float) and key not in MATCHED:
            told[key] = value if math.isfinite(value) else str(value)
    return told


def _title() -> str:
    """Return what SGLang calls this process, its rank included; empty where it has no name yet."""
    titles = sys.modules.get("setproctitle")
    title = str(titles.getproctitle()) if titles else ""
    return title if title.startswith("sglang::") else ""

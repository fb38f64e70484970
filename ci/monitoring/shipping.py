"""How logs are shipped: what an OpenTelemetry collector reads, makes of a line, and sends.

Tried on a collector 0.165 with the components `COMPONENTS`, into a VictoriaLogs. What is lost, and
when, stands in `docs/logs.md`. Sources: documentation of the file log receiver, of its operators
and of the exporters' helper, 0.162 and later.
"""

from __future__ import annotations

from typing import Any

from ci.settings import Settings

COMPONENTS = ("filelogreceiver", "otlphttpexporter", "filestorage", "memorylimiterprocessor")
"""What a collector has to be built with; the distribution `contrib` has them all."""
RECORD = r"^\\{\"time\": \""
"""How a line begins that is a record of `ci/platform/records.py`, for the operators' language."""
BEGINS = r"^(Traceback |launch\\.sh|\\[[0-9]{4}-|[A-Z]+: )"
"""How other texts begin; a line that begins otherwise belongs to the one before it."""
LABELS = ("environment", "slot", "release", "image_digest", "version")
"""What a record tells of its server as a whole: of a stream of logs, and not of a line."""
KNOWN = ("time", "level")
"""Fields that are known of a log's record by themselves, once they are read."""
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "error": "error",
    "fatal": "critical",
}

STATE = "${env:LOGS_STATE:-/var/lib/otelcol/file_storage}"
"""Where a collector keeps how far it has read, and what it couldn't send yet."""

Document = dict[str, Any]


def collector(settings: Settings) -> Document:
    """Return the configuration of an OpenTelemetry collector."""
    at = settings.observe
    return {
        "extensions": {"file_storage": {"directory": STATE, "create_directory": True}},
        "receivers": {
            "filelog": {
                "include": [str(path.absolute()) for path in at.logs],
                "preserve_leading_whitespaces": True,
                "start_at": "beginning",
                "storage": "file_storage",
                "include_file_name": False,
                "include_file_path": True,
                "max_log_size": "1MiB",
                "operators": _operators(),
            }
        },
        "exporters": {
            "otlphttp": {
                "logs_endpoint": at.logs_to,
                "retry_on_failure": {"max_elapsed_time": 0, "max_interval": "10s"},
                "sending_queue": {"enabled": False},
            }
        },
        "service": {
            "extensions": ["file_storage"],
            "pipelines": {"logs": {"receivers": ["filelog"], "exporters": ["otlphttp"]}},
        },
    }


def _operators() -> list[Document]:
    """Return what is made of a line: a record's fields, or texts that belong together."""
    record = f'body matches "{RECORD}"'
    return [
        {
            "type": "recombine",
            "if": f"not ({record})",
            "combine_field": "body",
            "is_first_entry": f'body matches "{BEGINS}"',
            "source_identifier": 'attributes["log.file.path"]',
            "force_flush_period": "2s",
            "max_log_size": "1MiB",
        },
        {
            "type": "json_parser",
            "if": record,
            "parse_to": "attributes",
            "timestamp": {
                "parse_from": "attributes.time",
                "layout_type": "gotime",
                "layout": "2006-01-02T15:04:05.000Z07:00",
            },
            "severity": {"parse_from": "attributes.level", "mapping": LEVELS},
        },
        _moved("message", "body"),
        *(_moved(label, f'resource["{label}"]') for label in LABELS),
        *({"type": "remove", "if": _has(name), "field": f"attributes.{name}"} for name in KNOWN),
    ]


def _moved(name: str, to: str) -> Document:
    return {"type": "move", "if": _has(name), "from": f"attributes.{name}", "to": to}


def _has(name: str) -> str:
    return f"attributes.{name} != nil"

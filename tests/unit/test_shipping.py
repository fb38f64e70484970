"""What is rendered for an OpenTelemetry collector: only where logs are named, and what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.deploy.world import Release
from ci.monitoring.shipping import BEGINS, LABELS, RECORD
from ci.monitoring.write import configuration
from ci.platform.records import JsonFormatter
from ci.settings import Settings
from tests.unit.test_records import record

pytestmark = pytest.mark.unit

FILE = Path("otel-collector.yml")


def rendered(**observe: Any) -> dict[Path, str]:
    """Return all files that settings of [observe] lead to."""
    return configuration(Settings.model_validate({"observe": observe}))


def pattern(written: str) -> re.Pattern[str]:
    """Return a pattern as the collector reads it from between two quotes."""
    return re.compile(written.replace('\\"', '"').replace("\\\\", "\\"))


def test_without_logs_there_is_nothing_to_ship() -> None:
    """A collector reads a folder that nobody named."""
    assert FILE not in rendered()


def test_it_reads_what_is_named_and_sends_it_where_it_should() -> None:
    """Logs are read from elsewhere, or go elsewhere."""
    told = yaml.safe_load(rendered(logs=["/l/*.log"], logs_to="http://h:1/v1/logs")[FILE])
    assert told["receivers"]["filelog"]["include"] == ["/l/*.log"]
    assert told["exporters"]["otlphttp"]["logs_endpoint"] == "http://h:1/v1/logs"
    assert told["service"]["pipelines"]["logs"]["receivers"] == ["filelog"]


def test_a_record_is_told_from_a_text() -> None:
    """A record is joined to the traceback before it, or a traceback is parsed as JSON."""
    line = JsonFormatter().format(record("sglang", "x"))
    assert pattern(RECORD).search(line)
    assert not pattern(RECORD).search("Traceback (most recent call last):")


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("Traceback (most recent call last):", True),
        ('  File "x.py", line 1, in y', False),
        ("ValueError: z", False),
        ("launch.sh: server output ended", True),
        ("[2026-12-01 10:00:00] text", True),
        ("WARNING: text", True),
    ],
)
def test_lines_that_belong_together(line: str, *, first: bool) -> None:
    """The last line of a traceback, which says what happened, is an entry of its own."""
    assert bool(pattern(BEGINS).search(line)) is first


def test_labels_are_those_of_a_release() -> None:
    """A label that a deployment gives its servers isn't one of the stream."""
    assert tuple(Release("sha256:0", "r").labels("prod", "blue")) == LABELS

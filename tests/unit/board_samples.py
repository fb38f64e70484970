"""Metrics of two versions, boards that ask for them, and files of boards, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ci.boards.judge import cases
from ci.boards.model import Board, Query
from ci.boards.read import read
from ci.contract.model import ContractPart
from ci.report.model import Case

Json = dict[str, Any]


def metric(name: str, kind: str = "gauge", labels: tuple[str, ...] = ("model",)) -> Json:
    """Return a metric's item."""
    other = {"name for Prometheus 2.42": name.replace(":", "_"), "name for Prometheus 3": name}
    return {name: {"type": kind, "labels": [*labels], "state": "at once", **other}}


BEFORE = ContractPart(
    items=metric("sglang:num_running")
    | metric("sglang:ttft_seconds", "histogram")
    | metric("sglang:usage", labels=("model", "rank"))
    | metric("sglang:load", labels=("model", "rank"))
    | metric("sglang:aborted", labels=("model", "cause"))
)
AFTER = ContractPart(
    items=metric("sglang:num_running_reqs")
    | metric("sglang:ttft_seconds", "histogram")
    | metric("sglang:usage")
    | metric("sglang:load", labels=("model", "rank"))
    | metric("sglang:aborted")
)
"""One metric renamed, one label lost by one of two metrics, and one lost by all."""


def judged(*queries: Query | str, **variables: tuple[str, ...]) -> list[Case]:
    """Return the cases of one board."""
    asked = (Query("line 1", one) if isinstance(one, str) else one for one in queries)
    return list(cases([Board("b", tuple(asked), variables)], BEFORE, AFTER))


def of_files(*paths: Path) -> list[Case]:
    """Return the cases of some files."""
    return list(cases([read(path) for path in paths], BEFORE, AFTER))


def saved(folder: Path, name: str, content: Any) -> Path:
    """Write a file, as JSON where it isn't text, and return it."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name

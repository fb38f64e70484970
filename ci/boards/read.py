"""Reads files of queries: Grafana dashboards, Prometheus rules, scalers, or plain PromQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ci.boards.document import board_of
from ci.boards.model import Board, Query
from ci.errors import UsageError

YAML = {".yaml", ".yml"}


def read(path: Path) -> Board:
    """Read a board.

    A `.json` file is a Grafana dashboard of either schema, or Grafana's alerts; `.yaml` and
    `.yml` are Prometheus rules or Kubernetes objects; any other file has one expression a line.

    Raises:
        UsageError: It can't be read, or holds no query.
    """
    try:
        board = _board(path, path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: no dashboard: {error}") from error
    if not board.queries:
        raise UsageError(f"{path}: no dashboard: it holds no query for a Prometheus")
    return board


def _board(path: Path, text: str) -> Board:
    if path.suffix == ".json":
        return board_of(path.name, [json.loads(text)])
    if path.suffix in YAML:
        documents: list[Any] = list(yaml.safe_load_all(text))
        return board_of(path.name, documents)
    lines = enumerate(map(str.strip, text.splitlines()), 1)
    asked = (Query(f"line {at}", line) for at, line in lines if line and line[0] != "#")
    return Board(path.name, tuple(asked))

"""Runs of the check of boards, for its tests."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.observe import live, stage
from ci.observe.stage import ObserveAsked, observe
from ci.report.model import Case, Check
from ci.settings.observe import ObserveSettings
from ci.stages import checked


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Wait for nothing: a server that pretends is never late."""
    patch.setattr(stage, "SETTLES", 0.1)
    patch.setattr(live, "SETTLES", 0.1)
    patch.setattr(live, "AGAIN", 0.05)
    patch.setattr(live, "FIRST", 0.2)


def checked_at(
    url: str, *boards: Path, rules: tuple[Path, ...] = (), api: str = "", **told: Any
) -> Check:
    """Return what is found of the server at `url`; no Prometheus is started."""
    settings = ObserveSettings(**({"prometheus": "", "scraper": "prometheus-3"} | told))
    asked = ObserveAsked(tuple(boards), rules, api)
    ask = partial(observe, url, settings, asked=asked)
    return anyio.run(checked, "observe", ask)


def board_of(folder: Path, *lines: str, name: str = "b.promql") -> Path:
    """Return a file of these queries."""
    (folder / name).write_text("\n".join(lines))
    return folder / name


def dashboard(folder: Path, *panels: str, variables: tuple[dict[str, Any], ...] = ()) -> Path:
    """Return a dashboard with one panel a query."""
    document = {
        "panels": [
            {"title": f"P{at}", "targets": [{"expr": text}]} for at, text in enumerate(panels)
        ],
        "templating": {"list": list(variables)},
    }
    (folder / "grafana.json").write_text(json.dumps(document))
    return folder / "grafana.json"


def named(check: Check) -> dict[str, Case]:
    """Return the cases by name."""
    assert len({case.name for case in check.cases}) == len(check.cases)
    return {case.name: case for case in check.cases}

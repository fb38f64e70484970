"""A real SGLang under a real Prometheus: every panel has data, and every alert is seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from ci.boot.port import reserved
from ci.boot.process import ServerProcess
from ci.monitoring import exporter, programs
from ci.monitoring.alerts import alerts
from ci.monitoring.panels import boards, filled
from ci.monitoring.write import configuration, write
from ci.server.client import ServerClient
from ci.settings import Settings
from tests.readme import ROOT

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus"
    ),
]

TIMES = {"interval": 1, "window": 20, "stall": 5, "hold": 1}
REQUEST = {"text": "again and again", "sampling_params": {"max_new_tokens": 16}, "stream": False}


def test_every_panel_has_data(live_server: ServerProcess, tmp_path: Path) -> None:
    """A board is empty for everybody, as SGLang's own ones were."""
    assert not anyio.run(_empty, live_server.url, tmp_path)


async def _empty(url: str, folder: Path) -> set[str]:
    """Return the panels that get no data of a server that has requests, for a minute."""
    with reserved("127.0.0.1", 0) as port, reserved("127.0.0.1", 0) as other:
        target = {"url": url, "environment": "prod", "slot": "blue", "release": "r1"}
        at = {**TIMES, "targets": [target], "exporter": f"127.0.0.1:{other}"}
        settings = Settings.model_validate({"observe": at})
        write(folder, configuration(settings))
        serving = exporter.serving(folder / "targets", f"127.0.0.1:{other}")
        prometheus = f"http://127.0.0.1:{port}"
        argv = programs.prometheus(folder, port, folder / "data")
        empty = {"all"}
        with programs.answering(serving):
            async with (
                programs.running(argv, prometheus, folder / "log"),
                ServerClient(url) as client,
            ):
                with anyio.move_on_after(60):
                    while empty:
                        await client.post("/generate", REQUEST)
                        await anyio.sleep(0.5)
                        empty = await _without_data(settings, prometheus)
        return empty


async def _without_data(settings: Settings, prometheus: str) -> set[str]:
    empty = set()
    async with httpx.AsyncClient(trust_env=False) as client:
        for board in boards(settings):
            for panel in board.panels:
                found = 0
                for query in panel.queries:
                    asked = {"query": filled(query.expr, ".*", 20)}
                    answer = (await client.get(f"{prometheus}/api/v1/query", params=asked)).json()
                    assert answer["status"] == "success", answer
                    found += len(answer["data"]["result"])
                empty |= set() if found else {f"{board.name}: {panel.title}"}
    return empty


@pytest.mark.long
def test_every_alert_is_seen(tmp_path: Path) -> None:
    """An alert stays silent under the fault that it is for, or never ends."""
    kept = tmp_path / "rows.json"
    argv = [sys.executable, "-m", "benchmarks.alerts", "--json", str(kept)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=3000, check=False)
    assert not done.returncode, done.stderr
    rows = json.loads(kept.read_text())
    assert {row["alert"] for row in rows} == {alert.name for alert in alerts(Settings())}
    unseen = [row for row in rows if None in (row["fired"], row["received"], row["cleared"])]
    assert not unseen

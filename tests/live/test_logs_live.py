"""The log of a real SGLang as records: all of it, and nothing of what users wrote."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from anyio.from_thread import start_blocking_portal

from ci.boot.process import ServerProcess
from ci.boot.readiness import Readiness
from ci.boot.serving import served
from ci.settings import ReadinessSettings, Settings
from ci.settings.model import ServerSettings
from ci.stages import checked
from tests.live.quiet import Quiet

pytestmark = [pytest.mark.live, pytest.mark.long]

ROOT = Path(__file__).parents[2]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRET = "Thequickbrownfox"
RECORDED = Settings(
    server=ServerSettings(
        log_format="json",
        flags=("--log-requests", "--log-requests-level=3", "--log-requests-format=json"),
        environment={"OTEL_RESOURCE_ATTRIBUTES": "release=r-1,environment=test"},
    )
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Yield the log of a server that was asked, and whose scheduler then died."""
    path = tmp_path / "server.log"
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(served(RECORDED, path)) as server:
            way = Readiness(server.url, ReadinessSettings(), Quiet(), server, server.log)
            check = portal.call(checked, "readiness", way.wait)
            assert not check.cause, path.read_text()[-4000:]
            assert {"arguments", "scheduler", "weights"} <= {one.name for one in check.phases}
            _asked(server.url)
            _died(server)
        yield path


SHIPPED = pytest.mark.skipif(
    None in (shutil.which("otelcol"), shutil.which("victoria-logs")),
    reason="otelcol or victoria-logs isn't in PATH",
)


def _asked(url: str) -> None:
    """Ask what a user asks, raise what is logged of requests, and probe."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        client.post("/configure_logging", json={"log_requests": True, "log_requests_level": 3})
        body = {"text": SECRET, "rid": "r-42", "sampling_params": {"max_new_tokens": 3}}
        trace = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        assert client.post("/generate", json=body, headers=trace).status_code == 200
        chat = {"model": "m", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}
        assert client.post("/v1/chat/completions?key=sk-1", json=chat).status_code == 200
        assert client.get("/health").status_code == 200
        assert client.get("/nowhere").status_code == 404


def _died(server: ServerProcess) -> None:
    """Kill the scheduler, and wait until all of the server is gone."""
    children = psutil.Process(server.pid).children(recursive=True)
    scheduler = next(one for one in children if "scheduler" in " ".join(one.cmdline()))
    os.kill(scheduler.pid, signal.SIGKILL)
    psutil.wait_procs(children, timeout=60)


def test_all_that_a_server_logs_is_a_record(log: Path) -> None:
    """A line comes as text between the records, a probe fills the log, or a prompt stands in it."""
    text = log.read_text()
    records: list[dict[str, Any]] = []
    others = []
    for line in text.splitlines():
        if line.startswith('{"time": "'):
            records.append(json.loads(line))
        else:
            others.append(line)
    assert SECRET not in text
    assert "sk-1" not in text
    messages = [one["message"] for one in records]
    assert any(message.startswith("server_args=") for message in messages)
    assert "GET /nowhere 404" in messages
    assert "GET /health 200" not in messages
    finished = [one for one in records if one["message"] == "request.finished"]
    (asked,) = [one for one in finished if one["request_id"] == "r-42"]
    assert asked["trace_id"] == TRACE
    assert all(one["release"] == "r-1" for one in records)
    assert any("crashed with exit code -9" in message for message in messages), messages[-20:]
    assert not [line for line in others if "Traceback" in line or line.startswith("[20")], others
    assert len(records) > 3 * len(others), others


@SHIPPED
def test_lines_are_counted_at_both_ends(tmp_path: Path) -> None:
    """What is rendered for a collector loses lines, tears tracebacks, or isn't taken."""
    kept = tmp_path / "rows.json"
    asked = ("--only", "none", "collector killed", "receiver away", "--seconds", "9", "--away", "8")
    argv = [sys.executable, "-m", "benchmarks.logs", *asked, "--json", str(kept)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert not done.returncode, done.stderr
    for row in json.loads(kept.read_text()):
        assert row["records"] > 500
        assert (row["lost"], row["torn"], row["printed_torn"]) == (0, 0, 0), row
    assert not json.loads(kept.read_text())[0]["printed_lost"]

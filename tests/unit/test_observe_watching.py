"""What runs beside servers: the exporter, the page, and all of it together on this host."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpx
import psutil
import pytest

from ci.deploy.world import SLOTS, Life, Release, RouteSeen, SlotSeen, World
from ci.errors import InfrastructureFault, UsageError
from ci.monitoring import deployed, exporter, page, programs
from ci.monitoring.exporter import Found
from ci.monitoring.panels import boards
from ci.monitoring.write import listed
from ci.settings import Settings
from ci.settings.observe import ObserveTarget
from tests.fakes.launched import Plan, install
from tests.fakes.sglang import FakeSglang
from tests.fakes.sglang import Settings as Fake
from tests.rare import rare
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

PROMETHEUS = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus"
)


def free() -> int:
    """Return a port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_server_tells_its_version() -> None:
    """A wrong version behind a label isn't seen."""
    with FakeSglang(Fake(version="0.5.22")) as server:
        (found,) = anyio.run(exporter.found, [server.url])
        assert found == Found(server.url.partition("://")[2], answers=True, version="0.5.22")


def test_a_hung_server_answers_without_a_version() -> None:
    """A server whose scheduler hangs counts as gone."""
    with FakeSglang(faults=["hang"]) as server:
        (found,) = anyio.run(exporter.found, [server.url])
        assert found.answers
        assert not found.version


def test_a_server_that_is_gone_is_told() -> None:
    """One server that doesn't answer hides all others."""
    with FakeSglang() as server:
        found = anyio.run(exporter.found, [server.url, f"http://127.0.0.1:{free()}"])
    assert sorted(one.answers for one in found) == [False, True]


def test_metrics_of_the_exporter() -> None:
    """Prometheus doesn't take the page, or finds other names than the alerts ask for."""
    text = exporter.page(
        [Found("a:1", answers=True, version="0.5.23"), Found("b:1", answers=False)]
    )
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        'sglang_ci_server_answers{instance="a:1"} 1',
        'sglang_ci_server_answers{instance="b:1"} 0',
        'sglang_ci_server_info{instance="a:1",version="0.5.23"} 1',
    ]


def test_targets_are_read_anew(tmp_path: Path) -> None:
    """A deployment isn't seen before the exporter is restarted, or a spoilt list ends it."""
    (tmp_path / "a.json").write_text(listed([ObserveTarget(url="https://a:1")]))
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_text('[{"targets": ["c:1"]}]')
    assert list(exporter.urls(tmp_path)) == ["https://a:1", "http://c:1"]


def test_the_exporter_serves(tmp_path: Path) -> None:
    """Nothing answers where Prometheus asks."""
    with FakeSglang() as server:
        (tmp_path / "a.json").write_text(listed([ObserveTarget(url=server.url)]))
        serving = exporter.serving(tmp_path, "127.0.0.1:0")
        with programs.answering(serving):
            found = httpx.get(f"http://127.0.0.1:{serving.server_port}/metrics")
    assert 'version="0.5.23"' in found.text
    assert found.headers["content-type"].startswith("text/plain")


def test_a_deployments_slots_are_targets() -> None:
    """A series doesn't say which release it is of, or a slot that has ended is scraped."""
    release = Release("sha256:" + "a" * 64, "r.example/x@sha256:a", "0.5.23")
    blue = SlotSeen("blue", Life.UP, release, "127.0.0.1:30001", datetime.now(UTC))
    slots = {name: SlotSeen(name) for name in SLOTS} | {"blue": blue}
    world = World(slots, {name: RouteSeen() for name in SLOTS})
    (found,) = deployed.targets("prod", world)
    assert found == ObserveTarget(
        url="http://127.0.0.1:30001",
        environment="prod",
        slot="blue",
        release="sha256:" + "a" * 12,
        image_digest=release.digest,
        version="0.5.23",
    )


def test_targets_of_an_environment_where_nothing_runs(command: Command, tmp_path: Path) -> None:
    """The command fails before a first deployment, or leaves the slots of the last one."""
    settings = '[environments.test.deploy]\nrouter = "none"\nstrategy = "replace"\n'
    Path("sglang-ci.toml").write_text(settings)
    assert command("observe", "targets", "-e", "test") == 0
    assert json.loads(Path("observability/targets/test.json").read_text()) == []


def told(text: str) -> dict[str, list[dict[str, object]]]:
    """Return what the page is given."""
    begin = text.index('id="told">') + len('id="told">')
    found: dict[str, list[dict[str, object]]] = json.loads(
        text[begin : text.index("</script>", begin)]
    )
    return found


def test_the_page_has_every_panel() -> None:
    """A panel of a board is missing from the page, or asks Prometheus with Grafana's variables."""
    found = told(page.page(Settings()))
    titles = [(board.name, panel.title) for board in boards(Settings()) for panel in board.panels]
    panels = [(one["name"], panel) for one in found["boards"] for panel in one["panels"]]  # type: ignore[attr-defined]
    assert [(name, panel["title"]) for name, panel in panels] == titles
    assert "$" not in json.dumps(found["boards"])


def test_the_page_loads_nothing_from_elsewhere() -> None:
    """The page is empty without a network, or tells a stranger who looks at it."""
    text = page.page(Settings())
    assert "src=" not in text
    assert "https://" not in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in text


@pytest.mark.skipif(shutil.which("node") is None, reason="no node, which reads the script")
def test_the_script_is_javascript(tmp_path: Path) -> None:
    """A typing error leaves the page empty."""
    script = page.HERE / "page.js"
    done = subprocess.run(["node", "--check", script], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


class _Prometheus(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer with what was asked."""
        body = json.dumps({"status": "success", "path": self.path}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def shown() -> Iterator[str]:
    """Yield the base URL of a page before a Prometheus that repeats what it is asked."""
    behind = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    serving = page.serving("the page", f"http://127.0.0.1:{behind.server_port}", 0)
    with programs.answering(behind), programs.answering(serving):
        yield f"http://127.0.0.1:{serving.server_port}"


def test_the_page_asks_by_way_of_us(shown: str) -> None:
    """The page gets no answer of Prometheus, or lets others do more than ask."""
    assert httpx.get(shown).text == "the page"
    asked = "/api/v1/query_range?query=up"
    assert httpx.get(shown + asked).json()["path"] == asked
    for path in ("/api/v1/admin/tsdb/delete_series", "/-/quit", "/api/v1/query_range/../x"):
        assert httpx.get(shown + path).status_code == 404


def test_a_prometheus_that_is_gone_is_told() -> None:
    """The page says nothing of why it stands still."""
    serving = page.serving("", f"http://127.0.0.1:{free()}", 0)
    with programs.answering(serving):
        found = httpx.get(f"http://127.0.0.1:{serving.server_port}/api/v1/alerts")
    assert found.status_code == 502
    assert found.json()["status"] == "error"


def test_a_missing_program_is_told(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """Without Prometheus the command ends in a traceback, after a server has started."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="apt-get install prometheus-alertmanager"):
        programs.program("alertmanager")
    assert command("observe", "up", "--url", "http://127.0.0.1:1") == 2


def test_a_program_that_ends_is_told(tmp_path: Path) -> None:
    """A Prometheus that refuses its configuration is waited for, and nothing says why."""

    async def run() -> None:
        argv = [sys.executable, "-c", "print('no such rule'); raise SystemExit(1)"]
        async with programs.running(argv, f"http://127.0.0.1:{free()}", tmp_path / "log"):
            pass

    with pytest.raises(InfrastructureFault, match="no such rule"):
        anyio.run(run)


@PROMETHEUS
def test_a_busy_port_is_told(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use is found after a server has started, or isn't named."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = str(one.getsockname()[1])
        assert command("observe", "up", "--url", "http://127.0.0.1:1", "--port", port) == 2
    assert f"127.0.0.1:{port} can't be used" in capsys.readouterr().err


def arguments(*more: str) -> list[str]:
    """Return the command that watches a server, on free ports."""
    ports = [f"127.0.0.1:{free()}" for _ in range(4)]
    return [
        *(sys.executable, "-m", "ci", "observe", "up"),
        *("--port", ports[0].partition(":")[2], "--prometheus-port", ports[1].partition(":")[2]),
        *("--set", f"observe.exporter={ports[2]}", "--set", f"observe.alertmanager={ports[3]}"),
        *more,
    ]


def until(output: Path, text: str) -> str:
    """Wait until a command has printed `text`, and return the line with it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = [line for line in output.read_text().splitlines() if text in line]
        if lines:
            return lines[0]
        time.sleep(0.05)
    raise AssertionError(f"no {text!r} in {output.read_text()}")


@PROMETHEUS
@pytest.mark.parametrize("number", rare([signal.SIGINT, signal.SIGTERM]))
@pytest.mark.long
def test_everything_ends_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Prometheus is left behind, with its port, or the page shows nothing of the server."""
    output = tmp_path / "output.txt"
    with FakeSglang() as server, output.open("w") as file:
        run = subprocess.Popen(
            arguments("--url", server.url, "--keep", str(tmp_path / "kept")),
            stdout=file,
            stderr=file,
        )
        try:
            url = until(output, "page: ").rpartition(" ")[2]
            assert "SGLang, observed" in httpx.get(url).text
            range_ = {"query": "up", "start": "0", "end": "1", "step": "1"}
            assert (
                httpx.get(f"{url}api/v1/query_range", params=range_).json()["status"] == "success"
            )
            started = psutil.Process(run.pid).children(recursive=True)
            assert any("prometheus" in one.name() for one in started)
            run.send_signal(number)
            run.wait(30)
        finally:
            run.kill()
            run.wait()
    assert not [one for one in started if one.is_running()]
    assert (tmp_path / "kept" / "prometheus.yml").is_file()


@PROMETHEUS
@pytest.mark.long
def test_its_time_ends_it(tmp_path: Path) -> None:
    """A run in a job goes on for ever."""
    with FakeSglang() as server:
        run = subprocess.run(
            arguments("--url", server.url, "--seconds", "1"),
            capture_output=True,
            timeout=90,
            check=False,
        )
    assert not run.returncode, run.stderr
    assert b"its time is over" in run.stdout


@contextmanager
def started_here(folder: Path, plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command with a server of its own, a fake under the real `launch.sh`."""
    environment = os.environ | install(folder / "installed", plan)
    with (folder / "output.txt").open("wb") as file:
        argv = arguments("--set", "server.device=cpu")
        run = subprocess.Popen(argv, stdout=file, stderr=file, cwd=folder, env=environment)
    try:
        yield run
    finally:
        run.kill()
        run.wait()


@PROMETHEUS
def test_it_starts_a_server_and_ends_it(tmp_path: Path) -> None:
    """Without a URL there is nothing to see, or the server outlives the command."""
    with started_here(tmp_path, Plan()) as run:
        until(tmp_path / "output.txt", "streams: ")
        started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGTERM)
        run.wait(60)
    assert not [one for one in started if one.is_running()]


@pytest.mark.long
@PROMETHEUS
def test_a_signal_while_the_server_starts(tmp_path: Path) -> None:
    """An interrupted start leaves a server behind."""
    with started_here(tmp_path, Plan(open_after=60)) as run:
        until(tmp_path / "output.txt", "a server is started")
        time.sleep(1)
        started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGTERM)
        run.wait(60)
    assert not [one for one in started if one.is_running()]


@PROMETHEUS
def test_a_server_that_dies_is_told(tmp_path: Path) -> None:
    """A server that can't start is waited for, or the command ends as if all were well."""
    plan = Plan(dies_after=0.1, open_after=60, last_words="ValueError: no such model")
    with started_here(tmp_path, plan) as run:
        assert run.wait(90) == 1
    until(tmp_path / "output.txt", "no such model")

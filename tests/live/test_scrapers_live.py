"""What real scrapers store of a real SGLang, held against the catalogue that we read for them.

Each needs its program in PATH, and is skipped with its reason where it isn't.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml

from ci.boot.port import reserved
from ci.boot.process import ServerProcess
from ci.monitoring.write import rendered, write
from ci.observe import program
from ci.observe.catalogue import Catalogue, read
from ci.observe.scrape_config import scrape_config
from ci.observe.scrapers import SCRAPERS, of_version
from ci.server.exchange import exchanging
from ci.settings import Settings
from ci.settings.observe import ObserveSettings
from ci.verdict import Outcome
from tests.live.conftest import HANG, Command
from tests.live.test_observe_live import PANELS, PATIENT, board, cases

pytestmark = [pytest.mark.live, pytest.mark.long]

PROMETHEUS = ("prometheus3", "prometheus")
"""Names under which one may be installed beside Debian's."""
ADDED = {"instance", "job", "__name__", "otel_scope_name", "otel_scope_version"}
OWN = ("up", "scrape_", "target_info")
"""How metrics begin that a scraper makes itself."""
Series = set[tuple[str, frozenset[tuple[str, str]]]]


def needed(name: str) -> str:
    """Return the path of a program, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} isn't in PATH")
    return path


def prometheus_of(generation: str) -> str:
    """Return the path of a Prometheus of this generation, or skip the test."""
    for name in PROMETHEUS:
        path = program.found(name)
        if path and of_version(program.version_of(path)) == generation:
            return path
    pytest.skip(f"no {generation} is in PATH, by the names {', '.join(PROMETHEUS)}")


@contextmanager
def process(folder: Path, *argv: str) -> Iterator[None]:
    """Run a program for as long as the context lasts."""
    with (folder / f"{Path(argv[0]).name}.log").open("wb") as log:
        one = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        one.terminate()
        try:
            one.wait(30)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def listening(port: int) -> str:
    """Return the URL of what listens at a port, once it answers."""
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + HANG
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False).is_success:
                return url
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"nothing answers at {url}")


def config(folder: Path, server: str, **more: Any) -> Path:
    """Return a configuration of Prometheus that scrapes a server every second."""
    scrape = {"job_name": "sglang", "static_configs": [{"targets": [server.partition("//")[2]]}]}
    path = folder / "scrape.yml"
    every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    path.write_text(yaml.safe_dump({"global": every, "scrape_configs": [scrape | more]}))
    return path


@contextmanager
def a_prometheus(folder: Path, server: str, generation: str, **more: Any) -> Iterator[str]:
    """Yield the URL of a Prometheus that scrapes a server."""
    path = prometheus_of(generation)
    with reserved("127.0.0.1", 0) as port:
        told = (
            f"--config.file={config(folder, server, **more)}",
            f"--storage.tsdb.path={folder}/d",
        )
        with process(folder, path, *told, f"--web.listen-address=127.0.0.1:{port}"):
            yield listening(port)


@contextmanager
def a_victoriametrics(folder: Path, *more: str) -> Iterator[str]:
    """Yield the URL of a VictoriaMetrics of one node."""
    path = needed("victoria-metrics")
    with reserved("127.0.0.1", 0) as port:
        told = (f"-storageDataPath={folder}/vm", "-search.latencyOffset=0s", *more)
        with process(folder, path, f"-httpListenAddr=127.0.0.1:{port}", *told):
            yield listening(port)


@contextmanager
def by_itself(folder: Path, server: str) -> Iterator[str]:
    """Yield a VictoriaMetrics that scrapes a server itself."""
    with a_victoriametrics(folder, f"-promscrape.config={config(folder, server)}") as url:
        yield url


@contextmanager
def by_vmagent(folder: Path, server: str) -> Iterator[str]:
    """Yield a VictoriaMetrics that a vmagent writes to."""
    agent = needed("vmagent")
    with a_victoriametrics(folder) as url, reserved("127.0.0.1", 0) as port:
        told = (
            f"-promscrape.config={config(folder, server)}",
            f"-remoteWrite.url={url}/api/v1/write",
            f"-remoteWrite.tmpDataPath={folder}/agent",
            f"-httpListenAddr=127.0.0.1:{port}",
        )
        with process(folder, agent, *told):
            yield url


@contextmanager
def by_collector(folder: Path, server: str) -> Iterator[str]:
    """Yield a VictoriaMetrics that an OpenTelemetry collector writes to."""
    collector = needed("otelcol")
    scrape = yaml.safe_load(config(folder, server).read_text())
    with a_victoriametrics(folder) as url:
        written = {"endpoint": f"{url}/api/v1/write", "add_metric_suffixes": False}
        pipeline = {"receivers": ["prometheus"], "exporters": ["prometheusremotewrite"]}
        document = {
            "receivers": {"prometheus": {"config": scrape}},
            "exporters": {"prometheusremotewrite": written},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"metrics": pipeline},
            },
        }
        (folder / "otelcol.yml").write_text(yaml.safe_dump(document))
        with process(folder, collector, f"--config={folder}/otelcol.yml"):
            yield url


SCRAPED: Mapping[str, Callable[..., Any]] = {
    "prometheus-2": lambda folder, server: a_prometheus(folder, server, "prometheus-2"),
    "prometheus-3": lambda folder, server: a_prometheus(folder, server, "prometheus-3"),
    "prometheus-3-legacy": lambda folder, server: a_prometheus(
        folder, server, "prometheus-3", metric_name_validation_scheme="legacy"
    ),
    "victoriametrics": by_itself,
    "victoriametrics, vmagent": by_vmagent,
    "opentelemetry": by_collector,
}


def stored(url: str) -> Series:
    """Return all series of a server that are stored."""
    told = {"match[]": '{__name__=~".+"}', "start": "0", "end": str(time.time() + 60)}
    answer = httpx.get(f"{url}/api/v1/series", params=told, timeout=60, trust_env=False)
    answer.raise_for_status()
    return {
        (one["__name__"], frozenset((key, text) for key, text in one.items() if key not in ADDED))
        for one in answer.json()["data"]
        if not one["__name__"].startswith(OWN)
    }


def exposed(server: str, scraper: str, settings: ObserveSettings | None = None) -> Series:
    """Return all series of a server's page, as we read it for a scraper."""
    scrape = scrape_config(settings or ObserveSettings())

    async def page() -> Catalogue:
        async with exchanging(server, seconds=HANG) as exchange:
            return await read(exchange, SCRAPERS[scraper], scrape.rules, scrape.job)

    return {
        (one.name, frozenset((key, text) for key, text in labels.items() if text))
        for one in anyio.run(page).metrics.values()
        for labels in one.series
        if one.numbers or scraper.startswith("prometheus")
    }


def told(series: Series) -> list[str]:
    """Return the first few series, to be read."""
    return [f"{name}{dict(labels)}" for name, labels in sorted(series, key=str)[:10]]


def held(server: str, url: str, scraper: str, settings: ObserveSettings | None = None) -> None:
    """Wait until a scraper has stored the page that we read, no more and no less."""
    end = time.monotonic() + HANG
    while True:
        wanted, found = exposed(server, scraper, settings), stored(url)
        if wanted == found:
            return
        lacks, more = told(wanted - found), told(found - wanted)
        assert time.monotonic() < end, f"not stored: {lacks}; stored beside: {more}"
        time.sleep(2)


def asked(server: str) -> None:
    """Have a server do something that has series of its own."""
    with httpx.Client(base_url=server, timeout=HANG, trust_env=False) as client:
        body = {"text": "a b c", "sampling_params": {"max_new_tokens": 4}}
        assert client.post("/generate", json=body).is_success
        assert client.get("/nowhere").status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("by", list(SCRAPED))
def test_a_scraper_stores_what_the_catalogue_says(
    by: str, live_server: ServerProcess, tmp_path: Path
) -> None:
    """A board is judged by names that its scraper doesn't store."""
    asked(live_server.url)
    with SCRAPED[by](tmp_path, live_server.url) as url:
        held(live_server.url, url, by.partition(",")[0])


@pytest.mark.parametrize("generation", ["prometheus-2", "prometheus-3"])
def test_what_is_rendered_stores_what_its_own_file_says(
    generation: str, live_server: ServerProcess, tmp_path: Path
) -> None:
    """`observe check --scrape` reads the rules of a scrape otherwise than Prometheus does."""
    asked(live_server.url)
    write(tmp_path, rendered(Settings()))
    path = tmp_path / "prometheus.yml"
    (scrape, _) = yaml.safe_load(path.read_text())["scrape_configs"]
    made = {"metric_relabel_configs": scrape["metric_relabel_configs"]}
    with a_prometheus(tmp_path, live_server.url, generation, **made) as url:
        held(live_server.url, url, generation, ObserveSettings(scrape=path))


@pytest.mark.parametrize("generation", ["prometheus-2", "prometheus-3"])
def test_every_panel_that_is_rendered_has_data(
    generation: str, live_server: ServerProcess, command: Command, tmp_path: Path
) -> None:
    """A board of ours is empty with one generation of Prometheus, or is called so."""
    path = prometheus_of(generation)
    target = {"url": live_server.url, "environment": "e", "slot": "s", "release": "r"}
    write(tmp_path, rendered(Settings.model_validate({"observe": {"targets": [target]}})))
    files = [("--board", str(one)) for one in sorted((tmp_path / "boards").iterdir())]
    files += [("--rules", str(tmp_path / f"{one}.yml")) for one in ("rules", "alerts")]
    told = ("--scrape", str(tmp_path / "prometheus.yml"), "--set", f"observe.prometheus={path}")
    words = [word for file in files for word in file]
    ran = command("observe", "check", live_server.url, *words, *told, *PATIENT)
    ran.wait()
    found = cases(ran.report())
    failed = [(one.name, one.message) for one in found.values() if one.outcome is Outcome.FAILED]
    assert not failed, failed


def test_a_victoriametrics_is_known_for_what_it_is(
    live_server: ServerProcess, command: Command, tmp_path: Path
) -> None:
    """It says that it is a Prometheus 2, and boards are judged by names that it doesn't store."""
    panels = {title: PANELS[title] for title in ("TTFT", "Running", "Cached")}
    with by_itself(tmp_path, live_server.url) as api:
        told = ("--board", str(board(tmp_path, panels)), "--prometheus", api)
        ran = command("observe", "check", live_server.url, *told, *PATIENT)
        assert ran.wait() == 0, ran.output()
    found = cases(ran.report())
    for title in panels:
        assert found[f"grafana.json: panel {title}, asked"].outcome is Outcome.PASSED
    assert found["scrape"].outcome is Outcome.PASSED

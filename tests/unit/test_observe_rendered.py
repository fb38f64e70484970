"""What `observe render` writes: valid, tried by promtool, and of metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from ci.boards.read import read
from ci.contract.metrics import ASKERS
from ci.errors import ReportUnwritable, UsageError
from ci.monitoring import grafana, names, scraping
from ci.monitoring.alerts import alerts
from ci.monitoring.panels import boards, filled
from ci.monitoring.recorded import rules
from ci.monitoring.trials import trials
from ci.monitoring.write import configuration, rendered, write
from ci.observe.relabel import NAME, relabelled, relabels
from ci.server.exposition import samples
from ci.settings import Settings
from tests.readme import readme, run

pytestmark = pytest.mark.unit

PAGES = Path(__file__).parent / "metrics"
"""What a real SGLang 0.5.23 said after a few requests: one refused, one left, three to no route."""
TWO = {"targets": [{"url": "http://a:1", "environment": "prod"}, {"url": "http://b:1"}]}
SHORT = {"interval": 15, "window": 60, "stall": 60, "hold": 15}
"""Few looks: promtool takes half a minute for the trials of the defaults."""
SETTINGS: dict[str, dict[str, Any]] = {
    "few looks": SHORT,
    "defaults": {},
    "short": {"interval": 1, "window": 10, "stall": 5, "hold": 3},
    "with a limit": {"queue_limit": 64, "objective": 0.99, "slo_ttft": 0.5, **TWO},
    "uneven": {"interval": 7, "window": 100, "stall": 31, "hold": 10},
}
FROM_PROMETHEUS = {"job", "instance", "environment", "slot", "release", "image_digest", "version"}
"""Labels that no page of a server has."""
PROMETHEUS = re.compile(r"up|scrape_\w+|ALERTS|sglang_ci_\w+")
"""Metrics that are Prometheus' own, and the exporter's."""


PROMTOOLS = ("promtool", "promtool3")
"""Debian's, and that of a Prometheus 3 where one was put beside it by this name."""


def settings(**observe: Any) -> Settings:
    """Return settings of these keys of [observe]."""
    return Settings.model_validate({"observe": observe})


def promtool(folder: Path, *arguments: str) -> str:
    """Run a tool of Prometheus in a folder, and return what it says; it has to be content."""
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} isn't in PATH")
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


QUICK = ("few looks",)
"""Settings that are tried by `make test`."""


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in SETTINGS
    ]
)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder with all that is rendered of some settings."""
    write(tmp_path, rendered(settings(**SETTINGS[request.param])))
    return tmp_path


@pytest.mark.parametrize("tool", PROMTOOLS)
def test_prometheus_takes_it(folder: Path, tool: str) -> None:
    """Prometheus doesn't start with what is rendered, or leaves rules out."""
    assert "SUCCESS" in promtool(folder, tool, "check", "config", "prometheus.yml")


def test_alertmanager_takes_it(folder: Path) -> None:
    """Alertmanager doesn't start with what is rendered."""
    promtool(folder, "amtool", "check-config", "alertmanager.yml")


@pytest.mark.long
@pytest.mark.parametrize("tool", PROMTOOLS)
def test_every_alert_fires_and_clears(folder: Path, tool: str) -> None:
    """An alert stays silent under its fault, fires without one, or never ends."""
    promtool(folder, tool, "test", "rules", "tests.yml")


def test_every_alert_has_a_trial() -> None:
    """An alert is added, or renamed, and nothing tries it."""
    assert {one.alert for one in trials(Settings())} == {one.name for one in alerts(Settings())}


@pytest.mark.long
def test_a_wrong_rule_fails_its_trial(tmp_path: Path) -> None:
    """The trials pass whatever the rules say."""
    write(tmp_path, configuration(settings(**SHORT)))
    path = tmp_path / "alerts.yml"
    path.write_text(
        path.read_text().replace("== 0 unless on (instance)", "== 2 unless on (instance)")
    )
    with pytest.raises(AssertionError, match="SglangServerGone"):
        promtool(tmp_path, "promtool", "test", "rules", "tests.yml")


def test_alerts_say_what_to_do() -> None:
    """Who is woken isn't told why this limit, and what to do."""
    for alert in alerts(Settings()):
        assert all((alert.summary, alert.threshold, alert.runbook)), alert.name


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where each expression of rules, alerts and boards stands, and the expression."""
    at = Settings()
    yield from ((one.name, one.expr) for one in rules(at))
    yield from ((one.name, one.expr) for one in alerts(at))
    for board in boards(at):
        for panel in board.panels:
            for query in panel.queries:
                yield f"{board.name}: {panel.title}", filled(query.expr, ".*", 60)


def selectors(expr: str) -> Iterator[Any]:
    """Yield all selectors of an expression."""
    found: list[Any] = []

    def visit(one: Any) -> None:
        if isinstance(one, promql_parser.MatrixSelector):
            found.append(one.vector_selector)
        elif isinstance(one, promql_parser.VectorSelector):
            found.append(one)

    promql_parser.walk(promql_parser.parse(expr), visit)
    yield from found


def known() -> dict[str, set[str]]:
    """Return each name of the recorded page, with its labels."""
    found: dict[str, set[str]] = {}
    for sample in samples((PAGES / "sglang-0.5.23.txt").read_text()):
        found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
def test_every_query_is_of_what_a_server_has(where: str, expr: str) -> None:
    """A panel is empty, or an alert never fires, as no server has such a metric or label."""
    page, recorded = known(), {one.name for one in rules(Settings())}
    asked = list(selectors(expr))
    assert asked
    for one in asked:
        labels = {matcher.name for matcher in one.matchers.matchers}
        if PROMETHEUS.fullmatch(one.name):
            assert labels <= FROM_PROMETHEUS | {"alertname", "alertstate"}
        elif one.name in recorded:
            assert labels <= FROM_PROMETHEUS
        else:
            assert one.name in page, f"{where}: {one.name}"
            assert labels <= page[one.name] | FROM_PROMETHEUS, f"{where}: {one.name}"


def test_the_buckets_are_a_servers() -> None:
    """An SLO is watched by a bucket that no server has: the share of late requests is nothing."""
    bounds: dict[str, set[float]] = {}
    for sample in samples((PAGES / "sglang-0.5.23.txt").read_text()):
        if sample.name.endswith("_bucket") and sample.labels["le"] != "+Inf":
            bounds.setdefault(sample.name, set()).add(float(sample.labels["le"]))
    assert bounds["sglang:time_to_first_token_seconds_bucket"] == set(names.TTFT_BOUNDS)
    tpot = bounds["sglang:request_time_per_output_token_seconds_bucket"]
    assert tpot == set(names.TPOT_BOUNDS)


def stored(page: str, drop: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Return name and labels of the series of a page that Prometheus would store."""
    rules = relabels(scraping.relabelling(drop))
    found = (relabelled(rules, {NAME: one.name, **one.labels}) for one in samples(page))
    kept = [dict(labels) for labels in found if labels]
    return [(labels.pop(NAME), labels) for labels in kept]


def test_names_come_back() -> None:
    """Under Prometheus 2.42 no query finds anything, as its names have no colon."""
    page = (PAGES / "sglang-0.5.23-prometheus-2.42.txt").read_text()
    assert any(sample.name.startswith("sglang_") for sample in samples(page))
    found = {name for name, _ in stored(page, ())}
    assert found == {name for name, _ in stored((PAGES / "sglang-0.5.23.txt").read_text(), ())}
    assert all(name.startswith("sglang:") for name in found)


def test_paths_and_processes_make_no_series() -> None:
    """Anybody makes series by asking for paths, and each restart leaves some behind."""
    page = (PAGES / "sglang-0.5.23.txt").read_text()
    assert "/nothing/1" in page
    found = stored(page, ("routing_key_.+",))
    assert not [labels for _, labels in found if "nothing" in labels.get("endpoint", "")]
    assert [labels for _, labels in found if labels.get("endpoint") == "/generate"]
    assert not [labels for _, labels in found if {"pid", "path_is_known"} & labels.keys()]
    assert not [name for name, _ in found if "routing_key_" in name]
    assert len({(name, *sorted(labels.items())) for name, labels in found}) == len(found)


def test_few_series_are_stored() -> None:
    """A server's series come close to the limit at which it isn't scraped any more."""
    at = Settings().observe
    page = (PAGES / "sglang-0.5.23.txt").read_text()
    assert len(stored(page, at.drop)) < at.series / 3


def test_askers_are_those_of_the_contract() -> None:
    """The page was recorded with another header than Prometheus sends."""
    assert "Prometheus 2.42" in ASKERS


@pytest.mark.parametrize(
    ("seconds", "le"), [(0.1, "0.1"), (0.11, "0.2"), (1, "1.0"), (400, "400.0")]
)
def test_the_next_bucket_is_taken(seconds: float, le: str) -> None:
    """A request within its SLO counts as late."""
    assert names.bound(seconds, names.TTFT_BOUNDS) == le


def test_an_slo_without_a_bucket_is_refused() -> None:
    """An SLO is watched that can't be seen."""
    with pytest.raises(UsageError, match="400"):
        rendered(settings(slo_ttft=401))


@pytest.mark.parametrize(
    ("flags", "limit"),
    [
        ((), None),
        (("--max-queued-requests=8",), 8),
        (("--max-queued-requests", "8"), 8),
        (("--max-queued-requests",), None),
        (("--max-queued-requests=8", "--max-queued-requests", "9"), 9),
    ],
)
def test_the_servers_own_limit_counts(flags: tuple[str, ...], limit: int | None) -> None:
    """The queue is full before its alert knows a limit, or at another one."""
    assert names.queue_limit(Settings.model_validate({"server": {"flags": flags}})) == limit


def test_windows_hold_scrapes() -> None:
    """A window has a single scrape, and no alert can ever fire."""
    with pytest.raises(ValueError, match="four scrapes"):
        settings(interval=30, window=60)


def test_targets_have_their_labels(tmp_path: Path) -> None:
    """A release is lost with a restart, as no label of the target says it."""
    target = {"url": "https://gpu:443/", "slot": "blue", "release": "r1", "version": "0.5.23"}
    write(tmp_path, rendered(settings(targets=[target])))
    found = json.loads((tmp_path / "targets" / "settings.json").read_text())
    labels = {"slot": "blue", "release": "r1", "version": "0.5.23", "__scheme__": "https"}
    assert found == [{"targets": ["gpu:443"], "labels": labels}]


def test_a_key_is_a_file(tmp_path: Path) -> None:
    """A key stands in the configuration itself, or isn't sent."""
    path = tmp_path / "key"
    scrape = scraping.prometheus(settings(credentials_file=path))["scrape_configs"][0]
    assert scrape["authorization"] == {"credentials_file": str(path)}


def test_boards_are_read_by_our_own_reader(folder: Path) -> None:
    """A board is no dashboard, or has a panel without a query."""
    found = {path.name: read(path) for path in (folder / "boards").iterdir()}
    assert set(found) == {"service.json", "engine.json", "release.json", "start-up.json"}
    for board in boards(Settings()):
        places = {query.where for query in found[f"{board.name}.json"].queries}
        assert len(places) >= len(board.panels)


def test_boards_are_grafanas(folder: Path) -> None:
    """Grafana finds fields that it doesn't know, or misses some, by its own types."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    for path in (folder / "boards").iterdir():
        board = json.loads(path.read_text())
        again = Dashboard.from_json(board)
        assert json.loads(JSONEncoder().encode(again)) == board
        assert [one["name"] for one in board["annotations"]["list"]] == ["deployed"]


def test_rules_are_plain_yaml(folder: Path) -> None:
    """What is rendered holds Python's own tags."""
    for path in folder.glob("*.yml"):
        assert yaml.safe_load(path.read_text())


def test_what_cant_be_written_is_told(tmp_path: Path) -> None:
    """A full or wrong folder ends in a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportUnwritable, match="can't be written"):
        write(tmp_path / "file", {Path("x"): ""})


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the command ends in a traceback."""
    monkeypatch.setattr(grafana, "find_spec", {}.get)
    with pytest.raises(UsageError, match="boards need another package"):
        rendered(Settings())
    assert configuration(Settings())


def test_the_command_of_the_readme(tmp_path: Path) -> None:
    """The README shows a command that isn't there, or writes something else."""
    done = run(tmp_path, readme("sglang-ci observe render"))
    assert not done.returncode, done.stderr
    assert (tmp_path / "observability" / "alerts.yml").is_file()
    assert str(Path("observability") / "boards" / "service.json") in done.stdout

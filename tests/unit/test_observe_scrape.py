"""What a scrape makes of a page, by the configuration of the Prometheus that scrapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.errors import UsageError
from ci.monitoring.write import configuration, write
from ci.observe.catalogue import catalogue
from ci.observe.relabel import NAME, relabelled, relabels, renaming
from ci.observe.scrape_config import scrape_config
from ci.settings import Settings
from ci.settings.observe import ObserveSettings
from ci.verdict import Outcome
from tests.fakes.observed import observed
from tests.unit.commands import Command
from tests.unit.observe_samples import board_of, checked_at, hurry, named

pytestmark = pytest.mark.unit

PAGES = Path(__file__).parent / "metrics"
SERIES = {NAME: "a_b", "x": "One", "y": "Two"}


@pytest.mark.parametrize(
    ("rule", "made"),
    [
        ({"source_labels": ["x", "y"], "target_label": "z"}, SERIES | {"z": "One;Two"}),
        (
            {"source_labels": ["x"], "regex": "(O)(?P<r>.+)", "target_label": "z",
             "replacement": "${r}$1"},
            SERIES | {"z": "neO"},
        ),
        ({"source_labels": ["x"], "regex": "on.", "target_label": "z"}, SERIES),
        ({"target_label": "x", "replacement": ""}, {NAME: "a_b", "y": "Two"}),
        (
            {"source_labels": ["x"], "regex": "(.*)", "target_label": "is_$1",
             "replacement": r"\1"},
            SERIES | {"is_One": r"\1"},
        ),
        ({"action": "keep", "source_labels": ["x"], "regex": "One|Two"}, SERIES),
        ({"action": "keep", "source_labels": ["none"], "regex": ".+"}, None),
        ({"action": "drop", "source_labels": ["x"], "separator": "", "regex": "On"}, SERIES),
        ({"action": "drop", "source_labels": ["__name__"], "regex": "a_.*"}, None),
        ({"action": "keepequal", "source_labels": ["x"], "target_label": "y"}, None),
        ({"action": "dropequal", "source_labels": ["x"], "target_label": "x"}, None),
        ({"action": "Lowercase", "source_labels": ["x"], "target_label": "x"},
         SERIES | {"x": "one"}),
        ({"action": "uppercase", "source_labels": ["x"], "target_label": "z"},
         SERIES | {"z": "ONE"}),
        ({"action": "labeldrop", "regex": "x|y"}, {NAME: "a_b"}),
        ({"action": "labelkeep", "regex": "__name__|x"}, {NAME: "a_b", "x": "One"}),
        ({"action": "labelkeep", "regex": "x"}, None),
        ({"action": "labelmap", "regex": "(x)"}, SERIES),
        ({"action": "labelmap", "regex": "(x)", "replacement": "${1}_too"},
         SERIES | {"x_too": "One"}),
    ],
)  # fmt: skip
def test_a_rule_does_what_prometheus_does(rule: dict[str, Any], made: Any) -> None:
    """A board is judged by series that no Prometheus with this rule has."""
    assert relabelled(relabels([rule]), SERIES) == made


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"action": "hashmod"}, "the action hashmod isn't followed"),
        ({"regex": "("}, "is no regular expression"),
        ("drop", "is no rule"),
    ],
)
def test_a_rule_that_cant_be_followed_is_told(rule: Any, told: str) -> None:
    """A rule that is left out makes the catalogue wrong, and nobody knows."""
    with pytest.raises(UsageError, match=told):
        relabels([rule])


def test_renames_are_rules() -> None:
    """What the settings rename stays as it is, or more is renamed."""
    rules = relabels(renaming({"sglang_(.+)": "sglang:$1"}))
    names = [(relabelled(rules, {NAME: one}) or {})[NAME] for one in ("sglang_a", "xsglang_a")]
    assert names == ["sglang:a", "xsglang_a"]


def scrape(folder: Path, *rules: dict[str, Any], **more: Any) -> Path:
    """Return a configuration with one scrape of these rules."""
    one = {"job_name": "gpu", "metric_relabel_configs": list(rules), **more}
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump({"scrape_configs": [one]}))
    return path


def test_a_configuration_says_what_is_stored(tmp_path: Path) -> None:
    """Boards are judged by a page, though the scrape renames, drops and labels."""
    rules = (
        {"action": "keep", "source_labels": ["job"], "regex": "gpu"},
        {"action": "drop", "source_labels": ["__name__"], "regex": "sglang:ttft_.+"},
        {"action": "labeldrop", "regex": "tp_rank"},
        {"source_labels": ["__name__"], "regex": "sglang:(.+)", "target_label": "__name__",
         "replacement": "sglang_$1"},
    )  # fmt: skip
    path = scrape(tmp_path, *rules, static_configs=[{"targets": [], "labels": {"region": "x"}}])
    lines = (
        'sglang_num_running_reqs{region="x"}',
        "sum by (tp_rank) (sglang_num_running_reqs)",
        "sglang_ttft_seconds_sum",
        "sglang:num_running_reqs",
    )
    with observed() as url:
        cases = named(checked_at(url, board_of(tmp_path, *lines), scrape=path))
    found = [cases[f"b.promql: line {at + 1}"].outcome for at in range(len(lines))]
    assert found[:2] == [Outcome.PASSED, Outcome.FAILED]
    assert Outcome.PASSED not in found[2:]


def test_what_is_rendered_is_such_a_configuration(tmp_path: Path) -> None:
    """Whoever renders has to repeat by hand what stands in the rendered file."""
    told = {"targets": [{"url": "http://a:1", "slot": "blue"}]}
    write(tmp_path, configuration(Settings.model_validate({"observe": told})))
    found = scrape_config(ObserveSettings(scrape=tmp_path / "prometheus.yml"))
    assert (found.job, found.labels) == ("sglang", frozenset({"slot"}))
    pages = [(PAGES / f"sglang-0.5.23{one}.txt").read_text() for one in ("", "-prometheus-2.42")]
    names = [set(catalogue(page, found.rules).metrics) for page in pages]
    assert names[0] == names[1]
    assert all(one.startswith("sglang:") for one in names[0])


@pytest.mark.parametrize(
    ("general", "own", "legacy"),
    [
        ({}, {}, False),
        ({"metric_name_validation_scheme": "legacy"}, {}, True),
        ({"metric_name_validation_scheme": "legacy"}, {"metric_name_validation_scheme": "utf8"},
         False),
        ({}, {"metric_name_escaping_scheme": "underscores"}, True),
        ({"metric_name_validation_scheme": "legacy"},
         {"metric_name_escaping_scheme": "allow-utf-8"}, False),
    ],
)  # fmt: skip
def test_a_prometheus_3_may_ask_for_old_names(
    tmp_path: Path, general: dict[str, str], own: dict[str, str], *, legacy: bool
) -> None:
    """A board for `sglang:` passes, and is empty: this Prometheus 3 stores `sglang_`."""
    path = tmp_path / "prometheus.yml"
    document = {"global": general, "scrape_configs": [{"job_name": "a"} | own]}
    path.write_text(yaml.safe_dump(document))
    assert scrape_config(ObserveSettings(scrape=path)).legacy is legacy
    with observed() as url:
        lines = board_of(tmp_path, "sglang:queue", "sglang_queue")
        cases = named(checked_at(url, lines, scrape=path, scraper="auto"))
    failed = [one.outcome is Outcome.FAILED for name, one in cases.items() if "line" in name]
    assert failed == [legacy, not legacy]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scrape_configs: [{metric_name_escaping_scheme: dots}]", "dots isn't followed"),
        ("{", "is no YAML"),
        ("scrape_configs: 3", "has no scrape_configs"),
        ("scrape_configs: [{job_name: a}, {job_name: b}]", "has no job sglang, but a, b"),
        ("scrape_configs: [{job_name: a, metric_relabel_configs: 3}]", "no list of tables"),
    ],
)
def test_a_file_that_says_nothing_is_told(tmp_path: Path, text: str, told: str) -> None:
    """A wrong file reads as a scrape that changes nothing."""
    path = tmp_path / "prometheus.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        scrape_config(ObserveSettings(scrape=path))
    with pytest.raises(UsageError, match="can't be read"):
        scrape_config(ObserveSettings(scrape=tmp_path / "none.yml"))


def test_only_one_says_what_is_renamed() -> None:
    """Two settings rename, and which one is followed is luck."""
    with pytest.raises(ValueError, match="keep one"):
        ObserveSettings(scrape=Path("prometheus.yml"), rename={"a": "b"})


def test_the_option_names_a_configuration(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that an option names isn't read, or is looked for elsewhere."""
    hurry(monkeypatch)
    monkeypatch.chdir(tmp_path)
    cure = {"source_labels": ["__name__"], "regex": "sglang_(.+)", "target_label": "__name__",
            "replacement": "sglang:$1"}  # fmt: skip
    scrape(tmp_path, cure)
    board_of(tmp_path, "sglang:queue")
    asked = ("--board", "b.promql", "--scrape", "prometheus.yml")
    old = ("--set", "observe.scraper=prometheus-2", "--set", "observe.prometheus=")
    with observed() as url:
        assert command("observe", "check", url, *asked, *old) == 0

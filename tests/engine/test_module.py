"""The module on a real engine: what passes, what fails, and with which words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.platform import TINY_MODEL
from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import Dagger, said
from tests.readme import readme
from tests.reports import check_of

pytestmark = pytest.mark.engine


def test_functions_read_like_documentation(dagger: Dagger) -> None:
    """A newcomer who lists the functions finds the stages, each with a sentence."""
    listed = dagger("functions").stdout
    for name, text in (("ci", "Build the image, serve it"), ("image", "Build the serving image")):
        assert any(line.startswith(name) and text in line for line in listed.splitlines()), listed


def test_model_without_configuration_fails(dagger: Dagger, tmp_path: Path) -> None:
    """A folder that is no model fails before anything is loaded, with launch.sh's line."""
    (tmp_path / "weights.safetensors").write_bytes(b"")
    ran = dagger("call", "--model", str(tmp_path), "image", "serve", "ready")
    assert ran.returncode != 0
    assert "FAILED: readiness" in said(ran)
    assert "no config.json" in said(ran)


def test_labels_say_what_the_image_is(dagger: Dagger) -> None:
    """An image found in a registry tells the SGLang and the commit that it was built from."""
    given = ("--revision=abc123", "--source-url=https://example.org/project")
    for name, value in (("version", "0.5.23"), ("revision", "abc123")):
        label = f"--name=org.opencontainers.image.{name}"
        ran = dagger("call", *given, "image", "container", "label", label)
        assert ran.stdout.strip() == value, said(ran)


def test_wrong_setting_names_its_key(dagger: Dagger, tmp_path: Path) -> None:
    """A wrong key in the user's file stops the graph before anything is built."""
    config = tmp_path / "sglang-ci.toml"
    config.write_text("[server]\nprot = 1\n")
    ran = dagger("call", "--config", str(config), "image", "serve", "ready")
    assert ran.returncode != 0
    assert "server.prot" in said(ran)


@pytest.mark.long
def test_a_board_without_data_fails(dagger: Dagger, tmp_path: Path) -> None:
    """An image whose metric has another name passes, and a panel is empty for whoever looks."""
    boards = tmp_path / "boards"
    boards.mkdir()
    (boards / "rules.yml").write_text(
        "groups: [{name: own, rules: [{record: own:waiting, expr: 'sum(sglang:num_queue_reqs)'}]}]"
    )
    panels = {"Waiting": "own:waiting", "Gone": "sglang:num_queue_requests"}
    (boards / "service.json").write_text(
        json.dumps(
            {
                "title": "Service",
                "schemaVersion": 39,
                "panels": [
                    {"type": "stat", "title": title, "targets": [{"refId": "A", "expr": expr}]}
                    for title, expr in panels.items()
                ],
            }
        )
    )
    config = tmp_path / "sglang-ci.toml"
    config.write_text(
        '[observe]\nin_ci = true\nboards = ["boards/service.json"]\nrules = ["boards/rules.yml"]\n'
    )
    asked = ("call", "--config", str(config), "--boards", str(boards), "image", "serve", "observe")
    ran = dagger(*asked)
    assert ran.returncode != 0
    told = said(ran)
    assert "FAILED: observe" in told
    assert "Gone" in told
    assert "sglang:num_queue_reqs" in told
    ran = dagger("call", "--config", str(config), "image", "serve", "observe")
    assert "observe.boards: boards/service.json can't be seen from a container" in said(ran)


@pytest.mark.long
def test_failing_case_of_the_user_fails(dagger: Dagger, tmp_path: Path) -> None:
    """A user's own smoke case and a wrong version both count."""
    cases = tmp_path / "cases"
    cases.mkdir()
    (cases / "test_mine.py").write_text("def test_mine(model):\n    assert model == 'other'\n")
    config = tmp_path / "sglang-ci.toml"
    config.write_text('[versions]\nexpected = {torch = "1.0"}\n[smoke]\nbuiltin = false\n')
    own = {
        "sglang-ci.toml": f"{config} --smoke-cases {cases}",
        "./my-model": str(TINY_MODEL),
        "--path report": f"--path {tmp_path / 'report'}",
    }
    ran = dagger(*readme("dagger call --config sglang-ci.toml", own)[1:])
    assert ran.returncode == 0, said(ran)
    report = load(tmp_path / "report")
    verdicts = {check.name: check.verdict for check in report.checks}
    assert verdicts == {
        "preflight": Verdict.PASSED,
        "readiness": Verdict.PASSED,
        "versions": Verdict.FAILED,
        "smoke": Verdict.FAILED,
    }
    assert "expected 1.0, installed 2." in check_of(report, "versions").cause
    kept = dagger("call", "verdict", f"--report={tmp_path / 'report'}")
    assert kept.returncode != 0
    assert "expected 1.0" in said(kept)


def test_a_failed_build_names_its_cause(dagger: Dagger, tmp_path: Path) -> None:
    """Why an image can't be built drowns in the graph's identifiers."""
    config = tmp_path / "sglang-ci.toml"
    config.write_text('[image]\nsglang_version = "0.5.99"\n')
    ran = dagger("call", "--config", str(config), "image", "size")
    assert ran.returncode != 0
    error = next(line for line in ran.stderr.splitlines() if line.startswith("Error: "))
    assert "the image for a CPU can't be built" in error
    assert "no version of sglang==0.5.99" in error
    assert len(error) < 700

"""The subcommands of contracts and upgrades, from their arguments to their exit codes."""

from __future__ import annotations

import io
from pathlib import Path

import anyio
import pytest

from ci.contract import stage
from ci.contract.introspect import flags_part
from ci.contract.model import save
from ci.errors import UsageError
from ci.report.progress import progress_for
from ci.report.write import load
from ci.settings import Settings
from ci.upgrade.environments import Installer
from ci.upgrade.page import PAGE
from ci.upgrade.run import Upgrade
from ci.verdict import Verdict
from tests.readme import readme
from tests.unit.commands import Command
from tests.unit.contract_samples import INTERFACE, contract

pytestmark = pytest.mark.unit

ALLOW = '[{item = "flags --tensor-parallel-size*", until = 2999-01-01, reason = "known"}]'


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    """A baseline's recording, and one whose default differs."""
    first, *others = INTERFACE["flags"]
    changed = {**INTERFACE, "flags": [first | {"default": 2}, *others]}
    save(contract(flags=flags_part(INTERFACE)), tmp_path / "a.json")
    save(contract(flags=flags_part(changed)), tmp_path / "b.json")
    return str(tmp_path / "a.json"), str(tmp_path / "b.json")


def test_compare_says_its_verdict(command: Command, tmp_path: Path, sides: tuple[str, str]) -> None:
    """A CI goes on after a breach, or stops where nothing differs."""
    assert command("contract", "compare", sides[0], sides[0], "--report-dir", "same") == 0
    assert command("contract", "compare", *sides, "--report-dir", "apart") == 1
    assert load(tmp_path / "apart").verdict is Verdict.FAILED
    assert (
        "`--tensor-parallel-size` default | 1 | 2" in (tmp_path / "apart" / stage.PAGE).read_text()
    )
    (tmp_path / "ours.toml").write_text(f"[contract]\nallow = {ALLOW}\n")
    asked = ("contract", "compare", *sides, "--config", "ours.toml", "--report-dir", "accepted")
    assert command(*asked) == 0


def test_what_is_neither_server_nor_recording(command: Command, sides: tuple[str, str]) -> None:
    """A typing error is a traceback, or a verdict on nothing."""
    assert command("contract", "record", "http://127.0.0.1:1", "--out", "x.json") == 1
    assert command("contract", "compare", sides[0], "missing.json") == 2
    asked = stage.ContractSide(sides[0], "python3")
    with pytest.raises(UsageError, match="recorded already"):
        anyio.run(asked.contract, 1.0)


def test_an_upgrade_that_cannot_be_installed_is_reported(tmp_path: Path) -> None:
    """An index out of reach counts as a bad version, or leaves no page."""
    (tmp_path / "uv").write_text("#!/bin/sh\necho 'no such index'\nexit 2\n")
    (tmp_path / "uv").chmod(0o755)
    installer = Installer(tmp_path / "made", str(tmp_path / "uv"))
    asked = Upgrade(("1.0", "1.1"), Settings(), (), installer)
    report = anyio.run(asked.advise, progress_for(io.StringIO(), {}), tmp_path)
    assert report.verdict is Verdict.ERROR
    assert "no such index" in report.cause
    text = (tmp_path / PAGE).read_text()
    assert text.startswith("# SGLang 1.0 → 1.1: ERROR")
    assert "install 1.1: **ERROR**" in text


def test_the_readmes_upgrade_is_understood(command: Command, tmp_path: Path) -> None:
    """The command that the README shows is a usage error, or what the settings name is left out."""
    (tmp_path / "grafana.json").write_text('{"expr": "sum(sglang:num_running_reqs)"}')
    (tmp_path / "rules.yml").write_text(
        "groups: [{name: a, rules: [{record: 'a:b', expr: 'sum(sglang:num_queue_reqs)'}]}]"
    )
    (tmp_path / "uv").write_text("#!/bin/sh\necho 'no such index'\nexit 2\n")
    (tmp_path / "uv").chmod(0o755)
    made = {"uv": tmp_path / "uv", "environments": tmp_path / "made"}
    at = [part for key, value in made.items() for part in ("--set", f"upgrade.{key}={value}")]
    at += ("--set", 'observe.rules=["rules.yml"]')
    assert command(*readme("sglang-ci upgrade")[1:], *at) == 4
    page = (tmp_path / "report" / PAGE).read_text()
    assert page.startswith("# SGLang 0.5.22 → 0.5.23: ERROR")
    assert "rules.yml, grafana.json" in page


@pytest.mark.parametrize(
    "wrong", ["http://user:planted-pw@h", "http://h:99999", "127.0.0.1:30000", "nowhere.json", ""]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_side_that_is_neither_is_told_before_anybody_is_asked(
    command: Command, capsys: pytest.CaptureFixture[str], wrong: str, *, first: bool
) -> None:
    """A typing error in the candidate is told after the baseline was asked for a minute."""
    other = "http://127.0.0.1:1"
    assert command("contract", "compare", *((wrong, other) if first else (other, wrong))) == 2
    said = capsys.readouterr().err
    assert "connection refused" not in said
    assert "planted-pw" not in said

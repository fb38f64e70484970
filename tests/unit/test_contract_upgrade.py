"""The upgrade advisor's judgements: the user's flags, outputs, and the installer."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from ci.contract.check import accepting
from ci.contract.compare import compare
from ci.contract.introspect import flags_part
from ci.contract.model import ContractPart
from ci.errors import SglangCiError, UsageError
from ci.report.model import Case, Check, Report, now
from ci.server.exchange import exchanging
from ci.upgrade import flags, greedy, page
from ci.upgrade.environments import COMPLETE, Installer, NotInstallable
from ci.upgrade.side import UpgradeSide
from ci.verdict import Outcome
from tests.unit.contract_samples import INTERFACE, Pretender, contract

pytestmark = pytest.mark.unit

OLD = flags_part(INTERFACE)
NEW = flags_part(
    {
        **INTERFACE,
        "flags": [
            {**INTERFACE["flags"][0], "names": ["--tensor-parallel-sizes", "--tp-size"]},
            {**INTERFACE["flags"][1], "choices": ["auto"]},
            {**INTERFACE["flags"][0], "names": ["--switch"], "takes": "nothing"},
        ],
    }
)


@pytest.mark.parametrize(
    ("words", "outcome", "message"),
    [
        (("--tp-size", "2"), Outcome.PASSED, ""),
        (("--tp-size=2",), Outcome.PASSED, ""),
        (("--tensor-parallel-size", "2"), Outcome.FAILED, "perhaps renamed to --tensor-parallel-s"),
        (("--dtype=half",), Outcome.FAILED, "half is none of auto"),
        (("--dtype", "auto"), Outcome.PASSED, "deprecated"),
        (("--switch=1",), Outcome.FAILED, "takes no value"),
        (("--tp-size",), Outcome.FAILED, "needs a value"),
        ((), Outcome.SKIPPED, "none is given"),
    ],
)
def test_the_users_flags(words: tuple[str, ...], outcome: Outcome, message: str) -> None:
    """A flag that the new version refuses is found only when the server doesn't start."""
    (case,) = flags.cases(words, OLD, NEW)
    assert case.outcome is outcome
    assert message in case.message


def test_flags_that_nobody_could_list_are_not_kept() -> None:
    """An installation that says nothing passes."""
    (case,) = flags.cases(("--x",), OLD, ContractPart(unknown="not installed"))
    assert case.outcome is Outcome.INCONCLUSIVE


OUT: greedy.Outputs = [(1, 2, 3)] * len(greedy.PROMPTS)


@pytest.mark.parametrize(
    ("new", "again", "outcome", "message"),
    [
        (OUT, OUT, Outcome.PASSED, "12 of 12 outputs identical"),
        ([(1, 2, 3), (1, 9, 3), *OUT[2:]], OUT, Outcome.INCONCLUSIVE, "number 2 after 'Q: What"),
        ([(1,), *OUT[1:]], OUT, Outcome.INCONCLUSIVE, "11 of 12 outputs identical"),
        ([(9,)] * 12, [(8,)] * 12, Outcome.INCONCLUSIVE, "the old server's own differ too"),
    ],
    ids=["same", "one token", "shorter", "unsteady"],
)
def test_greedy_outputs(
    new: greedy.Outputs, again: greedy.Outputs, outcome: Outcome, message: str
) -> None:
    """A model that answers otherwise passes, or chance counts as the upgrade's fault."""
    case = greedy.case((OUT, new), again)
    assert case.outcome is outcome
    assert message in case.message


UV = """#!{python}
import os, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "venv":
    pathlib.Path(sys.argv[-1]).mkdir(parents=True)
elif (here / "broken").exists():
    print("Because there is no such version\\nit can't be had")
    sys.exit(1)
"""


def installer(folder: Path) -> Installer:
    """Return an installer whose uv only writes down what it is told."""
    folder.joinpath("uv").write_text(UV.format(python=sys.executable))
    folder.joinpath("uv").chmod(0o755)
    return Installer(folder / "made", str(folder / "uv"), Path("cuts.txt"))


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    """Gigabytes are installed anew each time, or half an environment is used as a whole one."""
    uv = installer(tmp_path)
    (tmp_path / "broken").touch()
    with pytest.raises(NotInstallable, match="it can't be had"):
        anyio.run(uv.make, "0.5.99")
    assert not (tmp_path / "made/0.5.99" / COMPLETE).exists()
    (tmp_path / "broken").unlink()
    uv.discard("0.5.99")
    made = anyio.run(uv.make, "0.5.99")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 4
    assert calls[-1].endswith("--overrides cuts.txt sglang==0.5.99 dill")
    assert anyio.run(uv.make, "0.5.99") == made
    assert (tmp_path / "calls").read_text().splitlines() == calls
    site = Path(made.plugin)
    assert (site / "ci/platform/cpu.py").is_file()
    assert (
        "sglang.srt.platforms"
        in (site / "sglang_ci_plain_cpu-0.dist-info/entry_points.txt").read_text()
    )


def test_what_cannot_be_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing uv is a traceback."""
    monkeypatch.setattr("ci.__file__", str(tmp_path / "ci/__init__.py"))
    with pytest.raises(UsageError, match=r"upgrade\.uv"):
        anyio.run(Installer(tmp_path, "no-such-uv").make, "0.5.99")


def test_the_page_says_what_breaks_first() -> None:
    """A user has to read all changes to find the one that matters."""
    old, new = UpgradeSide("1.0", baseline=True), UpgradeSide("1.1", baseline=False)
    old.contract, new.contract = contract(flags=OLD), contract(flags=NEW)
    new.warnings = ("--dtype is deprecated",)
    bad = Case(name="flag --x", outcome=Outcome.FAILED, message="the new version doesn't know it")
    check = Check(name="your flags", started=now(), seconds=0, cases=(bad,))
    report = Report(started=now(), finished=now(), checks=(check,))
    findings = page.UpgradeFindings(report, old, new, compare(old.contract, new.contract))
    text = page.page(findings, accepting())
    first, second = text.index("## What breaks for you"), text.index("## What else changed")
    assert text.startswith("# SGLang 1.0 → 1.1: FAILED")
    assert "**FAILED** flag --x: the new version doesn't know it" in text[first:second]
    assert "the server warns: --dtype is deprecated" in text[first:second]
    assert "`--switch`" in text[second:]


def test_greedy_outputs_are_asked_of_the_server() -> None:
    """Outputs that were never generated are equal."""
    server = Pretender()
    server.pages["/generate"] = (200, {"output_ids": [1, 2]})

    async def ask() -> greedy.Outputs:
        async with exchanging("http://x:1", transport=server.transport) as exchange:
            return await greedy.outputs(exchange)

    assert anyio.run(ask) == [(1, 2)] * len(greedy.PROMPTS)
    server.pages["/generate"] = (200, {"text": "a"})
    with pytest.raises(SglangCiError, match="without output_ids"):
        anyio.run(ask)

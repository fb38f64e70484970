"""The benchmarks that start servers: their files, and what they make of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks import gate_live, lengths, starts
from benchmarks.gate_rivals import LIVE_RIVALS, ten_per_cent
from benchmarks.noise import StartNoise, SyntheticNoise
from ci.gate import sides
from ci.gate.blocks import Arm, Pair
from ci.gate.rule import METRICS
from ci.gate.sides import GateSide
from ci.verdict import Verdict
from tests.unit.gate_samples import Servers

pytestmark = pytest.mark.unit


def invented(folder: Path, monkeypatch: pytest.MonkeyPatch, slower: float = 0.1) -> Path:
    """Have invented servers started in place of real ones; return a settings file."""

    @asynccontextmanager
    async def up(side: GateSide, _: object) -> AsyncIterator[str]:
        yield side.name

    @asynccontextmanager
    async def loaded(*_: object) -> AsyncIterator[Servers]:
        yield Servers({"candidate": slower})

    monkeypatch.setattr(sides, "up", up)
    monkeypatch.setattr(sides, "loaded", loaded)
    file = folder / "sglang-ci.toml"
    file.write_text("[gate]\nothers = 1.0\nstart_effect = 0.01\n")
    return file


@pytest.mark.long
def test_every_start_is_kept_and_sessions_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session overwrites the one before, or sides never swap their places."""
    settings, file = invented(tmp_path, monkeypatch), tmp_path / "starts.jsonl"
    asked = ("--pairs", "6", "--settings", str(settings), "--out", str(file), "--note", "quiet")
    for _ in range(2):
        starts.main(["--starts", "2", *asked])
    found = starts.read(file)
    assert len(found) == 4
    assert all(len(line.pairs) == 6 for line in found)
    assert [line.first for line in found] in (
        ["baseline", "candidate"] * 2,
        ["candidate", "baseline"] * 2,
    )
    told = capsys.readouterr().out
    assert "quiet | 4 | ttft | " in told
    starts.main(["--starts", "0", *asked])
    assert len(starts.read(file)) == 4


@pytest.mark.long
def test_what_the_file_shows() -> None:
    """The effect of a start holds the noise of its pairs, or the second place isn't seen."""
    dice = random.Random(4)  # noqa: S311
    noise = SyntheticNoise(dict.fromkeys(METRICS, 0.02), spikes=0, drift=0, tails=50)
    drawn = StartNoise(noise, dict.fromkeys(METRICS, 0.03))
    begun = [(drawn.starts(dice, 0.05 * (at % 2))(12), 2 * (at % 2) - 1) for at in range(400)]
    found = starts.summary(begun, "ttft")
    assert found.effect == pytest.approx(0.033, rel=0.2)
    assert found.pair == pytest.approx(0.02 * 2**0.5, rel=0.15)
    assert found.place == pytest.approx(0.025, abs=0.006)
    low, high = starts.interval(begun[:40], lambda each: each.effect, "ttft")
    assert low < found.effect < high


@pytest.mark.parametrize(("slower", "verdict"), [(0.0, "PASSED"), (0.3, "FAILED")])
def test_every_live_comparison_is_kept_and_held_against_rivals(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    slower: float,
    verdict: str,
) -> None:
    """A session overwrites the one before, or other rules see other records."""
    settings, file = invented(tmp_path, monkeypatch, slower), tmp_path / "live.jsonl"
    asked = ("--slower", "0", "--settings", str(settings), "--out", str(file))
    for _ in range(2):
        gate_live.main(["--rounds", "1", *asked])
    found = gate_live.read(file)
    assert [line.verdict for line in found] == [verdict] * 2
    assert all(line.rounds >= (3 if slower else 1) for line in found)
    told = capsys.readouterr().out.splitlines()
    for rule in ("this gate", *LIVE_RIVALS):
        assert any(f"| equal | {rule} | 2 | " in line for line in told), told


def test_a_candidate_that_a_proxy_slows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sleep in the scheduler slows nothing on a GPU, and there is no other slow candidate."""
    settings, file, seen = invented(tmp_path, monkeypatch, 0.3), tmp_path / "live.jsonl", set()

    @asynccontextmanager
    async def slowed(url: str, share: float) -> AsyncIterator[str]:
        seen.add((url, share))
        yield url

    monkeypatch.setattr(gate_live, "slowed", slowed)
    asked = ("--slower", "0.3", "--settings", str(settings), "--out", str(file))
    gate_live.main(["--rounds", "1", "--by", "proxy", *asked])
    assert seen == {("baseline", 0.0), ("candidate", 0.3)}
    (found,) = gate_live.read(file)
    assert (found.by, found.verdict) == ("proxy", "FAILED")
    verdict, low, high = found.findings["tpot"]
    assert verdict == "FAILED"
    assert 1.1 < low < found.ratios["tpot"] < high
    assert "| +30% | this gate | 1 | 1 " in capsys.readouterr().out


def test_loads_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loads are mixed up in the table, or pairs that warm up are counted."""
    settings, file = invented(tmp_path, monkeypatch, 0.3), tmp_path / "lengths.jsonl"
    for name in ("up", "loaded"):
        monkeypatch.setattr(lengths, name, getattr(sides, name))
    asked = ("--lengths", "64:8", "256", "--settings", str(settings), "--out", str(file))
    lengths.main(["--pairs", "3", *asked])
    assert [row["load"] for row in lengths.read(file)] == ["64:8", "256"] * 4
    told = capsys.readouterr().out
    for load in ("64:8", "256"):
        assert f"| {load} | ttft | 3 | " in told


def test_other_rules_on_pairs_that_are_known() -> None:
    """A rival is asked the wrong way round, and loses."""
    pairs, slow = (
        [
            Pair(
                index=at,
                seed=at,
                first=Arm.BASELINE,
                baseline=dict.fromkeys(METRICS, 1.0 + 0.01 * (at % 2)),
                candidate=dict.fromkeys(METRICS, factor * (1.0 + 0.01 * (at % 3))),
            )
            for at in range(12)
        ]
        for factor in (1.0, 1.3)
    )
    history = [pairs, [pair.model_copy(update={"candidate": pair.baseline}) for pair in pairs]]
    for rule in LIVE_RIVALS.values():
        assert rule(slow, history) is Verdict.FAILED
    assert ten_per_cent(pairs, history) is Verdict.PASSED

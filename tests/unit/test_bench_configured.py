"""What the settings of a load and of a comparison become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.bench.configured import bench_options
from ci.bench.prompt_files import FromFile
from ci.bench.schedule import Closed, Open
from ci.errors import UsageError
from ci.gate.configured import block_load, block_options, gate_options
from ci.settings import BenchSettings, GateSettings

pytestmark = pytest.mark.unit


def test_no_load_means_the_usual_one() -> None:
    """A bench without settings sends nothing, or more streams than it has requests."""
    assert bench_options(BenchSettings()).loads == (Closed(8, 128),)
    assert bench_options(BenchSettings(requests=3)).loads == (Closed(3, 3),)


def test_every_named_load_is_sent() -> None:
    """A load that was asked for is left out, or the usual one comes on top."""
    at = BenchSettings(concurrency=(1, 4), rate=(2.5,), requests=16, arrivals="constant", seed=7)
    loads = bench_options(at).loads
    assert loads == (Closed(1, 16), Closed(4, 16), Open(2.5, 16, "constant", 7))


def test_a_ramp_alone_sends_no_other_load() -> None:
    """A search for the highest rate first takes minutes for something else."""
    options = bench_options(BenchSettings(ramp=True, slo_ttft=0.5, ramp_start=3))
    assert options.loads == ()
    assert options.ramp
    assert options.ramp.start == 3
    assert options.ramp.slo.limits == {"ttft": 0.5}


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (BenchSettings(ramp=True), "SLO"),
        (BenchSettings(concurrency=(9,), requests=8), "concurrency 9"),
        (BenchSettings(input="long"), "long"),
    ],
    ids=["ramp without SLO", "fewer requests than streams", "no length"],
)
def test_what_makes_no_sense_is_refused(at: BenchSettings, told: str) -> None:
    """A load that can't be is found out after the server was warmed up, or never."""
    with pytest.raises(UsageError, match=told):
        bench_options(at)


def test_prompts_come_from_the_file(tmp_path: Path) -> None:
    """The file of prompts is named in the settings and synthetic ones are sent."""
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"prompt": "Hello"}) + "\n")
    at = BenchSettings(prompts=file, output_tokens=5, requests=8, repeat=True)
    prompts = bench_options(at).prompts
    assert isinstance(prompts, FromFile)
    assert next(prompts.take("x")).output_tokens == 5


def test_each_comparison_has_prompts_of_its_own() -> None:
    """A second comparison finds the first one's prompts in the servers' caches."""
    seeds = {gate_options(GateSettings()).seed for _ in range(8)}
    assert len(seeds) > 1
    assert gate_options(GateSettings(seed=5)).seed == 5


def test_the_gate_does_as_it_is_told() -> None:
    """A setting of the gate is accepted and does nothing."""
    at = GateSettings(
        slowdown=0.2, least=0.15, false_alarm=0.02, power=0.9, metrics=("e2e",), pairs=30,
        interim=False, repeat=False, budget=60, identical=0.5, concurrency=3, requests=9,
    )  # fmt: skip
    options = gate_options(at)
    assert (options.rule.slowdown, options.rule.least) == (0.2, 0.15)
    assert (options.rule.false_alarm, options.rule.power) == (0.02, 0.9)
    assert options.rule.metrics == ("e2e",)
    assert (options.schedule.pairs, options.schedule.interim, options.schedule.repeat) == (
        *(30, False, False),
    )
    assert (options.budget, options.identical) == (60, 0.5)
    assert block_load(at) == Closed(3, 9)


def test_blocks_keep_answers_and_send_nothing_beside_them() -> None:
    """Answers can't be compared, or looks at the server's gauges disturb one of two blocks."""
    options = block_options(bench_options(BenchSettings()))
    assert options.sampling.keep_outputs
    assert not options.poll


def test_a_baseline_is_an_image_by_digest() -> None:
    """A tag that moves is taken for the same baseline on every day."""
    with pytest.raises(ValueError, match="by digest"):
        GateSettings(baseline="registry.example/team/sglang:latest")

"""The benchmark for a GPU machine, as far as it goes without one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import plan, processes, starts
from benchmarks.gpu.__main__ import run
from benchmarks.gpu.model import SHAPE, SHAPES, make
from benchmarks.gpu.page import page
from benchmarks.gpu.plan import GPU_FLAGS, SLOWER_FLAGS, Plan
from benchmarks.gpu.processes import Deadline, StepFailed, call
from benchmarks.gpu.steps import FIGURES, STEPS
from ci.settings import load

pytestmark = pytest.mark.unit


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Return a plan on a machine that seems to have SGLang."""
    monkeypatch.setattr(plan, "version", lambda _: "0.5.23")
    return Plan(out=tmp_path, model=tmp_path / "model", device="cuda", flags=GPU_FLAGS)


def test_the_model_has_a_word_for_every_token(tmp_path: Path) -> None:
    """Otherwise a random model's answers have no text, and the smoke suite blames the server."""
    folder = make(tmp_path / "model")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(SHAPE["vocab_size"]))
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 4096
    assert "--load-format=dummy" in (folder / "launch.flags").read_text()


def test_settings_are_those_of_the_tool(planned: Plan) -> None:
    """A settings file that the tool refuses costs a GPU machine's time."""
    found = load(planned.settings("a.toml", 1, slower=True), {}, {}).settings
    assert found.server.flags == (*GPU_FLAGS, *SLOWER_FLAGS)
    assert found.server.port == planned.port + 1
    assert found.gate.pairs == planned.sizes.pairs
    assert found.image.sglang_version == "0.5.23"


def test_a_slowing_proxy_takes_the_place_of_flags(planned: Plan) -> None:
    """A candidate that is slowed twice shows less than it seems to."""
    slowed = Plan(planned.out, planned.model, "cpu", (), slowed=0.5)
    assert load(slowed.settings("b.toml", 1, slower=True), {}, {}).settings.server.flags == ()


def test_a_start_that_keeps_nothing_has_a_home_of_its_own(planned: Plan) -> None:
    """Kernels that an earlier start has compiled would make the first one seem fast."""
    at = replace(planned, home=planned.out / "home").settings("c.toml")
    environment = load(at, {}, {}).settings.server.environment
    assert environment["HOME"] == str(planned.out / "home")
    assert environment["TORCHINDUCTOR_CACHE_DIR"].startswith(environment["HOME"])
    assert not load(planned.settings("d.toml"), {}, {}).settings.server.environment


def test_a_step_ends_before_the_command_does(planned: Plan) -> None:
    """What a lent machine cuts off leaves servers behind and no page."""
    assert replace(planned, seconds=30).deadline("boot").left < 31
    assert planned.deadline("boot").left > 400


@pytest.mark.long
def test_weights_are_those_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name or a shape that is off is told by SGLang once the GPU's time runs."""
    torch = pytest.importorskip("torch")
    config = pytest.importorskip("transformers").LlamaConfig
    model = pytest.importorskip("transformers").LlamaForCausalLM
    small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    monkeypatch.setitem(SHAPES, "small", SHAPE | small | heads)
    folder = make(tmp_path / "model", "small", weights=True)
    assert "dummy" not in (folder / "launch.flags").read_text()
    told = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    with torch.device("meta"):
        wanted = model(config(**SHAPES["small"])).state_dict()
    assert set(told) == set(wanted)
    load_file = pytest.importorskip("safetensors.torch").load_file
    for file in set(told.values()):
        for name, tensor in load_file(folder / file).items():
            assert tensor.shape == wanted[name].shape


def test_starts_are_told_by_their_medians(planned: Plan) -> None:
    """One slow start says nothing, and a way that never began has no row."""
    ways = [row for row in starts.WAYS if row != "kept, no graphs"]
    rows = [started(way, seconds) for seconds in (30.0, 90.0, 40.0) for way in ways]
    step = {"as_expected": True, "ways": list(starts._medians(rows)), "seconds": 1.0}
    shown = page({"machine": {}, "steps": {"starts": step}})
    assert "| first | 3 | 40.0 | 700 | 40 | 1 |" in shown
    assert "no graphs" not in shown


def started(way: str, seconds: float) -> dict[str, Any]:
    """Return what one start showed."""
    phases = {"scheduler": seconds, "warm-up": 1.0}
    return {"way": way, "round": 1, "seconds": seconds, "MiB": 700, "phases": phases}


def test_shared_weights_are_told_beside_own_ones() -> None:
    """What sharing spares is the difference between two rows."""
    part = {"seconds": 9.0, "MiB": 20}
    both = {"first": part, "second": part, "MiB of both": 40, "lives on": True}
    step = {"daemon": part, "own": both, "shared": both, "as_expected": True, "seconds": 1.0}
    shown = page({"machine": {}, "steps": {"shared": step}})
    assert "| shared | 9.0 | 20 | 9.0 | 20 | 40 | True |" in shown


def test_a_command_over_its_time_is_told(tmp_path: Path) -> None:
    """A command that hangs would take the machine's whole time."""
    argv = (sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)")
    with pytest.raises(StepFailed, match=r"(?s)not over after .*here"):
        call(argv, tmp_path / "log", Deadline.after(2.0))


def test_no_process_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that outlives its step holds the GPU's memory."""
    monkeypatch.setattr(processes, "STOPPING", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    process = processes._start((sys.executable, "-c", deaf), tmp_path / "log")
    processes.stop(process)
    assert process.returncode is not None


def test_a_failed_step_ends_no_other(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one step found must not be lost by the failure of the next."""

    def broken(_: Plan) -> dict[str, Any]:
        raise StepFailed("no GPU here")

    def works(_: Plan) -> dict[str, Any]:
        return {"as_expected": True, "loads": [row()], "commands": []}

    monkeypatch.setitem(STEPS, "boot", broken)
    monkeypatch.setitem(STEPS, "bench", works)
    monkeypatch.setattr(subprocess, "run", no_gpu)
    assert not run(planned, ["boot", "bench"])
    results = json.loads((planned.out / "results.json").read_text())
    assert results["steps"]["boot"]["error"] == "no GPU here"
    assert results["steps"]["bench"]["as_expected"]
    assert run(planned, ["bench"])
    assert "boot" in json.loads((planned.out / "results.json").read_text())["steps"]


def no_gpu(*_: Any, **__: Any) -> None:
    """Be a machine without nvidia-smi."""
    raise OSError


def row() -> dict[str, Any]:
    """Return one load of the bench, of which one figure is missing."""
    figures: dict[str, float | None] = dict.fromkeys(FIGURES, 1.5)
    sides = {"ours": figures, "theirs": figures | {"p99_ttft_ms": None}}
    return {"concurrency": 8, "requests": 96, "verdict": "PASSED"} | sides


def test_a_missing_figure_is_no_zero() -> None:
    """What wasn't measured must not read as a very good figure."""
    step = {"seconds": 1.0, "as_expected": True, "loads": [row()]}
    assert "1.5 / -" in page({"machine": {}, "steps": {"bench": step}})

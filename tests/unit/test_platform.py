"""The CPU platform: when it steps aside, and the tiny model that is served on it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from ci.platform import TINY_MODEL, cpu
from ci.platform.make_tiny_model import CONTEXT, LAUNCH_FLAGS, VOCABULARY, make

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def torch_that_sees(accelerator: bool) -> SimpleNamespace:  # noqa: FBT001
    """Return a stand-in for torch."""
    return SimpleNamespace(accelerator=SimpleNamespace(is_available=lambda: accelerator))


@pytest.mark.parametrize(("accelerator", "steps_aside"), [(False, False), (True, True)])
def test_it_steps_aside_for_an_accelerator(
    monkeypatch: pytest.MonkeyPatch,
    accelerator: bool,  # noqa: FBT001
    steps_aside: bool,  # noqa: FBT001
) -> None:
    """A GPU is left unused, or a CPU without AMX can't serve."""
    monkeypatch.delenv("SGLANG_USE_CPU_ENGINE", raising=False)
    monkeypatch.setitem(sys.modules, "torch", torch_that_sees(accelerator))
    assert (cpu.activate() is None) is steps_aside


def test_it_steps_aside_for_sglangs_own_cpu_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with AMX can't use SGLang's own kernels, or torch is imported to learn it."""
    monkeypatch.setenv("SGLANG_USE_CPU_ENGINE", "1")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cpu.activate() is None


def test_the_entry_point_and_the_class_are_where_they_are_said_to_be() -> None:
    """SGLang doesn't find the plugin, and ends with an import error of vllm."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (value,) = project["entry-points"]["sglang.srt.platforms"].values()
    assert EntryPoint("plain-cpu", value, "sglang.srt.platforms").load() is cpu.activate
    module, _, name = cpu._CLASS.rpartition(".")
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert f"class {name}(" in source.read_text()


def test_the_plugin_imports_nothing_heavy() -> None:
    """Each process of each SGLang on the machine starts a second later."""
    code = "import sys, ci.platform.cpu; print(*sorted(sys.modules))"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"torch", "sglang", "pydantic", "httpx", "anyio", "typer", "transformers"}


def test_the_tiny_model_is_whole() -> None:
    """The packaged model can't be loaded, or grew by accident."""
    config = json.loads((TINY_MODEL / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["vocab_size"], config["max_position_embeddings"]) == (VOCABULARY, CONTEXT)
    tokenizer = json.loads((TINY_MODEL / "tokenizer.json").read_text())
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    assert len(tokenizer["model"]["vocab"]) == VOCABULARY
    for role in ("bos", "eos", "pad"):
        told = json.loads((TINY_MODEL / "tokenizer_config.json").read_text())[f"{role}_token"]
        assert special[told] == config[f"{role}_token_id"]
    assert (TINY_MODEL / "launch.flags").read_text() == LAUNCH_FLAGS
    assert sum(path.stat().st_size for path in TINY_MODEL.iterdir()) < 100_000


def test_the_chat_template_names_every_role() -> None:
    """A chat loses a message on its way into the prompt."""
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Template((TINY_MODEL / "chat_template.jinja").read_text())
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    rendered = template.render(messages=messages, add_generation_prompt=True)
    assert rendered == "system: S\nuser: U\nassistant: "


@pytest.mark.long
def test_the_tiny_model_is_what_its_script_makes(tmp_path: Path) -> None:
    """The committed model can't be made anew, or was changed by hand."""
    pytest.importorskip("transformers", reason="needs an environment with SGLang")
    make(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in TINY_MODEL.iterdir()}

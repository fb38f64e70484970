"""llama.cpp's two servers, really run on a tiny model that is made for the purpose."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.report.model import Report
from ci.report.write import load
from ci.verdict import Verdict
from tests.live.conftest import HANG

pytestmark = [pytest.mark.live, pytest.mark.long]

PYTHON = os.environ.get("SGLANG_CI_LLAMA_PYTHON", "")
"""An interpreter that has llama-cpp-python[server], where this one doesn't."""


def installed(profile: str) -> bool:
    """Return whether an engine can be started here."""
    if profile == "llama-server":
        return shutil.which("llama-server") is not None
    return bool(PYTHON) or importlib.util.find_spec("llama_cpp") is not None


@pytest.fixture(params=["llama-cpp", "llama-server"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each of the engines that are installed."""
    if not installed(request.param):
        pytest.skip(f"{request.param} isn't installed: see docs/engines.md")
    return str(request.param)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    pytest.importorskip("gguf")
    from tests.tiny_gguf import make

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    make(path)
    return path


def prove(folder: Path, engine: str, **chosen: str) -> tuple[int, Report]:
    """Run `sglang-ci ci` on an engine; return exit code and report."""
    given = {"engine.profile": engine, "engine.python": PYTHON, "bench.requests": "16"} | chosen
    options = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    argv = [sys.executable, "-m", "ci", "ci", "--report-dir", str(folder), *options]
    done = subprocess.run(argv, timeout=HANG, check=False, capture_output=True)
    return done.returncode, load(folder)


def test_a_good_server_passes(engine: str, model: Path, tmp_path: Path) -> None:
    """A profile doesn't fit the engine that it is for."""
    _, report = prove(tmp_path, engine, **{"model.path": str(model)})
    found = {one.name: one.verdict for one in report.checks}
    bench = found.pop("bench", None)
    assert bench in {Verdict.PASSED, Verdict.INCONCLUSIVE}, report.cause
    stages = ("preflight", "readiness", "versions", "smoke", "shutdown")
    assert found == dict.fromkeys(stages, Verdict.PASSED), report.cause


def test_a_broken_model_fails(engine: str, model: Path, tmp_path: Path) -> None:
    """A server that can't load its model is waited for, or called an accident."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(model.read_bytes()[:3000])
    code, report = prove(tmp_path / "report", engine, **{"model.path": str(broken)})
    assert code == 1
    assert "server exited with 1 in phase 'port open'" in report.cause


def test_a_wrong_version_fails(model: Path, tmp_path: Path) -> None:
    """Another version of an engine than the expected one passes."""
    if not installed("llama-cpp"):
        pytest.skip("llama-cpp-python isn't installed: see docs/engines.md")
    chosen = {"model.path": str(model), "smoke.select": "shape"}
    chosen["versions.expected.llama-cpp-python"] = "0.0.1"
    code, report = prove(tmp_path, "llama-cpp", **chosen)
    assert code == 1
    assert report.cause.startswith("versions: llama-cpp-python installed: expected 0.0.1")

"""Another engine's image in the module: the one that is really run here, llama-cpp-python's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ci.report.write import load
from ci.verdict import Verdict
from tests.engine.conftest import Dagger, said
from tests.registries import docker_registry

pytestmark = [pytest.mark.engine, pytest.mark.long]

PYTHON = os.environ.get("SGLANG_CI_LLAMA_PYTHON", "")
"""An interpreter, 3.11 as the image's, that has llama-cpp-python[server]."""
LLAMA = '[engine]\nprofile = "llama-cpp"\n[bench]\nrequests = 16\n'


@pytest.fixture(scope="module")
def image() -> str:
    """A pipeline of the Dagger shell that makes a container with the engine and no entrypoint."""
    if not PYTHON:
        pytest.skip("llama-cpp-python isn't installed: set SGLANG_CI_LLAMA_PYTHON")
    code = "import llama_cpp, pathlib; print(pathlib.Path(llama_cpp.__file__).parents[1])"
    packages = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    path, there = packages.stdout.strip(), "/opt/llama"
    return (
        "container | from python:3.11-slim"
        f" | with-directory {there} $(host | directory {path})"
        f" | with-env-variable PYTHONPATH {there}"
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a tiny model in one file."""
    pytest.importorskip("gguf")
    from tests.tiny_gguf import make

    folder = tmp_path / "model"
    folder.mkdir()
    make(folder / "tiny.gguf")
    return folder


def mounted(model: Path) -> str:
    """Return the argument that gives the module a model of this host."""
    return f"--model $(host | directory {model})"


def asked(dagger: Dagger, folder: Path, image: str, config: str, given: str, then: str) -> str:
    """Return what the Dagger shell says of an image of the engine."""
    file = folder / "sglang-ci.toml"
    file.write_text(config)
    module = f". --config $(host | file {file}) {given}"
    ran = dagger("shell", "-c", f"{module} | image --container $({image}) | {then}")
    return said(ran)


def test_a_good_image_passes_and_keeps_its_report(
    dagger: Dagger, tmp_path: Path, image: str, model: Path
) -> None:
    """Another engine's image is started, asked or judged as if it were SGLang's."""
    kept = tmp_path / "kept"
    told = asked(dagger, tmp_path, image, LLAMA, mounted(model), f"serve | report | export {kept}")
    found = {one.name: one.verdict for one in load(kept).checks}
    bench = found.pop("bench", None)
    assert found == dict.fromkeys(("readiness", "versions", "smoke"), Verdict.PASSED), told
    assert bench in {Verdict.PASSED, Verdict.INCONCLUSIVE}, told


def test_its_release_is_kept_with_its_evidence(
    dagger: Dagger, tmp_path: Path, image: str, model: Path
) -> None:
    """Evidence of another engine's image is missing, or says that this project built it."""
    with docker_registry(tmp_path) as registry:
        baked = f"with-baked-model $(host | directory {model})"
        config = f"{LLAMA}[registry]\nplain_http = true\n"
        given = f"--registry tcp://{registry.address}"
        then = f"{baked} | publish {registry.address}/team/llama:1 | show"
        told = asked(dagger, tmp_path, image, config, given, then)
    page = told.partition("## Release ")[2]
    assert "| smoke | ✅ PASSED |" in page, told
    assert all(f"| {kind} |" in page for kind in ("sbom", "record", "report", "provenance"))


def test_a_wrong_version_fails(dagger: Dagger, tmp_path: Path, image: str, model: Path) -> None:
    """What is installed in another engine's image isn't looked at."""
    config = f'{LLAMA}[versions]\nexpected = {{llama-cpp-python = "0.0.1"}}\n'
    told = asked(dagger, tmp_path, image, config, mounted(model), "serve | versions | verdict")
    assert "FAILED: versions: llama-cpp-python installed: expected 0.0.1" in told


def test_what_asks_sglangs_own_endpoints_is_refused(
    dagger: Dagger, tmp_path: Path, image: str, model: Path
) -> None:
    """A server of another engine is hurt, and then blamed for what it never promised."""
    told = asked(dagger, tmp_path, image, LLAMA, mounted(model), "serve | health | verdict")
    assert "health is of SGLang's own endpoints" in told


def test_without_an_image_the_word_is_clear(dagger: Dagger, tmp_path: Path) -> None:
    """SGLang is built, and proven as another engine."""
    config = tmp_path / "sglang-ci.toml"
    config.write_text(LLAMA)
    ran = dagger("call", "--config", str(config), "ci")
    assert ran.returncode != 0
    assert "engine.profile is 'llama-cpp': bring its image by --container" in said(ran)

"""Whatever a start needs is asked before it, and told in one answer."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from ci.gate.sides import GateSide
from ci.preflight import image, server
from ci.secrets.veil import veiled
from ci.settings import Settings
from ci.verdict import Outcome
from tests.fakes.faulty import closed_port
from tests.fakes.registry import (
    fake_registry,
)
from tests.rare import rare
from tests.unit.preflights import WRONG, asked, found, wrong

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("empty_folder")]

CASE = "def test_one(server):\n    pass\n\ndef test_two(server):\n    pass\n"


def test_nothing_set_is_well() -> None:
    """A first run is refused."""
    answers = found(asked())
    assert {one.outcome for one in answers.values()} == {Outcome.PASSED}
    assert set(answers) == {
        *("settings", "engine", "port", "device", "disk", "load", "SGLang version"),
    }


def test_all_that_is_wrong_is_told_in_one_answer(tmp_path: Path) -> None:
    """Who mends one thing waits fourteen minutes for the next."""
    told = wrong(asked(WRONG, publish_to="127.0.0.1:1/team/image"))
    assert told == {
        "server.port": f"{tmp_path}/sglang-ci.toml: 'x' is not allowed; allowed: a whole number "
        "from 0 to 65535",
        "server.prot": told["server.prot"],
        "model.path": f"{tmp_path}/absent isn't there; name a folder that is",
        "smoke.directories": f"{tmp_path}/nowhere isn't there; name a folder that is",
        "bench.prompts": f"{tmp_path}/prompts.jsonl isn't there; name a file that is",
        "registry.ca_file": f"{tmp_path}/ca.pem isn't there; name a file that is",
        "trust.keys.ci": f"{tmp_path}/ci.pub isn't there; name a file that is",
        "SGLang version": "image.sglang_version: no release is called 0.5.16.0, so there is no "
        "lmsysorg/sglang:v0.5.16.0: write 0.5.16",
        "tag": "the tag {version}-{revision} is made of a revision, and none is given: pass "
        '--revision "$(git rev-parse HEAD)", or name the tag: 127.0.0.1:1/team/image:TAG',
    }


def test_a_caller_of_the_module_is_told_its_own_words() -> None:
    """The message names a path inside our container, or a variable that the caller never set."""
    environ = {"REGISTRY_PASSWORD": "x", "SIGNING_KEY": "k", "SIGSTORE_ID_TOKEN": "t"}
    to = "registry.example/team/image:v1"
    told = wrong(asked(WRONG, environ, publish_to=to, container=True))
    assert told["server.port"].startswith("sglang-ci.toml: 'x' is not allowed")
    assert told["trust.keys.ci"] == (
        "ci.pub can't be seen from a container; "
        "pass --trust DIR with ci.pub in it, and write trust/ci.pub here"
    )
    assert told["model.path"] == "absent can't be seen from a container; pass --model absent"
    assert told["registry.ca_file"].endswith("pass --registry-ca ca.pem")
    both = "--signing-key and --identity-token are both set: unset one of them"
    assert told["signing key"] == veiled(both) == both
    whole = WRONG.replace('ca_file = "ca.pem"', "")
    told = wrong(asked(whole, environ, publish_to=to, container=True))
    alone = "--password is set, and --username isn't"
    assert told["registry"] == veiled(alone) == alone


def test_what_isnt_needed_isnt_demanded() -> None:
    """A run that publishes nothing is refused for a key that only a release needs."""
    answers = wrong(asked(WRONG))
    assert not {"registry.ca_file", "trust.keys.ci", "tag", "registry"} & set(answers)
    answers = wrong(asked(WRONG, everything=True))
    assert {"registry.ca_file", "trust.keys.ci"} <= set(answers)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("org/name", "needs its revision: org/name@REVISION"),
        ("./name", "isn't there; name a folder that is"),
        ("file", "file is no folder: name the folder of a whole model"),
    ],
)
def test_a_model_that_isnt_there(named: str, words: str) -> None:
    """A hub's model without its revision is taken for a folder, and the server called bad."""
    Path("file").touch()
    (told,) = wrong(asked(f'[model]\npath = "{named}"')).values()
    assert words in told
    other = asked(f'[model]\npath = "{named}"\n[engine]\nprofile = "vllm"')
    assert bool(wrong(other)) == (named != "file")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "has no config.json: name the folder of a whole model"),
        ("{", "config.json is not JSON: get the model anew"),
        ("{}", ""),
    ],
)
def test_a_model_that_is_not_whole(content: str | None, problem: str) -> None:
    """SGLang finds out after half a minute that a model is no model."""
    Path("m").mkdir()
    if content is not None:
        Path("m/config.json").write_text(content)
    told = wrong(asked('[model]\npath = "m"'))
    assert told.get("model", "").endswith(problem)
    assert bool(told) == bool(problem)


@pytest.mark.parametrize(
    ("content", "problem"),
    rare(
        [
            (CASE, ""),
            ("import nowhere\n", "test_x.py: ModuleNotFoundError: No module named 'nowhere'"),
            ("def test_x(:\n", "test_x.py: SyntaxError: invalid syntax"),
            ("x = 1\n", "holds no case: files test_*.py with test_…()"),
        ],
        2,
    ),
)
def test_cases_that_cannot_be_collected(content: str, problem: str) -> None:
    """A typing error in a user's case is found after the server was built and started."""
    Path("cases").mkdir()
    Path("cases/test_x.py").write_text(content)
    answers = found(asked('[smoke]\ndirectories = ["cases"]'))
    (answer,) = [one for name, one in answers.items() if name.startswith("cases in")]
    assert answer.message.endswith(problem or "2 cases")
    assert answer.usage == bool(problem)
    assert not list(Path("cases").rglob("*.pyc"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("requests = 2", ""),
        ("requests = 3", "p.jsonl has 2 prompts, and a load is of 3 requests"),
        ("requests = 3\nrepeat = true", ""),
        ("requests = 2\nconcurrency = [4]", "concurrency 4: needs from 1 to 2"),
    ],
)
def test_a_load_that_cannot_be(settings: str, problem: str) -> None:
    """A file with too few prompts ends a run after its smoke tests."""
    line = json.dumps({"prompt": "why?", "output_tokens": 2})
    Path("p.jsonl").write_text(f"{line}\n{line}\n")
    told = wrong(asked(f'[bench]\nprompts = "p.jsonl"\n{settings}'))
    assert problem in told.get("load", "")
    assert bool(told) == bool(problem)


def test_a_port_that_is_taken() -> None:
    """A port in use is found after the model is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        of = asked(f"[server]\nport = {other.getsockname()[1]}")
        answer = found(of)["port"]
    assert f"is taken by pid {os.getpid()} (" in answer.message
    assert (answer.outcome, answer.usage) == (Outcome.ERROR, False)


def test_a_gpu_that_isnt_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on a machine without a GPU ends after a minute of imports."""
    monkeypatch.setattr(server, "_has_gpu", lambda: False)
    told = wrong(asked('[server]\ndevice = "cuda"'))
    assert 'server.device is "cuda", and no GPU is visible' in told["device"]
    monkeypatch.setattr(server, "_has_gpu", lambda: True)
    assert not wrong(asked('[server]\ndevice = "cuda"'))
    hidden = 'device = "cuda"\nenvironment = { CUDA_VISIBLE_DEVICES = "" }'
    assert "device" in wrong(asked(f"[server]\n{hidden}"))


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build fails at its end for lack of room."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("U", (), {"free": 50_000_000}))
    assert "0.1 GB free" in wrong(asked())["disk"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("U", (), {"free": 5_000_000_000}))
    answer = found(asked(container=True))["disk"]
    assert answer.message == "5.0 GB free; the first build of an image takes about 10 GB"


def test_an_engine_that_nobody_knows() -> None:
    """A misspelt profile is found when the server is to be started."""
    assert "'vlm' is no engine's profile" in wrong(asked('[engine]\nprofile = "vlm"'))["engine"]
    text = '[engine]\nprofile = "vllm"\npython = "venv/bin/python"'
    assert "venv/bin/python can't be run" in wrong(asked(text))["engine"]


@pytest.mark.parametrize(
    ("version", "right"),
    [
        ("0.5.16.0", "0.5.16"),
        ("v0.5.16", "0.5.16"),
        ("0.5.16-rc1", "0.5.16rc1"),
        ("0.5.16.0.post1", "0.5.16.post1"),
        ("0.5.0", ""),
        ("0.5.16", ""),
        ("0.5.16.post1", ""),
    ],
)
def test_a_version_that_no_release_is_called(version: str, right: str) -> None:
    """A version that PEP 440 takes for another's name asks for an image that isn't there."""
    told = wrong(asked(f'[image]\nsglang_version = "{version}"')).get("SGLang version", "")
    assert told.endswith(f"write {right}" if right else "")
    assert bool(told) == bool(right)


def test_a_base_image_that_isnt_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build for GPUs begins, and ends with a 404 that says nothing of what to do."""
    with fake_registry() as registry:
        base = f"{registry.address}/lmsysorg/sglang"
        monkeypatch.setattr(image, "_bases", lambda version: {image.OFFICIAL: f"{base}:v{version}"})
        answer = found(asked(gpu=True))["base image"]
    assert answer.outcome is Outcome.SKIPPED  # it speaks plain HTTP, which isn't asked there
    assert f"{base}:v0.5.23" in answer.message
    monkeypatch.setattr("ci.registry.client.Registry.resolve", lambda *_: None)
    told = wrong(asked(gpu=True))["base image"]
    assert told == (
        f"there is no {base}:v0.5.23: set image.sglang_version to a release that has an image, "
        "or bring an image of your own by --container"
    )


def test_a_baseline_is_asked_for_too() -> None:
    """A candidate is built and proven before it is seen that there is no baseline."""
    gone = f"http://127.0.0.1:{closed_port()}"
    told = wrong(asked(baseline=GateSide("baseline", gone)))
    assert "accepts no connection: Connection refused" in told["baseline"]
    settings = Settings.model_validate({"model": {"path": "/absent"}})
    told = wrong(asked(baseline=GateSide("baseline", settings=settings)))
    assert told["baseline's model.path"].startswith("/absent isn't there")


def test_a_question_that_is_never_answered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run waits for ever on a file system that hangs."""
    monkeypatch.setattr("ci.preflight.stage.PATIENCE", 0.2)
    monkeypatch.setattr(server, "disk", lambda _: __import__("time").sleep(2) or "")
    assert wrong(asked()) == {"disk": "no answer within 0.2 s"}

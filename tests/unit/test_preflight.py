"""Whatever can be known in seconds is asked before anything else, and told in one answer."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from ci.commands.options import lenient
from ci.gate.stage import Side
from ci.preflight import image, server
from ci.preflight.asked import Asked, Finding
from ci.preflight.stage import preflight, refusals
from ci.release.signing import new_key
from ci.secrets.veil import veiled
from ci.settings import Settings
from ci.verdict import Outcome
from tests.fakes.faulty import closed_port
from tests.fakes.registry import (
    PASSWORD,
    USER,
    FakeRegistry,
    failing,
    fake_registry,
    silent,
)
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

KEY, PUBLIC = new_key()
CASE = "def test_one(server):\n    pass\n\ndef test_two(server):\n    pass\n"


def asked(text: str = "", environ: Mapping[str, str] | None = None, **more: Any) -> Asked:
    """Return what a caller wants whose settings file, in the working folder, is `text`."""
    Path("sglang-ci.toml").write_text(text)
    found, wrong = lenient(None, None, {})
    return Asked.here(found.settings, environ or {}, None, wrong=wrong, **more)


def found(of: Asked) -> dict[str, Finding]:
    """Return all findings by their names, which are all different."""
    findings = anyio.run(preflight, of, lambda _: None)
    assert len({one.name for one in findings}) == len(findings)
    return {one.name: one for one in findings}


def wrong(of: Asked) -> dict[str, str]:
    """Return what is wrong, by name."""
    return {name: one.message for name, one in found(of).items() if one.outcome is Outcome.ERROR}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SGLANG_CI_")]:
        monkeypatch.delenv(name)


def test_nothing_set_is_well() -> None:
    """A first run is refused."""
    answers = found(asked())
    assert {one.outcome for one in answers.values()} == {Outcome.PASSED}
    assert set(answers) == {
        *("settings", "engine", "port", "device", "disk", "load", "SGLang version"),
    }


WRONG = """
[server]
port = "x"
prot = 1
[model]
path = "absent"
[smoke]
directories = ["nowhere"]
[bench]
prompts = "prompts.jsonl"
[registry]
ca_file = "ca.pem"
[trust]
keys = { ci = "ci.pub" }
[image]
sglang_version = "0.5.16.0"
"""


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
    [
        (CASE, ""),
        ("import nowhere\n", "test_x.py: ModuleNotFoundError: No module named 'nowhere'"),
        ("def test_x(:\n", "test_x.py: SyntaxError: invalid syntax"),
        ("x = 1\n", "holds no case: files test_*.py with test_…()"),
    ],
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
    told = wrong(asked(baseline=Side("baseline", gone)))
    assert "accepts no connection: Connection refused" in told["baseline"]
    settings = Settings.model_validate({"model": {"path": "/absent"}})
    told = wrong(asked(baseline=Side("baseline", settings=settings)))
    assert told["baseline's model.path"].startswith("/absent isn't there")


def test_a_question_that_is_never_answered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run waits for ever on a file system that hangs."""
    monkeypatch.setattr("ci.preflight.stage.PATIENCE", 0.2)
    monkeypatch.setattr(server, "disk", lambda _: __import__("time").sleep(2) or "")
    assert wrong(asked()) == {"disk": "no answer within 0.2 s"}


RELEASE = """
[registry]
plain_http = true
timeout = 1
attempts = 1
[trust.keys]
ci = "ci.pub"
[environments.prod]
"""


def releasing(store: FakeRegistry, **more: Any) -> Asked:
    """Return what is asked of somebody who publishes into a registry."""
    Path("ci.pub").write_text(PUBLIC)
    who = {"REGISTRY_USERNAME": USER, "REGISTRY_PASSWORD": PASSWORD, "SIGNING_KEY": KEY}
    environ = who | more.pop("environ", {})
    to = f"{store.address}/team/image"
    return asked(RELEASE, environ, **{"publish_to": to, "revision": "0123456789abcdef"} | more)


@pytest.mark.parametrize("login", ["", "Basic", "Bearer"])
def test_a_registry_that_takes_it(login: str) -> None:
    """A right call is refused, or leaves an upload behind."""
    with fake_registry(login=login) as store:
        answers = found(releasing(store))
        assert not [one for one in answers.values() if one.outcome is Outcome.ERROR]
        assert answers["tag"].message == f"{store.address}/team/image:0.5.23-0123456789ab"
        assert answers["registry"].message == "it takes uploads, and 0.5.23-0123456789ab is free"
        assert answers["signing key"].message == "that of ci"
        assert store.count("POST .*/blobs/uploads/$") >= 1
        assert store.count("DELETE .*/blobs/uploads/") == 1


def test_a_tag_that_is_taken_is_worth_knowing() -> None:
    """A tag that another build took is found out after the proof."""
    with fake_registry() as store:
        store.put("application/vnd.oci.image.manifest.v1+json", b"{}", "v1")
        answers = found(releasing(store, publish_to=f"{store.address}/team/image:v1"))
    told = "it takes uploads; v1 is there already, and is refused unless this is that very image"
    assert answers["registry"].message == told
    assert answers["registry"].outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("environ", "fault", "words"),
    [
        ({"REGISTRY_PASSWORD": "wrong"}, None, "401"),
        ({"REGISTRY_USERNAME": ""}, None, "REGISTRY_USERNAME isn't"),
        ({"REGISTRY_USERNAME": "", "REGISTRY_PASSWORD": ""}, None, "no user is given"),
        ({}, failing(403, "DENIED", "pull only"), "answered 403 Forbidden: DENIED: pull only"),
        ({}, silent, "no answer within 1 s"),
        ({}, failing(503), "answered 503"),
    ],
)
def test_a_registry_that_refuses(environ: dict[str, str], fault: Any, words: str) -> None:
    """A build of ten minutes ends at a registry that takes nothing from this user."""
    with fake_registry(login="Basic") as store:
        if fault:
            store.fault("POST .*/blobs/uploads/", fault)
        answer = found(releasing(store, environ=environ))["registry"]
    assert answer.outcome is Outcome.ERROR
    assert words in answer.message
    assert answer.usage == ("isn't" in words)


def test_a_registry_that_isnt_there() -> None:
    """A registry out of reach is found after the build, or is taken for a wrong input."""
    once = "[registry]\nattempts = 1"
    of = asked(once, publish_to=f"127.0.0.1:{closed_port()}/team/image:v1")
    answer = found(of)["registry"]
    assert "connection refused" in answer.message
    assert (answer.outcome, answer.usage) == (Outcome.ERROR, False)


@pytest.mark.parametrize("to", ["nonsense", "registry.example/team/Image", "a.b/c@latest"])
def test_a_reference_that_is_none(to: str) -> None:
    """A typing error in `--publish-to` is told twice, or after the build."""
    told = wrong(asked("", publish_to=to))
    assert list(told) == ["reference"]


@pytest.mark.parametrize(
    ("signing", "words"),
    [
        (new_key()[0], "the signing key is none of [trust] keys (ci): prod would take nothing"),
        ("absent.key", "SIGNING_KEY is neither a PEM nor a file"),
        (new_key("locked")[0], "the signing key needs a password"),
        ("", ""),
    ],
)
def test_a_key_that_cannot_sign(signing: str, words: str) -> None:
    """Evidence can't be signed, or by nobody who is trusted, and that is told after the push."""
    with fake_registry() as store:
        answers = found(releasing(store, environ={"SIGNING_KEY": signing}))
    told = answers["signing key"]
    assert told.message.startswith(words or "nothing is signed, and prod takes nothing unsigned")
    assert (told.outcome is Outcome.ERROR) == bool(words)


def test_a_trusted_key_that_is_none() -> None:
    """A file that is no public key is found when the release is verified."""
    with fake_registry() as store:
        of = releasing(store)
        Path("ci.pub").write_text("no key")
        assert "the trusted key ci is not" in wrong(of)["trusted key ci"]


def test_the_command_tells_all_and_ends_as_a_wrong_call(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CI can't tell a wrong call from a bad server, or reads of one fault at a time."""
    Path("sglang-ci.toml").write_text(WRONG)
    assert command("preflight", "--publish-to", "127.0.0.1:1/team/image") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert all(line.startswith("sglang-ci: ") for line in lines)
    report = json.loads(Path("report/report.json").read_text())
    assert [check["name"] for check in report["checks"]] == ["preflight"]
    assert report["verdict"] == "ERROR"


def test_the_command_tells_what_is_out_of_reach_as_an_error(command: Command) -> None:
    """A registry that is down reads as a wrong call."""
    to = f"127.0.0.1:{closed_port()}/team/image:v1"
    assert command("preflight", "--publish-to", to, "--set", "registry.attempts=1") == 4


def test_the_command_passes_where_all_is_well(command: Command, tmp_path: Path) -> None:
    """A right call is refused."""
    seen = tmp_path / "seen.json"
    seen.write_text(json.dumps([{"name": "base image", "outcome": "PASSED", "message": "x@y"}]))
    assert command("preflight", "--seen", str(seen)) == 0
    assert '"x@y"' in Path("report/report.json").read_text()
    seen.write_text("[1]")
    assert command("preflight", "--seen", str(seen)) == 2


def test_a_whole_run_is_refused_before_it_begins(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ci` starts a server, and then finds that a folder of cases isn't there."""
    asked_for = ("ci", "--model", "org/name", "--smoke", "nowhere", "--set", "server.device=cpu")
    assert command(*asked_for) == 2
    told = capsys.readouterr().err
    assert "org/name@REVISION" in told
    assert "nowhere isn't there" in told
    assert not Path("report/server.log").exists()


def test_findings_are_refused_together() -> None:
    """What is out of reach is left out of the answer to a wrong call."""
    down = Finding("registry", Outcome.ERROR, "down")
    bad = Finding("tag", Outcome.ERROR, "bad", usage=True)
    assert refusals([down, bad, Finding("x")]) == ["registry: down", "tag: bad"]
    assert refusals([down]) == []

"""A server with an API key: every stage sends it, and without the right one judges nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ci.contract import metrics
from ci.report.write import load
from ci.verdict import Verdict
from tests.fakes.described import described
from tests.fakes.keyed import guarded
from tests.fakes.launched import Plan
from tests.fakes.sglang import FakeSglang, Settings
from tests.fakes.timed import Timed, Timing
from tests.rare import rare
from tests.unit.commands import Command, proving
from tests.unit.contract_samples import openly

pytestmark = pytest.mark.unit

KEY = "sk-door-7f3a"
VARIABLE, BASELINE = "SGLANG_API_KEY", "SGLANG_BASELINE_API_KEY"
LIGHT = (
    *("--set", "bench.output=4", "--set", "bench.warm_up_requests=16", "--set", "bench.poll=0"),
    *("--set", "bench.requests=8", "--set", "bench.concurrency=[2]"),
    *("--set", "gate.concurrency=2", "--set", "gate.requests=4", "--set", "gate.pairs=12"),
    *("--set", "gate.others=1", "--set", "gate.wait=0"),
    *("--set", "gate.slowdown=1", "--set", "gate.least=0.5", "--set", "bench.warm_up_drift=5"),
)
BRIEF = (
    *("--fault", "disconnects", "--set", "health.calm=0.1", "--set", "health.load=0.5"),
    *("--set", "health.interval=0.1", "--set", "health.prompts=1"),
)
OWN = """
def test_own(client):
    assert client.get('/v1/models').status_code == 200

def test_another(client):
    client.get('/model_info').raise_for_status()
"""


@contextmanager
def sglang() -> Iterator[str]:
    """Yield the URL of a fake of SGLang that wants the key as SGLang does."""
    with FakeSglang(Settings(api_key=KEY)) as server:
        yield server.url


@contextmanager
def free() -> Iterator[str]:
    """Yield the URL of a fake of SGLang that wants no key."""
    with FakeSglang() as server:
        yield server.url


@contextmanager
def quick() -> Iterator[str]:
    """Yield the URL of a server of known timing that wants no key."""
    with Timed(Timing(ttft=0.01, itl=0.002)) as server:
        yield server.url


@contextmanager
def timed() -> Iterator[str]:
    """Yield the URL of a server of known timing behind a proxy that wants the key."""
    with quick() as server, guarded(server, KEY) as url:
        yield url


@contextmanager
def schematic() -> Iterator[str]:
    """Yield the URL of a server that describes itself, behind a proxy that wants the key."""
    with described() as server, guarded(server.url, KEY) as url:
        yield url


@contextmanager
def recorded() -> Iterator[str]:
    """Yield the URL of a server that has a contract, behind a proxy that wants the key."""
    with openly() as server, guarded(server, KEY) as url:
        yield url


Opener = Callable[[], AbstractContextManager[str]]
STAGES: dict[str, tuple[Opener, Callable[[str], tuple[str, ...]], int]] = {
    "wait": (sglang, lambda url: ("wait", url), 0),
    "versions": (sglang, lambda url: ("versions", url, "--expect", "sglang=0.5.23"), 0),
    "smoke": (sglang, lambda url: ("smoke", url, "-k", "completion or disconnect"), 0),
    "own cases": (
        sglang,
        lambda url: ("smoke", url, "--smoke", "own", "--set", "smoke.builtin=false"),
        0,
    ),
    "health": (sglang, lambda url: ("health", url, *BRIEF), 0),
    "bench": (timed, lambda url: ("bench", url, *LIGHT), 3),
    "compare": (timed, lambda url: ("compare", url, url, *LIGHT), 3),
    "self-test": (timed, lambda url: ("compare", url, "--self-test", *LIGHT), 3),
    "contract": (recorded, lambda url: ("contract", "compare", url, url), 0),
    "fuzz": (
        schematic,
        lambda url: ("fuzz", url, "--set", "fuzz.examples=2", "--operation", "GET /ready"),
        0,
    ),
}
"""Server, command, and the exit code that a busy machine may give it beside 0."""
OPEN: dict[str, Opener] = {"bench": quick, "contract": openly}
"""Servers of stages that want no key, where it isn't the fake of SGLang."""


@pytest.fixture(autouse=True)
def _cases(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SETTLE", 0.1)
    Path("own").mkdir()
    Path("own/test_own.py").write_text(OWN)


def written() -> str:
    """Return all that a command left, as text."""
    files = (path for path in Path("report").rglob("*") if path.is_file())
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


@pytest.mark.parametrize("stage", rare([stage for stage in STAGES if stage != "self-test"], 2))
def test_a_good_server_with_a_key_passes(
    command: Command, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Every request of a stage isn't sent with the key, so that a good server is FAILED."""
    server, argv, other = STAGES[stage]
    monkeypatch.setenv(VARIABLE, KEY)
    with server() as url:
        code = command(*argv(url))
    assert code in {0, other}, load(Path("report")).cause
    assert KEY not in written()


@pytest.mark.parametrize(
    ("stage", "sent"),
    rare(
        [
            *((stage, "") for stage in STAGES),
            ("wait", "sk-wrong"),
            ("smoke", "sk-wrong"),
            ("bench", "sk-wrong"),
        ],
        3,
    ),
)
def test_without_the_right_key_nothing_is_judged(
    command: Command, monkeypatch: pytest.MonkeyPatch, stage: str, sent: str
) -> None:
    """A key that wasn't given reads as a bad server, or as something else than SGLang."""
    server, argv, _ = STAGES[stage]
    monkeypatch.setenv(VARIABLE, sent)
    with server() as url:
        code = command(*argv(url))
    found = load(Path("report"))
    assert (code, found.verdict) == (4, Verdict.ERROR), found.cause
    said = "the server refuses this API key" if sent else "the server wants an API key"
    assert f"HTTP 401: {said}: set SGLANG_API_KEY" in found.cause
    assert "sk-wrong" not in written()


@contextmanager
def two(stage: str) -> Iterator[tuple[str, str]]:
    """Yield the URLs of a baseline and a candidate, each of which wants a key of its own."""
    server, keys = OPEN[stage], ("sk-baseline-1", KEY)
    with server() as url, guarded(url, keys[0]) as first, guarded(url, keys[1]) as second:
        yield first, second


TWO: dict[str, Callable[[str, str], tuple[str, ...]]] = {
    "bench": lambda first, second: ("compare", first, second, *LIGHT),
    "contract": lambda first, second: ("contract", "compare", first, second),
}


@pytest.mark.parametrize("stage", rare(TWO))
@pytest.mark.parametrize("of_baseline", rare(["sk-baseline-1", "sk-wrong", None], 2))
@pytest.mark.long
def test_each_of_two_servers_is_asked_with_its_own_key(
    command: Command, monkeypatch: pytest.MonkeyPatch, stage: str, of_baseline: str | None
) -> None:
    """The candidate's key is sent to the baseline, which may be somebody else's server."""
    monkeypatch.setenv(VARIABLE, KEY)
    if of_baseline is None:
        monkeypatch.delenv(BASELINE, raising=False)
    else:
        monkeypatch.setenv(BASELINE, of_baseline)
    with two(stage) as urls:
        code = command(*TWO[stage](*urls))
    cause = load(Path("report")).cause
    if of_baseline == "sk-baseline-1":
        assert code in {0, 3}, cause
        assert "HTTP 401" not in written()
    else:
        assert code == 4
        cure = BASELINE if of_baseline else VARIABLE
        assert f"refuses this API key: set {cure} to another one" in cause
        assert urls[0] in cause


@pytest.mark.long
def test_a_proxy_that_forbids_is_a_missing_key(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """403 of a gateway is told as a server that isn't SGLang."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with FakeSglang() as server, guarded(server.url, KEY, status=403) as url:
        for stage in ("wait", "versions", "smoke"):
            assert command(*STAGES[stage][1](url)) == 4
            cause = load(Path("report")).cause
            assert "HTTP 403: the server wants an API key: set SGLANG_API_KEY" in cause


def test_a_gateway_may_hide_what_a_server_says_of_its_health(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good server is waited for until the budget is spent, since a gateway forbids `/ready`."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with free() as server, guarded(server, KEY, paths="/ready|/health", status=403) as url:
        assert command("wait", url) == 0, load(Path("report")).cause


@pytest.mark.parametrize("stage", rare(["smoke", "wait", "health", "bench", "contract"]))
@pytest.mark.long
def test_a_key_for_some_paths_only(
    command: Command, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """A gateway that guards only what costs money makes a good server FAILED."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with OPEN.get(stage, free)() as upstream, guarded(upstream, KEY, paths="/generate") as url:
        code = command(*STAGES[stage][1](url))
    found = load(Path("report"))
    assert (code, found.verdict) == (4, Verdict.ERROR), found.cause
    assert "/generate: HTTP 401: the server wants an API key" in found.cause


ADMIN = """
import pytest

@pytest.fixture
def flushed(ask):
    ask.post('/flush_cache', {})

def test_first(flushed):
    pass

def test_wrong(generate):
    assert generate('a').text == 'never'

def test_refused(client):
    assert client.post('/flush_cache').status_code == 401

def test_good(generate):
    generate('a')
"""


@pytest.mark.long
def test_one_refusal_is_no_other_cases_own(command: Command) -> None:
    """A case that asks for an administrator's path ends all others, or excuses a bad answer."""
    Path("own/test_own.py").write_text(ADMIN)
    own = ("--smoke", "own", "--set", "smoke.builtin=false")
    with free() as server, guarded(server, KEY, paths="/flush_cache|/v1/chat") as url:
        assert command("smoke", url, *own) == 1
    (check,) = load(Path("report")).checks
    own_cases = (case for case in check.cases if "::" in case.name)
    assert {case.name.rpartition("_")[2]: case.outcome.value for case in own_cases} == {
        "first": "ERROR",
        "wrong": "FAILED",
        "refused": "PASSED",
        "good": "PASSED",
    }


def test_a_key_that_cannot_be_sent_is_a_usage_error(
    command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A key with a line end in it, as files of keys have, is told as anything else, or shown."""
    monkeypatch.setenv(VARIABLE, "sk-secret\n")
    assert command("versions", "http://127.0.0.1:1") == 4
    said = capfd.readouterr()
    assert "SGLANG_API_KEY can't be sent" in said.out + said.err + load(Path("report")).cause
    assert "sk-secret" not in said.out + said.err + written()


def test_a_key_that_cannot_be_sent_is_told_before_anybody_is_waited_for(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line end in a key is told after ten minutes of waiting for the server's port."""
    monkeypatch.setenv(VARIABLE, "sk-secret\n")
    assert command("wait", "http://127.0.0.1:1", "--set", "readiness.port_open=3") == 4
    assert "SGLANG_API_KEY can't be sent" in load(Path("report")).cause


@pytest.mark.parametrize(
    "flags", rare([[f"--api-key={KEY}"], ["--api-key", "old", "--api-key", KEY]])
)
@pytest.mark.long
def test_a_server_that_we_start_gets_the_key_of_its_own_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """`ci` can't prove a server whose flags hold a key, or sends it another server's."""
    monkeypatch.setenv(VARIABLE, "sk-of-another-server")
    with proving(tmp_path, "--set", f"server.flags={json.dumps(flags)}") as run:
        assert run.wait() == 0, run.output()
    report = run.report()
    assert {check.verdict for check in report.checks} == {Verdict.PASSED}
    assert KEY not in run.output()


@pytest.mark.long
@pytest.mark.parametrize("fault", ["", "unavailable"])
def test_a_server_gets_the_key_of_its_models_own_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A good server whose model brings its key along is asked without it, and its key is shown."""
    monkeypatch.delenv(VARIABLE, raising=False)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "launch.flags").write_text(f"  # ours\n\n--api-key={KEY}\n")
    brief = ("--set", "readiness.serving=3", "--set", "readiness.first_token=3")
    plan = Plan(faults=(fault,) if fault else ())
    with proving(tmp_path, "--model", str(model), *brief, plan=plan) as run:
        assert run.wait() == (1 if fault else 0), run.output()
    assert "API key" not in run.report().cause
    left = [path for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert not [path for path in left if KEY in path.read_bytes().decode("latin-1")]
    assert KEY not in run.output()

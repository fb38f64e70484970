"""Engine profiles: found by name, started by their own commands, read by their own pages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from ci import engines
from ci.bench.agreement import view
from ci.bench.configured import bench_options
from ci.bench.scrape import gauges, parse
from ci.engines.profile import Capability, OtherServer, Profile, Start
from ci.errors import BadAnswer, NotSglang, SettingsError, UsageError
from ci.settings import BenchSettings
from tests.fakes import engine_pages
from tests.fakes.faulty import Behaviour, Connection, listening, response
from tests.fakes.openai import fake_engine
from tests.fakes.sglang import FakeSglang
from tests.unit.commands import Command

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OTHERS = sorted(set(engines.OURS) - {"sglang"})
VERSIONS: dict[str, dict[str, Any]] = {
    "vllm": {"/version": {"version": "1.2.3"}},
    "tgi": {"/info": {"version": "1.2.3", "model_id": "/m"}},
    "llama-cpp": {"/openapi.json": {"info": {"title": "llama.cpp", "version": "1.2.3"}}},
    "llama-server": {"/props": {"build_info": "1.2.3", "model_path": "/m"}},
    "openai": {},
}
"""Where each engine tells its version."""


@pytest.mark.parametrize("name", sorted(engines.OURS))
def test_every_listed_profile_is_there(name: str) -> None:
    """A name of the list can't be used."""
    found = engines.profile(name)
    assert found.name == name
    assert found.title


def test_an_unknown_profile_is_refused_with_those_that_there_are() -> None:
    """A slip of the pen serves SGLang, or ends in a traceback."""
    with pytest.raises(SettingsError, match=r"'vlm' is no engine's profile; allowed: .*vllm"):
        engines.profile("vlm")


def installed(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Install an entry point `mine`."""
    point = EntryPoint("mine", value, engines.GROUP)
    monkeypatch.setattr(engines, "entry_points", lambda **_: EntryPoints([point]))


def test_a_package_brings_its_own_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users have to change this package for their engine."""
    installed(monkeypatch, "ci.engines.vllm:PROFILE")
    assert engines.profile("mine").title == "vLLM"


@pytest.mark.parametrize(
    ("value", "problem"),
    [("ci.engines.vllm:_argv", "is no ci.engines.profile.Profile"), ("no.such:X", "can't be load")],
)
def test_a_package_whose_profile_is_none(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    """A broken package is a traceback in the middle of a run."""
    installed(monkeypatch, value)
    with pytest.raises(SettingsError, match=problem):
        engines.profile("mine")


@pytest.mark.parametrize("name", ["vllm", "tgi", "llama-cpp", "llama-server"])
def test_a_command_names_model_host_port_and_served_name(name: str) -> None:
    """An engine is started with another model, or where nobody looks for it."""
    argv = engines.profile(name).argv
    assert argv
    words = argv(Start(Path("/models/a"), "127.0.0.2", 31000, "mine", "/py"))
    assert {"/models/a", "127.0.0.2", "31000"} <= set(words)
    assert ("mine" in words) is (name != "tgi")
    with pytest.raises(UsageError, match=rf"'{name}' needs a model"):
        argv(Start(None, "127.0.0.2", 31000, "", "/py"))


def test_the_file_in_a_folder_is_served(tmp_path: Path) -> None:
    """llama.cpp is given a folder, which it can't read."""
    (tmp_path / "a.gguf").touch()
    argv: Callable[[Start], list[str]] | None = engines.profile("llama-cpp").argv
    assert argv
    words = argv(Start(tmp_path, "127.0.0.1", 1, "", sys.executable))
    assert str(tmp_path / "a.gguf") in words


@pytest.mark.parametrize("name", OTHERS)
async def test_a_server_is_described(name: str) -> None:
    """A version is read from another engine's page, or not at all."""
    engine = engines.profile(name)
    with fake_engine(VERSIONS[name]) as url:
        async with engine.client(url) as client:
            found = await engine.describe(client)
    assert found.version == ("1.2.3" if VERSIONS[name] else "")
    assert found.model_path == ("/m" if engine.model_at else "")
    assert found.names == ("tiny",)


@pytest.mark.parametrize("name", OTHERS)
async def test_a_server_that_serves_gives_a_token(name: str) -> None:
    """A good server of another engine is never ready."""
    engine = engines.profile(name)
    with fake_engine() as url:
        async with engine.client(url) as client:
            assert (await engine.serving(client)).ready
            assert await engine.first_token(client)


async def test_what_says_not_yet_is_not_ready() -> None:
    """A server that loads its model counts as ready."""
    engine = engines.profile("llama-server")
    with fake_engine({"/health": 503}) as url:
        async with engine.client(url) as client:
            seen = await engine.serving(client)
    assert not seen.ready
    assert "/health answers 503" in seen.told
    engine = engines.profile("openai")
    with fake_engine({"/health": 404}, "nameless") as url:
        async with engine.client(url) as client:
            assert not (await engine.serving(client)).ready


async def test_an_answer_without_a_choice_is_no_token() -> None:
    """A server that generates nothing is ready."""
    engine = engines.profile("vllm")
    with fake_engine({}, "mute") as url:
        async with engine.client(url) as client:
            with pytest.raises(BadAnswer, match="no choice came"):
                await engine.first_token(client)


def answering_raw(content: bytes) -> Behaviour:
    """Return a behaviour: these bytes in answer to every request."""

    def behave(connection: Connection) -> None:
        if connection.request():
            with suppress(OSError):
                connection.send(content)

    return behave


async def test_a_stranger_is_named_by_the_engine_that_was_expected() -> None:
    """A user of vLLM is told of SGLang."""
    with listening(answering_raw(b"SSH-2.0-x\r\n\r\n")) as url:
        async with engines.profile("vllm").client(url) as client:
            with pytest.raises(OtherServer) as caught:
                await client.get("/health")
    assert not isinstance(caught.value, NotSglang)
    assert "SGLang" not in str(caught.value)
    huge = response(200, b'{"a": "' + b"a" * (17 * 2**20))
    with listening(answering_raw(huge)) as url:
        async with engines.profile("vllm").client(url) as client:
            with pytest.raises(BadAnswer, match=r"/version: the answer is over \d+ bytes long$"):
                await client.get("/version")


async def test_sglang_keeps_its_own_way() -> None:
    """SGLang is asked as any other engine, and its own endpoints go unseen."""
    engine = engines.profile("sglang")
    assert engine.native
    with FakeSglang() as server:
        async with engine.client(server.url) as client:
            assert (await engine.serving(client)).ready
            await engine.first_token(client)
            assert (await engine.describe(client)).model_path
        assert set(server.asked) >= {"/model_info", "/ready", "/generate", "/server_info"}


@pytest.mark.parametrize(
    ("name", "page", "counts"),
    [
        ("vllm", engine_pages.VLLM, (10, 1280, 320, 64)),
        ("tgi", engine_pages.TGI, (10, 1280, 320, None)),
        ("llama-server", engine_pages.LLAMA_SERVER, (None, None, 320, 64)),
    ],
)
def test_metrics_are_read_by_their_own_names(
    name: str, page: str, counts: tuple[float | None, ...]
) -> None:
    """The server's own view is empty for another engine, or another figure's."""
    names = engines.profile(name).metrics
    (seen,) = gauges([(0.0, page.encode())], names)
    assert (seen.running, seen.queued) == (3, 2)
    assert seen.token_usage == (0.25 if name == "vllm" else None)
    found = view(parse(b"", names), parse(page.encode(), names), names)
    assert tuple(found.counts.values()) == counts
    assert found.means["e2e"] == (0.4 if names.histograms else None)
    assert found.means["TTFT"] == (0.05 if name == "vllm" else None)


def test_an_engine_without_metrics_reads_none() -> None:
    """Lines of a page that nobody knows are taken for figures."""
    names = engines.profile("openai").metrics
    assert parse(engine_pages.VLLM.encode(), names).families == {}


@pytest.mark.parametrize(("asked", "api"), [("generate", "completions"), ("chat", "chat")])
def test_a_load_asks_what_the_engine_has(asked: str, api: str) -> None:
    """A bench of another engine asks for SGLang's /generate."""
    at = BenchSettings.model_validate({"api": asked})
    assert bench_options(at, engines.profile("vllm")).api == api
    assert bench_options(at).api == asked


def test_what_an_engine_does_not_count_is_told_to_the_bench() -> None:
    """A bench waits for token counts that never come, or for lengths that can't be asked."""
    options = bench_options(BenchSettings(), engines.profile("llama-cpp"))
    assert options.uncounted
    assert not options.sampling.ignore_eos
    options = bench_options(BenchSettings())
    assert not options.uncounted
    assert options.sampling.ignore_eos


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("sglang", {"regex": "a"}),
        ("vllm", {"structured_outputs": {"regex": "a"}}),
        ("tgi", {"response_format": {"type": "regex", "value": "a"}}),
        ("llama-server", {"grammar": "a"}),
    ],
)
def test_constraints_are_asked_in_each_dialect(name: str, keys: dict[str, Any]) -> None:
    """A grammar is sent by a name that the engine ignores, and any text passes."""
    kind = Capability.EBNF if name == "llama-server" else Capability.REGEX
    assert engines.profile(name).constrain(kind, "a") == keys


@pytest.mark.parametrize(
    "words",
    [
        "health http://localhost:1",
        "drain http://localhost:1 --pid 1",
        "contract record http://localhost:1 --out a.json",
        "contract compare http://localhost:1 http://localhost:2",
        "upgrade --from 0.5.22 --to 0.5.23",
        "fuzz http://localhost:1",
        "exposure http://localhost:1",
        "generate-cases http://localhost:1 --out cases",
    ],
)
def test_stages_of_sglang_alone_refuse_other_engines(
    words: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user of another engine is told that the server is bad, for want of SGLang's endpoints."""
    assert command(*words.split(), "--set", "engine.profile=vllm") == 2
    assert "SGLang's own endpoints; engine.profile is 'vllm'" in capsys.readouterr().err


@pytest.mark.parametrize("name", OTHERS)
def test_other_engines_say_why_they_lack_what_only_sglang_has(name: str) -> None:
    """A case of SGLang's own endpoints runs against another engine, or is skipped for nothing."""
    engine: Profile = engines.profile(name)
    assert Capability.NATIVE in engine.absent
    assert all(engine.absent.values())
    with pytest.raises(UsageError, match="health is of SGLang's own endpoints"):
        engines.only_sglang(name, "health")
    engines.only_sglang("sglang", "health")

"""The module's graph, on an engine that runs nothing: what is asked with what, and what is told."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import dagger
import pytest

import ci
from ci.module.image import Image
from ci.module.inputs import Credentials, Inputs, Origin
from ci.module.main import SglangCi
from ci.report.model import Case, Check, Report, now
from ci.report.write import rendered
from ci.server.key import API_KEY, BASELINE_API_KEY
from ci.verdict import Outcome
from tests.fakes.lazy_engine import Lazy
from tests.unit.test_module_inputs import ConfigFile

pytestmark = pytest.mark.unit


def found(stage: str, outcome: Outcome) -> str:
    """Return the report of a stage, as JSON."""
    case = Case(name="it", outcome=outcome)
    check = Check(name=stage, started=now(), seconds=0, cases=(case,))
    report = Report(started=now(), finished=now(), checks=(check,))
    return rendered(report)["report.json"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Outcome], list[Lazy]]:
    """Return what stages find, to be filled in, and the probers that were asked for a report."""
    outcomes, probers = dict[str, Outcome](), list[Lazy]()

    def contents(chain: Lazy) -> str:
        ((name,), *_) = chain.found("file")
        if name != "report.json":
            return str((Path(ci.__file__).parents[1] / name).read_text())
        ((folder,), *_) = chain.found("directory")
        stage = folder.removeprefix("/report/")
        of = [outcome for key, outcome in outcomes.items() if stage in {key, "report"}]
        return found(stage, next((one for one in of if one is not Outcome.PASSED), Outcome.PASSED))

    def exists(chain: Lazy) -> bool:
        ((path,), *_) = chain.found("exists")
        if path.startswith("/report/"):
            probers.append(chain)
        return bool(path.startswith("/report/"))

    answers = {"contents": contents, "exists": exists} | dict.fromkeys(
        ("hostname", "image_ref", "stdout", "label", "env_variable", "id"), lambda _: "x"
    )
    for name in ("container", "directory", "current_module", "cache_volume", "set_secret"):
        monkeypatch.setattr(
            dagger.Client,
            name,
            lambda _, *given, name=name: Lazy(answers, ((name, given),)),
        )
    return outcomes, probers


def not_run(report: Any) -> dict[str, str]:
    """Return the stages that a report says weren't run, and what they need."""

    async def read() -> dict[str, str]:
        told = json.loads(await report.directory.file("report.json").contents())
        return {one["stage"]: one["needs"] for one in told["not_run"]}

    return anyio.run(read)


@pytest.mark.parametrize("bad", ["preflight", "prove"])
def test_what_is_not_published_is_told(asked: Any, bad: str) -> None:
    """Whoever reads that a check failed doesn't learn that nothing was published."""
    asked[0].update({"preflight": Outcome.PASSED, "prove": Outcome.PASSED, bad: Outcome.FAILED})

    async def ran() -> Any:
        make = cast("Any", SglangCi)  # whose decorator hides its fields
        return await make(revision="abc").ci(publish_to="registry.example/team/sglang")

    report = anyio.run(ran)
    assert report.verdict == "FAILED"
    assert not_run(report) == {"publish": "an image that passes every check"}
    assert "publish" in anyio.run(report.summary)


def test_who_wants_nothing_published_is_told_how(asked: Any) -> None:
    """A run in containers is silent of what it could do, as it isn't on a host."""
    asked[0].update({"preflight": Outcome.PASSED, "prove": Outcome.PASSED})
    assert not_run(anyio.run(SglangCi().ci)) == {"publish": "a registry: --publish-to REF"}


def with_key(key: str) -> str:
    """Return settings of a server with a key; without one where it is empty."""
    flags = [f"--api-key={key}"] if key else []
    return f"[server]\nflags = {json.dumps(flags)}\n"


def holding(model_flags: str) -> Lazy:
    """Return a container with a model that brings flags along; none where there are none."""
    answers = {"env_variable": "/m", "label": "", "exists": bool(model_flags)}
    answers |= {"contents": model_flags, "entrypoint": ["/usr/local/bin/launch.sh"]}
    return Lazy({name: partial(_given, answer) for name, answer in answers.items()})


def _given(answer: Any, _: Lazy) -> Any:
    return answer


@pytest.mark.parametrize("keys", [("sk-base-1", "sk-cand-2"), ("", "sk-cand-2"), ("sk-base-1", "")])
@pytest.mark.parametrize("stage", ["prove", "compare"])
@pytest.mark.parametrize("by_model", [False, True])
def test_each_of_two_containers_is_asked_with_its_own_key(
    asked: Any, keys: tuple[str, str], stage: str, *, by_model: bool
) -> None:
    """The candidate's key is sent to both, or the one that a model brings along to none."""
    text = with_key if not by_model else lambda _: ""
    make, inputs = cast("Any", Image), cast("Any", Inputs)  # whose decorator hides their fields

    async def ran() -> None:
        baseline, candidate = [
            await make(
                container=holding(f"# own\n--api-key={key}\n" if by_model and key else ""),
                gpu=False,
                inputs=inputs(
                    origin=Origin(), credentials=Credentials(), config=ConfigFile(text(key))
                ),
                locks=[],
            ).served([])
            for key in keys
        ]
        await (candidate.compared if stage == "compare" else candidate.proven)(baseline)

    anyio.run(ran)
    (prober,) = [one for one in asked[1] if "/report/compare/" in one.calls[-1][1][0]]
    given = dict(reversed([*prober.found("with_secret_variable")]))
    plain = dict(reversed([*prober.found("with_env_variable")]))

    def of(name: str) -> str:
        secrets = [*given[name].found("set_secret")] if name in given else [("", plain[name])]
        return str(secrets[0][1])

    assert (of(BASELINE_API_KEY), of(API_KEY)) == keys


def test_a_bad_candidate_is_not_compared(asked: Any) -> None:
    """A comparison costs minutes, and says nothing of a server that fails its questions."""
    asked[0]["prove"] = Outcome.FAILED
    make, inputs = cast("Any", Image), cast("Any", Inputs)
    given = inputs(origin=Origin(), credentials=Credentials(), config=ConfigFile(""))
    image = make(container=holding(""), gpu=False, inputs=given, locks=[])

    async def ran() -> Any:
        return await (await image.served([])).proven(await image.served([]))

    assert not_run(anyio.run(ran)) == {"compare": "a server that passes its other checks"}


@pytest.mark.parametrize("gpu", [False, True])
def test_what_gpus_exchange_has_room(asked: Any, *, gpu: bool) -> None:
    """GPUs get 64 MiB of shared memory, too little for what they exchange; or a CPU gets more."""
    make, inputs = cast("Any", Image), cast("Any", Inputs)
    given = inputs(origin=Origin(), credentials=Credentials(), config=ConfigFile(""))
    image = make(container=holding(""), gpu=gpu, inputs=given, locks=[])
    server = anyio.run(image.served, [])
    room = [("/dev/shm",)] if gpu else []  # noqa: S108 - of a container
    assert [*server.service.found("with_mounted_temp")] == room
    assert [*server.mounted.found("with_mounted_temp")] == room
    assert not [*server.image.found("with_mounted_temp")]

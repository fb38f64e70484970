"""From a promotion to what runs, and back: a registry, a real HAProxy, a fake SGLang."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from ci.deploy.demo import clear
from ci.deploy.grounds import Grounds
from ci.report.write import load
from ci.settings import load as read
from ci.verdict import Verdict
from tests.fakes.launched import install
from tests.fakes.layout import image, write_tar
from tests.fakes.registry import FakeRegistry, failing
from tests.readme import readme
from tests.unit.launching import free_port
from tests.unit.release_commands import LABELS, Workplace
from tests.unit.releases import key
from tests.unit.router_rigs import INSTALLED

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not INSTALLED, reason="haproxy isn't installed"),
]
CASE = "def test_answers(ask):\n    assert ask.generate('a')\n"


@pytest.fixture
def place(at: Workplace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    """A project whose environment `test` is deployed to this host."""
    for name, value in install(at.folder / "installed").items():
        monkeypatch.setenv(name, value)
    (at.folder / "cases").mkdir()
    (at.folder / "cases/test_own.py").write_text(CASE)
    with tempfile.TemporaryDirectory() as folder:
        text = (at.folder / "sglang-ci.toml").read_text()
        text = text.replace("[registry]\n", f'[registry]\nrepository = "{at.reference}"\n')
        more = (
            '[server]\ndevice = "cpu"\nstop_grace = 5\n[smoke]\nbuiltin = false\n'
            f'directories = ["cases"]\n[environments.test.deploy]\nfolder = "{folder}"\n'
            f"port = {free_port()}\ngrace = 20\n"
        )
        (at.folder / "sglang-ci.toml").write_text(text + more)
        yield at
        anyio.run(clear, grounds(at))


def grounds(at: Workplace) -> Grounds:
    """Return what the environment stands on."""
    return Grounds.of(read(at.folder / "sglang-ci.toml", {}).settings, "test")


def shown(at: Workplace, argv: list[str], *, code: int = 0, by: str = "") -> str:
    """Run a command of the README's, and return what it printed."""
    secret = {"SIGNING_KEY": key(by)[0] if by else ""}
    found, out, err = at.runner(argv[1:], at.variables | secret)
    assert found == code, out + err
    return out + err


def running(at: Workplace) -> list[str]:
    """Return the references that run, of those that are proven and have all traffic."""
    world = anyio.run(grounds(at).looked)
    return [
        slot.release.reference
        for name, slot in world.slots.items()
        if slot.release and slot.proven and world.routes[name].share == 100
    ]


@pytest.mark.long
def test_what_is_promoted_runs_and_goes_back(place: Workplace) -> None:
    """Something else than the tag's digest runs, or nobody can go back to what ran before."""
    at = place
    at.publish()
    first = at.by_digest
    shown(at, readme("sglang-ci deploy --environment test"), code=4)
    at.run("promote", first, "--environment", "test", by="ci")
    assert f"start {first}" in shown(at, readme("sglang-ci deploy plan"))
    shown(at, readme("sglang-ci deploy --environment test"))
    assert running(at) == [first]
    assert [check.name for check in load(Path("report")).checks][:1] == ["policy test"]

    write_tar(Path("image.tar"), image([b"another"], labels=LABELS))
    second = ("publish", "image.tar", f"{at.reference}:second", "--report", "proof")
    at.run(*second, "--installed", "installed.json", by="ci")
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    shown(at, readme("sglang-ci deploy --environment test"), by="ci")
    assert running(at) == [at.by_digest]
    page = at.run("show", at.by_digest)
    assert "### Deployments" in page
    assert "signed by ci" in page.partition("### Deployments")[2].partition("###")[0]
    assert at.by_digest in shown(at, readme("sglang-ci deploy status"))

    url = {"http://localhost:30000": grounds(at).router.url}
    shown(at, [*readme("sglang-ci traffic", url), "--requests=5", "--rate=20"])

    frozen = ("--set", "environments.test.frozen=an incident")
    shown(at, [*readme("sglang-ci rollback"), *frozen], by="ci")
    assert running(at) == [first]
    assert load(Path("report")).verdict is Verdict.PASSED
    shown(at, [*readme("sglang-ci deploy --environment test"), *frozen])
    shown(at, readme("sglang-ci deploy abort"))
    assert running(at) == [first]
    again = ("promote", at.by_digest, "--environment", "test")
    assert "--resume-after-rollback" in at.run(*again, by="ci", code=2)
    at.run(*again, "--resume-after-rollback", "it was the driver", by="ci")
    assert "after a roll-back: it was the driver" in at.run(
        "history", at.reference, "--environment", "test"
    )
    assert "an incident" in shown(
        at, [*readme("sglang-ci deploy --environment test"), *frozen], code=2
    )
    assert running(at) == [first]


@pytest.mark.long
def test_an_abort_is_recorded_on_what_it_took_away(place: Workplace) -> None:
    """A release that was aborted goes on to production, as nothing on it says so."""
    at = place
    at.publish()
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    shown(at, readme("sglang-ci deploy --environment test"), by="ci")
    first = at.by_digest
    write_tar(Path("image.tar"), image([b"another"], labels=LABELS))
    second = ("publish", "image.tar", f"{at.reference}:second", "--report", "proof")
    at.run(*second, "--installed", "installed.json", by="ci")
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    canary = [
        f"environments.test.deploy.{how}"
        for how in (
            *("strategy=canary", "shares=[75]", "hold=0.1", "streams=0"),
            *("budget=0", "little_traffic=ask"),
        )
    ]
    told = [part for how in canary for part in ("--set", how)]
    shown(at, [*readme("sglang-ci deploy --environment test"), *told], code=3)
    assert running(at) == []
    waiting = [*readme("sglang-ci deploy wait"), "--seconds=0.1"]
    assert "nobody deploys: resume it, or abort it" in shown(at, waiting, code=3)
    assert "at 75 %" in shown(at, [*readme("sglang-ci deploy resume"), *told], code=3)
    shown(at, readme("sglang-ci deploy abort"), by="ci")
    assert running(at) == [first]
    assert "it was taken back, or nobody deployed it" in shown(at, waiting, code=1)
    assert "nothing to resume" in shown(at, readme("sglang-ci deploy resume"), code=2)
    assert running(at) == [first]
    assert "aborted" in at.run("show", at.by_digest).partition("### Deployments")[2]
    assert "aborted" not in at.run("show", first)


@pytest.mark.long
def test_a_registry_that_goes_away_ends_no_deployment(
    place: Workplace, store: FakeRegistry
) -> None:
    """A release that is out and good is taken back, or nobody hears that its record is missing."""
    at = place
    at.publish()
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    store.fault("(POST|PUT) .*", failing(500))
    told = shown(at, readme("sglang-ci deploy --environment test"), code=4, by="ci")
    assert running(at) == [at.by_digest]
    report = load(Path("report"))
    verdicts = {check.name: check.verdict for check in report.checks}
    assert (verdicts["deploy"], verdicts["record"]) == (Verdict.PASSED, Verdict.ERROR), told
    store.fault("GET .*", failing(500))
    shown(at, readme("sglang-ci deploy --environment test"), code=4)
    shown(at, readme("sglang-ci deploy abort"))
    assert running(at) == [at.by_digest]


@pytest.mark.long
def test_what_is_gone_or_moved_by_hand_changes_nothing(
    place: Workplace, store: FakeRegistry
) -> None:
    """A roll-back without its image, or a tag that somebody set, takes down what serves."""
    at = place
    at.publish()
    first = at.digest
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    write_tar(Path("image.tar"), image([b"another"], labels=LABELS))
    second = ("publish", "image.tar", f"{at.reference}:second", "--report", "proof")
    at.run(*second, "--installed", "installed.json", by="ci")
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    shown(at, readme("sglang-ci deploy --environment test"))
    kept = store.manifests.pop(first)
    assert first in shown(at, readme("sglang-ci rollback"), by="ci", code=4)
    assert store.tags["test"] == at.digest
    store.manifests[first] = kept
    store.tags["test"] = first
    assert "set by hand" in shown(at, readme("sglang-ci deploy --environment test"), code=4)
    assert running(at) == [at.by_digest]


def test_what_the_policy_refuses_does_not_run(place: Workplace) -> None:
    """A digest whose evidence was taken away goes out all the same."""
    at = place
    at.publish()
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    strict = (
        "--set",
        "environments.test.approvals=1",
        "--set",
        'environments.test.approvers=["ada"]',
    )
    found, out, err = at.runner(["deploy", "-e", "test", *strict], at.variables)
    assert found == 1, out + err
    assert "approvals" in out + err
    assert running(at) == []

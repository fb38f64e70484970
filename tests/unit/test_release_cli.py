"""`sglang-ci release …`: each subcommand on a fake registry, its output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.commands import registry
from ci.extras import install
from ci.report.write import load
from ci.verdict import Outcome, Verdict
from tests.fakes.layout import image, write_tar
from tests.fakes.osv import advisory, fake_osv
from tests.fakes.registry import FakeRegistry, failing
from tests.unit.commands import Command
from tests.unit.release_commands import Workplace
from tests.unit.releases import report

pytestmark = pytest.mark.unit

SUBCOMMANDS = [
    *("push", "publish", "show", "verify", "approve", "promote"),
    *("history", "current", "previous", "key"),
]


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help(
    command: Command, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A subcommand or one of its options is not explained."""
    assert command("release", name, "--help") == 0
    assert "Usage: " in capsys.readouterr().out


def test_the_whole_way_to_production(at: Workplace, store: FakeRegistry) -> None:
    """A release gets stuck between two subcommands, or goes past one of them."""
    out = at.publish()
    assert out.splitlines()[-1] == at.by_digest
    assert store.tags["0.5.23-0123456789ab"] == at.digest
    refused = at.run("promote", at.by_digest, "--environment", "prod", by="ci", code=1)
    assert "FAILED: approvals: 0 of 2 given; still to be asked: ada, bob, carol" in refused
    assert "FAILED: was in test: no signed promotion says that it is, or was, in test" in refused
    assert refused.splitlines()[-1].startswith("sglang-ci: policy prod: approvals: 0 of 2 given")
    assert "prod" not in store.tags
    at.to_prod()
    assert store.tags["prod"] == at.digest
    again = at.run("promote", at.by_digest, "--environment", "prod", by="ci")
    assert again == f"{at.by_digest} is in prod: promotion 1\n"
    assert at.run("current", at.reference, "--environment", "prod") == f"{at.by_digest}\n"
    (line,) = at.run("history", at.reference, "--environment", "prod").splitlines()
    assert line.startswith("1  ")
    assert line.endswith(f"UTC  {at.digest}  ci-bot, signed by ci")
    nothing = at.run("previous", at.reference, "--environment", "prod", code=4)
    assert "was the first there" in nothing


def test_a_publication_is_a_stage_of_the_report(at: Workplace, store: FakeRegistry) -> None:
    """Nobody can tell from a report which digest was published, or that none was."""
    at.publish("--report-dir", "kept")
    found = load(Path("kept"))
    assert (found.verdict, found.published) == (Verdict.PASSED, at.by_digest)
    assert [check.name for check in found.checks] == ["readiness", "versions", "smoke", "publish"]
    store.fault("HEAD", failing(403))
    at.publish("--report-dir", "refused", code=4)
    assert (load(Path("refused")).verdict, load(Path("refused")).published) == (Verdict.ERROR, "")


@pytest.mark.long
def test_verify_leaves_a_report(at: Workplace) -> None:
    """A pipeline can't show why a release may not go."""
    at.publish()
    arguments = ("verify", f"{at.reference}:0.5.23-0123456789ab", "--environment", "prod")
    at.run(*arguments, code=1)
    told = load(Path("report"))
    assert [check.name for check in told.checks] == ["policy prod"]
    assert told.cause == (
        "policy prod: approvals: 0 of 2 given; still to be asked: ada, bob, carol (and 1 more)"
    )
    at.to_prod()
    at.run("verify", at.by_digest, "--policy", "prod", "--report-dir", "elsewhere")
    assert load(Path("elsewhere")).verdict is Verdict.PASSED


@pytest.mark.long
def test_a_vulnerability_keeps_a_release_from_production(at: Workplace) -> None:
    """What the database knows doesn't reach the decision."""
    known = {("sglang", "0.5.23"): [advisory("CVE-2026-1", fixed="0.5.24")]}
    with fake_osv(known) as database:
        at.variables["SGLANG_CI_VULNERABILITIES__DATABASE"] = database.url
        at.publish()
    at.run("promote", at.by_digest, "--environment", "test", by="ci")
    found = at.run("promote", at.by_digest, "--environment", "prod", by="ci", code=1)
    assert "FAILED: CVE-2026-1 in pkg:pypi/sglang@0.5.23: nobody accepts it" in found
    rule = '[{id = "CVE-2026-1", until = 2099-01-01, reason = "not reached"}]'
    accepted = ("--set", f"vulnerabilities.allow={rule}")
    found = at.run("promote", at.by_digest, "--environment", "prod", *accepted, by="ci", code=1)
    assert "CVE" not in found


@pytest.mark.long
def test_a_database_that_is_away_is_inconclusive(at: Workplace) -> None:
    """A build without a network has no vulnerabilities, or can't be published."""
    at.variables["SGLANG_CI_VULNERABILITIES__DATABASE"] = "http://127.0.0.1:9/none"
    at.publish()
    policy = ("--set", "environments.prod.after=", "--set", "environments.prod.approvals=0")
    at.run("verify", at.by_digest, "--environment", "prod", *policy, code=3)
    assert "vulnerabilities looked up: not looked up" in load(Path("report")).cause


def test_what_did_not_pass_is_not_published(at: Workplace, store: FakeRegistry) -> None:
    """A red pipeline publishes."""
    Path("proof/report.json").write_text(json.dumps(report(smoke=Outcome.FAILED)))
    assert "the report is FAILED" in at.publish(code=2)
    assert not store.tags
    bare = ("publish", "image.tar", at.reference, "--installed", "installed.json")
    assert "nothing proves this image" in at.run(*bare, by="ci", code=2)
    assert at.run(*bare, "--untested", by="ci").splitlines()[-1] == at.by_digest
    assert "FAILED: report: missing" in at.run(
        "promote", at.by_digest, "--environment", "test", by="ci", code=1
    )


def test_a_push_alone_is_no_release(at: Workplace, store: FakeRegistry) -> None:
    """An image without evidence can't be pushed, or counts as a release."""
    assert at.run("push", "image.tar", f"{at.reference}:v1").splitlines()[-1] == at.by_digest
    assert store.tags == {"v1": at.digest}
    found = at.run("promote", at.by_digest, "--environment", "test", by="ci", code=1)
    assert "FAILED: report: missing: nothing of that kind is attached" in found
    at.run("push", "image.tar", f"{at.reference}:prod", code=2)


def test_going_back(at: Workplace, store: FakeRegistry) -> None:
    """A roll-back waits for new evidence, or goes to what was never there."""
    at.publish()
    at.to_prod()
    first = at.by_digest
    write_tar(Path("image.tar"), image([b"another"]))
    second = ("publish", "image.tar", f"{at.reference}:second", "--report", "proof")
    at.run(*second, "--installed", "installed.json", by="ci")
    at.to_prod()
    assert at.run("previous", at.reference, "--environment", "prod") == f"{first}\n"
    old = ("--set", "environments.prod.max_age_days=0.0000001")
    back = ("promote", first, "--environment", "prod", *old)
    assert "stale" in at.run(*back, by="ci", code=1)
    assert "is in prod: promotion 3" in at.run(*back, "--rollback", by="ci")
    assert at.run("current", at.reference, "--environment", "prod") == f"{first}\n"
    lines = at.run("history", at.reference, "--environment", "prod").splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["3", "2", "1"]
    assert lines[0].endswith("signed by ci, roll-back")


@pytest.mark.long
def test_a_tag_that_was_moved_by_hand_is_said(at: Workplace, store: FakeRegistry) -> None:
    """Something is deployed that nobody promoted."""
    at.publish()
    at.to_prod()
    store.tags["prod"] = next(iter(set(store.manifests) - {at.digest}))
    for question in ("current", "previous", "history"):
        found = at.run(question, at.reference, "--environment", "prod", code=4)
        assert "it was set by hand, or that promotion isn't finished" in found


def test_approving_is_refused_where_it_would_not_count(at: Workplace) -> None:
    """Somebody approves in another name, or believes that it helped."""
    at.publish()
    approve = ("approve", at.by_digest, "--environment", "prod", "--by")
    assert "ada has to sign it, and bob did" in at.run(*approve, "ada", by="bob", code=2)
    assert "is approved for prod by carol" in at.run(*approve, "carol", by="ci")
    assert "is approved already for prod by carol" in at.run(*approve, "carol", by="ci")
    assert "'dan' is no approver" in at.run(*approve, "dan", by="ci", code=2)


@pytest.mark.long
def test_the_page_tells_it_all(at: Workplace) -> None:
    """`show` leaves out who approved, what was found, or where it is."""
    at.publish()
    at.to_prod()
    page = at.run("show", at.by_digest, "--html", "page.html")
    for text in (page, Path("page.html").read_text()):
        for words in ("0.5.23", "ada", "bob", "readiness", "provenance", "ci-bot", at.digest):
            assert words in text, words
    assert "| prod | ✅ PASSED | yes |" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "team/image", "--environment", "prod"), "the registry has to be named"),
        (("verify", "{at}", "--environment", "prod"), "name a tag or a digest of it"),
        (("verify", "{at}:v1", "--environment", "prd"), "no environment 'prd' in the settings"),
        (("current", "{at}", "--environment", "prd"), "no environment 'prd' in the settings"),
        (("verify", "{at}:v1"), "Missing option '--environment'"),
        (("publish", "missing.tar", "{at}"), "missing.tar: no OCI layout"),
        (("publish", "image.tar", "{at}", "--report", "missing"), "can't be read"),
        (("publish", "image.tar", "{at}", "--installed", "missing"), "can't be read"),
        (("publish", "image.tar", "{at}", "--base", "python:3"), "isn't pinned by a digest"),
        (("publish", "image.tar", "{at}", "--lock", "missing"), "can't be read"),
        (
            ("show", "{at}:v1", "--set", 'trust.keys={x = "missing.pub"}'),
            "missing.pub can't be read",
        ),
    ],
)
def test_usage_errors(at: Workplace, arguments: tuple[str, ...], words: str) -> None:
    """A typing error reads as a bad release, or as a broken registry."""
    asked = [argument.replace("{at}", at.reference) for argument in arguments]
    found = at.run(*asked, by="ci", code=2)
    assert words in found
    assert len(found.splitlines()) == 1 or "Usage" in found


def test_a_registry_that_fails_is_no_failed_release(at: Workplace, store: FakeRegistry) -> None:
    """A registry that is down reads as a release that may not go."""
    at.publish()
    store.fault(".* /v2/.*", failing(503))
    at.run("verify", at.by_digest, "--environment", "test", code=4)
    assert load(Path("report")).verdict is Verdict.ERROR
    found = at.run("current", at.reference, "--environment", "test", code=4)
    assert found.startswith("sglang-ci: ")
    at.variables["REGISTRY_USERNAME"] = ""
    found = at.run("current", at.reference, "--environment", "test", code=2)
    assert "REGISTRY_PASSWORD is set, and REGISTRY_USERNAME isn't" in found


def test_what_is_not_installed_is_named(at: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prober's environment, which lacks the packages of releases, ends in a traceback."""
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    for arguments in (("show", f"{at.reference}:v1"), ("key", "me")):
        found = at.run(*arguments, code=2)
        assert found == f"sglang-ci: oras, cryptography not installed: {install('release')}\n"

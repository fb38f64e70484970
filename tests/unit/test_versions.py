"""Versions: every mismatch fails, names both sides, and nothing unseen passes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ci.report.model import Case, Check
from ci.server.client import ServerClient
from ci.verdict import Outcome, Verdict
from ci.versions.stage import Expected, check_versions, same
from tests.fakes.sglang import FakeSglang, Settings

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

INSTALLED = {"sglang": "0.5.23", "torch": "2.11.0+cpu", "python": "3.11.7"}


async def check(expected: Expected, running: str = "0.5.23") -> Check:
    """Hold a running fake server against what is expected."""
    told: list[Case] = []
    with FakeSglang(Settings(version=running, model="org/name")) as server:
        async with ServerClient(server.url) as client:
            found = await check_versions(client, expected, told.append)
    assert tuple(told) == found.cases
    return found


def messages(found: Check) -> dict[str, str]:
    """Return name and message of each case that failed."""
    return {case.name: case.message for case in found.cases if case.outcome is Outcome.FAILED}


async def test_all_as_expected_passes() -> None:
    """A right server fails."""
    expected = Expected(
        {"sglang": "0.5.23", "Torch": "2.11.0+CPU"}, INSTALLED, "0.5.23", "org/name", "org/name"
    )
    found = await check(expected)
    assert found.verdict is Verdict.PASSED
    assert [case.name for case in found.cases] == [
        "sglang installed",
        "torch installed",
        "sglang labelled",
        "sglang running",
        "sglang running as installed",
        "model path",
        "served model name",
    ]
    assert found.facts["running sglang"] == "0.5.23"
    assert found.facts["drain"].startswith("running requests have 20 s after SIGTERM")
    assert found.facts["torch"] == "2.11.0+cpu"


@pytest.mark.parametrize(
    ("expected", "running", "case", "message"),
    [
        (
            Expected({"sglang": "0.5.14"}, label="0.5.14"),
            "0.5.13",
            "sglang running",
            "expected 0.5.14, running 0.5.13",
        ),
        (
            Expected({"sglang": "0.5.23"}, label="0.5.14"),
            "0.5.23",
            "sglang labelled",
            "expected 0.5.23, labelled 0.5.14",
        ),
        (
            Expected({"sglang": "0.5.23"}, INSTALLED),
            "0.5.22",
            "sglang running as installed",
            "installed 0.5.23, running 0.5.22",
        ),
        (
            Expected({"torch": "2.11.0+cu130"}, INSTALLED),
            "0.5.23",
            "torch installed",
            "expected 2.11.0+cu130, installed 2.11.0+cpu",
        ),
        (
            Expected({"driver": "580.95"}, INSTALLED),
            "0.5.23",
            "driver installed",
            "expected 580.95, installed none",
        ),
        (
            Expected({"sglang": "0.5.23"}),
            "",
            "sglang running",
            "expected 0.5.23, running none",
        ),
        (
            Expected(model_path="/models/other"),
            "0.5.23",
            "model path",
            "expected /models/other, running org/name",
        ),
        (
            Expected(served_name="other"),
            "0.5.23",
            "served model name",
            "expected other, served org/name",
        ),
    ],
)
async def test_a_mismatch_fails_and_names_both_sides(
    expected: Expected, running: str, case: str, message: str
) -> None:
    """Another version, model or name is served than was promised."""
    found = await check(expected, running)
    assert found.verdict is Verdict.FAILED
    assert messages(found)[case] == message


async def test_a_label_without_an_expectation_fails() -> None:
    """A label that nobody can hold against anything passes."""
    found = await check(Expected({}, label="0.5.14"))
    assert found.verdict is Verdict.FAILED


async def test_what_can_not_be_seen_is_skipped_and_never_passes() -> None:
    """A check that compared nothing passes."""
    found = await check(Expected({"torch": "2.11.0"}))
    assert [(case.name, case.outcome) for case in found.cases] == [("torch installed", "SKIPPED")]
    assert found.verdict is Verdict.ERROR
    assert (await check(Expected())).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503, text="starting"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
    ],
)
async def test_a_server_that_does_not_say_fails(answer: httpx.Response) -> None:
    """A server that doesn't tell its version passes, or breaks the check."""
    transport = httpx.MockTransport(lambda _: answer)
    async with ServerClient("http://h", transport=transport) as client:
        found = await check_versions(client, Expected({"sglang": "1"}, INSTALLED), lambda _: None)
    assert found.verdict is Verdict.FAILED
    assert "http://h/server_info: " in found.cases[-1].message


async def test_a_server_that_does_not_drain_is_told() -> None:
    """A server that the drain plugin isn't in looks like one that ends well."""
    with FakeSglang(Settings(drains=False)) as server:
        async with ServerClient(server.url) as client:
            found = await check_versions(client, Expected({"sglang": "0.5.23"}), lambda _: None)
    assert found.verdict is Verdict.PASSED
    case = next(case for case in found.cases if case.name == "drain")
    assert case.outcome is Outcome.SKIPPED
    assert case.message == found.facts["drain"]
    assert case.message.startswith("SGLang's own end, and no drain: the plugin isn't attached")


@pytest.mark.parametrize("odd", [None, 5, {}, ["0.5.23"]])
async def test_a_version_of_another_type_fails(odd: object) -> None:
    """A server whose version is no text breaks the check."""
    answers: dict[str, Any] = {
        "/server_info": {"version": odd},
        "/model_info": {"model_path": "m"},
        "/v1/models": {"data": []},
        "/sglang-ci/drain": {"seconds": odd},
    }
    transport = httpx.MockTransport(lambda ask: httpx.Response(200, json=answers[ask.url.path]))
    async with ServerClient("http://h", transport=transport) as client:
        found = await check_versions(client, Expected({"sglang": "0.5.23"}), lambda _: None)
    assert found.verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1.0", "1.0.0", True),
        ("v1.0", "1.0", True),
        ("2.0rc1", "2.0-RC1", True),
        ("2.11.0+cu130", "2.11.0+CU130", True),
        ("2.11.0", "2.11.0+cu130", False),
        ("2.11.0+cu129", "2.11.0+cu130", False),
        ("0.5.23", "0.5.23rc1", False),
        ("0.5.23", "0.5.23.post1", False),
        ("0.5.23", "0.5.23.dev1", False),
        ("0.5.2", "0.5.20", False),
        ("1!1.0", "1.0", False),
        ("unknown", "unknown", True),
        ("unknown", "0.5.23", False),
    ],
)
def test_versions_are_compared_exactly(one: str, other: str, equal: bool) -> None:  # noqa: FBT001
    """A pre-release or another build passes for the release that was promised."""
    assert same(one, other) is equal
    assert same(other, one) is equal


RELEASES = st.lists(st.integers(0, 30), min_size=1, max_size=4)
LOCALS = st.sampled_from(["", "+cpu", "+cu130", "rc1", ".post1", ".dev2"])


@given(RELEASES, LOCALS, RELEASES, LOCALS)
def test_sameness_is_that_of_pep_440(
    release: list[int], local: str, other_release: list[int], other_local: str
) -> None:
    """Some pair of versions is compared as text."""
    one = ".".join(map(str, release)) + local
    other = ".".join(map(str, other_release)) + other_local
    assert same(one, other) == (Version(one) == Version(other))
    padded = ".".join(map(str, [*release, 0])) + local
    assert same(one, padded)

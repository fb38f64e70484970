"""Versions: every mismatch fails, names both sides, and nothing unseen passes."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.version import Version

from ci.image.installed import installed
from ci.image.listing import Installed
from ci.report.model import Case, Check
from ci.server.client import ServerClient
from ci.stages import checked
from ci.verdict import Outcome, Verdict
from ci.versions.demands import LEFT_OUT_ON_A_CPU
from ci.versions.same import same
from ci.versions.stage import Expected, check_versions
from tests.fakes.sglang import FakeSglang, Settings

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ROOT = Path(__file__).parents[2]
DEMANDS = (
    "torch==2.11.0",
    'torch-cpu-only==1; platform_machine == "s390x"',
    'pytest; extra == "test"',
    "Flashinfer_Python[cu13]==0.7.2",
    "no requirement at all",
    "Torch>=2",
)
INSTALLED = Installed.model_validate(
    {
        "schema_version": "1.2",
        "python": "3.11.7",
        "markers": {"platform_machine": "x86_64"},
        "distributions": [
            {"name": "sglang", "version": "0.5.23"},
            {"name": "torch", "version": "2.11.0+cpu"},
        ],
        "sglang": {"code_version": "0.5.23", "requires": DEMANDS, "commands": {"sglang": True}},
    }
)


async def check(expected: Expected, running: str = "0.5.23") -> Check:
    """Hold a running fake server against what is expected."""
    told: list[Case] = []
    with FakeSglang(Settings(version=running, model="org/name")) as server:
        async with ServerClient(server.url) as client:
            ask = partial(check_versions, client, expected)
            found = await checked("versions", ask, told.append)
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
        "what sglang demands",
        "left out on purpose",
        "sglang's code as installed",
        "bin/sglang is there",
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
        ask = partial(check_versions, client, Expected({"sglang": "1"}, INSTALLED))
        found = await checked("versions", ask)
    assert found.verdict is Verdict.FAILED
    assert "http://h/server_info: " in messages(found)["the server says what it is"]


async def test_a_server_that_does_not_drain_is_told() -> None:
    """A server that the drain plugin isn't in looks like one that ends well."""
    with FakeSglang(Settings(drains=False)) as server:
        async with ServerClient(server.url) as client:
            ask = partial(check_versions, client, Expected({"sglang": "0.5.23"}))
            found = await checked("versions", ask)
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
        ask = partial(check_versions, client, Expected({"sglang": "0.5.23"}))
        found = await checked("versions", ask)
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


def listing(**changes: Any) -> Installed:
    """Return what is installed where SGLang fits, with other parts."""
    return Installed.model_validate(INSTALLED.model_dump() | changes)


def packages(**versions: str) -> list[dict[str, str]]:
    """Return distributions of SGLang and others, `_` for `-` in their names."""
    told = {"sglang": "0.5.23", "torch": "2.11.0"} | versions
    return [{"name": name.replace("_", "-"), "version": version} for name, version in told.items()]


async def whole(found: Installed, device: str = "cpu", **expected: Any) -> dict[str, Case]:
    """Hold what is installed against what SGLang demands of a device; return cases by name."""
    asked = Expected({"sglang": "0.5.23"} | expected.pop("versions", {}), found, **expected)
    with FakeSglang(Settings(model="org/name", device=device)) as server:
        async with ServerClient(server.url) as client:
            check = await checked("versions", partial(check_versions, client, asked))
    return {case.name: case for case in check.cases}


@pytest.mark.parametrize(
    ("there", "case", "message"),
    [
        (
            {"torch": "2.9.0"},
            "torch as sglang demands",
            "demanded ==2.11.0,>=2, installed 2.9.0",
        ),
        ({"torch": "nightly"}, "torch as sglang demands", None),
        ({"flashinfer_python": "0.7.1"}, "flashinfer-python as sglang demands", None),
        ({"torch": "2.11.0+cpu", "flashinfer_python": "0.7.2+cu130"}, "", None),
    ],
)
async def test_what_does_not_fit_is_named(
    there: dict[str, str], case: str, message: str | None
) -> None:
    """A kernel far below what SGLang needs passes, and the first request that needs it fails."""
    cases = await whole(listing(distributions=packages(**there)))
    failed = [each for each in cases.values() if each.outcome is Outcome.FAILED]
    assert [each.name for each in failed] == [case] * bool(case)
    if message:
        assert failed[0].message == message


async def test_what_is_missing_is_named_unless_it_is_left_out_on_purpose() -> None:
    """An image without SGLang's kernels passes on a GPU, or our own environment fails on a CPU."""
    on_cpu = await whole(INSTALLED)
    assert on_cpu["left out on purpose"].outcome is Outcome.SKIPPED
    assert on_cpu["left out on purpose"].message == "1 of what sglang demands: flashinfer-python"
    assert on_cpu["what sglang demands"].message == "1 installed as it demands"
    on_gpu = await whole(INSTALLED, "cuda")
    missing = on_gpu["flashinfer-python as sglang demands"]
    assert missing.outcome is Outcome.FAILED
    assert missing.message == "demanded ==0.7.2, installed none"
    chosen = await whole(INSTALLED, "cuda", left_out=("flashinfer_python",))
    assert chosen["left out on purpose"].outcome is Outcome.SKIPPED
    without_torch = await whole(listing(distributions=packages()[:1]))
    assert without_torch["torch as sglang demands"].outcome is Outcome.FAILED


@pytest.mark.parametrize(("driver", "outcome"), [("", "SKIPPED"), ("580.95", "FAILED")])
async def test_a_server_that_tells_no_device_is_judged_by_its_driver(
    driver: str, outcome: str
) -> None:
    """A server of another front end fails on a CPU, or passes without kernels on a GPU."""
    cases = await whole(listing(driver=driver), "")
    names = ("left out on purpose", "flashinfer-python as sglang demands")
    assert [cases[name].outcome for name in names if name in cases] == [outcome]


async def test_an_expected_version_outweighs_a_demand() -> None:
    """Whoever takes a newer torch on purpose can't say so."""
    newer = listing(distributions=packages(torch="2.12.0"))
    assert (await whole(newer))["torch as sglang demands"].outcome is Outcome.FAILED
    assert "torch as sglang demands" not in await whole(newer, versions={"torch": "2.12.0"})


async def test_an_old_inventory_is_held_against_the_same_sglang_installed_here() -> None:
    """What an earlier release listed passes however old it is, or can't be read any more."""
    old = Installed.of_versions({"sglang": version("sglang"), "python": "3.11.7", "torch": "1.0"})
    assert (await whole(old))["torch as sglang demands"].outcome is Outcome.FAILED
    unknown = Installed.of_versions({"sglang": "0.1.0", "torch": "1.0"})
    assert (await whole(unknown))["what sglang demands"].outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("installed", "told", "revision", "case", "message"),
    [
        (
            "0.5.23",
            {"code_version": "0.5.22"},
            "",
            "sglang's code as installed",
            "installed 0.5.23, its code says 0.5.22",
        ),
        (
            "0.5.24.dev3",
            {},
            "",
            "sglang is a release",
            "0.5.24.dev3 is a development build; --expect sglang=0.5.24.dev3 allows it",
        ),
        (
            "0.5.23",
            {"commits": {"_version.py": "g1234567"}},
            "abcdef0123456789",
            "sglang's commit",
            "they differ: label abcdef0123456789, _version.py 1234567",
        ),
        (
            "0.5.24.dev3+gabcdef0",
            {"commits": {"SGLANG_GIT_COMMIT": "1234567"}},
            "",
            "sglang's commit",
            "they differ: SGLANG_GIT_COMMIT 1234567, version abcdef0",
        ),
        (
            "0.5.23",
            {"commands": {"sglang": False}},
            "",
            "bin/sglang is there",
            "it is missing, and `sglang serve` is how SGLang asks to be started",
        ),
    ],
)
async def test_an_installation_that_does_not_agree_with_itself_fails(
    installed: str, told: dict[str, Any], revision: str, case: str, message: str
) -> None:
    """Another code is served than label, metadata or tag say, and nobody is told."""
    found = listing(distributions=packages(sglang=installed), sglang=told)
    cases = await whole(found, revision=revision)
    assert (cases[case].outcome, cases[case].message) == (Outcome.FAILED, message)


@pytest.mark.parametrize(
    ("commits", "revision", "outcome"),
    [
        ({"_version.py": "g1234567"}, "1234567890abcdef", "PASSED"),
        ({}, "1234567890abcdef", "SKIPPED"),
        ({"_version.py": "g1234567"}, "main", "SKIPPED"),
        ({"SGLANG_GIT_COMMIT": "N/A", "_version.py": "g1234567"}, "", None),
    ],
)
async def test_a_commit_is_compared_as_far_as_it_is_told(
    commits: dict[str, str], revision: str, outcome: str | None
) -> None:
    """A short form of the same commit fails, or a name that is no commit does."""
    cases = await whole(listing(sglang={"commits": commits}), revision=revision)
    assert (cases["sglang's commit"].outcome if "sglang's commit" in cases else None) == outcome


async def test_a_development_build_that_is_asked_for_passes() -> None:
    """Whoever serves a nightly build on purpose can't say so."""
    dev = listing(distributions=packages(sglang="0.5.24.dev3"))
    cases = await whole(dev, versions={"sglang": "0.5.24.dev3"})
    assert cases["sglang is a release"].outcome is Outcome.PASSED


def test_what_is_left_out_on_a_cpu_is_what_our_environments_leave_out() -> None:
    """A package that our locks leave out is missing, or one that they hold may be."""
    lines = (ROOT / "requirements/cpu-overrides.txt").read_text().splitlines()
    names = {Requirement(line).name for line in lines if line and not line.startswith("#")}
    assert names == LEFT_OUT_ON_A_CPU


async def test_this_environment_is_what_sglang_demands() -> None:
    """The environment of `make ci` fails its own check."""
    here = Installed.model_validate(installed(sizes=False))
    cases = await whole(here)
    failed = [case for case in cases.values() if case.outcome is Outcome.FAILED]
    assert failed == []
    assert set(cases) >= {"what sglang demands", "left out on purpose", "bin/sglang is there"}

"""Each part of a run by itself: nothing of a user's reaches the suite, or another folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.report.model import Check
from ci.smoke.parts import parts
from ci.smoke.run import SmokeOptions
from ci.verdict import Outcome, Verdict
from tests.fakes.sglang import FakeSglang
from tests.unit.smoke_runs import NOWHERE, messages, outcomes, own, run

pytestmark = pytest.mark.unit

GREEDY = "generate::greedy is repeatable"

MEDDLING = """
import pytest

@pytest.fixture(autouse=True)
def only_mine(request):
    if "mine" not in request.node.name:
        pytest.skip("not mine")

@pytest.fixture
def ask(): raise RuntimeError("no asking here")

@pytest.fixture
def server(): raise RuntimeError("no server here")

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "mine" in item.name]

def pytest_runtest_setup(item):
    if "mine" not in item.name:
        pytest.skip("not mine")

def pytest_pyfunc_call(pyfuncitem):
    return True

def pytest_generate_tests(metafunc):
    if "mine" not in metafunc.function.__name__:
        metafunc.fixturenames.append("never")
        metafunc.parametrize("never", [])
"""


@pytest.fixture(scope="module")
def bad() -> Iterator[str]:
    """The URL of a server whose every answer is cut JSON."""
    with FakeSglang(faults=["malformed_json"]) as fake:
        yield fake.url


def folder(place: Path, **files: str) -> Path:
    """Return a new folder with files of these names, without their endings, and texts."""
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / f"{name}.py").write_text(text)
    return place


def whole(url: str, *folders: Path, select: str = "greedy or mine") -> Check:
    """Run one case of the suite, and folders beside it."""
    return run(url, SmokeOptions(directories=folders, select=select))


@pytest.mark.long
def test_a_conftest_reaches_its_own_folder_only(bad: str, tmp_path: Path) -> None:
    """A bad server passes, because a user's conftest skips or replaces what the suite asks."""
    mine = folder(tmp_path / "cases", conftest=MEDDLING, test_mine="def test_mine(): pass\n")
    check = whole(bad, mine)
    assert outcomes(check) == {GREEDY: Outcome.FAILED, "test_mine.py::test_mine": Outcome.PASSED}
    assert messages(check)[GREEDY].startswith("POST /generate: the answer is not JSON")


PLUGIN = """
import pytest

def pytest_collection_modifyitems(items):
    items[:] = []
"""


def test_nothing_around_the_suite_weakens_it(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed plugin, a variable or a module of an equal name changes what the suite says."""
    place = folder(tmp_path / "place", meddler=PLUGIN, httpx="", test_generate="", conftest=PLUGIN)
    folder(place / "ci", __init__="raise RuntimeError('the wrong package')\n")
    installed = place / "meddler-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: meddler\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[pytest11]\nmeddler = meddler\n")
    (place / "pytest.ini").write_text("[pytest]\naddopts = -p meddler\n")
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("PYTEST_PLUGINS", "meddler")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p meddler")
    assert outcomes(whole(bad)) == {GREEDY: Outcome.FAILED}


def val(number: int) -> str:
    """Return a conftest with a fixture of a name that others have too."""
    return f"import pytest\n@pytest.fixture\ndef val(): return {number}\n"


@pytest.mark.long
def test_folders_know_nothing_of_each_other(tmp_path: Path) -> None:
    """One folder's fixture, module or file of an equal name is taken for another folder's."""
    text = "from helper import NUMBER\ndef test_mine(val): assert val == NUMBER\n"
    names = ("a", "b")
    folders = [
        folder(tmp_path / name, conftest=val(at), helper=f"NUMBER = {at}\n", test_mine=text)
        for at, name in enumerate(names)
    ]
    check = run(NOWHERE, SmokeOptions(directories=tuple(folders), builtin=False))
    assert outcomes(check) == {f"{name}/test_mine.py::test_mine": Outcome.PASSED for name in names}
    assert check.facts["cases collected"] == "2"


@pytest.mark.long
def test_a_folder_without_a_case_that_ran_is_told(tmp_path: Path) -> None:
    """A folder of which nothing runs goes unnoticed beside the suite."""
    skips = "import pytest\ndef test_mine(): pytest.skip('not today')\n"
    empty = folder(tmp_path / "empty", helper="VALUE = 1\n")
    skipping = folder(tmp_path / "skipping", test_mine=skips)
    with FakeSglang() as fake:
        check = whole(fake.url, empty, skipping)
    assert outcomes(check) == {
        GREEDY: Outcome.PASSED,
        "suite empty": Outcome.ERROR,
        "test_mine.py::test_mine": Outcome.SKIPPED,
        "cases of skipping": Outcome.SKIPPED,
    }
    told = messages(check)
    assert told["suite empty"] == "no case was found"
    assert told["cases of skipping"] == (
        "all 1 were skipped; the first, 'test_mine.py::test_mine': not today"
    )


@pytest.mark.long
def test_a_selection_may_leave_out_a_whole_folder(tmp_path: Path) -> None:
    """A selection that is of the suite alone, or of a folder alone, is an error."""
    mine = folder(tmp_path / "cases", test_mine="def test_mine(): pass\n")
    with FakeSglang() as fake:
        assert outcomes(whole(fake.url, mine, select="greedy")) == {GREEDY: Outcome.PASSED}
        nothing = whole(fake.url, mine, select="no_such_case")
    assert outcomes(nothing) == {"suite": Outcome.ERROR}
    assert messages(nothing)["suite"] == "no case matches -k 'no_such_case'"
    assert nothing.verdict is Verdict.ERROR


@pytest.mark.long
def test_a_dead_server_ends_the_later_folders_too(tmp_path: Path) -> None:
    """Each folder spends its own time on a server that is known to be dead."""
    mine = folder(tmp_path / "cases", test_mine="def test_mine(): pass\n")
    check = whole(NOWHERE, mine)
    assert list(outcomes(check)) == [GREEDY, "server answers"]


@pytest.mark.long
def test_the_budget_is_that_of_all_parts(tmp_path: Path) -> None:
    """Each folder gets a budget of its own, and many take for ever."""
    slow = "import time\ndef test_mine(): time.sleep(600)\n"
    folders = [folder(tmp_path / name, test_mine=slow) for name in ("a", "b")]
    check = run(NOWHERE, SmokeOptions(directories=tuple(folders), builtin=False, budget=4.0))
    assert outcomes(check) == {"suite a": Outcome.ERROR}
    assert check.cause.startswith("suite a: smoke.budget, 4 s, was spent")


def test_parts_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    """A file named twice runs twice, or one in a named folder without that folder's conftest."""
    one, two = (folder(tmp_path / name / "cases", test_x="") for name in ("one", "two"))
    file = folder(one / "more", test_y="") / "test_y.py"
    found = parts([file, one, two, one, Path(os.path.relpath(two))], builtin=True)
    assert [part.title for part in found] == ["", "one/cases", "two/cases"]
    assert found[1].paths == (one, file)
    assert found[1].name("test_x.py::test_it") == "one/cases/test_x.py::test_it"
    assert found[1].name("test_y.py::test_it") == "test_y.py::test_it"
    assert found[1].name("server answers") == "server answers"
    (alone,) = parts([file], builtin=False)
    assert (alone.title, alone.folder) == ("test_y.py", file.parent)


ASYNC = """
import anyio, functools, pytest

async def test_unmarked(): pass

@pytest.mark.anyio
async def test_marked(generate):
    await anyio.sleep(0)

@pytest.fixture
async def late(): return 5

def test_fixture(late): assert late == 5

def wrapped(function):
    @functools.wraps(function)
    def inner(): return function()
    return inner

@wrapped
async def test_wrapped(): pass

@pytest.mark.anyio
async def test_marked_fixture(late): assert late == 5
"""
LACKING = "async cases and fixtures need @pytest.mark.anyio on the case"


def test_async_cases_run_or_say_what_they_lack(tmp_path: Path) -> None:
    """A case that pytest can't run is blamed on the server."""
    with FakeSglang() as fake:
        check = own(tmp_path / "cases", ASYNC, fake.url)
    told = messages(check)
    assert {name for name, case in outcomes(check).items() if case is Outcome.PASSED} == {
        "test_mine.py::test_marked[asyncio]",
        "test_mine.py::test_marked_fixture[asyncio]",
    }
    for name in ("unmarked", "fixture", "wrapped"):
        assert outcomes(check)[f"test_mine.py::test_{name}"] is Outcome.ERROR
        assert told[f"test_mine.py::test_{name}"] == LACKING

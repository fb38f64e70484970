"""The runner: whatever users' files do to pytest, the check says so and nothing is left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import psutil
import pytest

from ci.report.model import Case, Check
from ci.smoke.run import SmokeOptions, environment, run_smoke
from ci.verdict import Outcome, Verdict
from tests.fakes.sglang import FakeSglang

pytestmark = pytest.mark.unit

NOWHERE = "http://127.0.0.1:1"
"""No server is there: for files that ask for none."""

HANG_LIMIT = 60.0
"""Seconds after which a run counts as hung; far above what any takes."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a good server."""
    with FakeSglang() as fake:
        yield fake.url


def run(url: str, options: SmokeOptions, seen: list[Case] | None = None) -> Check:
    """Run the check to its end."""
    heard = seen if seen is not None else []

    async def bounded() -> Check:
        with anyio.fail_after(HANG_LIMIT):
            return await run_smoke(url, options, heard.append)

    return anyio.run(bounded)


def own(folder: Path, text: str, url: str = NOWHERE, **options: float | str) -> Check:
    """Run one file of a user's, without the suite."""
    folder.mkdir(exist_ok=True)
    (folder / "test_mine.py").write_text(text)
    return run(url, SmokeOptions(directories=(folder,), builtin=False, **options))  # type: ignore[arg-type]


def outcomes(check: Check) -> dict[str, Outcome]:
    """Return each case's outcome by name."""
    return {case.name: case.outcome for case in check.cases}


def test_suite_passes_beside_a_users_file(url: str, tmp_path: Path) -> None:
    """The suite and a user's folder are one check, and each case is told as it ends."""
    (tmp_path / "conftest.py").write_text(
        "import pytest\n@pytest.fixture\ndef word(): return 'hello'\n"
    )
    (tmp_path / "test_mine.py").write_text(
        "def test_mine(word, generate): assert generate(word).text\n"
    )
    seen: list[Case] = []
    check = run(url, SmokeOptions(directories=(tmp_path,), select="mine or greedy"), seen)
    assert outcomes(check) == {
        "generate::greedy is repeatable": Outcome.PASSED,
        "test_mine.py::test_mine": Outcome.PASSED,
    }
    assert tuple(seen) == check.cases
    assert check.verdict is Verdict.PASSED
    assert check.name == "smoke"


def test_hung_server_ends_early() -> None:
    """A hung server costs one request's time and a pulse, not the whole budget."""
    with FakeSglang(faults=["hang"]) as fake:
        check = run(fake.url, SmokeOptions(timeout=0.5))
    first, last = check.cases
    assert first.message == "GET /server_info: no answer within 0.5 s"
    assert last.name == "server answers"
    assert check.verdict is Verdict.FAILED


def test_closed_port_fails() -> None:
    """Where nothing listens, the check fails in one line and ends."""
    check = run(NOWHERE, SmokeOptions())
    assert check.verdict is Verdict.FAILED
    assert check.cases[0].message == "GET /model_info: connection refused"


class WebPage(BaseHTTPRequestHandler):
    """A server of something else."""

    def do_GET(self) -> None:
        """Answer with a page."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


def test_other_server_fails() -> None:
    """Something that isn't SGLang is named so once, and no further case is tried."""
    with ThreadingHTTPServer(("127.0.0.1", 0), WebPage) as page:
        threading.Thread(target=page.serve_forever, args=(0.01,), daemon=True).start()
        check = run(f"http://127.0.0.1:{page.server_address[1]}", SmokeOptions())
        page.shutdown()
    assert [case.name for case in check.cases[1:]] == ["server answers"]
    assert check.cases[-1].message.endswith("not an SGLang server: the answer is not JSON")


def test_nothing_collected_is_an_error(tmp_path: Path) -> None:
    """A run without a case is never PASSED."""
    check = own(tmp_path, "VALUE = 1\n")
    assert outcomes(check) == {"suite": Outcome.ERROR}
    assert check.cases[0].message == "no case was found"


def test_nothing_selected_is_an_error(tmp_path: Path) -> None:
    """A selection that fits no case is never PASSED."""
    check = own(tmp_path, "def test_it(): pass\n", select="no_such_case")
    assert check.verdict is Verdict.ERROR


def test_skipped_only_is_an_error(tmp_path: Path) -> None:
    """A run in which everything was skipped is never PASSED."""
    check = own(tmp_path, "import pytest\ndef test_it(): pytest.skip('no')\n")
    assert check.verdict is Verdict.ERROR


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n", "test_mine.py:1: SyntaxError: invalid syntax"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_broken_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    """A file that can't be read is an error with its place, and other files still run."""
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    check = own(tmp_path, text)
    good, broken = sorted(check.cases, key=lambda case: case.outcome is Outcome.ERROR)
    assert (good.name, good.outcome) == ("test_good.py::test_good", Outcome.PASSED)
    assert (broken.name, broken.message) == ("test_mine.py", message)
    assert "test_mine.py" in broken.details


def test_broken_conftest_is_an_error(tmp_path: Path) -> None:
    """A conftest that can't be loaded is an error that names it."""
    (tmp_path / "conftest.py").write_text("import no_such_module\n")
    check = own(tmp_path, "def test_it(): pass\n")
    assert check.verdict is Verdict.ERROR
    assert "conftest.py" in check.cause


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that isn't there is an error that names it."""
    check = run(NOWHERE, SmokeOptions(directories=(tmp_path / "absent",), builtin=False))
    assert check.verdict is Verdict.ERROR
    assert "absent" in check.cause


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "pytest was ended by SIGSEGV"),
        ("os._exit(0)", "1 of 2 cases gave no result"),
        ("os._exit(7)", "pytest exited with 7"),
        ("pytest.exit('enough', returncode=0)", "1 of 2 cases gave no result"),
        ("raise KeyboardInterrupt", "pytest was interrupted"),
    ],
)
def test_crash_is_an_error(tmp_path: Path, act: str, message: str) -> None:
    """A case that ends pytest is named; what came before is kept, what is missing not passed."""
    text = f"import os, signal, pytest\ndef test_good(): pass\ndef test_last(): {act}\n"
    check = own(tmp_path, text)
    assert outcomes(check)["test_mine.py::test_good"] is Outcome.PASSED
    assert check.verdict is Verdict.ERROR
    last = check.cases[-1]
    assert last.name == "suite"
    assert last.message.startswith(message)
    assert "test_last" in last.message


def test_spent_budget_is_an_error(tmp_path: Path) -> None:
    """A case that never ends costs the budget and no more."""
    check = own(tmp_path, "import time\ndef test_slow(): time.sleep(600)\n", budget=1.0)
    assert outcomes(check) == {"suite": Outcome.ERROR}
    assert check.cause.startswith("suite: budget of 1 s spent")


STRAY = """
import pathlib, subprocess, sys, time
def test_stray():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path({file!r}).write_text(str(child.pid))
    time.sleep({seconds})
"""


def test_no_process_is_left(tmp_path: Path) -> None:
    """Processes that a case leaves behind end with the run."""
    told = tmp_path / "pid"
    own(tmp_path, STRAY.format(file=str(told), seconds=0))
    assert gone(int(told.read_text()))


def test_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a case ends pytest and what it started."""
    told = tmp_path / "pid"
    text = STRAY.format(file=str(told), seconds=600)
    (tmp_path / "test_mine.py").write_text(text)

    async def cancelled() -> None:
        options = SmokeOptions(directories=(tmp_path,), builtin=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_smoke, NOWHERE, options)
            with anyio.fail_after(HANG_LIMIT):
                while not (told.exists() and told.read_text()):
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()

    anyio.run(cancelled)
    assert gone(int(told.read_text()))


def gone(pid: int) -> bool:
    """Return whether a process ends within a few seconds; one that is dead counts as gone."""
    try:
        process = psutil.Process(pid)
        process.wait(timeout=10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def test_surroundings_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place where the check runs changes nothing: no pytest.ini, conftest, or package `ci`."""
    place = tmp_path / "place"
    (place / "ci").mkdir(parents=True)
    (place / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (place / "conftest.py").write_text("raise RuntimeError('the wrong conftest')\n")
    (place / "ci" / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    check = own(tmp_path / "cases", "import warnings\ndef test_it(): warnings.warn('never mind')\n")
    assert outcomes(check) == {"test_mine.py::test_it": Outcome.PASSED}


def test_readonly_folder_stays_as_it_is(tmp_path: Path) -> None:
    """Running cases writes nothing beside them; else a read-only folder would not do."""
    folder = tmp_path / "cases"
    own(folder, "def test_it(): pass\n")
    assert [path.name for path in folder.iterdir()] == ["test_mine.py"]


def test_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases see the user's own variables, and this package wherever it lies."""
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.setenv("PYTHONPATH", "mine")
    found = environment()
    assert found["MINE"] == "kept"
    assert found["PYTHONPATH"].split(os.pathsep)[1:] == ["mine"]

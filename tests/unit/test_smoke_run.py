"""The runner: whatever servers and users' files do, the check says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ci.report.model import Case
from ci.smoke.run import SmokeOptions
from ci.verdict import Outcome, Verdict
from tests.fakes.sglang import FakeSglang
from tests.rare import rare
from tests.unit.smoke_runs import NOWHERE, outcomes, own, run

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a good server."""
    with FakeSglang() as fake:
        yield fake.url


@pytest.mark.long
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
    assert check.facts["cases collected"] == "2"
    assert check.name == "smoke"


@pytest.mark.long
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


@pytest.mark.long
def test_other_server_fails() -> None:
    """Something that isn't SGLang is named so once, and no further case is tried."""
    with ThreadingHTTPServer(("127.0.0.1", 0), WebPage) as page:
        threading.Thread(target=page.serve_forever, args=(0.01,), daemon=True).start()
        check = run(f"http://127.0.0.1:{page.server_address[1]}", SmokeOptions())
        page.shutdown()
    assert [case.name for case in check.cases[1:]] == ["server answers"]
    assert check.cases[-1].message.endswith(
        "not an SGLang server: HTTP 200 without JSON: <html>hello</html>"
    )


@pytest.mark.parametrize(
    ("text", "select"),
    rare(
        [
            ("VALUE = 1\n", ""),
            ("def test_it(): pass\n", "no_such_case"),
            ("import pytest\ndef test_it(): pytest.skip('no')\n", ""),
        ]
    ),
    ids=["nothing there", "nothing selected", "all skipped"],
)
@pytest.mark.long
def test_run_without_a_case_is_an_error(tmp_path: Path, text: str, select: str) -> None:
    """A run in which no case ran is never PASSED."""
    assert own(tmp_path, text, select=select).verdict is Verdict.ERROR


BROKEN = {
    "test_syntax.py": ("def broken(:\n", "test_syntax.py:1: SyntaxError: invalid syntax"),
    "test_import.py": ("import nothing\n", "ModuleNotFoundError: No module named 'nothing'"),
    "test_error.py": ("1 / 0\n", "ZeroDivisionError: division by zero"),
}


@pytest.mark.long
def test_broken_files_are_errors(tmp_path: Path) -> None:
    """Files that can't be read are errors with their place, and other files still run."""
    for name, (text, _) in BROKEN.items():
        (tmp_path / name).write_text(text)
    check = own(tmp_path, "def test_good(): pass\n")
    assert outcomes(check).pop("test_mine.py::test_good") is Outcome.PASSED
    bad = {case.name: case for case in check.cases if case.outcome is Outcome.ERROR}
    assert {name: case.message for name, case in bad.items()} == {
        name: message for name, (_, message) in BROKEN.items()
    }
    assert all(name in case.details for name, case in bad.items())


@pytest.mark.long
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
    rare(
        [
            ("os.kill(os.getpid(), signal.SIGSEGV)", "pytest was ended by SIGSEGV"),
            ("os._exit(0)", "1 of 2 cases gave no result"),
            ("os._exit(7)", "pytest exited with 7"),
            ("pytest.exit('enough', returncode=0)", "1 of 2 cases gave no result"),
            ("raise KeyboardInterrupt", "pytest was interrupted"),
        ]
    ),
)
def test_crash_is_an_error(tmp_path: Path, act: str, message: str) -> None:
    """A case that ends pytest is named; what came before is kept, what is missing not passed."""
    text = f"import os, signal, pytest\ndef test_good(): pass\ndef test_last(): {act}\n"
    check = own(tmp_path, text)
    assert outcomes(check)["test_mine.py::test_good"] is Outcome.PASSED
    assert check.verdict is Verdict.ERROR
    last = next(case for case in check.cases if case.name == "suite")
    assert last.message.startswith(message)
    assert "test_last" in last.message

"""Fixtures that several files of this tier use."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from ci import cli
from ci.boot import listening, polling
from ci.boot import process as processes
from ci.boot.launch import Launch
from ci.registry.client import Registry
from ci.release import audit
from ci.secrets import veil
from tests.fakes.osv import fake_osv
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.unit.commands import Command
from tests.unit.release_commands import Workplace, in_process
from tests.unit.shells import STUBBORN, Fake


def left_alone(*_: object) -> None:
    """Stand in the place of `signal.signal`, which refuses every thread but the main one."""
    if threading.current_thread() is not threading.main_thread():
        raise ValueError("signal only works in main thread of the main interpreter")


@pytest.fixture(autouse=True, scope="session")
def _no_plugin_of_the_development_environment() -> Iterator[None]:
    """Spare each folder of cases a second: that is how long schemathesis' plugin takes to load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_garbage_among_what_was_collected() -> Iterator[None]:
    """Let collections of garbage pass over all tests' modules, which takes 0.2 s each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_secret_of_another_test() -> Iterator[None]:
    """Forget secrets that a test made known to this process."""
    yield
    veil.forget()


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without settings in variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SGLANG_CI_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs the command in an empty folder and returns its exit code."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SGLANG_CI_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(signal, "signal", left_alone)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["sglang-ci", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return code if isinstance(code, int) else 0

    return run


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Return a function that puts a shell script in the place of `launch.sh`."""

    def install(script: str) -> Launch:
        path = tmp_path / "launch.sh"
        path.write_text(script)
        (tmp_path / "stubborn.py").write_text(STUBBORN)
        monkeypatch.setattr(processes, "launch_script", lambda: path)
        environment = {"FAKE": str(tmp_path), "PYTHON": sys.executable}
        return Launch(model=tmp_path, host="127.0.0.1", port=1, environment=environment)

    return install


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe sooner what real servers need seconds for."""
    monkeypatch.setattr(listening, "STRANGER_SECONDS", 0.1)
    monkeypatch.setattr(polling, "GONE_SECONDS", 0.1)
    monkeypatch.setattr(listening, "NAME_SECONDS", 0.1)
    monkeypatch.setattr(listening, "ASK_SECONDS", 0.2)
    monkeypatch.setattr(listening, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(processes, "KILL_GRACE", 0.2)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """Yield a registry with nothing in it."""
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def client(fake: FakeRegistry) -> Iterator[Registry]:
    """Yield a client of the registry that the test asks for; it tries three times."""
    with Registry(fake.reference(), fake.access) as registry:
        yield registry


@pytest.fixture
def store() -> Iterator[FakeRegistry]:
    """Yield a registry that wants user and password."""
    with fake_registry(login="Basic") as registry:
        yield registry


@pytest.fixture(scope="session")
def nothing_vulnerable() -> Iterator[str]:
    """Yield the URL of a database that knows no vulnerability."""
    with fake_osv({}) as database:
        yield database.url


@pytest.fixture(scope="session")
def audited() -> Callable[..., object]:
    """Return pip-audit's answers, asked for once each: it takes as long as all the rest."""
    ask = audit._asked
    told: dict[object, object] = {}

    def asked(pins: Iterable[audit.Pin], database: str, budget: float) -> object:
        question = (tuple(pins), database)
        if question not in told:
            told[question] = ask(*question, budget)
        return told[question]

    return asked


@pytest.fixture
def at(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    store: FakeRegistry,
    nothing_vulnerable: str,
    audited: Callable[..., object],
) -> Workplace:
    """Return a folder with an image that is to be released, and nothing vulnerable in it."""
    monkeypatch.setattr(audit, "_asked", audited)
    runner = in_process(command, capsys, monkeypatch)
    workplace = Workplace(runner, Path.cwd(), str(store.reference()), store.access)
    workplace.furnish(nothing_vulnerable)
    return workplace

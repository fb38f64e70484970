"""SGLang's processes as copies of the first, on stand-ins for what SGLang starts."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci.boot.log import ServerLog
from ci.platform import fork, promise

pytestmark = pytest.mark.unit

HANG = 60
PROGRAM = """
import gc, multiprocessing, os, signal, sys, threading, time
from types import SimpleNamespace
from ci.platform import fork

imported = "in the first process"
signal.signal(signal.SIGQUIT, lambda *_: os.write(1, b"its parent's signal"))
gc.set_threshold(*fork.IMPORTING)

def child(pipe):
    own = signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL
    pipe.send((globals().get("imported"), own, multiprocessing.get_start_method()))

def start(*_):
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=child, args=(writer,))
    if multiprocessing.get_start_method() == "fork":
        process.start()
        print(*reader.recv(), end=" ")
        process.join()
    else:
        print("spawned", end=" ")
    return "launched"

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    os.register_at_fork(after_in_child=fork._begin)
    if sys.argv[1] == "thread":
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    flags = SimpleNamespace(numa_node=[0] if sys.argv[1] == "numa" else None)
    told = fork._forking(start, "Engine", flags)
    print(told, multiprocessing.get_start_method(), gc.get_threshold() == fork.USUAL)
"""


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("alone", "in the first process True spawn launched spawn True"),
        ("thread", "spawned launched spawn True"),
        ("numa", "spawned launched spawn True"),
    ],
)
def test_what_is_forked_and_when(tmp_path: Path, case: str, told: str) -> None:
    """A child imports all anew, hangs on a lock, has its parent's signals, or forks on its own."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), case],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG,
        env=os.environ | {"PYTHONPATH": str(Path(fork.__file__).parents[2])},
    )
    assert done.stdout.split() == told.split()


@pytest.mark.parametrize("method", ["", "spawn"])
def test_nobody_asked(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A server on a GPU, or of somebody who switched it off, forks its processes."""
    monkeypatch.setenv(fork.METHOD, method)
    fork.activate()
    assert gc.get_threshold() != fork.IMPORTING


def test_an_sglang_that_starts_processes_elsewhere_spawns_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The plugin breaks the start of a version that it doesn't fit."""
    engine = tmp_path / "srt/entrypoints/engine.py"
    engine.parent.mkdir(parents=True)
    engine.write_text(fork.STARTS[0])
    monkeypatch.setattr(promise, "_package", lambda: tmp_path)
    monkeypatch.setenv(fork.METHOD, "fork")
    fork.activate()
    assert f"has no {fork.STARTS[1]}" in caplog.text
    assert gc.get_threshold() != fork.IMPORTING


def test_a_log_tells_how_processes_began() -> None:
    """A report doesn't say that a test server started in another way than one on a GPU."""
    log = ServerLog(0)
    log.add("[2026-12-01 10:00:00] another line", 1)
    assert not log.forked
    log.add(f"[2026-12-01 10:00:00] {fork.FORKED}", 1)
    assert log.forked

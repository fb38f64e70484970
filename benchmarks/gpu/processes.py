"""Commands and servers as child processes, each bounded in time and never left behind.

Everything runs through the command line, `python -m ci`, as a user's would: what is measured
here is the tool and not a shortcut of the benchmark's own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CI = (sys.executable, "-m", "ci")
STOPPING = 30.0
"""Seconds between SIGTERM and SIGKILL."""
LAST = 40
"""Lines of an output that are shown where its command failed."""


class StepFailed(Exception):
    """A command or a server didn't do what the step needs; the message says which and why."""


@dataclass(frozen=True)
class Deadline:
    """When a step has to be over, on the monotonic clock."""

    until: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds that are left, at least one so that a command can say what it is missing."""
        return max(self.until - time.monotonic(), 1.0)


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Args:
        command: What was called, without the paths of this machine's interpreter.
        code: Its exit code.
        seconds: How long it took.
    """

    command: str
    code: int
    seconds: float


def call(argv: Sequence[str], log: Path, deadline: Deadline) -> Done:
    """Run a command, and tell the end of its output.

    Raises:
        StepFailed: It isn't over by the deadline.
    """
    shown, begin = spoken(argv), time.monotonic()
    print(f"$ {shown}", flush=True)
    with started(argv, log) as process:
        try:
            code = process.wait(deadline.left)
        except subprocess.TimeoutExpired as error:
            took = time.monotonic() - begin
            raise StepFailed(f"not over after {took:.0f} s: {shown}\n{tail(log)}") from error
    done = Done(shown, code, round(time.monotonic() - begin, 1))
    print(f"{tail(log)}\n-> exit code {code} after {done.seconds:.0f} s", flush=True)
    return done


@contextmanager
def servers(
    configs: Sequence[Path], ports: Sequence[int], deadline: Deadline
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start a server for each settings file, all at the same time, and stop them at the end.

    Yields their processes, which may be stopped before.

    Args:
        configs: Their settings; a server's log lies beside its file.
        ports: Where they listen.
        deadline: Until when they are ready.

    Raises:
        StepFailed: One of them isn't.
    """
    logs = [config.with_suffix(".log") for config in configs]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for config, log in zip(configs, logs, strict=True):
            argv = (*CI, "serve", "--config", str(config))
            print(f"$ {spoken(argv)} &", flush=True)
            running.append(_start(argv, log))
        for config, log, port in zip(configs, logs, ports, strict=True):
            _ready(config, log, port, deadline)
        yield running
    finally:
        for process in running:
            _signal(process, signal.SIGTERM)
        for process in running:
            _end(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server before the others."""
    _signal(process, signal.SIGTERM)
    _end(process)


def _ready(config: Path, log: Path, port: int, deadline: Deadline) -> None:
    url = f"http://127.0.0.1:{port}"
    report = config.with_name(f"{config.stem}-readiness")
    argv = (*CI, "wait", url, "--log", str(log), "--config", str(config))
    waited = config.with_name(f"{config.stem}-wait.log")
    done = call((*argv, "--report-dir", str(report)), waited, deadline)
    if done.code:
        raise StepFailed(f"the server of {config.name} is not ready:\n{tail(log)}")


def tail(log: Path) -> str:
    """Return the last lines of a file."""
    if not log.is_file():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST:])


def fresh(folder: Path) -> Path:
    """Return a folder without what an earlier run may have left there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def keep(path: Path, found: Any) -> None:
    """Write what is known so far, which a step that ends early leaves behind."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def spoken(argv: Sequence[str]) -> str:
    """Return a command as a person would type it."""
    return " ".join("python" if part == sys.executable else part for part in argv)


def _start(argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    with log.open("wb") as file:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


@contextmanager
def started(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a command that runs, its output in a file; end it where it still does."""
    process = _start(argv, log)
    try:
        yield process
    finally:
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the process, and end by force what is left of its group."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOPPING)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)

"""Runs of the command in processes of their own, with a fake SGLang under the real `launch.sh`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ci.report.model import Report
from ci.report.write import load
from tests.fakes.launched import Plan, install

HANG = 180.0
"""Most seconds that a run may take before it counts as hung."""
CASE = "import os, time\ndef test_own(server):\n    time.sleep(float(os.environ['CASE_SECONDS']))\n"
Command = Callable[..., int]
"""`sglang-ci` in this process: arguments to exit code."""
REPORT_FILES = {"report.json", "junit.xml", "summary.md", "index.html"}


@dataclass(frozen=True)
class Run:
    """One run: its process, and the folder that is its own."""

    process: subprocess.Popen[bytes]
    folder: Path

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(HANG)

    def output(self) -> str:
        """Return what it printed so far."""
        return (self.folder / "output.txt").read_text()

    def until(self, text: str) -> None:
        """Wait until it has printed `text`."""
        deadline = time.monotonic() + HANG
        while text not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, f"no {text!r} in {self.output()}"
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        self.process.send_signal(number)

    def report(self) -> Report:
        """Return the report that it left, which must be whole."""
        assert {path.name for path in (self.folder / "report").iterdir()} >= REPORT_FILES
        return load(self.folder / "report")

    def alive(self) -> list[str]:
        """Return the command lines of all processes that the run started and that still live."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = str(self.folder) in process.environ().get("PYTHONPATH", "")
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found


@contextmanager
def proving(
    folder: Path, *arguments: str, plan: Plan | None = None, case_seconds: float = 0.0
) -> Iterator[Run]:
    """Start `sglang-ci ci` on a fake SGLang, with one smoke case; kill what is left at the end."""
    cases = folder / "cases"
    cases.mkdir(parents=True)
    (cases / "test_own.py").write_text(CASE)
    installed = install(folder / "installed", plan)
    environment = os.environ | installed | {"CASE_SECONDS": str(case_seconds)}
    settings = ("server.device=cpu", "smoke.builtin=false", "bench.in_ci=false")
    fixed = [part for text in settings for part in ("--set", text)]
    argv = [sys.executable, "-m", "ci", "ci", *fixed, "--smoke", str(cases)]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [*argv, "--report-dir", str(folder / "report"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
    try:
        yield Run(process, folder)
    finally:
        process.kill()
        process.wait()

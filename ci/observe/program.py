"""A Prometheus of our own for a moment: in a folder of its own, on loopback, ended in any case.

It runs under `timeout` of coreutils, so that it ends by itself even where this process is killed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import anyio
import yaml
from anyio.abc import Process

from ci.boards.model import Query
from ci.boot.port import reserved
from ci.concurrency import ended
from ci.errors import CheckBroken
from ci.observe.ask import Prometheus
from ci.observe.scrapers import UNDERSCORES
from ci.observe.stored import SCRAPES
from ci.server.door import Door

EVERY = 2.0
"""Seconds between two scrapes, and most seconds of one."""
STARTS = 30.0
"""Most seconds until it answers."""
STOPS = 5.0
"""Most seconds between SIGTERM and SIGKILL."""
TRIES = 3
"""Most ports that are tried: between the choice of one and its use somebody else may take it."""
LAST_LINES = 5
TAKEN = "address already in use"
ENDPOINT = {"instance", "job", "prometheus"}
"""Labels that it adds itself, or doesn't."""


class Ended(Exception):
    """It ended although nobody asked it to; `str()` is what it said last."""


@dataclass(frozen=True)
class Program:
    """A Prometheus that can be started.

    Args:
        path: The program.
        server: The base URL of the server that it scrapes.
        rules: Recording rules that it evaluates.
        relabels: The scrape's `metric_relabel_configs`.
        budget: Seconds after which it is ended by all means.
        job: The scrape's name.
        legacy: Whether it asks for names without a colon, as a Prometheus 3 may be told to.
    """

    path: str
    server: str
    rules: Sequence[Query]
    relabels: Sequence[Mapping[str, Any]]
    budget: float
    job: str = "sglang"
    legacy: bool = False

    @asynccontextmanager
    async def running(self, seconds: float) -> AsyncIterator[Prometheus]:
        """Yield it, ready; it is gone when the context ends.

        Args:
            seconds: Most seconds of a request to it.

        Raises:
            CheckBroken: It doesn't start, or ends.
        """
        with TemporaryDirectory(prefix="sglang-ci-prometheus-") as text:
            folder = Path(text)
            self._write(folder)
            for left in reversed(range(TRIES)):
                with reserved("127.0.0.1", 0) as port:
                    async with self._process(folder, port) as process:
                        try:
                            async with Prometheus.at(f"http://127.0.0.1:{port}", seconds) as api:
                                await _started(process, api, folder)
                                yield api
                                return
                        except Ended as error:
                            if left == 0 or TAKEN not in str(error):
                                raise CheckBroken(f"{self.path}: {error}") from error

    @asynccontextmanager
    async def _process(self, folder: Path, port: int) -> AsyncIterator[Process]:
        argv = [
            *("timeout", f"--kill-after={STOPS:g}", f"{self.budget + STARTS:g}", self.path),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (folder / "log").open("wb") as log:
            try:
                process = await anyio.open_process(argv, stdin=DEVNULL, stdout=log, stderr=log)
            except OSError as error:
                raise CheckBroken(f"{self.path} can't be started: {error.strerror}") from error
            try:
                yield process
            finally:
                with anyio.CancelScope(shield=True):
                    await ended(process, 2 * STOPS)  # `timeout` passes SIGTERM on

    def _write(self, folder: Path) -> None:
        key = Door.to(self.server).key
        if key:
            (folder / "key").touch(0o600)
            (folder / "key").write_text(key, encoding="ascii")
        config = {"prometheus": _config(self, folder, keyed=bool(key)), "rules": _rules(self.rules)}
        for name, content in config.items():  # read by Prometheus: a veil would spoil them
            text = yaml.safe_dump(content, sort_keys=False)
            (folder / f"{name}.yml").write_text(text, encoding="utf-8")


def found(name: str) -> str:
    """Return the program that a name or a path stands for; empty where there is none."""
    return (shutil.which(name) or "") if name else ""


def version_of(path: str) -> str:
    """Return what a Prometheus says of its version; empty where it says nothing."""
    try:
        done = subprocess.run(
            [path, "--version"], stdin=DEVNULL, capture_output=True, timeout=STARTS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = (done.stdout + done.stderr).decode("utf-8", "replace").split()
    return words[words.index("version") + 1] if "version" in words[:-1] else ""


def _config(program: Program, folder: Path, *, keyed: bool) -> dict[str, Any]:
    at = urlsplit(program.server)
    every = f"{round(EVERY * 1000)}ms"
    static = {"targets": [at.netloc], "labels": dict.fromkeys(sorted(SCRAPES - ENDPOINT), "ci")}
    scrape: dict[str, Any] = {
        "job_name": program.job,
        "scheme": at.scheme,
        "metrics_path": f"{at.path}/metrics",
        "static_configs": [static],
    }
    if keyed:
        scrape["authorization"] = {"credentials_file": str(folder / "key")}
    if program.legacy:
        scrape["metric_name_escaping_scheme"] = UNDERSCORES
    if program.relabels:
        scrape["metric_relabel_configs"] = [dict(one) for one in program.relabels]
    return {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": every,
            "evaluation_interval": every,
        },
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [scrape],
    }


def _rules(rules: Sequence[Query]) -> dict[str, Any]:
    """Return recording rules as a file of rules: one group, in their order."""
    written = [
        {"record": one.record, "expr": one.text, "labels": dict(one.labels)} for one in rules
    ]
    return {"groups": [{"name": "boards", "rules": written}] if written else []}


async def _started(process: Process, api: Prometheus, folder: Path) -> None:
    """Wait until it answers.

    Raises:
        Ended: It ended, or didn't answer in time.
    """
    with anyio.move_on_after(STARTS):
        while not await api.ready():
            if process.returncode is not None:
                raise Ended(f"ended with {process.returncode}: {said(folder)}")
            await anyio.sleep(0.1)
        return
    raise Ended(f"didn't get ready within {STARTS:g} s: {said(folder)}")


def said(folder: Path) -> str:
    """Return the last lines of its log."""
    lines = (folder / "log").read_text("utf-8", "replace").splitlines()
    wrong = [line for line in lines if "level=error" in line or "level=ERROR" in line]
    return " | ".join((wrong or lines)[-LAST_LINES:]) or "it said nothing"

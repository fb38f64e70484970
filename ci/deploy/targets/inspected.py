"""What podman and docker tell of a container: the JSON of `inspect`, and a slot in it."""

from __future__ import annotations

import io
import tarfile
from dataclasses import asdict, dataclass
from datetime import datetime
from signal import SIGKILL
from typing import Any

from ci.boot.death import exited
from ci.boot.log import ServerLog
from ci.deploy.world import Release

PREFIX = "sglang-ci."
_RUNS = {"running", "paused", "restarting", "stopping", "removing"}
_SIGNALLED = 128
PROVEN = "sglang-ci.proven"


@dataclass(frozen=True)
class Inspected:
    """One container.

    Args:
        id: Its whole id.
        labels: All of its labels.
        state: Its state, as the program has it.
    """

    id: str
    labels: dict[str, str]
    state: dict[str, Any]

    @classmethod
    def of(cls, document: dict[str, Any]) -> Inspected:
        """Return what an element of `inspect` tells."""
        return cls(document["Id"], document["Config"]["Labels"] or {}, document["State"])

    def label(self, name: str) -> str:
        """Return one of our labels; empty where it is missing."""
        return self.labels.get(PREFIX + name, "")

    @property
    def release(self) -> Release:
        """What it was started with."""
        names = ("digest", "reference", "version", "deployment")
        return Release(**{name: self.label(name) for name in names})

    @property
    def number(self) -> int:
        """Its place in the order of starts; 0 where it has none."""
        return int(self.label("number") or 0)

    @property
    def pid(self) -> int:
        """Its first process, as the host counts."""
        return int(self.state["Pid"])

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self.state["Status"] in _RUNS

    @property
    def began(self) -> str:
        """When its process was started, as the program writes it: another text at each start."""
        return str(self.state["StartedAt"])

    @property
    def started(self) -> datetime | None:
        """When its process was started; None where it never was."""
        if self.began.startswith("0001-"):
            return None
        return datetime.fromisoformat(self.began)

    @property
    def exit_code(self) -> int:
        """Its exit code; negative for a signal."""
        code = int(self.state["ExitCode"])
        return _SIGNALLED - code if code > _SIGNALLED else code

    @property
    def killed(self) -> bool:
        """Whether its process was ended by SIGKILL."""
        return self.exit_code == -SIGKILL

    def cause(self, log: str) -> str:
        """Return why it ended although nobody asked it to, in one line; `log` is its last lines."""
        if self.started is None:
            problem = str(self.state.get("Error", ""))
            return f"its start was cut off before anything ran{f': {problem}' if problem else ''}"
        read = ServerLog(0.0)
        for line in log.splitlines():
            read.add(line, 0.0)
        starved = "killed for memory: its own limit or the machine's"
        memory = starved if self.state["OOMKilled"] else ""
        cause = exited(self.exit_code, "", read, memory).cause
        return f"exit code {self.exit_code}: {cause}" if self.exit_code >= 0 else cause


def labels(
    environment: str, slot: str, address: str, release: Release, number: int = 0
) -> list[str]:
    """Return the arguments that give a container its labels."""
    about = {"environment": environment, "slot": slot, "address": address, **asdict(release)}
    about |= {"number": str(number)} if number else {}
    return [word for name, text in about.items() for word in ("--label", f"{PREFIX}{name}={text}")]


def mark_of(began: str) -> bytes:
    """Return the mark of a process that began then, as `cp` takes it: a tar with one file."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        about = tarfile.TarInfo(PROVEN)
        content = began.encode()
        about.size, about.mode = len(content), 0o444
        archive.addfile(about, io.BytesIO(content))
    return written.getvalue()


def read_mark(archive: bytes) -> str:
    """Return when the process began that a mark speaks of."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        file = opened.extractfile(opened.next() or "")
        return file.read(100).decode("utf-8", "replace") if file else ""

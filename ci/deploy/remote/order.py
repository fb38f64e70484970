"""What is said between the two sides: one greeting, one order, one answer."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ci.deploy.world import Release, World
from ci.errors import HostFault
from ci.report.model import Report

GREETING = b"sglang-ci deploy there "
"""How the line begins with which the host answers; its version follows."""
BEAT = 10.0
"""Seconds between two signs of life, which either side gives the other."""
SILENCE = 60.0
"""Seconds without one after which the other side counts as gone."""
MOST_SENT = 64 * 2**20
"""Most bytes of an order, and of an answer."""
STOPS = ("SIGINT", "SIGTERM")
"""Lines behind the order that end the run, as these signals do."""
ANSWER = "answer.json"
FILES = "files"
"""Folder of the answer that holds what stages left beside the report."""

Errands = Literal["deploy", "look"]


class Order(BaseModel):
    """What the host is asked for: all that it is ever given.

    Args:
        version: The asking side's version, which has to be the host's as well.
        does: What is asked for.
        environment: The environment's name.
        settings: Those in force, paths as the host is to have them.
        luggage: A tar, in base64, of the asking side's own files.
        release: What is to run; None is an abort, or nothing that matters.
        back: Whether this is a roll-back.
        approved: Manual gates up to this share are open.
        wait: Most seconds to wait for another deployment's end.
        username: Who pulls from the registry; empty where nobody has to.
        password: Its password.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    does: Errands
    environment: str
    settings: dict[str, Any]
    luggage: str = Field("", repr=False)
    release: Release | None = None
    back: bool = False
    approved: int = 0
    wait: float = 0
    username: str = ""
    password: str = Field("", repr=False)

    def line(self) -> bytes:
        """Return it as one line."""
        return self.model_dump_json().encode() + b"\n"

    @property
    def packed(self) -> bytes:
        """The luggage's tar."""
        return base64.b64decode(self.luggage)


class Answer(BaseModel):
    """What came of an order.

    Args:
        report: What a deployment found.
        world: What a look saw.
        busy: Whether somebody deployed there when it looked.
        fault: Why there is neither, in one line.
        details: More lines on that.
        usage: Whether the fault is the asking side's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    report: Report | None = None
    world: World | None = None
    busy: bool = False
    fault: str = ""
    details: str = ""
    usage: bool = False


def packed(answer: Answer, folder: Path) -> bytes:
    """Return an answer and the files of a folder as a tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        text = answer.model_dump_json().encode()
        about = tarfile.TarInfo(ANSWER)
        about.size = len(text)
        tar.addfile(about, io.BytesIO(text))
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            tar.add(file, f"{FILES}/{file.name}")
    return stream.getvalue()


def unpacked(content: bytes, folder: Path, host: str) -> Answer:
    """Return the answer in a tar, and put its files into a folder.

    Raises:
        HostFault: It is none, or holds what nobody would send.
    """
    with _as_fault(host), opened(content) as (tar, members):
        (about,) = [one for one in members if one.name == ANSWER and one.isreg()]
        stream = tar.extractfile(about)
        assert stream is not None  # noqa: S101 - a regular file has one
        answer = Answer.model_validate_json(stream.read())
        for member in members:
            path = Path(member.name)
            if len(path.parts) > 1 and path.parts[0] == FILES:
                inner = member.replace(name=str(path.relative_to(FILES)), deep=False)
                tar.extract(inner, folder, filter="data")
        return answer


@contextmanager
def opened(content: bytes) -> Iterator[tuple[tarfile.TarFile, list[tarfile.TarInfo]]]:
    """Open a tar that somebody sent, once its members are few and small.

    Raises:
        tarfile.TarError: It is none, or holds more than its own size.
    """
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        members = tar.getmembers()
        if sum(one.size for one in members) > len(content) or any(
            one.issparse() for one in members
        ):
            raise tarfile.ReadError("it holds more than was sent")
        yield tar, members


@contextmanager
def _as_fault(host: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, ValidationError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise HostFault(
            host, "its answer can't be read: repeat the command", details=why
        ) from error

"""What a host answers: read whole or not at all, and never written outside of its folder."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any, cast

import pytest

from ci.deploy.remote.events import Lines, SentProgress, replay
from ci.deploy.remote.order import Answer, packed, unpacked
from ci.errors import HostFault
from ci.report.model import Case, Check, now
from ci.report.progress import Progress
from ci.verdict import Outcome, Verdict

pytestmark = pytest.mark.unit


class Recorder:
    """Writes down what a progress is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.told.append(name)


def hostile(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """Return an answer with one more member."""
    stream = io.BytesIO(packed(Answer(), Path("/nowhere")))
    with tarfile.open(fileobj=stream, mode="a") as tar:
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def link(name: str, to: str) -> tarfile.TarInfo:
    """Return a link."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, to
    return member


def device(name: str) -> tarfile.TarInfo:
    """Return a device."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("files/../../outside"),
        tarfile.TarInfo("files//etc/sglang-ci-outside"),
        link("files/link", "/etc"),
        link("files/link", "../../outside"),
        device("files/null"),
    ],
    ids=["above", "absolute", "link", "link above", "device"],
)
def test_answers_stay_in_their_folder(tmp_path: Path, member: tarfile.TarInfo) -> None:
    """A host writes files of this machine."""
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    try:
        unpacked(hostile(member), folder, "host")
    except HostFault:
        pass
    else:
        assert [path for path in folder.rglob("*") if path.is_symlink()] == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if not path.is_relative_to(folder)]
    assert not Path("/etc/sglang-ci-outside").exists()


@pytest.mark.parametrize("content", [b"", b"garbage" * 200, packed(Answer(), Path("/no"))[:700]])
def test_answers_that_are_none(tmp_path: Path, content: bytes) -> None:
    """A cut answer is a traceback, or passes."""
    with pytest.raises(HostFault, match="can't be read"):
        unpacked(content, tmp_path, "host")


def test_an_answer_is_no_larger_than_it_came(tmp_path: Path) -> None:
    """A small answer fills the disk."""
    member = tarfile.TarInfo("files/bomb")
    member.type, member.pax_headers = (
        tarfile.REGTYPE,
        {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": str(10**12),
            "GNU.sparse.name": "files/bomb",
        },
    )
    content = hostile(member, b"1\n0\n1\n".ljust(512, b"\0"))
    with pytest.raises(HostFault):
        unpacked(content, tmp_path, "host")


def test_files_come_back(tmp_path: Path) -> None:
    """A log that the proof left there is lost."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/server.log").write_text("log\n")
    (tmp_path / "here").mkdir()
    answer = Answer(fault="a", details="b")
    assert unpacked(packed(answer, tmp_path / "there"), tmp_path / "here", "host") == answer
    assert (tmp_path / "here/server.log").read_text() == "log\n"


def test_events_are_told_as_they_were(tmp_path: Path) -> None:
    """What happens there is told otherwise here, or a line of somebody else ends the run."""
    case = Case(name="a", outcome=Outcome.FAILED, message="b")
    check = Check(name="smoke", started=now(), seconds=1, cases=(case,))
    with (tmp_path / "lines").open("wb") as file:
        sent = SentProgress(Lines(file.fileno()))
        sent.check_started("smoke", 3.0)
        sent.phase_started("x", None)
        sent.phase_ended("x", 2)
        sent.case(case)
        sent.live("y")
        sent.note("z")
        sent.check_ended(check)
    heard = Recorder()
    told = cast("Progress", heard)
    found = [replay(line, told) for line in (tmp_path / "lines").read_bytes().splitlines()]
    assert found[-1] == check
    assert check.verdict is Verdict.FAILED
    first = ["check_started", "phase_started", "phase_ended", "case", "live", "note"]
    assert heard.told == [*first, "check_ended"]
    strange = (b"", b"Welcome", b"[]", b'["finished"]', b'["case", {}]', b'["x", 1]', b"\xff")
    for line in (*strange, b'["__class__", "x"]', json.dumps(["note", 3]).encode()):
        assert replay(line, told) is None
    assert set(heard.told[7:]) == {"note"}

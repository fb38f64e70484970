"""The report's folder: one run at a time, whole files, every fault in one line."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci.commands.outcome import LEAVES
from ci.errors import ReportUnwritable
from ci.report.write import ReportFolder, load
from ci.verdict import Verdict
from tests.unit import report_samples

pytestmark = pytest.mark.unit

FILES = ["index.html", "junit.xml", "report.json", "summary.md"]


def names(folder: Path) -> list[str]:
    """Return the names of all files in `folder`, hidden ones included."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def small_disk(options: str) -> Iterator[Path]:
    """Mount a small file system of its own, or skip where that isn't permitted."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
            pytest.skip("mounting a file system needs root")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give root's rights up for a while: permissions mean nothing to root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_four_files_and_nothing_else(tmp_path: Path) -> None:
    """A report lacks a form, or its folder keeps locks and temporary files."""
    with ReportFolder.open(tmp_path / "new" / "report") as folder:
        folder.write(report_samples.bad())
        assert load(folder.path) == report_samples.bad()
    assert names(folder.path) == FILES
    assert all(stat.S_IMODE((folder.path / name).stat().st_mode) & 0o400 for name in FILES)


def test_a_report_can_be_written_again(tmp_path: Path) -> None:
    """A run that writes an early and a last report leaves the early one."""
    with ReportFolder.open(tmp_path) as folder:
        folder.write(report_samples.empty())
        folder.write(report_samples.good())
    assert load(tmp_path).verdict is Verdict.PASSED


def test_an_earlier_report_goes_and_other_files_stay(tmp_path: Path) -> None:
    """A stale report is taken for that of a run that died, or a user's file is lost."""
    beside = ["bench.json", "bench-12.jsonl.gz", "pairs.jsonl", "candidate.log", "truth.md"]
    beside += ["server-long-streams.log", "fuzz.jsonl", "contract-0.5.23.json", "upgrade.md"]
    for name in [*FILES, *beside, "server.log", ".index.html.part", "notes.txt"]:
        (tmp_path / name).write_text("old")
    ReportFolder.open(tmp_path, LEAVES).close()
    assert names(tmp_path) == ["notes.txt"]


def test_a_second_run_at_once_is_refused(tmp_path: Path) -> None:
    """Two runs write into one folder, and their reports mix."""
    with ReportFolder.open(tmp_path) as first:
        first.write(report_samples.good())
        with pytest.raises(ReportUnwritable, match=rf"in use .*pid {os.getpid()}\).*--report-dir"):
            ReportFolder.open(tmp_path)
        assert names(tmp_path) == [".lock", *FILES]
    ReportFolder.open(tmp_path).close()


def test_a_killed_run_leaves_the_folder_free(tmp_path: Path) -> None:
    """After a run was killed its folder can never be used again."""
    code = (
        "import os, pathlib, sys\n"
        "from ci.report.write import ReportFolder\n"
        "folder = ReportFolder.open(pathlib.Path(sys.argv[1]))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    killed = subprocess.run(command, check=False, timeout=60, cwd=root)
    assert killed.returncode == -9
    assert names(tmp_path) == [".lock"]
    with ReportFolder.open(tmp_path) as folder:
        folder.write(report_samples.good())


def test_a_lock_on_a_removed_file_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that opened the lock just before its holder removed it shares the folder."""
    holder = ReportFolder.open(tmp_path)
    really_open = os.open

    def open_then_release(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = really_open(path, flags, mode)
        holder.close()
        return descriptor

    monkeypatch.setattr("ci.report.write.os.open", open_then_release)
    with ReportFolder.open(tmp_path):
        monkeypatch.undo()
        with pytest.raises(ReportUnwritable, match="in use"):
            ReportFolder.open(tmp_path)


def test_closing_twice_frees_nobody_elses_lock(tmp_path: Path) -> None:
    """A run that ends twice unlocks the folder of the run after it."""
    first = ReportFolder.open(tmp_path)
    first.close()
    with ReportFolder.open(tmp_path):
        first.close()
        with pytest.raises(ReportUnwritable, match="in use"):
            ReportFolder.open(tmp_path)


@pytest.mark.parametrize("below", ["", "deeper/report"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    """A report folder that is a file ends in a traceback."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ReportUnwritable, match="not a folder; pass another --report-dir"):
        ReportFolder.open(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_under_our_files_name_is_named(tmp_path: Path) -> None:
    """What stands in a file's place is deleted, or the folder stays locked after it."""
    (tmp_path / "index.html").mkdir()
    for _ in range(2):
        with pytest.raises(ReportUnwritable, match=r"index\.html: is a directory"):
            ReportFolder.open(tmp_path)


def test_a_folder_without_permission_is_named() -> None:
    """A folder of another user ends in a traceback."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with unprivileged(), pytest.raises(ReportUnwritable) as caught:
            ReportFolder.open(folder / "report")
    assert str(caught.value) == (
        f"can't use report folder {folder}/report: permission denied; "
        "make it writable or pass another --report-dir"
    )


def test_a_killed_runs_lock_hides_no_missing_permission() -> None:
    """A folder that can't be written is found out only after the whole run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".lock").touch()
        (folder / ".lock").chmod(0o666)
        folder.chmod(0o555)
        with unprivileged(), pytest.raises(ReportUnwritable, match="permission denied"):
            ReportFolder.open(folder)


def test_a_read_only_disk_is_named() -> None:
    """A read-only file system ends in a traceback."""
    with (
        small_disk("ro,size=64k") as folder,
        pytest.raises(ReportUnwritable, match="read-only file system; make it writable or"),
    ):
        ReportFolder.open(folder)


def test_a_full_disk_leaves_no_half_file() -> None:
    """A full disk ends in a traceback, or a cut file looks like a report."""
    with small_disk("size=64k") as disk:
        with ReportFolder.open(disk) as folder:
            folder.write(report_samples.good())
            with pytest.raises(ReportUnwritable, match="no space left on device; free some space"):
                folder.write(report_samples.many())
        assert names(disk) == [name for name in FILES if name != "report.json"]
        assert all((disk / name).stat().st_size > 0 for name in names(disk))


@pytest.mark.parametrize("name", FILES)
def test_the_file_that_failed_is_named_and_gone(tmp_path: Path, name: str) -> None:
    """An older form of the report stays beside newer ones where the disk was full."""
    with ReportFolder.open(tmp_path) as folder:
        folder.write(report_samples.good())
        (tmp_path / f".{name}.part").symlink_to("/dev/full")
        with pytest.raises(ReportUnwritable) as caught:
            folder.write(report_samples.bad())
    assert f"can't write report file {tmp_path / name}: no space left" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert names(tmp_path) == [file for file in FILES if file != name]

"""Ports: two runs never get the same one, and a stranger's is never taken for ours."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ci.boot import port as ports
from ci.boot.port import listens, members, reserved
from ci.errors import LaunchBlocked

pytestmark = pytest.mark.unit

HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep locks apart from those of runs on this machine, and the range small."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(ports, "FIRST", 30_900)
    monkeypatch.setattr(ports, "LAST", 30_920)


def test_a_given_port_is_taken_as_it_is() -> None:
    """A server starts on another port than was asked for."""
    with reserved(HOST, 12_345) as port:
        assert port == 12_345


def test_each_run_has_a_port_of_its_own() -> None:
    """Two runs at once start their servers on one port, and one proves the other's."""
    with reserved(HOST, 0) as one, reserved(HOST, 0) as two:
        assert one != two
        holder = f"from ci.boot.port import reserved\nwith reserved({HOST!r}, 0) as p: print(p)"
        code = f"import tempfile; tempfile.tempdir = {tempfile.gettempdir()!r}\n{holder}"
        other = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
        assert int(other) not in {one, two}
    with reserved(HOST, 0) as again:
        assert again == one


def test_a_port_in_use_is_passed_over() -> None:
    """A server is started on a port on which something else listens."""
    with reserved(HOST, 0) as free:
        pass
    with socket.create_server((HOST, free)), reserved(HOST, 0) as port:
        assert port != free


def test_a_host_that_is_not_ours_is_left_to_launch_sh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt host is called a lack of free ports, after a thousand look-ups of its name."""
    asked: list[int] = []

    def bind(_: socket.socket, address: tuple[str, int]) -> None:
        asked.append(address[1])
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with reserved("no-such-host.invalid", 0) as port:
        assert asked == [port]


def test_no_free_port_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full machine is called a bad server."""
    monkeypatch.setattr(ports, "_is_free", lambda *_: False)
    nothing_free = pytest.raises(LaunchBlocked, match="no port from 30900 to 30920 is free on")
    with nothing_free, reserved(HOST, 0):
        pass


@pytest.mark.parametrize(
    ("given", "first", "last"),
    [
        ("32768\t60999\n", 30_000, 30_999),
        ("30500 60999", 30_000, 30_499),
        ("1024 30499", 30_500, 30_999),
        ("10000 65535", 9000, 9999),
        ("2000 65535", 1024, 1999),
        ("1024 64999", 65_000, 65_535),
        ("1024 65535", 30_000, 30_999),
        ("", 30_000, 30_999),
    ],
)
def test_ports_that_no_connection_is_given(
    given: str, first: int, last: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server gets a port on which a poll can meet itself, or another program's connection is."""
    monkeypatch.setattr(ports, "FIRST", 30_000)
    monkeypatch.setattr(ports, "LAST", 30_999)
    monkeypatch.setattr(ports, "RANGE", tmp_path / "range")
    if given:
        (tmp_path / "range").write_text(given)
    found = ports.candidates()
    assert (found[0], found[-1]) == (first, last)
    low, high = map(int, given.split() or (0, 0))
    assert given == "1024 65535" or not any(low <= port <= high for port in found)


def test_whose_port_it_is() -> None:
    """A stale server on the port is taken for the one that was just started."""
    code = "import socket, sys\ns = socket.create_server(('127.0.0.1', 0))\n"
    code += "print(s.getsockname()[1], flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert listens(child.pid, port)
        assert not listens(child.pid, port + 1)
        assert not listens(os.getpgid(0), port)
        assert [process.pid for process in members(child.pid)] == [child.pid]
        child.kill()
    assert members(child.pid) == []
    assert not listens(child.pid, port)

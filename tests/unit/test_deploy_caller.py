"""The host's side of a call: a run ends where its caller asks for it, goes, or falls silent."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.unit
HOST = """
import time
from ci.deploy.remote import caller, order
from ci.deploy.remote.events import Lines
caller.SILENCE, caller.BEAT = 1.0, 0.1
asks = caller.Caller(0, Lines(2))
print(asks.order().decode(), flush=True)
asks.watch()
time.sleep(60)
"""


@pytest.fixture
def host() -> Iterator[subprocess.Popen[bytes]]:
    """A run that goes on for a minute where nobody ends it."""
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", HOST]
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        yield process
        process.kill()


def ordered(process: subprocess.Popen[bytes]) -> None:
    """Give an order that is larger than a pipe, and see that it came."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"x" * 200_000 + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"x" * 200_000 + b"\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_is_passed_on(host: subprocess.Popen[bytes], name: str) -> None:
    """Ctrl-C at the caller leaves the run on."""
    ordered(host)
    assert host.stdin
    host.stdin.write(f"\n{name}\n".encode())
    host.stdin.flush()
    assert host.wait(30) == -signal.Signals[name]


def test_a_caller_that_goes_ends_it(host: subprocess.Popen[bytes]) -> None:
    """A killed caller leaves a run behind that holds the lock for hours."""
    ordered(host)
    assert host.stdin
    host.stdin.close()
    assert host.wait(30) == -signal.SIGTERM


def test_a_caller_that_falls_silent_ends_it(host: subprocess.Popen[bytes]) -> None:
    """A cable is cut, nothing is closed, and the run goes on unseen."""
    ordered(host)
    assert host.wait(30) == -signal.SIGTERM
    assert host.stderr
    assert host.stderr.read().startswith(b"\n\n\n")


def test_signs_of_life_keep_it_on(host: subprocess.Popen[bytes]) -> None:
    """A long watch is ended while its caller waits for it."""
    ordered(host)
    assert host.stdin
    for _ in range(8):
        host.stdin.write(b"\n")
        host.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            host.wait(0.25)


def test_nobody_orders_anything(host: subprocess.Popen[bytes]) -> None:
    """A connection without an order stays for ever."""
    assert host.stdout
    assert host.stdout.readline() == b"\n"

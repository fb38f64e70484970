"""A server of known timing, in a process of its own: the oracle for load clients.

It streams like SGLang, on `/generate` and on chat completions, and notes when each request
was read and each token written. Its clock is the system's monotonic one, so that a client on
the same machine can be held against it to the microsecond.

In a test: `with Timed(Timing(ttft=0.05)) as server: ... server.truth()`. As a command:
`python -m tests.fakes.timed --port 30000 --ttft 0.02 --itl 0.005`; it prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import ssl
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tests.fakes.timed_server import Connection, State, Timing

if TYPE_CHECKING:
    import httpx

__all__ = ["Timed", "Timing", "Truth"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Truth:
    """What really happened in one stream; times on the system's monotonic clock.

    Args:
        prompt: The start of its prompt.
        received: When the whole request had been read.
        writes: When each token was written.
    """

    prompt: str
    received: float
    writes: tuple[float, ...]

    @property
    def ttft(self) -> float:
        """Seconds from reading the request to writing its first token."""
        return self.writes[0] - self.received

    @property
    def itls(self) -> tuple[float, ...]:
        """Seconds between the writes of its tokens."""
        return tuple(b - a for a, b in zip(self.writes, self.writes[1:], strict=False))


class Timed:
    """A server in a process of its own; a context manager.

    Args:
        timing: How it behaves.
        certificate: Files of a certificate and its key, for https.
        core: The CPU core that it is bound to.
    """

    def __init__(
        self,
        timing: Timing | None = None,
        certificate: tuple[Path, Path] | None = None,
        core: int | None = None,
    ) -> None:
        self._timing, self._certificate, self._core = timing or Timing(), certificate, core
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL; only while it runs."""
        return f"http{'s' if self._certificate else ''}://localhost:{self.port}"

    def __enter__(self) -> Self:
        """Start it, and wait for its port."""
        options = [f"--{name}={value}" for name, value in _told(self._timing).items()]
        if self._certificate:
            options += [
                f"--{n}={f}" for n, f in zip(("cert", "key"), self._certificate, strict=True)
            ]
        if self._core is not None:
            options.append(f"--core={self._core}")
        argv = [sys.executable, "-m", "tests.fakes.timed", *options]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.kill()

    def kill(self) -> None:
        """Kill its process, with all its streams."""
        assert self._process
        self._process.kill()
        with self._process:
            pass

    def truth(self) -> tuple[Truth, ...]:
        """Return what happened since the last `reset`, in the order of the requests."""
        notes = self._get("/truth").json()
        return tuple(
            Truth(note["prompt"], note["received"], tuple(note["writes"])) for note in notes
        )

    def reset(self) -> None:
        """Forget what happened."""
        self._get("/reset")

    def _get(self, path: str) -> httpx.Response:
        import httpx

        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._certificate:
            trust.load_verify_locations(self._certificate[0])
        return httpx.get(f"{self.url}{path}", verify=trust, trust_env=False).raise_for_status()


def _told(timing: Timing) -> dict[str, Any]:
    values = {field.name.replace("_", "-"): getattr(timing, field.name) for field in fields(timing)}
    return {
        name: int(value) if isinstance(value, bool) else value for name, value in values.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in _told(Timing()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--core", type=int)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    told = vars(parser.parse_args(arguments))
    place = {name: told.pop(name) for name in ("port", "core", "cert", "key")}
    if place["core"] is not None:
        os.sched_setaffinity(0, {place["core"]})
    gc.disable()
    asyncio.run(_serve(State(Timing(**told)), place))


async def _serve(state: State, place: dict[str, Any]) -> None:
    trust = None
    if place["cert"]:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(place["cert"], place["key"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(state), "127.0.0.1", place["port"], ssl=trust, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    if state.timing.spin:
        _spin(loop)
    await server.serve_forever()


def _spin(loop: asyncio.AbstractEventLoop) -> None:
    """Keep the loop from ever sleeping: a timer of epoll may come a millisecond late."""
    loop.call_soon(_spin, loop)


if __name__ == "__main__":
    main()

"""A fake SGLang server: real HTTP, a model of known behaviour, and faults on demand.

In a test: `with FakeSglang() as server: server.faults.add("hang")`. As a process:
`python -m tests.fakes.sglang --port 30000 --ready-after 2 --fault hang`.
"""

from __future__ import annotations

import argparse
import secrets
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.fakes.faults import FAULTS
from tests.fakes.handler import Handler, State
from tests.fakes.pages import Settings

__all__ = ["FAULTS", "FakeSglang", "Settings", "main"]


class FakeSglang:
    """A server in threads of this process; a context manager.

    Attributes:
        faults: Names from `FAULTS`; may be changed while the server runs.
    """

    def __init__(self, settings: Settings | None = None, faults: Collection[str] = ()) -> None:
        """Take how the server is to be."""
        if unknown := set(faults) - set(FAULTS):
            raise ValueError(f"unknown faults: {sorted(unknown)}")
        self.settings = settings or Settings()
        if not self.settings.seed:
            self.settings = replace(self.settings, seed=secrets.randbelow(2**30))
        self._state = State(self.settings, set(faults))
        self._http: _Http | None = None
        self.faults = self._state.faults

    @property
    def url(self) -> str:
        """The base URL; only while it runs."""
        return f"http://127.0.0.1:{self._running.server_address[1]}"

    @property
    def asked(self) -> list[str]:
        """Paths of all requests so far."""
        return self._state.asked

    @property
    def _running(self) -> _Http:
        if self._http is None:
            raise RuntimeError("the fake server isn't running")
        return self._http

    def __enter__(self) -> Self:
        """Open the port, after its time, and serve."""
        time.sleep(self.settings.open_after)
        handler = type("BoundHandler", (Handler,), {"state": self._state})
        self._http = _Http(("127.0.0.1", self.settings.port), handler)
        self._state.opened = time.monotonic()
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the port and let go of whoever hangs."""
        self._state.closing.set()
        self._running.shutdown()
        self._running.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone away."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    for field in fields(Settings):
        default = field.default
        if isinstance(default, str | int | float) and not isinstance(default, bool):
            parser.add_argument(option(field.name), type=type(default), default=default)
    parser.add_argument("--embedding", action="store_true")
    parser.add_argument("--fault", action="append", choices=sorted(FAULTS), default=[])
    told = vars(parser.parse_args(arguments))
    faults = told.pop("fault")
    with FakeSglang(replace(Settings(), **told), faults):
        threading.Event().wait()


def option(name: str) -> str:
    """Return a setting's command-line option."""
    return "--" + name.replace("_", "-")


if __name__ == "__main__":
    main()

"""The metrics that SGLang lacks: whether a server answers at all, and which version it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio

from ci.errors import SglangCiError
from ci.server.client import ServerClient
from ci.server.identity import Identity

PATIENCE = 2.0
"""Most seconds for a server's answers; a hung scheduler never tells a version."""
OF_SCRAPE = 0.7
"""Share of a scrape's own time limit that may pass before it is answered with what is known."""
LIMIT = "x-prometheus-scrape-timeout-seconds"
"""Header by which Prometheus says how long it waits."""
PAGE = "text/plain; version=0.0.4; charset=utf-8"
_HELP = {
    "sglang_ci_server_answers": "Whether a server answers a request that needs no scheduler.",
    "sglang_ci_server_info": "The version that a server tells; missing where it tells none.",
}


@dataclass(frozen=True)
class Found:
    """What one server is.

    Args:
        instance: Its address, `host:port`, as Prometheus has it.
        answers: Whether it answers.
        version: The version of SGLang that it tells; empty where it doesn't.
    """

    instance: str
    answers: bool
    version: str = ""


def urls(folder: Path) -> Iterator[str]:
    """Yield the base URL of each target of a folder of lists; one that can't be read has none."""
    for path in sorted(folder.glob("*.json")):
        try:
            groups = json.loads(path.read_bytes())
            for group in groups:
                scheme = group.get("labels", {}).get("__scheme__", "http")
                yield from (f"{scheme}://{address}" for address in group["targets"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue


async def found(of: Sequence[str], seconds: float = PATIENCE) -> tuple[Found, ...]:
    """Ask all servers at once, and return what each is.

    Args:
        of: Their base URLs.
        seconds: Most seconds for all of it.
    """
    seen: list[Found] = []
    async with anyio.create_task_group() as tasks:
        for url in of:
            tasks.start_soon(_ask, url, seconds, seen)
    return tuple(sorted(seen, key=lambda one: one.instance))


async def _ask(url: str, seconds: float, seen: list[Found]) -> None:
    told: dict[str, str | int] = {}

    async def answers() -> None:
        with suppress(SglangCiError):
            async with ServerClient(url, timeout=seconds) as client:
                told["status"] = await client.status("/model_info")

    async def version() -> None:
        with suppress(SglangCiError):
            async with ServerClient(url, timeout=seconds) as client:
                told["version"] = Identity.of(await client.server_info()).version

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answers)
        tasks.start_soon(version)
    instance = url.partition("://")[2]
    seen.append(Found(instance, answers=bool(told), version=str(told.get("version", ""))))


def page(of: Sequence[Found]) -> str:
    """Return the metrics, in Prometheus' text format."""
    samples = {
        "sglang_ci_server_answers": [
            f'{{instance="{one.instance}"}} {int(one.answers)}' for one in of
        ],
        "sglang_ci_server_info": [
            f'{{instance="{one.instance}",version="{one.version}"}} 1' for one in of if one.version
        ],
    }
    lines = []
    for name, values in samples.items():
        lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{value}" for value in values]
    return "\n".join(lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, folder: Path, *arguments: object) -> None:
        self._folder = folder
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Ask the servers anew, and tell what they are."""
        seconds = min(PATIENCE, OF_SCRAPE * self._limit())
        body = page(anyio.run(found, tuple(urls(self._folder)), seconds)).encode()
        with suppress(OSError):  # whoever asked has gone
            self.send_response(200)
            self.send_header("content-type", PAGE)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _limit(self) -> float:
        try:
            return float(self.headers.get(LIMIT, "10"))
        except ValueError:
            return PATIENCE

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


def serving(folder: Path, listen: str) -> ThreadingHTTPServer:
    """Return the exporter of a folder of targets, which listens and doesn't answer yet.

    Args:
        folder: The lists of targets, read anew for each scrape.
        listen: `host:port`.

    Raises:
        OSError: Nothing can listen there.
    """
    host, _, port = listen.rpartition(":")
    return ThreadingHTTPServer((host, int(port)), partial(_Handler, folder))

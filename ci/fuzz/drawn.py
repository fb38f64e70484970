"""What is drawn: as `ci.fuzz.draw` prints it, and as the check reads it."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import IO, Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from ci.errors import CheckBroken
from ci.secrets.veil import beginning
from ci.server.key import as_argument

LINE = 64 * 1024 * 1024
"""Most bytes of a line that a process prints."""
SHOWN = 2000
"""Most characters of a request that are shown."""


class RequestKind(StrEnum):
    """What a request is to its schema."""

    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True)
class Wanted:
    """What is to be drawn.

    Args:
        operations: Method and path of each, in order.
        examples: Most whole requests of an operation and kind.
        edges: Most further ones with one field at an edge.
        seed: Makes them repeatable.
        seconds: Most seconds of computing for those of an operation and kind.
        output_tokens: Most tokens that one may ask for.
    """

    operations: tuple[str, ...]
    examples: int
    edges: int
    seed: int
    seconds: float
    output_tokens: int


@dataclass(frozen=True)
class DrawnRequest:
    """One request.

    Args:
        operation: Method and path of the schema.
        kind: What it is to that schema.
        method: HTTP method.
        target: Path and query.
        headers: Its headers.
        body: Its body, a character a byte.
        field: The one field that is at an edge or beyond; empty where all were drawn.
    """

    operation: str
    kind: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: str
    field: str = ""

    @property
    def raw(self) -> bytes:
        """The body as it is sent."""
        return self.body.encode("latin-1")

    @property
    def text(self) -> str:
        """The body as it is read."""
        return self.raw.decode("utf-8", "replace")

    @property
    def outer(self) -> str:
        """The name of its one field, without what lies in a list below it."""
        return self.field.partition(" ")[0].partition("[")[0]

    def curl(self, url: str) -> str:
        """Return a command that sends the request to the server at `url`, its key by a variable."""
        parts = ["curl", "-sS", "-X", self.method, f"{url}{self.target}"]
        for name, value in self.headers.items():
            if name.lower() not in {"accept", "accept-encoding"}:
                parts += ["-H", f"{name}: {value}"]
        shown = " ".join(map(shlex.quote, parts)) + as_argument(url)
        if self.body:
            plain = self.text.isprintable() and self.text.encode() == self.raw
            quoted = shlex.quote(self.text) if plain else _escaped(self.raw)
            shown += f" --data-binary {quoted}"
        cut = f"{beginning(shown, SHOWN)}… ({len(shown)} characters)"
        return shown if len(shown) <= SHOWN else cut


def _escaped(raw: bytes) -> str:
    """Return bytes as bash takes them."""
    plain = {*range(0x20, 0x7F)} - {ord("'"), ord("\\")}
    return "$'" + "".join(chr(one) if one in plain else f"\\x{one:02x}" for one in raw) + "'"


@dataclass(frozen=True)
class DrawingEnd:
    """The requests of a kind are all there; `problem` says why they are fewer than wanted."""

    operation: str
    kind: str
    problem: str


@asynccontextmanager
async def drawing(
    document: Mapping[str, Any], wanted: Wanted
) -> AsyncIterator[AsyncIterator[DrawnRequest | DrawingEnd]]:
    """Yield what a process draws from an OpenAPI document; it ends with the context."""
    argv = [sys.executable, "-m", "ci.fuzz.draw", json.dumps(asdict(wanted))]
    with tempfile.TemporaryFile() as schema, tempfile.TemporaryFile() as errors:
        schema.write(json.dumps(document).encode())
        schema.seek(0)
        process = await anyio.open_process(argv, stdin=schema, stderr=errors)
        async with process:
            try:
                yield _read(process, errors)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()


async def _read(process: Process, errors: IO[bytes]) -> AsyncIterator[DrawnRequest | DrawingEnd]:
    """Yield what a process prints, until it has printed all.

    Raises:
        CheckBroken: It ended before that.
    """
    assert process.stdout  # noqa: S101 - a pipe, as asked
    lines = BufferedByteReceiveStream(process.stdout)
    while True:
        try:
            line = json.loads(await lines.receive_until(b"\n", LINE))
        except (anyio.EndOfStream, anyio.IncompleteRead):
            break
        yield DrawnRequest(**line) if "method" in line else DrawingEnd(**line)
    if await process.wait():
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
        last = said.rpartition("\n")[2]
        raise CheckBroken(f"drawing requests broke: {last or 'no output'}", details=said)

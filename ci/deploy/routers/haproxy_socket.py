"""The client of HAProxy's runtime socket: one command a connection, within a time limit."""

from __future__ import annotations

from pathlib import Path

import anyio
from anyio.abc import SocketStream

from ci.errors import RouterFault
from ci.secrets.veil import beginning

SECONDS = 5.0
"""Most seconds until a command is answered."""
LONGEST_PATH = 97
"""Most bytes of a socket's path: HAProxy binds a longer temporary name first."""
_MOST = 8 << 20
_SHOWN = 200


class RuntimeSocket:
    """A runtime socket: a worker's (`stats socket`) or the master's (`haproxy -S`)."""

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        """Take the socket's path, and most seconds until a command is answered."""
        self.path, self._seconds = path, seconds

    async def ask(self, command: str) -> str:
        """Send a command, and return the whole answer.

        Raises:
            RouterFault: Nothing listens, this user may not ask, no whole answer in time.
        """
        try:
            with anyio.fail_after(self._seconds):
                answer = await self._exchange(command)
        except TimeoutError as error:
            raise self._fault(
                f"HAProxy gave no answer to `{command}` within {self._seconds:g} s;"
                " is its process stopped or overloaded?"
            ) from error
        except (OSError, anyio.BrokenResourceError) as error:
            raise self._fault(self._cure(error)) from error
        if not answer.endswith(b"\n\n") and answer != b"\n":
            raise self._fault(
                f"the connection was cut in the middle of the answer to `{command}`;"
                " HAProxy ended or was restarted: repeat the command"
            )
        text = answer.decode("utf-8", "replace")
        if text.startswith("Permission denied"):
            raise self._fault(
                f"`{command}` needs more rights than this socket has;"
                " say `level admin` on its `stats socket` line"
            )
        return text

    async def tell(self, command: str) -> None:
        """Send a command that succeeds in silence.

        Raises:
            RouterFault: As `ask`; or HAProxy says why it won't, and its words are told.
        """
        if said := (await self.ask(command)).strip():
            raise self._fault(f"HAProxy refused `{command}`: {beginning(said, _SHOWN)}")

    async def _exchange(self, command: str) -> bytes:
        async with await anyio.connect_unix(self.path) as stream:
            await stream.send(command.encode() + b"\n")
            await stream.send_eof()
            return await _all_of(stream)

    def _fault(self, problem: str) -> RouterFault:
        return RouterFault(f"{self.path}: {problem}")

    def _cure(self, error: Exception) -> str:
        if isinstance(error, FileNotFoundError):
            return "no such socket; start HAProxy, with `stats socket … level admin` at this path"
        if isinstance(error, PermissionError):
            return "this user may not open the socket; set `user`, `group` or `mode` on its line"
        if isinstance(error, ConnectionRefusedError):
            return "nothing listens here any more; HAProxy has ended: start it again"
        if len(bytes(self.path)) > LONGEST_PATH:
            return f"the path is too long for a socket; {LONGEST_PATH} bytes are allowed"
        return f"the connection broke ({error or type(error).__name__}); HAProxy ended: start it"


async def _all_of(stream: SocketStream) -> bytes:
    received = bytearray()
    while len(received) < _MOST:
        try:
            received += await stream.receive()
        except anyio.EndOfStream:
            break
    return bytes(received)

"""How a server stops taking connections without resetting one.

A listener that is closed resets the connections that its kernel holds for it, and a connection
that is closed before its first request is read resets that: its client can't tell whether the
request was worked on, so no router may send it elsewhere. Here new connections are turned away
first, those that are made get the time to ask, and only then is anything closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

FLUSH_SECONDS = 0.2
POLL_SECONDS = 0.1
ASK_SECONDS = 0.5
"""Most seconds for a client that is connected to send its first request."""
SO_ATTACH_FILTER = 26
NO_SYN = (
    (0x30, 0, 0, 13),  # load the flags of the TCP header
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # or pass whole
)
"""Classic BPF, `struct sock_filter` of linux/filter.h: code, jumps if true and if not, operand."""
logger = logging.getLogger(__name__)


class Doors:
    """The HTTP servers of this process, from their start on.

    Args:
        kind: uvicorn's class of servers.
        started: Is called as soon as one of them has started.
    """

    def __init__(self, kind: Any, started: Callable[[], object] = lambda: None) -> None:
        self._open: list[Any] = []
        startup = kind.startup

        async def remembered(server: Any, *arguments: Any, **options: Any) -> None:
            self._open.append(server)
            await startup(server, *arguments, **options)
            started()

        kind.startup = remembered

    def are_closing(self) -> bool:
        """Return whether one of the servers has been told to end."""
        return any(server.should_exit for server in self._open)

    def stop(self) -> None:
        """Have the servers end by uvicorn's own way."""
        for server in self._open:
            server.should_exit = True

    async def close(self) -> None:
        """Let nobody in any more: whoever is connected is answered, and the next one refused."""
        try:
            listeners = [one for server in self._open for one in server.servers]
            for listener in listeners:
                for each in listener.sockets:
                    turn_away(each.fileno())
            await asyncio.sleep(FLUSH_SECONDS)
            for listener in listeners:
                listener.close()
            await until(self._all_have_asked, ASK_SECONDS)
            for connection in self._connections():
                connection.shutdown()
        except Exception:
            logger.exception("draining: connections can't be closed; the server ends anyway")

    def _all_have_asked(self) -> bool:
        return not any(_is_new(one) for one in self._connections())

    def _connections(self) -> list[Any]:
        return [one for server in self._open for one in server.server_state.connections]


def _is_new(connection: Any) -> bool:
    return getattr(connection, "cycle", connection) is None


async def until(happened: Callable[[], bool], seconds: float) -> bool:
    """Wait until something has happened, for at most `seconds`; return whether it has."""
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        await asyncio.sleep(POLL_SECONDS)
    return happened()


def turn_away(listener: int) -> None:
    """Have the kernel drop the packets that ask a listening TCP socket for a new connection.

    Who asks is refused at the next try, a second later, when the socket is closed; connections
    that are being made can be finished. Where the kernel has no such filters, nothing changes.

    Args:
        listener: The socket's file descriptor.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in NO_SYN))
    filters = struct.pack("HP", len(NO_SYN), ctypes.addressof(program))
    with socket.socket(fileno=os.dup(listener)) as same, contextlib.suppress(OSError):
        same.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filters)

"""A host behind a real SSH server on loopback: what is asked for runs in this machine's shell."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

USER = "deploy"


@dataclass
class SshHost:
    """A host.

    Args:
        folder: Holds its keys, and a home folder of its user.
        port: Its port.

    `asked` are the commands that were run, `running` their processes, `heard` all that they were
    told, and `given` the variables that came along. `profile` is what the user's shell runs first,
    with the variables `environ`.
    """

    folder: Path
    port: int
    asked: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    heard: bytearray = field(default_factory=bytearray)
    profile: str = ""
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": os.environ["PATH"]})
    home: Path = Path()
    running: list[asyncio.subprocess.Process] = field(default_factory=list)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def address(self) -> str:
        """What the settings name."""
        return f"ssh://{USER}@127.0.0.1:{self.port}"

    @property
    def key(self) -> Path:
        """The private key of a user that it lets in."""
        return self.folder / "user"

    @property
    def known(self) -> str:
        """The line of a `known_hosts` file that knows it."""
        return f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}"

    def cut(self) -> None:
        """Break every connection, as a network does."""
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)


@contextmanager
def ssh_host(folder: Path) -> Iterator[SshHost]:
    """Run a host while the context lasts."""
    for name in ("host", "user"):
        new_key(folder / name)
    host = SshHost(folder, 0, home=folder)
    ready = threading.Event()
    thread = threading.Thread(target=_serve, args=(host, ready))
    thread.start()
    ready.wait(10)
    try:
        yield host
    finally:
        host.loop.call_soon_threadsafe(host.loop.stop)
        thread.join(10)


def new_key(path: Path) -> None:
    """Write a pair of keys."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(path)
    key.write_public_key(path.with_suffix(".pub"))


def _serve(host: SshHost, ready: threading.Event) -> None:
    loop = host.loop

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            host.connections.append(conn)

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[str(host.folder / "host")],
            authorized_client_keys=str(host.folder / "user.pub"),
            process_factory=lambda process: _run(host, process),
            encoding=None,
        )

    asyncio.set_event_loop(loop)
    acceptor = loop.run_until_complete(listen())
    host.port = acceptor.get_port()
    ready.set()
    loop.run_forever()
    host.cut()
    acceptor.close()
    loop.run_until_complete(acceptor.wait_closed())
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _run(host: SshHost, process: asyncssh.SSHServerProcess[bytes]) -> None:
    host.asked.append(process.command or "")
    host.given |= dict(process.env) | ({"TERM": process.term_type} if process.term_type else {})
    child = await asyncio.create_subprocess_shell(
        f"{host.profile}\n{process.command}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=host.home,
        env=host.environ | {"HOME": str(host.home)},
        start_new_session=True,
    )
    host.running.append(child)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    inward = asyncio.create_task(_in(host, process.stdin, child.stdin))
    try:
        with suppress(OSError, asyncssh.Error):
            await asyncio.gather(
                _out(child.stdout, process.stdout), _out(child.stderr, process.stderr)
            )
        inward.cancel()
        process.exit(await child.wait())
    finally:
        child._transport.close()  # type: ignore[attr-defined]


async def _in(
    host: SshHost, source: asyncssh.SSHReader[bytes], target: asyncio.StreamWriter
) -> None:
    try:
        with suppress(OSError, asyncssh.Error):
            while chunk := await source.read(65_536):
                host.heard += chunk
                target.write(chunk)
                await target.drain()
    finally:
        target.close()


async def _out(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while chunk := await source.read(65_536):
        target.write(chunk)
        await target.drain()

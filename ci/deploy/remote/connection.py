"""A connection to a host by SSH, and what keeps it from being made, in one line each.

The user's own `~/.ssh/config`, keys and agent are used as `ssh` uses them; a jump host is reached
by these alone. Host keys are always held against those that are known, and nothing is asked.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import anyio

from ci.errors import HostFault, UsageError
from ci.extras import install

if TYPE_CHECKING:
    import asyncssh

KEY, KNOWN_HOSTS = "DEPLOY_SSH_KEY", "DEPLOY_KNOWN_HOSTS"
CONNECT = 20.0
"""Most seconds until a connection, and again until its log-in."""
ALIVE, MISSED = 15, 4
"""Seconds between two questions whether the host is still there, and how many may be missed."""
LEAVE = 5.0
"""Most seconds that a connection has for its end."""
PORT = 22


@dataclass(frozen=True)
class SshAccess:
    """Who connects, and which hosts are known.

    Args:
        key: A private key; empty for the user's own keys and agent.
        known_hosts: Lines as of a `known_hosts` file; None for the user's own files.
    """

    key: str = field(default="", repr=False)
    known_hosts: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Return what variables say: each of them is a path, or the content itself.

        Raises:
            UsageError: A file can't be read.
        """
        key = _content(KEY, environ.get(KEY, ""), "-----BEGIN ")
        hosts = _content(KNOWN_HOSTS, environ.get(KNOWN_HOSTS, ""), " ")
        return cls(f"{key.strip()}\n" if key.strip() else "", hosts or None)


def _content(name: str, text: str, sign: str) -> str:
    """Return a variable's content, or that of the file that it names."""
    if not text.strip() or sign in text:
        return text
    try:
        return Path(text).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise UsageError(f"{name}: {text}: {why}") from error


def check(address: str, access: SshAccess) -> None:
    """See that a connection may be tried: packages, key and `~/.ssh/config`.

    Raises:
        UsageError: One of them is missing, or can't be read.
    """
    if find_spec("asyncssh") is None:
        raise UsageError(f"asyncssh not installed: {install('deploy')}")
    with _explained(address, _Guard(address)):
        known = _options(address, access).known_hosts
    if known is None:
        raise UsageError(
            f"{address}: ~/.ssh/config has UserKnownHostsFile none for it: take that out, as host "
            "keys are always checked"
        )


@asynccontextmanager
async def connected(address: str, access: SshAccess) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Connect to the host `ssh://USER@HOST:PORT` while the context lasts.

    Raises:
        HostFault: It can't be reached, isn't known, or takes none of the keys.
        UsageError: As `check` says.
    """
    check(address, access)
    import asyncssh

    guard = _Guard(address)
    with _explained(address, guard):
        options = _options(address, access)
        guard.known = options.known_hosts
        connection = await asyncssh.connect(
            urlsplit(address).hostname or "", options=options, client_factory=guard.client
        )
    try:
        yield connection
    finally:
        connection.close()
        with anyio.move_on_after(LEAVE, shield=True):
            await connection.wait_closed()


def _options(address: str, access: SshAccess) -> asyncssh.SSHClientConnectionOptions:
    import asyncssh

    at = urlsplit(address)
    given: dict[str, Any] = {"username": at.username} if at.username else {}
    if at.port:
        given["port"] = at.port
    if access.key:
        given |= {"client_keys": [asyncssh.import_private_key(access.key)], "agent_path": None}
    if access.known_hosts is not None:
        given["known_hosts"] = access.known_hosts.encode()
    return asyncssh.SSHClientConnectionOptions(
        host=at.hostname,
        config=(),
        preferred_auth="publickey",
        password_auth=False,
        kbdint_auth=False,
        agent_forwarding=False,
        x11_forwarding=False,
        connect_timeout=CONNECT,
        login_timeout=CONNECT,
        keepalive_interval=ALIVE,
        keepalive_count_max=MISSED,
        **given,
    )


class _Guard:
    """Sees a host key that isn't trusted, to say why it isn't."""

    def __init__(self, address: str) -> None:
        self.known: Any = None
        self.fault: HostFault | None = None
        self._address = address

    def client(self) -> asyncssh.SSHClient:
        """Return what a connection asks whether a key may be trusted: never."""
        import asyncssh

        refused = self._refused

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(
                self, host: str, addr: str, port: int, key: asyncssh.SSHKey
            ) -> bool:
                refused(host, addr, port, key)
                return False

        return Client()

    def _refused(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> None:
        shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        if self._trusted(host, addr, port):
            problem = (
                f"its host key has changed, to {shown}: somebody may stand between; where the host "
                f"was set up anew, put its key into {KNOWN_HOSTS} or ~/.ssh/known_hosts"
            )
        else:
            at = f"-p {port} {host}" if port != PORT else host
            problem = (
                f"its host key is unknown, {shown}: compare that with the host's own, and add "
                f"the lines of `ssh-keyscan {at}` to {KNOWN_HOSTS} or ~/.ssh/known_hosts"
            )
        self.fault = HostFault(self._address, problem)

    def _trusted(self, host: str, addr: str, port: int) -> bool:
        """Return whether some key of the host is known."""
        import asyncssh

        own = Path("~/.ssh/known_hosts").expanduser()
        known = self.known or (str(own) if own.is_file() else b"")
        return bool(asyncssh.match_known_hosts(known, host, addr, port)[0])


@contextmanager
def _explained(address: str, guard: _Guard) -> Iterator[None]:
    """Turn the errors of a connection that isn't made into one line on what to do."""
    import asyncssh

    try:
        yield
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise UsageError(
            f"{KEY}: {error}: give a private key in OpenSSH's format, without a passphrase"
        ) from error
    except asyncssh.ConfigParseError as error:
        raise UsageError(f"~/.ssh/config: {error}") from error
    except (OSError, asyncssh.Error) as error:
        fault = guard.fault or HostFault(address, _why(error))
        raise fault from error


def _why(error: Exception) -> str:
    """Return what keeps a connection from being made, and what to do."""
    import asyncssh

    text = str(getattr(error, "strerror", None) or error)
    told = {
        asyncssh.PermissionDenied: "none of the keys is accepted: put the public one into the "
        f"user's authorized_keys there, or name another by {KEY} or ~/.ssh/config",
        asyncssh.KeyExchangeFailed: f"no way to speak is known to both sides: {text}; has its host "
        "key changed?",
        asyncssh.ConnectionLost: "it closed the connection before the log-in: see its sshd's log",
        asyncssh.Error: f"no log-in: {text}",
        socket.gaierror: f"its name has no address here: {text}",
        ConnectionRefusedError: "nothing listens there: start sshd, or name its port in the URL",
        TimeoutError: f"no answer in {CONNECT:g} s: is it up, and may this machine reach it?",
        OSError: f"can't be reached: {text}",
    }
    return next(line for kind, line in told.items() if isinstance(error, kind))

"""Servers that are no SGLang, or a broken one: one behaviour on one raw socket each.

`with listening(BEHAVIOURS["silent"]) as url: ...`. They speak below HTTP, so that they can
do what a library would not let them.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import struct
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

JSON = "application/json"
HTML = "text/html; charset=utf-8"
PAGE = "<!doctype html><html><title>It works</title><body>Welcome</body></html>"


@dataclass
class Connection:
    """One connection of a client, from its first request on."""

    socket: socket.socket
    closing: threading.Event = field(default_factory=threading.Event)

    def request(self) -> str:
        """Return the path of the next request, read to its end; empty where none came."""
        received = self.read()
        return received.split(b" ", 2)[1].decode() if received else ""

    def read(self) -> bytes:
        """Return the next request, all its bytes; empty where none came whole."""
        received = b""
        while (missing := _missing(received)) > 0:
            part = self.socket.recv(missing)
            if not part:
                return b""
            received += part
        return received

    def send(self, content: bytes) -> None:
        """Send all of `content`."""
        self.socket.sendall(content)

    def repeat(self, content: bytes, interval: float) -> None:
        """Send `content` every `interval` seconds until the client or the test has enough."""
        while not self.closing.wait(interval):
            self.send(content)


def _missing(received: bytes) -> int:
    """Return how many bytes of a request are still to be read: at least 1 until its head ended.

    What is left unread when a connection is closed would reset it.
    """
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return 1
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return int(length[1]) - len(body) if length else 0


Behaviour = Callable[[Connection], None]


def response(status: int, body: str | bytes, kind: str = JSON, **headers: str) -> bytes:
    """Return a whole HTTP response; `headers` win, and have `_` for `-`."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"content_type": kind, "content_length": str(len(content)), "connection": "close"}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (fields | headers).items()]
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *lines, "", ""]).encode() + content


def answering(status: int, body: str | bytes, kind: str = JSON, **headers: str) -> Behaviour:
    """Return a behaviour: the same answer to every request."""

    def behave(connection: Connection) -> None:
        if connection.request():
            connection.send(response(status, body, kind, **headers))

    return behave


def saying(content: bytes) -> Behaviour:
    """Return a behaviour: these bytes for every request."""

    def behave(connection: Connection) -> None:
        if connection.request():
            connection.send(content)

    return behave


def repeating(head: bytes, part: bytes, interval: float) -> Behaviour:
    """Return a behaviour: `head`, then `part` for ever."""

    def behave(connection: Connection) -> None:
        if connection.request():
            connection.send(head)
            connection.repeat(part, interval)

    return behave


def blunt(connection: Connection) -> None:
    """Answer 400 to the first bytes, whatever they are, as a web server does to TLS."""
    connection.socket.recv(1)
    connection.send(response(400, PAGE, HTML))


def silent(connection: Connection) -> None:
    """Accept, and never say a word."""
    connection.closing.wait()


def closing(connection: Connection) -> None:
    """Read a request and close without an answer."""
    connection.request()


def resetting(connection: Connection) -> None:
    """Read a request and reset the connection."""
    connection.request()
    reset(connection)


def reset(connection: Connection) -> None:
    """Have the connection reset when it is closed."""
    linger = struct.pack("ii", 1, 0)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def cut_off(connection: Connection) -> None:
    """Begin an answer and reset the connection."""
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{}")
    connection.closing.wait(0.1)
    reset(connection)


def flooding(connection: Connection) -> None:
    """Answer by few bytes that are many once they are unpacked."""
    if connection.request():
        connection.send(response(200, packed_flood(), content_encoding="gzip"))


@cache
def packed_flood() -> bytes:
    """Return 4 GiB of blanks, packed to 4 MB: one full block again and again."""
    pack = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    head = pack.compress(b"") + pack.flush(zlib.Z_FULL_FLUSH)
    block = pack.compress(b" " * 2**20) + pack.flush(zlib.Z_FULL_FLUSH)
    return head + block * 4096


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
DEEP = "[" * 100_000

BEHAVIOURS: dict[str, Behaviour] = {
    "web page": answering(200, PAGE, HTML),
    "web page, not found": answering(404, PAGE, HTML),
    "other API": answering(200, json.dumps({"status": "ok"})),
    "list": answering(200, "[]"),
    "number for a path": answering(200, json.dumps({"model_path": 7})),
    "empty": answering(200, ""),
    "malformed": answering(200, '{"model_path": "/m", '),
    "deep": answering(200, DEEP),
    "binary": answering(200, bytes(range(256))),
    "reset body": cut_off,
    "packed flood": flooding,
    "cut gzip": answering(200, gzip.compress(b"{}")[:-9], content_encoding="gzip"),
    "unasked coding": answering(200, "{}", content_encoding="br"),
    "bad gzip": answering(200, b"not gzip", content_encoding="gzip"),
    "key wanted": answering(401, json.dumps({"error": "Unauthorized"})),
    "unavailable": answering(503, json.dumps({"error": {"message": "no worker"}})),
    "redirect": answering(307, "", location="https://elsewhere.example/"),
    "truncated": answering(200, '{"model_path": "/m"', content_length="1000"),
    "truncated chunk": saying(CHUNKED + b"400\r\n{"),
    "not HTTP": saying(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "endless": repeating(CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n", 0.0),
    "slow header": repeating(b"HTTP/1.1 200 OK\r\nx: ", b"y", 0.1),
    "endless header line": repeating(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 4096, 0.0),
    "endless header": repeating(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 4096 + b"\r\n", 0.0),
    "trickle": repeating(CHUNKED, b"1\r\n \r\n", 0.2),
    "blunt": blunt,
    "silent": silent,
    "closing": closing,
    "resetting": resetting,
}


@contextmanager
def listening(
    behave: Behaviour, *, port: int = 0, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Yield the base URL, `http://` even with TLS, of a server that treats all clients alike."""
    ended = threading.Event()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:
        threading.Thread(target=_accept, args=(server, behave, ended, tls), daemon=True).start()
        bound = server.getsockname()[1]
        try:
            yield f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
        finally:
            ended.set()
            server.shutdown(socket.SHUT_RDWR)


def _accept(
    server: socket.socket,
    behave: Behaviour,
    ended: threading.Event,
    tls: ssl.SSLContext | None,
) -> None:
    while not ended.is_set():
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, behave, ended, tls), daemon=True).start()


def _serve(
    client: socket.socket,
    behave: Behaviour,
    ended: threading.Event,
    tls: ssl.SSLContext | None,
) -> None:
    with suppress(OSError), client:
        if tls is None:
            behave(Connection(client, ended))
            return
        with tls.wrap_socket(client, server_side=True) as wrapped:
            behave(Connection(wrapped, ended))


def self_signed(folder: Path) -> ssl.SSLContext:
    """Return a TLS server's context with a new certificate that nobody vouches for."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    argv = ["openssl", "req", "-x509", *new, *names, *files]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether something listens on a port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0

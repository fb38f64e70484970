"""Each fault of a registry ends as one line that names the registry, the reference and the phase.

Those that a second attempt can help are tried again, so many times and no more.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from io import BytesIO

import pytest

from ci.errors import (
    MissingArtifact,
    RegistryBusy,
    RegistryFault,
    RegistryFull,
    RegistryRefused,
    RegistryUnreachable,
)
from ci.registry import transport
from ci.registry.access import Access
from ci.registry.client import Registry
from ci.registry.failures import retry_after
from ci.registry.manifests import UNCHECKED
from ci.registry.oci import MANIFEST, Descriptor
from ci.registry.reference import Reference
from tests.fakes.faulty import closed_port
from tests.fakes.registry import (
    PASSWORD,
    FakeRegistry,
    Handler,
    answering,
    cutting,
    failing,
    silent,
)
from tests.rare import rare

pytestmark = pytest.mark.unit

CONTENT = bytes(range(256)) * 4096
BLOB = Descriptor.of("text/plain", CONTENT)
DIGEST = BLOB.digest
OPERATIONS: dict[str, Callable[[Registry], object]] = {
    "image:v1: resolve": lambda client: client.resolve("v1"),
    "image:v1: read manifest": lambda client: client.manifest("v1"),
    f"image@{DIGEST}: read blob": lambda client: client.blob(BLOB, BLOB.size),
    f"image@{DIGEST}: upload blob": lambda client: client.put_blob(BLOB, partial(BytesIO, CONTENT)),
    "image:v1: write manifest": lambda client: client.put_manifest(
        "v1", b"{}", MANIFEST, expected=UNCHECKED
    ),
    f"image@{DIGEST}: list referrers": lambda client: client.referrers(DIGEST),
    "image: list tags": lambda client: client.tags(),
}


def fault_of(fake: FakeRegistry, client: Registry, operation: str) -> RegistryFault:
    """Return the fault that an operation ends in, held to be one line that names everything."""
    with pytest.raises(RegistryFault) as caught:
        OPERATIONS[operation](client)
    line = str(caught.value)
    assert line.startswith(f"{fake.address}/team/{operation}: ")
    assert line.isprintable()
    assert "planted-secret" not in line
    return caught.value


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    rare(
        [
            (401, RegistryRefused, 1),
            (404, MissingArtifact, 1),
            (503, RegistryBusy, 3),
            (507, RegistryFull, 1),
            (400, RegistryFault, 1),
            (403, RegistryRefused, 1),
            (429, RegistryBusy, 3),
            (500, RegistryBusy, 3),
            (413, RegistryFault, 1),
            (501, RegistryFault, 1),
            (599, RegistryBusy, 3),
            (799, RegistryBusy, 3),
        ],
        5,
    ),
)
def test_refusals(
    fake: FakeRegistry,
    client: Registry,
    operation: str,
    status: int,
    kind: type[RegistryFault],
    requests: int,
) -> None:
    """A refusal is taken for another one, or asked for again although that can't help."""
    fake.blobs = {}
    fake.fault("(GET|POST|PUT) ", failing(status, "SOME_CODE", "the reason"))
    if operation.endswith("resolve"):
        fake.fault("HEAD .*/manifests", failing(status))
    absent = status == 404 and not operation.endswith(("read manifest", "blob", "write manifest"))
    if absent:
        assert not OPERATIONS[operation](client)
        return
    fault = fault_of(fake, client, operation)
    if operation.endswith("resolve") and status == 400:
        assert isinstance(fault, RegistryUnreachable)
        return
    assert type(fault) is kind
    assert f"answered {status} " in str(fault)
    assert operation.endswith("resolve") or "SOME_CODE: the reason" in str(fault)
    assert ("(3 attempts)" in str(fault)) is (requests == 3)
    assert fake.count("(GET|POST|PUT) |HEAD .*/manifests") == requests


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", rare([429, 503, 500, 502, 504], 2))
def test_a_registry_that_is_busy_for_a_while(
    fake: FakeRegistry, client: Registry, operation: str, status: int
) -> None:
    """A release fails for what would have been gone a moment later."""
    digest = fake.put(MANIFEST, b"{}", "v1")
    fake.blobs[DIGEST] = CONTENT
    if "upload" in operation:
        del fake.blobs[DIGEST]
    fake.fault("", failing(status), times=2)
    OPERATIONS[operation](client)
    assert fake.tags == {"v1": digest}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_registry_that_is_down(operation: str) -> None:
    """A registry that doesn't run is a traceback, or kept on at for ever."""
    reference = Reference(f"127.0.0.1:{closed_port()}", "team/image")
    fake = FakeRegistry(address=reference.registry)
    with Registry(reference, replace(fake.access, attempts=2)) as client:
        fault = fault_of(fake, client, operation)
    assert isinstance(fault, RegistryUnreachable)
    assert str(fault).endswith(": connection refused (2 attempts)")


@pytest.mark.parametrize(
    ("code", "asked"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 3)], ids=["unknown", "no DNS"]
)
def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch, code: int, asked: int) -> None:
    """A mistyped registry is taken for one that is down, and tried again."""
    names = []

    def lookup(name: str, *_: object, **__: object) -> None:
        names.append(name)
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    reference = Reference.parse("registry.example.com/image:v1")
    with (
        Registry(reference, Access(attempts=3, pause=0.01)) as client,
        pytest.raises(RegistryUnreachable, match="image:v1: resolve: its host's name has no add"),
    ):
        client.resolve("v1")
    assert names == ["registry.example.com"] * asked


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_registry_that_never_answers(fake: FakeRegistry, operation: str) -> None:
    """A release hangs for ever on a registry that is stuck."""
    fake.fault("", silent)
    with Registry(fake.reference(), replace(fake.access, timeout=0.2, attempts=2)) as client:
        fault = fault_of(fake, client, operation)
    assert isinstance(fault, RegistryUnreachable)
    assert str(fault).endswith(": no answer within 0.2 s (2 attempts)")
    assert len(fake.requests) == 2


def large() -> tuple[Descriptor, Callable[[], BytesIO]]:
    """Return a blob that is longer than what the kernel buffers."""
    content = bytes(24_000_000)
    return Descriptor.of("text/plain", content), partial(BytesIO, content)


def test_an_upload_in_which_nothing_moves(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that got stuck is waited for, for ever."""
    monkeypatch.setattr(transport, "SETTLE_RATE", 1e12)
    fake.fault("PUT", silent)
    with (
        Registry(fake.reference(), replace(fake.access, timeout=0.3, attempts=2)) as client,
        pytest.raises(RegistryUnreachable, match=r"nothing moved for 0.3 s \(2 attempts\)"),
    ):
        client.put_blob(*large())
    assert fake.count("POST") == 2


def test_a_long_upload_is_not_cut(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large layer over a slow line can't be uploaded, as it takes longer than one answer."""
    monkeypatch.setattr(transport, "SETTLE_RATE", 1e12)
    blob, opened = large()
    timeout = 1.0

    def slowly(request: Handler) -> bool:
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        while request.unread:
            part = min(500_000, request.unread)
            request.content += request.rfile.read(part)
            request.unread -= part
            time.sleep(0.05)
        return False

    fake.fault("PUT", slowly)
    with Registry(fake.reference(), replace(fake.access, timeout=timeout, attempts=1)) as client:
        started = time.monotonic()
        assert client.put_blob(blob, opened)
    assert time.monotonic() - started > 2 * timeout


def test_a_registry_may_take_its_time_to_store(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that checks and moves a large layer once it has it is believed to be stuck."""
    monkeypatch.setattr(transport, "SETTLE_RATE", len(CONTENT) / 20)

    def settle(request: Handler) -> bool:
        request.body()
        time.sleep(0.6)
        return False

    fake.fault("PUT", settle)
    with Registry(fake.reference(), replace(fake.access, timeout=0.3, attempts=1)) as client:
        assert client.put_blob(BLOB, partial(BytesIO, CONTENT))


def test_an_upload_that_is_cut_is_begun_anew(fake: FakeRegistry, client: Registry) -> None:
    """A cut in the middle of a layer ends the release, or leaves half a layer."""
    fake.fault("PUT", cutting(after=300_000), times=2)
    assert client.put_blob(BLOB, partial(BytesIO, CONTENT))
    assert fake.blobs == {DIGEST: CONTENT}
    assert fake.count("POST") == fake.count("PUT") == 3
    assert len({each for each in fake.requests if each.startswith("PUT")}) == 3


def test_an_upload_that_is_always_cut_is_given_up(fake: FakeRegistry, client: Registry) -> None:
    """A registry that cuts every upload is sent many GB for ever."""
    fake.fault("PUT", cutting(after=300_000))
    fault = fault_of(fake, client, f"image@{DIGEST}: upload blob")
    assert isinstance(fault, RegistryUnreachable)
    assert str(fault).endswith(": the connection was cut (3 attempts)")
    assert fake.count("POST") == 3
    assert not fake.blobs


def test_an_answer_that_is_cut_is_asked_for_again(fake: FakeRegistry, client: Registry) -> None:
    """Half a manifest is taken for a whole one, or for a broken one."""
    fake.put(MANIFEST, b"{}", "v1")

    def half(request: Handler) -> bool:
        request.close_connection = True
        return answering(200, b"{", Content_Length="2")(request)

    fake.fault("GET", half, times=2)
    assert client.manifest("v1").content == b"{}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors":[{"code":"UNKNOWN","detail":{"Op":"write","Path":"/srv","Err":28}}]}',
        b"write /srv/data: no space left on device",
        b"<Error><Code>XMinioStorageFull</Code></Error>",
        b"disk quota exceeded",
    ],
)
def test_a_full_disk_there(fake: FakeRegistry, client: Registry, body: bytes) -> None:
    """A registry without space is asked again and again, or looks merely busy."""

    def full(request: Handler) -> bool:
        part = request.rfile.read(100_000)
        request.unread -= len(part)
        request.answer(500, body)
        request.close_connection = True
        return True

    fake.fault("PUT", full)
    fault = fault_of(fake, client, f"image@{DIGEST}: upload blob")
    assert isinstance(fault, RegistryFull)
    assert "no space is left there; answered 500 Internal Server Error" in str(fault)
    assert fake.count("POST") == 1


def test_how_long_a_registry_asks_to_wait_is_honoured(fake: FakeRegistry, client: Registry) -> None:
    """A registry that limits its users is asked again before it wants to be."""
    fake.put(MANIFEST, b"{}", "v1")
    fake.fault("", failing(429, "TOOMANYREQUESTS", Retry_After="1"), times=1)
    started = time.monotonic()
    assert client.resolve("v1")
    assert time.monotonic() - started >= 1


def test_nobody_waits_for_an_hour(
    fake: FakeRegistry, client: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry keeps a release for as long as it likes."""
    monkeypatch.setattr(transport, "LONGEST_WAIT", 0.05)
    words = "Quota exceeded for requests per minute"  # which isn't a full disk's
    fake.fault("", failing(429, "TOOMANYREQUESTS", words, Retry_After="3600"))
    fault = fault_of(fake, client, "image:v1: read manifest")
    assert isinstance(fault, RegistryBusy)
    assert f"{words}, and asks to wait 3600 s (3 attempts)" in str(fault)


def test_ways_to_say_how_long_to_wait() -> None:
    """A wait that is given as a date, or garbled, is a crash."""
    assert retry_after({"Retry-After": " 7 "}) == 7
    in_a_minute = retry_after({"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    assert in_a_minute is not None
    assert 50 < in_a_minute <= 60
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    for text in ("", "soon", "-5", "\u0663"):
        assert retry_after({"Retry-After": text}) is None


def test_what_a_registry_says_is_made_harmless(fake: FakeRegistry) -> None:
    """A registry writes our password, or a terminal's commands, into a log."""
    echo = f"not \x1b[31mallowed\r\n for robot:{PASSWORD}".encode() + b" x" * 1000
    fake.login = "Basic"
    with Registry(fake.reference(), fake.access) as client:
        fake.fault("GET", answering(403, echo))
        fault = fault_of(fake, client, "image:v1: read manifest")
    assert "not [31mallowed for robot:*** x x" in str(fault)
    assert len(str(fault)) < 500
    assert not fault.details

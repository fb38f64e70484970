"""A proxy in front of a server that makes it bad in one way at a time: of a fake or a real one."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.fakes.serving import JsonHandler, serving

Json = dict[str, Any]

SAID = "yes"
"""What a server with the fault `constant` says to everything."""
MEMORY = 100
"""Characters of a prompt that are left by the fault `forgets`."""


def _unbound(body: Json) -> None:
    for key in ("regex", "json_schema"):
        body["sampling_params"].pop(key, None)


def _unstopped(body: Json) -> None:
    body["sampling_params"].pop("stop", None)


def _unlimited(body: Json) -> None:
    if body["sampling_params"].get("ignore_eos"):
        body["sampling_params"]["max_new_tokens"] += 3


def _forgetful(body: Json) -> None:
    if isinstance(body["text"], str):
        body["text"] = body["text"][-MEMORY:]


def _uncached(answer: Json) -> None:
    answer["meta_info"]["cached_tokens"] = 0


def _constant(answer: Json) -> None:
    answer["text"] = SAID
    answer["meta_info"] |= {"completion_tokens": 1, "finish_reason": {"type": "stop"}}


def _impossible(answer: Json) -> None:
    for pair in answer["meta_info"].get("input_token_logprobs", []):
        pair[0] = None if pair[0] is None else -pair[0]


REQUESTS: dict[str, Callable[[Json], None]] = {
    "ignores_constraints": _unbound,
    "ignores_stop": _unstopped,
    "ignores_limit": _unlimited,
    "forgets": _forgetful,
}
ANSWERS: dict[str, Callable[[Json], None]] = {
    "cache_off": _uncached,
    "constant": _constant,
    "impossible_logprobs": _impossible,
}
FAULTS = (*REQUESTS, *ANSWERS, "wrong_option", "unrepeatable")


class Meddling:
    """A proxy; made by `meddling`.

    Attributes:
        fault: One of `FAULTS`; none where empty.
        sent: Bodies of the `/generate` requests so far.
    """

    def __init__(self, upstream: str, fault: str) -> None:
        """Take the server to stand before."""
        self.upstream, self.fault, self.url = upstream, fault, ""
        self.sent: list[Json] = []
        self._seen: Counter[bytes] = Counter()

    def request(self, raw: bytes) -> bytes:
        """Return a request as it is passed on."""
        body = json.loads(raw)
        self.sent.append(json.loads(raw))
        if self.fault in REQUESTS:
            REQUESTS[self.fault](body)
        return json.dumps(body).encode()

    def answer(self, raw: bytes, asked: bytes) -> bytes:
        """Return an answer as it is passed on; `asked` is the request."""
        found = json.loads(raw)
        if self.fault == "wrong_option" and isinstance(found, list):
            found = [*found[1:], found[0]]
        for one in found if isinstance(found, list) else [found]:
            if self.fault in ANSWERS:
                ANSWERS[self.fault](one)
            if self.fault == "unrepeatable" and one["text"]:
                one["text"] += "~" * self._seen[asked]
                self._seen[asked] += 1
        return json.dumps(found).encode()


@contextmanager
def meddling(upstream: str, fault: str = "") -> Iterator[Meddling]:
    """Serve in front of the server at `upstream`, until the context ends."""
    proxy = Meddling(upstream, fault)
    with serving(type("BoundHandler", (_Handler,), {"proxy": proxy})) as proxy.url:
        yield proxy


class _Handler(JsonHandler):
    proxy: Meddling

    def do_GET(self) -> None:  # noqa: N802 - the server calls it so
        """Pass a GET on."""
        self._pass(None)

    def do_POST(self) -> None:  # noqa: N802 - the server calls it so
        """Pass a POST on, meddled with where it generates."""
        self._pass(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _pass(self, raw: bytes | None) -> None:
        generates = raw is not None and self.path == "/generate"
        body = self.proxy.request(raw) if generates and raw is not None else raw
        request = urllib.request.Request(  # noqa: S310
            self.proxy.upstream + self.path, body, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                status, found = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, found = error.code, error.read()
        if generates and raw is not None and status == 200:
            found = self.proxy.answer(found, raw)
        self.send(status, found)

"""The API key of a server: where it comes from, and the header that carries it.

A server that this process starts may have a key of its own, in its flags; any other one gets
the key of the variable. A key is sent to its server and stands nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest

from ci.errors import UsageError

API_KEY = "SGLANG_API_KEY"
"""Variable that holds the key of a server that was started with `--api-key`."""
FLAG = "--api-key"

_OWN: dict[str, str] = {}
"""Base URL to key of the servers that this process started."""


def api_key(flags: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the key that a server wants which is started like this; empty for none.

    Args:
        flags: Its flags, of which the last one counts.
        environment: The variables of its own; they may name the key of another engine's server.
    """
    found = environment.get(API_KEY, "")
    for flag, following in zip_longest(flags, flags[1:], fillvalue=""):
        name, equals, value = flag.partition("=")
        if name == FLAG:
            found = value if equals else following
    return found


@contextmanager
def wanted_at(url: str, key: str) -> Iterator[None]:
    """Have `key`, where there is one, sent to the server at `url` while the context lasts."""
    if not key:
        yield
        return
    _OWN[url] = key
    try:
        yield
    finally:
        del _OWN[url]


def key_of(url: str) -> str:
    """Return the key that is sent to the server at `url`; empty for none.

    Raises:
        UsageError: It can't be sent.
    """
    key = _OWN.get(url) or os.environ.get(API_KEY, "")
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{API_KEY} can't be sent: it holds more than printable ASCII characters")
    return key


def variables(url: str) -> dict[str, str]:
    """Return the variable by which a process of ours gets the key of the server at `url`."""
    key = key_of(url)
    return {API_KEY: key} if key else {}


def as_argument(url: str) -> str:
    """Return what a shell's curl sends the key of the server at `url` by; empty without a key."""
    return f' -H "Authorization: Bearer ${API_KEY}"' if key_of(url) else ""


def authorization(key: str) -> dict[str, str]:
    """Return the header that carries a key; none where there is no key."""
    return {"Authorization": f"Bearer {key}"} if key else {}

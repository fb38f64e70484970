"""The API key of a server: where it comes from, and the header that carries it.

A server that this process starts may have a key of its own, in its flags, and a baseline that
runs already in a variable of its own; any other one gets the key of the variable. A key is sent to
its server and stands nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ci.errors import UsageError
from ci.server.flags import value_of

API_KEY = "SGLANG_API_KEY"
"""Variable that holds the key of a server that was started with `--api-key`."""
BASELINE_API_KEY = "SGLANG_BASELINE_API_KEY"
"""Variable that holds the key of a baseline that runs already, where it has another one."""
FLAG = "--api-key"
ANYWHERE = ""
"""In the place of a URL: every server that has no key of its own."""

_OWN: dict[str, tuple[str, str]] = {}
"""Base URL to key, and the variable that it is from, of servers that have a key of their own."""


def api_key(flags: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the key that a server wants which is started like this; empty for none.

    Args:
        flags: Its flags, of which the last one counts.
        environment: The variables of its own; they may name the key of another engine's server.
    """
    given = value_of(flags, FLAG)
    return environment.get(API_KEY, "") if given is None else given


@contextmanager
def wanted_at(url: str, key: str | None, variable: str = API_KEY) -> Iterator[None]:
    """Have a key of its own sent to the server at `url` while the context lasts.

    Args:
        url: Its base URL, or `ANYWHERE`.
        key: Its key, empty where it gets none; None where it has none of its own.
        variable: What the user sets to give another one.
    """
    if key is None:
        yield
        return
    before = _OWN.get(url)
    _OWN[url] = (key, variable)
    try:
        yield
    finally:
        del _OWN[url]
        _OWN.update({url: before} if before else {})


def key_of(url: str) -> str:
    """Return the key that is sent to the server at `url`; empty for none.

    Raises:
        UsageError: It can't be sent.
    """
    key, variable = _OWN.get(url) or _OWN.get(ANYWHERE) or (os.environ.get(API_KEY, ""), API_KEY)
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{variable} can't be sent: it holds more than printable ASCII characters")
    return key


def variable_of(url: str) -> str:
    """Return the variable by which the user gives a key to the server that has `url`."""
    own = (name for base, (_, name) in _OWN.items() if base and f"{url}/".startswith(f"{base}/"))
    return next(own, API_KEY)


def variables(url: str) -> dict[str, str]:
    """Return the variable by which a process of ours gets the key of the server at `url`."""
    key = key_of(url)
    return {API_KEY: key} if key or url in _OWN else {}


def as_argument(url: str) -> str:
    """Return what a shell's curl sends the key of the server at `url` by; empty without a key."""
    return f' -H "Authorization: Bearer ${variable_of(url)}"' if key_of(url) else ""


def authorization(key: str) -> dict[str, str]:
    """Return the header that carries a key; none where there is no key."""
    return {"Authorization": f"Bearer {key}"} if key else {}

"""The tree of errors: drawn as it is, each with its verdict, each one line."""

import inspect
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci import errors
from ci.errors import (
    BadAnswer,
    InfrastructureFault,
    LaunchRefused,
    NotReady,
    NotSglang,
    ServerExited,
    ServerFault,
    SettingsError,
    SglangCiError,
    UsageError,
)
from ci.verdict import Verdict

pytestmark = pytest.mark.unit

TREE = {
    name: found
    for name, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, SglangCiError)
}
BUILDERS: dict[str, Callable[[str], SglangCiError]] = {
    "root": SglangCiError,
    "settings": lambda text: SettingsError(text, text, text, text),
    "refused": lambda text: LaunchRefused(text, 65),
    "exited": lambda text: ServerExited(-9, "serving", text),
    "not ready": lambda text: NotReady("serving", 1.5, text),
    "not SGLang": lambda text: NotSglang("http://h:1", text),
    "bad answer": lambda text: BadAnswer("http://h:1", text, status=500),
}


def drawn() -> dict[str, str]:
    """Return each class of the module's drawing, and the class that it hangs from."""
    parents: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)(\w+)", line):
            del branch[len(found[1]) // 4 :]
            parents[found[2]] = branch[-1] if branch else ""
            branch.append(found[2])
    return parents


def test_the_drawing_is_the_tree() -> None:
    """Whoever reads the module's head sees another tree than there is."""
    shown = drawn()
    assert set(shown) == set(TREE) - {"AnswerFault"}
    for name, parent in shown.items():
        if parent:
            assert issubclass(TREE[name], TREE[parent]), f"{name} does not hang from {parent}"


@pytest.mark.parametrize("name", sorted(TREE))
def test_verdict_follows_from_the_half_of_the_tree(name: str) -> None:
    """An infrastructure fault reads as a bad server, or a bad server as our fault."""
    bad_server = issubclass(TREE[name], ServerFault)
    assert TREE[name].verdict is (Verdict.FAILED if bad_server else Verdict.ERROR)
    halves = (ServerFault, InfrastructureFault, UsageError)
    assert name == "SglangCiError" or sum(issubclass(TREE[name], half) for half in halves) == 1


@given(st.text(), st.sampled_from(sorted(BUILDERS)))
def test_every_message_is_one_line(text: str, name: str) -> None:
    """A server's words break a log line, a table or an annotation apart."""
    assert len(str(BUILDERS[name](text)).splitlines()) <= 1


def test_errors_carry_their_data() -> None:
    """Who catches an error has to parse its message."""
    exited = ServerExited(None, "serving", "gone", "line 1\nline 2")
    assert (exited.exit_code, exited.phase, exited.cause) == (None, "serving", "gone")
    assert str(exited) == "server exited in phase 'serving': gone"
    assert exited.details == "line 1\nline 2"
    slow = NotReady("port open", 600.0, "nothing listens")
    assert str(slow) == "not ready: phase 'port open' took over 600 s: nothing listens"
    wrong = SettingsError("f.toml", "server.prt", "unknown key", "host, port")
    assert str(wrong) == "f.toml: server.prt: unknown key; allowed: host, port"

"""The pytest plugin: options, fixtures, and the record of what each case showed.

Loaded with `-p ci.smoke.plugin`, by the runner and by anyone else:
`pytest -p ci.smoke.plugin --sglang-url http://localhost:30000 my_cases/`.

A server that stops answering ends the session in seconds: after a case in which a request got
no whole answer, one token is asked for, and without it the rest is not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ci import SGLANG, engines
from ci.smoke.answers import Chat, Completion, Generation
from ci.smoke.ask import Ask
from ci.smoke.record import Incapable
from ci.smoke.server import Capability, Server, discover
from ci.smoke.session import REFUSED, SERVER, Recorder
from ci.smoke.sse import Event
from ci.smoke.transport import open_client, refused_key


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("sglang", "SGLang smoke cases")
    group.addoption("--sglang-url", metavar="URL", help="Base URL of the server under test.")
    group.addoption(
        "--sglang-timeout",
        metavar="SECONDS",
        type=float,
        default=30.0,
        help="Most seconds that a request may take (default: 30).",
    )
    group.addoption(
        "--sglang-engine",
        metavar="PROFILE",
        default=SGLANG,
        help="What it is a server of (default: sglang).",
    )
    group.addoption(
        "--sglang-results",
        metavar="FILE",
        type=Path,
        help="Append each case to FILE as it ends: JSON lines of ci.report.model.Case.",
    )
    group.addoption(
        "--sglang-progress",
        action="store_true",
        help="Also write lines on collected and running cases to the results file.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `needs`, and the recorder."""
    names = ", ".join(Capability)
    config.addinivalue_line(
        "markers", f"needs(*capabilities): skip where the server lacks one of: {names}"
    )
    config.pluginmanager.register(Recorder(config), "sglang-recorder")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to start without the URL of a server."""
    url = session.config.getoption("--sglang-url")
    if not url:
        raise pytest.UsageError("--sglang-url is required: the base URL of the server under test")
    if not url.startswith(("http://", "https://")):
        raise pytest.UsageError(f"--sglang-url: {url!r} does not begin with http:// or https://")


@pytest.fixture(scope="session")
def client(pytestconfig: pytest.Config) -> Iterator[httpx.Client]:
    """An `httpx.Client` of the server: relative URLs, bounded in time and bytes."""
    url = pytestconfig.getoption("--sglang-url")
    refused = pytestconfig.stash.setdefault(REFUSED, [])

    def note(response: httpx.Response) -> None:
        if error := refused_key(response):
            refused.append(error)

    with open_client(url, pytestconfig.getoption("--sglang-timeout")) as opened:
        opened.event_hooks["response"].append(note)
        yield opened


@pytest.fixture(scope="session")
def server(client: httpx.Client, pytestconfig: pytest.Config) -> Server:
    """What the server says it is and can do."""
    found = discover(client, engines.profile(pytestconfig.getoption("--sglang-engine")))
    pytestconfig.stash[SERVER] = found
    pytestconfig.stash[REFUSED].clear()  # what was refused here is no answer to the first case
    return found


@pytest.fixture(scope="session")
def model(server: Server) -> str:
    """The served model's name."""
    return server.model


@pytest.fixture(scope="session")
def ask(client: httpx.Client, model: str) -> Ask:
    """All ways to ask the server something, typed."""
    return Ask(client, model)


@pytest.fixture(scope="session")
def generate(ask: Ask) -> Callable[..., Generation]:
    """`generate(prompt, request=None, **sampling)`: one greedy answer of `/generate`."""
    return ask.generate


@pytest.fixture(scope="session")
def complete(ask: Ask) -> Callable[..., Completion]:
    """`complete(prompt, **body)`: one answer of `/v1/completions`."""
    return ask.complete


@pytest.fixture(scope="session")
def chat(ask: Ask) -> Callable[..., Chat]:
    """`chat(messages, **body)`: one answer of `/v1/chat/completions`."""
    return ask.chat


@pytest.fixture(scope="session")
def stream(ask: Ask) -> Callable[..., tuple[Event, ...]]:
    """`stream(path, body)`: all events of a stream, which must be whole and well formed."""
    return ask.stream


@pytest.fixture(autouse=True)
def _capable(request: pytest.FixtureRequest) -> None:
    """Skip a case whose marker `needs` names something that the server lacks."""
    marks = list(request.node.iter_markers("needs"))
    for name in (name for mark in marks for name in mark.args):
        server: Server = request.getfixturevalue("server")
        if not server.can(name):
            raise Incapable(server.why_not(name))

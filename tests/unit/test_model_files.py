"""The model's files: the default, a folder, or a hub's, whose every refusal is one line."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from ci.boot import model_files
from ci.boot.model_files import fetch, resolve
from ci.errors import ModelUnavailable
from ci.extras import install
from ci.platform import TINY_MODEL
from ci.settings import ModelSettings
from tests.fakes.faulty import closed_port, listening, silent
from tests.rare import rare

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 60.0
ERRORS = """\
class LocalEntryNotFoundError(FileNotFoundError): ...
class HfHubHTTPError(OSError): ...
class GatedRepoError(HfHubHTTPError): ...
"""
HUB = """\
import os
from types import SimpleNamespace
from huggingface_hub import errors

assert "HF_HUB_OFFLINE" not in os.environ
constants = SimpleNamespace(ENDPOINT={endpoint!r})

def snapshot_download(name, *, revision, local_files_only=False):
    if local_files_only:
        {cached}
    print("progress of some kind")
    {online}
"""
MISSING = "raise errors.LocalEntryNotFoundError('not in the cache')"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a fake hub client, found before any real one."""
    package = tmp_path / "installed" / "huggingface_hub"
    package.mkdir(parents=True)
    (package / "errors.py").write_text(ERRORS)
    path = os.pathsep.join([str(package.parent), str(Path(__file__).parents[2])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return package


def acts(hub: Path, endpoint: str, cached: str, online: str) -> None:
    """Let the fake client act so."""
    code = HUB.format(endpoint=endpoint, cached=cached, online=online)
    (hub / "__init__.py").write_text(code)


async def refusal() -> str:
    """Return the one line with which a fetch is refused."""
    with anyio.fail_after(HANG), pytest.raises(ModelUnavailable) as caught:
        await fetch("org/name", "v1")
    assert str(caught.value).startswith("org/name@v1: ")
    return str(caught.value)


async def test_a_model_that_needs_no_fetching() -> None:
    """The default model isn't the packaged one, or a folder is not served as it is."""
    tiny = await resolve(ModelSettings())
    assert (tiny.path, tiny.label) == (TINY_MODEL, "the packaged tiny model")
    folder = await resolve(ModelSettings(path=Path("/models/a")))
    assert (folder.path, folder.label) == (Path("/models/a"), "/models/a")


async def test_a_cached_model_needs_no_network(hub: Path) -> None:
    """A model that is there already can't be served without network."""
    endpoint = f"http://127.0.0.1:{closed_port()}"
    acts(hub, endpoint, "return '/cache/' + revision", "raise AssertionError")
    model = await resolve(ModelSettings(name="org/name", revision="v1"))
    assert (model.path, model.label) == (Path("/cache/v1"), "org/name@v1")


async def test_a_fetched_model_is_the_folder_that_was_printed_last(hub: Path) -> None:
    """What the hub's client prints on its way is taken for the folder."""
    with listening(lambda connection: connection.send(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
        acts(hub, url, MISSING, "return '/cache/' + name")
        assert await fetch("org/name", "v1") == Path("/cache/org/name")


async def test_a_hub_that_can_not_be_reached(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without network the hub's client tries for minutes, and ends with a traceback."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    endpoint = f"http://127.0.0.1:{closed_port()}"
    acts(hub, endpoint, MISSING, "raise AssertionError")
    assert f"the hub {endpoint} can't be reached from here" in await refusal()
    monkeypatch.setattr(model_files, "FETCH_SECONDS", 0.5)
    with listening(silent) as url:
        acts(hub, url, MISSING, "raise AssertionError")
        with pytest.raises(ModelUnavailable, match=r"not fetched within 0\.5 s"):
            await fetch("org/name", "v1")


@pytest.mark.parametrize(
    ("online", "words"),
    rare(
        [
            ("raise errors.GatedRepoError('gated')", "set HF_TOKEN to a token that may read"),
            ("raise errors.HfHubHTTPError('401 Client Error')", "set HF_TOKEN to a token"),
            (
                "raise errors.HfHubHTTPError('404\\nClient Error')",
                "no such model or revision (404",
            ),
            ("raise OSError('disk full')", "can't be fetched: disk full"),
        ],
        2,
    ),
)
async def test_a_hub_that_refuses(hub: Path, online: str, words: str) -> None:
    """A missing token or a misspelt name ends with a traceback."""
    with listening(lambda connection: connection.send(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
        acts(hub, url, MISSING, online)
        assert words in await refusal()


async def test_a_hub_client_that_is_not_installed(hub: Path) -> None:
    """A prober without the hub's client ends with a traceback."""
    (hub / "__init__.py").write_text("raise ImportError('not here')")
    assert f"huggingface_hub is not installed: {install('hub')}" in await refusal()


async def test_a_fetch_can_be_cancelled(hub: Path, tmp_path: Path) -> None:
    """Ctrl-C waits until a hundred gigabytes are there."""
    started = tmp_path / "started"
    acts(hub, "", f"open({str(started)!r}, 'w').close(); import time; time.sleep(600)", "pass")

    async def stop(scope: anyio.CancelScope) -> None:
        while not started.exists():
            await anyio.sleep(0.01)
        scope.cancel()

    with anyio.fail_after(HANG):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop, tasks.cancel_scope)
            await fetch("org/name", "v1")

"""Secrets are planted in flags, variables and servers, and looked for in all that a run leaves."""

from __future__ import annotations

import ast
import gzip
import html
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ci.commands.outcome import USAGE
from ci.secrets.veil import VEIL
from tests.fakes.launched import Plan, install
from tests.fakes.serving import JsonHandler, serving
from tests.fakes.sglang import FakeSglang
from tests.fakes.sglang import Settings as Fake
from tests.rare import rare
from tests.unit.commands import Command

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("impatient", "planted")]

FLAG, HUB, CLIENT, PASSWORD = (
    *("planted-flag/7f3a", "planted-hub 9c1d", 'planted"client<&>5b2e', "planted-passwörd-4e8f"),
)
PLANTED = (FLAG, HUB, CLIENT, PASSWORD)
SETTINGS = """
[server]
device = "cpu"
flags = [{flag}]
environment = {environment}
[readiness]
port_open = 9
serving = 3
first_token = 3
[smoke]
timeout = 5
select = "greedy or chat"
[bench]
requests = 4
output = "2"
poll = 0
warm_up_requests = 0
limit = 5
[gate]
pairs = 9
requests = 2
concurrency = 1
repeat = false
slowdown = 1
least = 0.5
[fuzz]
examples = 2
timeout = 5
[health]
faults = ["saturation"]
calm = 0.2
load = 0.5
observe = 1
timeout = 2
patience = 2
streams = 2
tokens = 4
[drain]
scenarios = ["streams"]
streams = 2
tokens = 4
grace = 3
"""


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process variables that hold secrets."""
    monkeypatch.setenv("SGLANG_API_KEY", CLIENT)
    monkeypatch.setenv("REGISTRY_PASSWORD", PASSWORD)


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of every file that runs left."""
    for path in folder.rglob("*"):
        if (
            path.is_file()
            and "installed" not in path.parts
            and path.suffix not in {".toml", ".pyc"}
        ):
            content = path.read_bytes()
            packed = path.suffix == ".gz"
            yield path.name, (gzip.decompress(content) if packed else content).decode()


def forms(secret: str) -> set[str]:
    """Return a secret as it may be written."""
    jsons = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, html.escape(secret), *jsons}


def nothing_shown(folder: Path, printed: str) -> str:
    """Hold all that a run left against what was planted; return all of it."""
    left = {"standard output and error": printed, **dict(texts(folder))}
    for name, text in left.items():
        for secret in PLANTED:
            assert not [form for form in forms(secret) if form in text], f"{secret} is in {name}"
    return "".join(left.values())


class Leaking(JsonHandler):
    """A server that answers everything with an error that tells all keys."""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Tell them."""
        told = {"error": f"{CLIENT} is no key, --api-key {FLAG} is", "api_key": FLAG}
        told |= {"version": "0.5.23", "password": PASSWORD, "hub": f"Bearer {HUB}"}
        self.answer(200 if "info" in self.path else 500, told)

    do_POST = do_GET  # noqa: N815 - likewise


ASKED = (
    *(("errors", f"{one} URL", True) for one in ("bench", "health")),
    *(("errors", f"{one} URL", False) for one in ("wait", "versions", "fuzz")),
    ("errors", "compare URL URL", False),
    ("errors", "contract record URL --out contract.json", False),
    ("errors", "contract compare URL URL", False),
    ("errors", "generate-cases URL --out cases --count 1", False),
    *(("no worker", f"{one} URL", True) for one in ("wait", "smoke", "bench")),
    *(("refusals", f"{one} URL", False) for one in ("versions", "fuzz")),
    ("refusals", "contract record URL --out contract.json", False),
)
"""Kind of server, command, and whether its report has to show what such a server says."""


@contextmanager
def fake(*faults: str) -> Iterator[str]:
    """Serve a fake that tells its key where it refuses, and on `/server_info`."""
    with FakeSglang(Fake(leak=FLAG), faults) as server:
        yield server.url


KINDS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "errors": lambda: serving(Leaking),
    "refusals": fake,
    "no worker": lambda: fake("unavailable"),
}


def configured(name: str = "sglang-ci.toml", plan: Plan | None = None) -> str:
    """Write settings whose flags and variables hold secrets; return the file's name."""
    variables = {"HF_TOKEN": HUB}
    if plan:
        variables |= install(Path("installed", name).absolute(), plan)
    environment = ", ".join(f"{key} = {json.dumps(text)}" for key, text in variables.items())
    flag = json.dumps(["--api-key", FLAG])[1:-1]
    Path(name).write_text(SETTINGS.format(flag=flag, environment=f"{{ {environment} }}"))
    return name


@pytest.mark.parametrize(("kind", "question", "told"), rare(ASKED, 3))
def test_no_question_to_a_server_leaves_a_secret(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    kind: str,
    question: str,
    told: bool,  # noqa: FBT001
) -> None:
    """A key that a server says stands in a report that the nightly job publishes."""
    configured()
    with KINDS[kind]() as url:
        words = [url if word == "URL" else word for word in question.split()]
        code = command(*words)
    printed = capsys.readouterr()
    assert code != USAGE, printed.err
    left = nothing_shown(tmp_path, printed.out + printed.err)
    assert not told or VEIL in left


@pytest.mark.parametrize(
    "started",
    rare(
        [
            *("ci --baseline other.toml", "health", "startup --boots 1"),
            *("ci", "compare sglang-ci.toml other.toml"),
            *("startup --baseline other.toml --boots 1", "drain", "config show"),
        ],
        2,
    ),
)
@pytest.mark.parametrize("kind", rare(["dies early", "good"], 1))
def test_no_server_that_is_started_leaves_a_secret(
    command: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    started: str,
    kind: str,
) -> None:
    """The end of a server's log, with its key, is in the report of any early death."""
    plan = Plan(tells="HF_TOKEN")
    if kind != "good":
        plan = replace(plan, dies_after=0.1, open_after=60.0, last_words="MemoryError: no memory")
    for name in ("sglang-ci.toml", "other.toml"):
        configured(name, plan)
    code = command(*started.split())
    printed = capsys.readouterr()
    assert code != USAGE, printed.err
    left = nothing_shown(tmp_path, printed.out + printed.err)
    assert VEIL in left
    if started == "ci":
        assert "report.json" in dict(texts(tmp_path))
        assert f"logged in with {VEIL} at the hub" in dict(texts(tmp_path))["server.log"]
        assert "api_key='***'" in dict(texts(tmp_path))["server.log"]


def test_reports_of_others_are_veiled_when_they_are_laid_together(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A report that an older version wrote brings its key into the new one."""
    configured()
    with KINDS["errors"]() as url:
        command("bench", url, "--report-dir", "old")
    file = tmp_path / "old/report.json"
    file.write_text(file.read_text().replace(VEIL, json.dumps(CLIENT)[1:-1]))
    assert command("report", "old", "--report-dir", "new") in {1, 3}
    shutil.rmtree(tmp_path / "old")
    printed = capsys.readouterr()
    assert VEIL in nothing_shown(tmp_path, printed.out + printed.err)


RAW = {
    "ci/release/key_files.py": "a private key's own file, which only its owner reads",
    "ci/platform/make_tiny_model.py": "makes what is shipped; no part of a run",
    "ci/upgrade/environments.py": "describes an installed copy of this package",
    "ci/release/audit.py": "a list of packages, in a folder that is removed",
    "ci/smoke/warden.py": "names of processes, for the runner, whose report is veiled",
    "ci/smoke/record.py": "cases for the runner or the caller of pytest, each of them veiled",
    "ci/report/write.py": "touches a file to see whether it can",
    "ci/report/console.py": "opens the null device",
    "ci/report/github.py": "a rendered report, which is veiled",
    "ci/commands/streams.py": "opens the null device",
    "ci/concurrency.py": "a pipe",
    "ci/cases/worker.py": "runs where this package isn't installed, and writes to a pipe",
    "ci/deploy/targets/login.py": "a registry's password, in a file that goes with its pull",
    "ci/observe/program.py": "a key that Prometheus sends, in a folder that goes with it",
    "ci/monitoring/programs.py": "what Prometheus says; it knows keys by their files",
    "ci/secrets/files.py": "is the veil",
}
"""Files that write past the veil, each with its reason."""
WRITERS = {"write_text", "write_bytes", "open", "touch"}


def written_past_the_veil(file: Path) -> bool:
    """Return whether code opens a file for writing, or writes one."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = name or (node.func.id if isinstance(node.func, ast.Name) else "")
            words = [one.value for one in node.args if isinstance(one, ast.Constant)]
            modes = [one for one in words if isinstance(one, str) and set(one) <= set("wabxt+")]
            if name in WRITERS - {"open"} or (name == "open" and modes):
                return True
    return False


def test_every_file_is_written_under_the_veil() -> None:
    """A new kind of file holds a key, as its writer knew nothing of secrets."""
    root = Path(__file__).parents[2]
    files = [file for file in (root / "ci").rglob("*.py") if written_past_the_veil(file)]
    assert {file.relative_to(root).as_posix() for file in files} <= set(RAW)

"""The layers of the package: arrows point down only, and rooms stay as light as they promise."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
LAYERS = (
    {"verdict", "secrets"},
    {"errors", "extras"},
    {"concurrency"},
    {"accepted", "settings", "report", "platform"},
    {"stages", "server", "registry"},
    {"engines", "image"},
    {"boot"},
    {
        "versions",
        "smoke",
        "health",
        "bench",
        "contract",
        "fuzz",
        "exposure",
        "release",
        "trend",
        "traffic",
    },
    {"cases", "gate", "boards"},
    {"startup", "preflight", "observe"},
    {"graph"},
    {"upgrade", "deploy"},
    {"monitoring"},
    {"commands", "module"},
    {"cli"},
    {"__main__"},
)
"""Rooms from the ground up; those of one layer don't know each other."""
PLACE = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted((ROOT / "ci").rglob("*.py"))
LIGHT = {
    "ci/cli.py": set[str](),
    "ci/verdict.py": set[str](),
    "ci/errors.py": {"ci"},
    "ci/extras.py": set[str](),
    "ci/platform/__init__.py": set[str](),
    "ci/platform/cpu.py": set[str](),
    "ci/platform/crew.py": {"ci"},
    "ci/platform/doors.py": set[str](),
    "ci/platform/drain.py": {"ci"},
    "ci/platform/gate.py": {"ci"},
    "ci/platform/promise.py": set[str](),
    "ci/platform/records.py": set[str](),
    "ci/health/agent.py": set[str](),
    "ci/cases/interpreter.py": set[str](),
    "ci/contract/interface.py": set[str](),
    "ci/boot/fetch.py": {"ci", "httpx"},
    "ci/image/installed.py": set[str](),
}
"""Files that are handed around or loaded by others, and all that they may import to be loaded."""


def name_of(file: Path) -> str:
    """Return a file's path from the root."""
    return file.relative_to(ROOT).as_posix()


def room_of(module: str) -> str:
    """Return the room of a module of the package; empty for the package itself, and its names."""
    room = module.partition(".")[2].partition(".")[0]
    return "" if room.startswith("__") or room.isupper() else room


def imports(file: Path, *, lazy: bool) -> Iterator[tuple[int, str]]:
    """Yield line and name of each import, of a module's own names too; lazy ones where `lazy`."""
    for node in _nodes(_tree(file), lazy=lazy):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(file)}:{node.lineno} imports by dots"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _nodes(tree: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if lazy or not (function or _is_for_types(node)):
            yield from _nodes(node, lazy=lazy)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_every_room_has_its_place() -> None:
    """A new room stands outside of the drawn layers."""
    rooms = {path.stem for path in (ROOT / "ci").iterdir() if not path.name.startswith("__pyc")}
    assert rooms - {"__init__", "launch"} == set(PLACE)


def test_arrows_point_down() -> None:
    """A room knows one above or beside it, and can't be used or changed without it."""
    wrong = []
    for file in FILES:
        own = file.relative_to(ROOT / "ci").parts[0].removesuffix(".py")
        for line, module in imports(file, lazy=True):
            room = room_of(module) if module.partition(".")[0] == "ci" else ""
            if room not in {"", own} and PLACE[room] >= PLACE[own]:
                wrong.append(f"{name_of(file)}:{line}: {own} imports {room}, not below it")
    assert not wrong


def test_files_of_a_room_make_no_circle() -> None:
    """Two files can't be understood one without the other, be it for their types alone."""
    names = {module_of(file) for file in FILES}
    arrows = {
        module_of(file): {
            known for _, name in imports(file, lazy=True) for known in named(name, names)
        }
        for file in FILES
    }
    assert next(circles(arrows), []) == []


def module_of(file: Path) -> str:
    """Return the dotted name of a file."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def named(name: str, names: set[str]) -> set[str]:
    """Return the file of the package that an import names; none for a room's own page."""
    return {name} & names


def circles(arrows: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield each way that leads from a module back to itself."""
    done: set[str] = set()

    def walk(at: str, way: list[str]) -> Iterator[list[str]]:
        if at in way:
            yield [*way[way.index(at) :], at]
        elif at not in done:
            for other in sorted(arrows.get(at, set()) - {at}):
                yield from walk(other, [*way, at])
            done.add(at)

    for start in sorted(arrows):
        yield from walk(start, [])


def test_a_circle_is_seen() -> None:
    """The search finds no circle anywhere."""
    assert next(circles({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == ["b", "c", "b"]


def test_only_the_module_imports_dagger() -> None:
    """Users of the checks have to install Dagger."""
    found = [
        name_of(file)
        for file in FILES
        for _, module in imports(file, lazy=True)
        if module.partition(".")[0] == "dagger" and "ci/module/" not in name_of(file)
    ]
    assert not found


def test_heavy_packages_are_imported_where_they_are_needed_only() -> None:
    """A prober that has nothing of SGLang can't import this package."""
    heavy = {"torch", "transformers", "tokenizers", "huggingface_hub", "sglang"}
    found = {
        name_of(file)
        for file in FILES
        for _, module in imports(file, lazy=False)
        if module.partition(".")[0] in heavy
    }
    assert found == {"ci/platform/cpu_platform.py", "ci/platform/worker.py"}


@pytest.mark.parametrize("name", LIGHT)
def test_light_files_stay_light(name: str) -> None:
    """A file that an image's bare interpreter runs, or SGLang's processes load, needs more."""
    found = {module.partition(".")[0] for _, module in imports(ROOT / name, lazy=False)}
    assert found - set(sys.stdlib_module_names) <= LIGHT[name]


@pytest.mark.parametrize(
    ("loaded", "spared"),
    [
        ("ci.commands.app", {"anyio", "httpx", "jinja2", "rich", "ci.stages", "ci.report.model"}),
        ("ci.smoke.plugin", {"asyncio", "jinja2", "ci.settings", "ci.stages"}),
    ],
)
def test_what_starts_often_starts_fast(loaded: str, spared: set[str]) -> None:
    """`--help`, a typing error, or each folder of cases waits for packages that it doesn't use."""
    code = f"import sys, {loaded}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert loaded in modules
    assert not modules & spared


def test_cases_need_what_a_users_case_may_use() -> None:
    """The suite shows users a way that is closed to their own cases."""
    allowed = {"__future__", "ci", "httpx", "pytest", *sys.stdlib_module_names}
    suite = [file for file in FILES if "ci/smoke/suite/" in name_of(file)]
    modules = [module for file in suite for _, module in imports(file, lazy=True)]
    assert suite
    assert {module.partition(".")[0] for module in modules} <= allowed
    assert {room_of(module) for module in modules if module.startswith("ci.")} <= {"smoke"}


def test_the_plugin_needs_no_command() -> None:
    """`pytest -p ci.smoke.plugin` loads the command, or what starts servers."""
    seen: set[str] = set()
    todo = ["ci.smoke.plugin"]
    while todo:
        module = todo.pop()
        path = ROOT.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module not in seen and file.is_file():
            seen.add(module)
            todo += [name for _, name in imports(file, lazy=False) if name.startswith("ci")]
    assert "ci.smoke.session" in seen
    assert not {room_of(module) for module in seen} & {
        "cli",
        "commands",
        "pipeline",
        "stages",
        "boot",
    }
    assert "ci.boot.process" not in seen


def test_the_test_can_see_imports(tmp_path: Path) -> None:
    """Imports of some form are not seen, and every layer holds."""
    file = tmp_path / "x.py"
    file.write_text(
        "import a.b\nfrom c.d import e\nfrom ci import f\n"
        "if TYPE_CHECKING:\n    import g\ndef x():\n    from h import i\n"
        "class C:\n    import j\n"
    )
    seen = [module for _, module in imports(file, lazy=True)]
    assert seen == ["a.b", "c.d", "c.d.e", "ci", "ci.f", "g", "h", "h.i", "j"]
    assert [module for _, module in imports(file, lazy=False)] == [
        "a.b",
        "c.d",
        "c.d.e",
        "ci",
        "ci.f",
        "j",
    ]

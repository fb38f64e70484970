"""The layers of the package: arrows point down only, and rooms stay as light as they promise."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
LAYERS = (
    {"verdict"},
    {"errors"},
    {"concurrency", "settings", "report", "platform"},
    {"server"},
    {"engines"},
    {"bench", "checks", "contract", "fuzz", "health", "release", "smoke", "trend"},
    {"cases", "serving", "stages"},
    {"performance", "resilience", "startup"},
    {"pipeline"},
    {"upgrade"},
    {"commands", "module"},
    {"cli"},
    {"__main__"},
)
"""Rooms from the ground up; those of one layer don't know each other."""
PLACE = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted((ROOT / "ci").rglob("*.py"))
LIGHT = {
    "ci/verdict.py": set[str](),
    "ci/errors.py": {"ci"},
    "ci/checks/inventory.py": set[str](),
    "ci/platform/__init__.py": set[str](),
    "ci/platform/cpu.py": set[str](),
    "ci/platform/doors.py": set[str](),
    "ci/platform/drain.py": {"ci"},
    "ci/health/agent.py": set[str](),
    "ci/cases/worker.py": set[str](),
    "ci/contract/interface.py": set[str](),
    "ci/server/fetch.py": {"httpx"},
    "ci/release/evidence/installed.py": set[str](),
}
"""Files that are handed around or loaded by others, and all that they may import to be loaded."""


def name_of(file: Path) -> str:
    """Return a file's path from the root."""
    return file.relative_to(ROOT).as_posix()


def room_of(module: str) -> str:
    """Return the room of a module of the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def imports(file: Path, *, lazy: bool) -> Iterator[tuple[int, str]]:
    """Yield line and module of each import; of those inside functions only where `lazy`."""
    for node in _nodes(ast.parse(file.read_text(encoding="utf-8")), lazy=lazy):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(file)}:{node.lineno} imports by dots"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            whole = names if node.module == "ci" else [node.module or ""]
            yield from ((node.lineno, name) for name in whole)


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


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_arrows_point_down(file: Path) -> None:
    """A room knows one above or beside it, and can't be used or changed without it."""
    own = file.relative_to(ROOT / "ci").parts[0].removesuffix(".py")
    for line, module in imports(file, lazy=True):
        room = room_of(module)
        if module.partition(".")[0] == "ci" and room not in {"", own}:
            below = PLACE[room] < PLACE[own]
            assert below, f"{name_of(file)}:{line}: {own} imports {room}, which is not below it"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_only_the_module_imports_dagger(file: Path) -> None:
    """Users of the checks have to install Dagger."""
    found = [line for line, module in imports(file, lazy=True) if module.startswith("dagger")]
    assert not found or "ci/module/" in name_of(file)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_heavy_packages_are_imported_where_they_are_needed_only(file: Path) -> None:
    """A prober that has nothing of SGLang can't import this package."""
    heavy = {"torch", "transformers", "tokenizers", "huggingface_hub", "sglang"}
    found = {module.partition(".")[0] for _, module in imports(file, lazy=False)} & heavy
    assert not found or name_of(file) == "ci/platform/cpu_platform.py"


@pytest.mark.parametrize("name", LIGHT)
def test_light_files_stay_light(name: str) -> None:
    """A file that an image's bare interpreter runs, or SGLang's processes load, needs more."""
    found = {module.partition(".")[0] for _, module in imports(ROOT / name, lazy=False)}
    assert found - set(sys.stdlib_module_names) <= LIGHT[name]


@pytest.mark.parametrize(
    "file", [file for file in FILES if "ci/smoke/suite/" in name_of(file)], ids=name_of
)
def test_cases_need_what_a_users_case_may_use(file: Path) -> None:
    """The suite shows users a way that is closed to their own cases."""
    allowed = {"__future__", "ci", "httpx", "pytest", *sys.stdlib_module_names}
    modules = [module for _, module in imports(file, lazy=True)]
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
        "checks",
    }
    assert "ci.server.process" not in seen


def test_the_test_can_see_imports(tmp_path: Path) -> None:
    """Imports of some form are not seen, and every layer holds."""
    file = tmp_path / "x.py"
    file.write_text(
        "import a.b\nfrom c.d import e\nfrom ci import f\n"
        "if TYPE_CHECKING:\n    import g\ndef x():\n    from h import i\n"
        "class C:\n    import j\n"
    )
    seen = [module for _, module in imports(file, lazy=True)]
    assert seen == ["a.b", "c.d", "ci.f", "g", "h", "j"]
    assert [module for _, module in imports(file, lazy=False)] == ["a.b", "c.d", "ci.f", "j"]

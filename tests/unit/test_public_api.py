"""What users rely on, held against a list: a change of it is made on purpose.

`python -m tests.unit.test_public_api > tests/unit/public_api.txt` writes the list anew.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.models import ArgumentInfo

from ci.commands import app
from ci.commands.outcome import EXIT, USAGE
from ci.report.model import SCHEMA_VERSION
from ci.report.write import _RENDERERS
from ci.smoke import plugin
from ci.smoke.server import Capability

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("public_api.txt")
MODULE = ROOT / "ci" / "module"
MAIN = "SglangCi"
"""The module's entrance, whose fields are all arguments; others offer those made by `field()`."""


def commands(app: typer.Typer, path: str) -> Iterator[str]:
    """Yield each subcommand with its arguments and options, in brackets where they may miss.

    A hidden one is spoken between two of our own, of one version: nobody is promised it.
    """
    for command in app.registered_commands:
        if command.hidden:
            continue
        assert command.callback
        name = command.callback.__name__.rpartition("_")[2]
        assert command.name in {None, name}
        yield " ".join([path, name, *words(command.callback)])
    for group in app.registered_groups:
        assert group.typer_instance
        itself = group.typer_instance.registered_callback
        if itself and itself.callback:
            yield " ".join([path, str(group.name), *words(itself.callback)])
        yield from commands(group.typer_instance, f"{path} {group.name}")


def words(callback: Callable[..., Any]) -> Iterator[str]:
    """Yield a subcommand's arguments and options, in brackets where they may miss."""
    hints = get_type_hints(callback, include_extras=True)
    for one in inspect.signature(callback).parameters.values():
        if hints[one.name] is not typer.Context:
            shown = parameter(one.name, hints[one.name])
            yield shown if one.default is inspect.Parameter.empty else f"[{shown}]"


def parameter(name: str, hint: Any) -> str:
    """Return one argument or option, and its type; `...` where it may come more than once."""
    base, told = get_args(hint)
    plain = next((one for one in get_args(base) if get_args(one)), base)
    many = "..." if get_origin(plain) is list else ""
    kind = next((one for one in (*get_args(plain), plain) if isinstance(one, type)), str).__name__
    if isinstance(told, ArgumentInfo):
        return f"{name.upper()}{many}: {kind}"
    spelt = [one for one in (told.default, *(told.param_decls or ())) if str(one).startswith("-")]
    return f"{'/'.join(spelt) or '--' + name.replace('_', '-')}{many} {kind}"


def plugin_options() -> Iterator[str]:
    """Yield the options of the pytest plugin."""
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    for group in parser._groups:
        for option in group.options:
            given = option.attrs()
            yield " ".join([*option.names(), repr(given.get("default"))])


def fixtures() -> Iterator[str]:
    """Yield the fixtures of the pytest plugin, and what each of them is."""
    for name, found in inspect.getmembers(plugin):
        if type(found).__name__ == "FixtureFunctionDefinition" and not name.startswith("_"):
            returned = inspect.signature(found._get_wrapped_function()).return_annotation
            yield f"{name}: {returned}"


def dagger_functions() -> Iterator[str]:
    """Yield the functions and fields of the Dagger module's objects, read without Dagger."""
    for file in sorted(MODULE.glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and decorated(node, "object_type"):
                yield from members(node)


def members(node: ast.ClassDef) -> Iterator[str]:
    """Yield what a class of the module offers."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and decorated(part, "function"):
            pairs = zip(part.args.args[1:], defaults(part.args), strict=True)
            given = ", ".join(f"{one.arg}: {kind(one.annotation)}{rest}" for one, rest in pairs)
            yield f"{node.name}.{part.name}({given}) -> {kind(part.returns)}"
        elif isinstance(part, ast.AnnAssign) and offered(part, node):
            yield f"{node.name}.{ast.unparse(part.target)}: {kind(part.annotation)}"


def offered(part: ast.AnnAssign, node: ast.ClassDef) -> bool:
    """Return whether users see an attribute: those of `field()`, and all of the entrance."""
    return isinstance(part.value, ast.Call) or node.name == MAIN


def defaults(arguments: ast.arguments) -> list[str]:
    """Return each argument's default as it is written, `self` left out."""
    given = [f" = {ast.unparse(one)}" for one in arguments.defaults]
    return [""] * (len(arguments.args) - 1 - len(given)) + given


def kind(annotation: ast.expr | None) -> str:
    """Return a type without its documentation."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        assert isinstance(annotation.slice, ast.Tuple)
        annotation = annotation.slice.elts[0]
    return ast.unparse(annotation).strip("'\"") if annotation else "None"


def decorated(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    """Return whether a decorator of that name stands over a class or function."""
    return any(ast.unparse(one).partition("(")[0] == name for one in node.decorator_list)


def entry_points() -> Iterator[str]:
    """Yield what installing the package adds to an environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group, points in {"scripts": project["scripts"], **project["entry-points"]}.items():
        yield from (f"{group}: {name} = {value}" for name, value in points.items())


def promised() -> str:
    """Return the list."""
    parts = {
        "Commands": commands(app.app, "sglang-ci"),
        "Exit codes": [f"{verdict} {code}" for verdict, code in EXIT.items()] + [f"usage {USAGE}"],
        "Report": [f"schema version {SCHEMA_VERSION}", *_RENDERERS],
        "Options of the pytest plugin": plugin_options(),
        "Fixtures of the pytest plugin": fixtures(),
        "Capabilities of @pytest.mark.needs": list(Capability),
        "Dagger module": dagger_functions(),
        "Entry points": entry_points(),
    }
    return "\n".join(
        "\n".join([f"# {title}", *map(str, lines), ""]) for title, lines in parts.items()
    )


def test_what_is_promised_is_what_is_listed() -> None:
    """A user's command line, test or pipeline breaks with the next version."""
    found, listed = promised().splitlines(), LIST.read_text().splitlines()
    changes = "\n".join(difflib.unified_diff(listed, found, "listed", "found", lineterm="", n=0))
    hint = "if that is meant, say so in CHANGELOG.md and write the list anew (see this file's head)"
    assert not changes, f"{hint}\n{changes}"


def test_the_list_sees_every_part() -> None:
    """The list is empty in some part, and holds nothing."""
    parts = promised().split("# ")[1:]
    assert all(len(part.strip().splitlines()) > 1 for part in parts)


if __name__ == "__main__":
    sys.stdout.write(promised())

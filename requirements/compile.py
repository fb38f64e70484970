"""Byte-compile what an SGLang server imports, and no more than that.

    PYTHON requirements/compile.py [MODULE ...]

A server imports a third of the files in its environment, three times over, in three
processes; without `.pyc` files its first start takes three times as long. To compile all
files costs more than that start, and to import them once uses one core and runs them.
This script follows the imports in the compiled code instead, from the modules given (the
server's own by default), on all cores, and runs nothing of what it compiles. What is only
found at run time (lazy modules, plugins) is left to the first start.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.machinery import SourceFileLoader
from opcode import opmap
from pathlib import Path
from types import CodeType

SITE = Path(sysconfig.get_path("purelib"))
SERVER = (
    "sglang.launch_server",
    "sglang.srt.entrypoints.http_server",
    "sglang.srt.managers.detokenizer_manager",
    "sglang.srt.managers.scheduler",
    "sglang.srt.models.*",
    "sglang.srt.models.registry",
)


def imports(code: CodeType) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Yield name, level and from-list of each import that running `code` would try."""
    extended, constants = 0, (0, 0)
    for operation, argument in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument |= extended
        extended = argument << 8 if operation == opmap["EXTENDED_ARG"] else 0
        if operation == opmap["LOAD_CONST"]:
            constants = (constants[1], argument)
        elif operation == opmap["IMPORT_NAME"]:
            level, names = (code.co_consts[index] for index in constants)
            yield code.co_names[argument], level, names or ()


def files(module: str) -> Iterator[str]:
    """Yield the files of a dotted name and of its parents; `*` stands for all children."""
    parent, _, last = module.rpartition(".")
    if last == "*":
        yield from map(str, (SITE / parent.replace(".", "/")).glob("*.py"))
        return
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        path = os.path.join(SITE, *parts[:depth])
        yield from filter(os.path.isfile, (f"{path}.py", f"{path}/__init__.py"))


def compile_file(path: str) -> set[str]:
    """Write the `.pyc` file of `path`; return the dotted names that it imports."""
    try:
        code = SourceFileLoader("module", path).get_code("module")
    except (SyntaxError, ValueError):  # some packages ship templates and later syntax
        return set()
    package = Path(path).relative_to(SITE).parent.parts
    found = set()
    for name, level, names in imports(code) if code else ():
        above = package[: len(package) - level + 1] if level else ()
        base = ".".join((*above, *filter(None, [name])))
        found |= {base, *(f"{base}.{child}" for child in names)}
    return found


def compile_closure(modules: tuple[str, ...]) -> int:
    """Compile `modules` and all that they import; return how many files that were."""
    seen: set[str] = set()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while new := {file for module in modules for file in files(module)} - seen:
            seen |= new
            results = pool.map(compile_file, sorted(new), chunksize=8)
            modules = tuple(set().union(*results))
    return len(seen)


if __name__ == "__main__":
    sys.dont_write_bytecode = False
    count = compile_closure(tuple(sys.argv[1:]) or SERVER)
    print(f"compiled {count} modules of {SITE}")

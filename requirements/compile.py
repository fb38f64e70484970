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
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.machinery import SourceFileLoader
from itertools import islice
from opcode import opmap
from pathlib import Path
from types import CodeType

IMPORT_NAME, LOAD_CONST, LOAD_NAME, EXTENDED_ARG = (
    opmap[name] for name in ("IMPORT_NAME", "LOAD_CONST", "LOAD_NAME", "EXTENDED_ARG")
)
JUMP_IF_FALSE = {opmap.get(name) for name in ("POP_JUMP_FORWARD_IF_FALSE", "POP_JUMP_IF_FALSE")}

SITE = Path(sysconfig.get_path("purelib"))
SERVER = (
    "sglang.cli.main",
    "sglang.cli.serve",
    "sglang.launch_server",
    "sglang.srt.entrypoints.http_server",
    "sglang.srt.managers.detokenizer_manager",
    "sglang.srt.managers.scheduler",
    "sglang.srt.models.*",
    "sglang.srt.models.registry",
)


def imports(code: CodeType) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Yield name, level and from-list of each import that running `code` would try.

    Reads the instructions themselves (pairs of bytes), ten times as fast as `dis`. What
    stands under `if TYPE_CHECKING` is jumped over, as a run would.
    """
    extended, constants, typing = 0, (0, 0), False
    steps = iter(zip(code.co_code[::2], code.co_code[1::2], strict=True))
    for operation, low in steps:
        argument = extended | low
        extended = argument << 8 if operation == EXTENDED_ARG else 0
        if operation == LOAD_CONST:
            constants = (constants[1], argument)
        elif operation == IMPORT_NAME:
            level, names = (code.co_consts[index] for index in constants)
            yield code.co_names[argument], level, names or ()
        elif operation in JUMP_IF_FALSE and typing:
            deque(islice(steps, argument), maxlen=0)
        if operation != EXTENDED_ARG:
            typing = operation == LOAD_NAME and code.co_names[argument] == "TYPE_CHECKING"


def files(module: str) -> Iterator[str]:
    """Yield the files of a dotted name and of its parents; `*` stands for all children."""
    parent, _, last = module.rpartition(".")
    if last == "*":
        yield from map(str, (SITE / parent.replace(".", "/")).glob("*.py"))
        return
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        path = "/".join((str(SITE), *parts[:depth]))
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
    sys.stdout.write(f"compiled {count} modules that a server imports\n")

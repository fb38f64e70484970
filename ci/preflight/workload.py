"""Can the user's cases be collected, and is there enough to ask with?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import ci
from ci.errors import CheckBroken, UsageError
from ci.preflight.asked import Intent, PreflightQuestion
from ci.secrets.veil import beginning

_COLLECTS = 60.0
"""Most seconds of a collection."""
_NONE = 5
"""pytest's exit code where no case was collected."""
_NOWHERE = "http://127.0.0.1:9"
"""Where the plugin is told that a server is; nothing asks it while cases are collected."""
_LONGEST = 300


def questions(asked: Intent) -> Iterator[PreflightQuestion]:
    """Yield a question for each folder of cases, and one on loads and comparisons."""
    for folder in asked.settings.smoke.directories:
        if folder.is_dir():
            yield PreflightQuestion(
                f"cases in {_shown(asked, folder)}", partial(collect, asked, folder)
            )
    at = asked.settings.bench
    there = at.prompts is None or at.prompts.is_file()
    if there and (at.in_ci or asked.baseline or at.prompts):
        yield PreflightQuestion("load", partial(load, asked))


def _shown(asked: Intent, folder: Path) -> str:
    return "--smoke-cases" if asked.container else str(folder)


def collect(asked: Intent, folder: Path) -> str:
    """Collect the cases of a folder, as the suite would, and return how many there are.

    Raises:
        UsageError: A file can't be collected, or there is no case in it.
        CheckBroken: pytest doesn't come to an end.
    """
    try:
        done = subprocess.run(
            _collecting(folder.absolute()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COLLECTS,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        problem = f"{_shown(asked, folder)}: its cases are not collected within {_COLLECTS:g} s"
        raise CheckBroken(problem) from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode == _NONE:
        raise UsageError(f"{_shown(asked, folder)}: holds no case: files test_*.py with test_…()")
    if done.returncode:
        raise UsageError(f"{_shown(asked, folder)}: can't be collected: {_why(lines)}")
    return f"{sum('::' in line for line in lines)} cases"


def _collecting(folder: Path) -> list[str]:
    """Return the command that lists a folder's cases, and reads no configuration around it."""
    return [
        *(sys.executable, "-P", "-m", "pytest", "-c", os.devnull),
        *(f"--rootdir={folder}", f"--confcutdir={folder}", "--tb=short", "-p", "ci.smoke.plugin"),
        *("-p", "no:cacheprovider", "--collect-only", "-q", f"--sglang-url={_NOWHERE}"),
        str(folder),
    ]


def _environment() -> dict[str, str]:
    """Return an environment in which this package is found, and nothing is written beside cases."""
    unwanted = {"PYTEST_ADDOPTS", "PYTHONWARNINGS"}
    kept = {name: text for name, text in os.environ.items() if name not in unwanted}
    ours = str(Path(ci.__file__).parents[1])
    path = [ours, *filter(None, [kept.get("PYTHONPATH", "")])]
    return kept | {"PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}


def _why(lines: list[str]) -> str:
    """Return what pytest says of the first file that it can't collect."""
    place = next((line for line in lines if re.match(r"_+ ERROR collecting ", line)), "")
    file = re.sub(r"^_+ ERROR collecting (.*?) _+$", r"\1", place)
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    told = f"{Path(file).name}: {errors[-1]}" if file and errors else lines[-1] if lines else ""
    return beginning(told, _LONGEST) or "pytest says nothing"


def load(asked: Intent) -> str:
    """See that the loads and comparisons of the settings can be, with the prompts that there are.

    Raises:
        UsageError: They can't.
    """
    from ci.bench.configured import bench_options
    from ci.bench.prompt_files import FromFile
    from ci.boot.serving import engine_of
    from ci.gate.sides import Contest

    at = asked.settings
    options = bench_options(at.bench, engine_of(at))
    most = max((shape.requests for shape in options.loads), default=0)
    prompts = options.prompts
    if asked.baseline:
        Contest.of(at, asked.baseline)
    if not isinstance(prompts, FromFile):
        return ""
    if len(prompts.prompts) < most and not prompts.repeat:
        raise UsageError(
            f"{prompts.name} has {len(prompts.prompts)} prompts, and a load is of "
            f"{most} requests: set bench.requests, or bench.repeat = true"
        )
    return f"{len(prompts.prompts)} prompts"

"""Versions: what is expected, what is installed, and what the running server says of itself.

Versions are compared exactly in the sense of PEP 440: local parts, post- and pre-releases
count, spelling doesn't (`1.0` is `1.0.0`, `2.0rc1` is `2.0-RC1`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ci.engines.profile import Described, Profile
from ci.engines.sglang import PROFILE as SGLANG
from ci.errors import SglangCiError, UsageError
from ci.report.model import Case, Check, now
from ci.server.client import ServerClient
from ci.server.drains import drain_seconds, promise
from ci.verdict import Outcome

NAME = "versions"
SHOWN = (
    "python",
    "sglang",
    "sglang-kernel",
    "sgl-kernel",
    "flashinfer-python",
    "torch",
    "cuda",
    "driver",
    "triton",
    "transformers",
    "xgrammar",
)
"""What the report lists of an inventory beside the expected packages."""


@dataclass(frozen=True)
class Expected:
    """What must be true of a server.

    Args:
        versions: Package (or python, cuda, driver) to exact version.
        inventory: Name to version of what is installed; None where it can't be seen.
        label: The version that the image's label claims; empty where there is none.
        model_path: Path of the model as the server knows it; any where empty.
        served_name: Name under which the model is served; any where empty.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    inventory: Mapping[str, str] | None = None
    label: str = ""
    model_path: str = ""
    served_name: str = ""


def read_inventory(path: Path) -> dict[str, str]:
    """Read what `ci.image.inventory` printed.

    Raises:
        UsageError: The file is missing or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not an inventory: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: not an inventory: no object of names and versions")
    return {canonicalize_name(str(name)): str(version) for name, version in found.items()}


def same(one: str, other: str) -> bool:
    """Return whether two versions are equal in the sense of PEP 440; never for two that aren't."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


async def check_versions(
    client: ServerClient,
    expected: Expected,
    on_case: Callable[[Case], None],
    engine: Profile = SGLANG,
) -> Check:
    """Ask the server what it is, and hold that and what is installed against `expected`."""
    started, begin = now(), anyio.current_time()
    package = engine.package or engine.name
    shown = {*SHOWN, canonicalize_name(package)}
    cases = [*_installed(expected, package)]
    facts = {name: v for name, v in (expected.inventory or {}).items() if name in shown}
    try:
        found = await engine.describe(client)
    except SglangCiError as error:
        cases.append(_case("the server says what it is", error.verdict.value, str(error)))
    else:
        cases += [] if engine.native else [_listed(found)]
        cases += _running(expected, found.version, package)
        cases += _model(expected, found)
        facts |= {f"running {package}": found.version, "served": ", ".join(found.names)}
        if engine.native:
            seconds = await drain_seconds(client)
            facts["drain"] = promise(seconds)
            cases += [] if seconds else [_case("drain", Outcome.SKIPPED, promise(seconds))]
    for case in cases:
        on_case(case)
    seconds = anyio.current_time() - begin
    return Check(name=NAME, started=started, seconds=seconds, cases=tuple(cases), facts=facts)


def _installed(expected: Expected, package: str) -> Iterator[Case]:
    versions = {canonicalize_name(name): version for name, version in expected.versions.items()}
    for name, version in versions.items():
        case = f"{name} installed"
        if expected.inventory is None:
            yield _case(case, Outcome.SKIPPED, "what is installed can't be seen through a URL")
        else:
            yield _equal(case, "expected", version, "installed", expected.inventory.get(name, ""))
    if expected.label:
        want = versions.get(canonicalize_name(package), "")
        yield _equal(f"{package} labelled", "expected", want, "labelled", expected.label)


def _running(expected: Expected, running: str, package: str) -> Iterator[Case]:
    versions = {canonicalize_name(name): version for name, version in expected.versions.items()}
    name = canonicalize_name(package)
    if name in versions:
        yield _equal(f"{package} running", "expected", versions[name], "running", running)
    if expected.inventory is not None:
        installed = expected.inventory.get(name, "")
        case = f"{package} running as installed"
        yield _equal(case, "installed", installed, "running", running)
    if not versions and expected.inventory is None:
        yield _case(f"{package} running", Outcome.SKIPPED, "no version is expected")


def _listed(found: Described) -> Case:
    """Judge whether another engine than SGLang says what it serves: some tell nothing else."""
    told = f"version {found.version or 'not told'}, serves {', '.join(found.names) or 'no model'}"
    outcome = Outcome.PASSED if found.names else Outcome.FAILED
    return _case("the server says what it is", outcome, told)


def _model(expected: Expected, found: Described) -> Iterator[Case]:
    path, names = found.model_path, found.names
    if expected.model_path:
        ok = path == expected.model_path
        message = "" if ok else f"expected {expected.model_path}, running {path or 'nothing'}"
        yield _case("model path", Outcome.PASSED if ok else Outcome.FAILED, message)
    if expected.served_name:
        ok = expected.served_name in names
        message = "" if ok else f"expected {expected.served_name}, served {', '.join(names)}"
        yield _case("served model name", Outcome.PASSED if ok else Outcome.FAILED, message)


def _equal(case: str, left: str, one: str, right: str, other: str) -> Case:
    ok = bool(one) and bool(other) and same(one, other)
    message = "" if ok else f"{left} {one or 'none'}, {right} {other or 'none'}"
    return _case(case, Outcome.PASSED if ok else Outcome.FAILED, message)


def _case(name: str, outcome: str, message: str) -> Case:
    return Case(name=name, outcome=Outcome(outcome), message=message)

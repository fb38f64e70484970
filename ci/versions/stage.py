"""Versions: what is expected, what is installed, and what the running server says of itself.

Versions are compared exactly in the sense of PEP 440: local parts, post- and pre-releases
count, spelling doesn't (`1.0` is `1.0.0`, `2.0rc1` is `2.0-RC1`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

from ci.engines.profile import DescribedServer, Profile
from ci.engines.sglang import PROFILE as SGLANG
from ci.errors import SglangCiError
from ci.image.listing import Installed
from ci.report.model import Case
from ci.server.client import ServerClient
from ci.server.drains import drain_seconds, promise
from ci.stages import StageResult, Tell
from ci.verdict import Outcome
from ci.versions.demands import Demands
from ci.versions.origin import commits, origin
from ci.versions.same import same

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
        inventory: What is installed; None where it can't be seen.
        label: The version that the image's label claims; empty where there is none.
        model_path: Path of the model as the server knows it; any where empty.
        served_name: Name under which the model is served; any where empty.
        revision: The commit of SGLang that the image's label claims; empty where it doesn't.
        left_out: Packages that SGLang demands, and that are left out on purpose.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    inventory: Installed | None = None
    label: str = ""
    model_path: str = ""
    served_name: str = ""
    revision: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def wanted(self) -> dict[str, str]:
        """The expected versions, by canonical names."""
        return {canonicalize_name(name): version for name, version in self.versions.items()}

    @property
    def installed(self) -> dict[str, str] | None:
        """Name to version of what is installed; None where it can't be seen."""
        return None if self.inventory is None else self.inventory.versions


def read_inventory(path: Path) -> Installed:
    """Read what `ci/image/installed.py` printed, or names and versions alone.

    Raises:
        UsageError: The file is missing or is something else.
    """
    return Installed.load(path, versions_do=True)


async def check_versions(
    client: ServerClient, expected: Expected, tell: Tell, *, engine: Profile = SGLANG
) -> StageResult:
    """Ask the server what it is, and compare that and what is installed with `expected`."""
    package = engine.package or engine.name
    shown = {*SHOWN, canonicalize_name(package)}
    cases = [*_installed(expected, package)]
    facts = {name: v for name, v in (expected.installed or {}).items() if name in shown}
    device = ""
    try:
        found = await engine.describe(client)
    except SglangCiError as error:
        cases.append(_case("the server says what it is", error.verdict.value, str(error)))
    else:
        device = found.device
        cases += [] if engine.native else [_listed(found)]
        cases += _running(expected, found.version, package)
        cases += _model(expected, found)
        facts |= {f"running {package}": found.version, "served": ", ".join(found.names)}
        if engine.native:
            seconds = await drain_seconds(client)
            facts["drain"] = promise(seconds)
            cases += [] if seconds else [_case("drain", Outcome.SKIPPED, promise(seconds))]
    if engine.native and expected.inventory:
        cases += _whole(expected, expected.inventory, device)
        if commit := max(commits(expected.inventory).values(), key=len, default=""):
            facts["commit"] = commit
    for case in cases:
        tell(case)
    return StageResult(facts=facts)


def _whole(expected: Expected, inventory: Installed, device: str) -> Iterator[Case]:
    """Yield whether SGLang's installation fits together, and is of the commit that is claimed."""
    left_out = frozenset(map(canonicalize_name, expected.left_out))
    yield from Demands(expected.wanted, left_out, device).cases(inventory)
    yield from origin(inventory, expected.wanted.get("sglang", ""), expected.revision)


def _installed(expected: Expected, package: str) -> Iterator[Case]:
    versions, there = expected.wanted, expected.installed
    for name, version in versions.items():
        case = f"{name} installed"
        if there is None:
            yield _case(case, Outcome.SKIPPED, "what is installed can't be seen through a URL")
        else:
            yield _equal(case, "expected", version, "installed", there.get(name, ""))
    if expected.label:
        want = versions.get(canonicalize_name(package), "")
        yield _equal(f"{package} labelled", "expected", want, "labelled", expected.label)


def _running(expected: Expected, running: str, package: str) -> Iterator[Case]:
    versions, there, name = expected.wanted, expected.installed, canonicalize_name(package)
    if name in versions:
        yield _equal(f"{package} running", "expected", versions[name], "running", running)
    if there is not None:
        case = f"{package} running as installed"
        yield _equal(case, "installed", there.get(name, ""), "running", running)
    if not versions and there is None:
        yield _case(f"{package} running", Outcome.SKIPPED, "no version is expected")


def _listed(found: DescribedServer) -> Case:
    """Judge whether another engine than SGLang says what it serves: some tell nothing else."""
    told = f"version {found.version or 'not told'}, serves {', '.join(found.names) or 'no model'}"
    outcome = Outcome.PASSED if found.names else Outcome.FAILED
    return _case("the server says what it is", outcome, told)


def _model(expected: Expected, found: DescribedServer) -> Iterator[Case]:
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

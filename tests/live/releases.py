"""A workplace of releases beside a real registry, for tests of the whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ci.registry.client import Registry
from ci.release.found import FoundPiece
from ci.release.judge import Judge
from ci.release.signing import Trust
from ci.report.model import now
from ci.settings import load as load_settings
from ci.verdict import Verdict
from tests.fakes.osv import fake_osv
from tests.registries import Running, docker_registry, referrers_registry
from tests.unit.release_commands import Workplace

ROOT = Path(__file__).parents[2]
HANG = 120.0
"""Most seconds for one command."""


class House(Workplace):
    """A workplace, its registry, and the registry's disk where it has one."""

    running: Running
    storage: Path | None = None

    @property
    def client(self) -> Registry:
        """A client of the registry, for what the command doesn't do."""
        return Registry(self.running.reference(), self.access)

    @contextmanager
    def judge(self) -> Iterator[Judge]:
        """Yield what judges the image, by the folder's settings."""
        settings = load_settings(self.folder / "sglang-ci.toml").settings
        with self.client as registry:
            whole = registry.manifest(self.digest)
            yield Judge(registry, whole, settings, Trust.of(settings.trust), now())

    def piece(self, kind: str) -> FoundPiece:
        """Return the newest piece of a kind."""
        with self.judge() as judge:
            return judge.evidence.of(kind)[0]

    def verify(self, expected: Verdict) -> dict[str, str]:
        """Verify for production; return what isn't as it should be."""
        with self.judge() as judge:
            check = judge.check("prod")
        assert check.verdict is expected, check
        return {case.name: case.message for case in check.cases if case.message}


def runner_in(folder: Path) -> Callable[[Sequence[str], Mapping[str, str]], tuple[int, str, str]]:
    """Return what runs `sglang-ci` in a process of its own, with hardly any variables."""

    def run(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str, str]:
        few = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-m", "ci", *arguments],
            cwd=folder,
            env=few | {"PYTHONPATH": str(ROOT)} | dict(variables),
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@contextmanager
def running(kind: str, folder: Path) -> Iterator[tuple[Running, Path | None]]:
    """Yield a registry, and the folder of its blobs where it keeps them on a disk."""
    folder.mkdir()
    if kind == "referrers":
        with referrers_registry(folder) as registry:
            yield registry, None
    else:
        storage = folder / "storage"
        with docker_registry(folder, login=True, storage=storage) as registry:
            yield registry, storage


@contextmanager
def built(kind: str, folder: Path) -> Iterator[House]:
    """Yield an image that is published and approved, beside a real registry."""
    work = folder / "work"
    work.mkdir(parents=True)
    with running(kind, folder / "registry") as (registry, storage), fake_osv({}) as osv:
        made = House(runner_in(work), work, str(registry.reference()), registry.access)
        made.running, made.storage = registry, storage
        made.furnish(osv.url)
        made.publish()
        made.approve()
        yield made

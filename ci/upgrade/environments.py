"""An environment for each SGLang version, made by uv and kept in a folder of the user's.

The plugin for plain CPUs lies beside the packages rather than among them: nothing but SGLang
itself decides which versions of its dependencies there are, and only a server loads it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio

import ci
from ci.errors import InfrastructureFault, UsageError

SECONDS = 3600.0
"""Most seconds of one installation."""
COMPLETE = "sglang-ci.complete"
"""The file that says that an environment is whole."""
UNDECLARED = ("dill",)
"""What SGLang imports without declaring it."""
PLUGIN = {
    "METADATA": "Metadata-Version: 2.1\nName: sglang-ci-plain-cpu\nVersion: 0\n",
    "entry_points.txt": "[sglang.srt.platforms]\nplain-cpu = ci.platform.cpu:activate\n",
    "RECORD": "",
    "INSTALLER": "sglang-ci\n",
}
"""The metadata by which SGLang finds the plugin."""


class NotInstallable(InfrastructureFault):
    """A version can't be installed on this machine."""


@dataclass(frozen=True)
class InstalledEnvironment:
    """An installed SGLang.

    Args:
        version: Its version.
        folder: Where it is.
    """

    version: str
    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def plugin(self) -> str:
        """What a server needs on its PYTHONPATH to run on a plain CPU."""
        return str(self.folder / "plugin")


@dataclass(frozen=True)
class Installer:
    """How environments are made.

    Args:
        folder: Where they are kept, one a version.
        uv: The uv to use: a name on the path, or a file.
        overrides: File of overrides of what SGLang asks for; none where None.
    """

    folder: Path
    uv: str = "uv"
    overrides: Path | None = None

    async def make(self, version: str) -> InstalledEnvironment:
        """Return the environment of a version; it is made where it isn't there yet.

        Raises:
            UsageError: There is no uv.
            NotInstallable: uv could not install it.
        """
        made = InstalledEnvironment(version, self.folder / version)
        mark = made.folder / COMPLETE
        if mark.is_file():
            return made
        uv = self._uv()
        await _run([uv, "venv", "--quiet", "--clear", "--python", _python(), str(made.folder)])
        await _run([uv, "pip", "install", "--quiet", "--python", made.python, *self._what(version)])
        await anyio.to_thread.run_sync(plant, Path(made.plugin))
        mark.touch()
        return made

    def discard(self, version: str) -> None:
        """Remove a version's environment."""
        shutil.rmtree(self.folder / version, ignore_errors=True)

    def _uv(self) -> str:
        beside = Path(ci.__file__).parents[1] / ".tools" / "bin" / "uv"
        found = shutil.which(self.uv) or (str(beside) if beside.is_file() else "")
        if not found:
            raise UsageError(f"there is no {self.uv}: install uv, or name it by upgrade.uv")
        return found

    def _what(self, version: str) -> list[str]:
        cuts = ["--overrides", str(self.overrides)] if self.overrides else ["--prerelease=allow"]
        return [*cuts, f"sglang=={version}", *UNDECLARED]


def plant(folder: Path) -> None:
    """Copy the plugin for plain CPUs, with what SGLang finds it by, into a folder."""
    package = Path(ci.__file__).parent
    shutil.copytree(package / "platform", folder / "ci" / "platform", dirs_exist_ok=True)
    shutil.copyfile(package / "__init__.py", folder / "ci" / "__init__.py")
    metadata = folder / "sglang_ci_plain_cpu-0.dist-info"
    metadata.mkdir(exist_ok=True)
    for name, text in PLUGIN.items():
        (metadata / name).write_text(text, encoding="utf-8")


def _python() -> str:
    """Return which Python SGLang gets: this one's version where it has wheels for it."""
    return f"3.{sys.version_info.minor}" if sys.version_info[:2] <= (3, 12) else "3.12"


async def _run(command: list[str]) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    try:
        with anyio.fail_after(SECONDS):
            done = await anyio.run_process(
                command,
                env=clean,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                check=False,
            )
    except TimeoutError as error:
        raise NotInstallable(f"{' '.join(command[1:3])}: took over {SECONDS:g} s") from error
    if done.returncode:
        log = done.stdout.decode("utf-8", "replace").strip()
        last = next(
            (line for line in reversed(log.splitlines()) if line.strip()), "it says nothing"
        )
        raise NotInstallable(f"uv {command[1]} failed: {last}", details=log)

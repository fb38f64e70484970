"""What `installed.py` prints in an image, read back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ci.errors import UsageError

Filled = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"[^/\s]")]
"""Text that has something in it which a package URL can name."""

_OWN = ("python", "cuda", "driver")
"""Names that stand in an inventory beside those of distributions."""
Bytes = Annotated[int, Field(ge=0, le=2**63 - 1)] | None


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Distribution(_Entry):
    """A Python distribution; `indexed` is whether it was installed from an index by name.

    `bytes` are those of its files on disk; None where they aren't known. One that is `shadowed`
    is hidden by another of its name, which comes first on the interpreter's path.
    """

    name: Filled
    version: Filled
    shadowed: bool = False
    indexed: bool = True
    licences: tuple[Filled, ...] = ()
    bytes: Bytes = None


class Package(_Entry):
    """A Debian package, and the source package that it was made of, where that differs.

    `bytes` are those that it says to take on disk; None where it doesn't say.
    """

    name: Filled
    version: Filled
    architecture: str = ""
    source: str = ""
    bytes: Bytes = None


class System(_Entry):
    """The operating system, by its own name for itself."""

    id: str = ""
    version_id: str = ""
    pretty_name: str = ""


class SglangEntry(_Entry):
    """SGLang as its metadata and its code describe it.

    Args:
        code_version: The `__version__` in its code; empty where it isn't written there.
        commits: Who tells the commit of its code, and what they tell.
        requires: What its metadata demands, with markers and extras.
        commands: Name of each command that it brings, and whether its file is there.
    """

    code_version: str = ""
    commits: dict[str, str] = {}
    requires: tuple[str, ...] = ()
    commands: dict[str, bool] = {}


class Installed(_Entry):
    """All that is installed in an image.

    Args:
        schema_version: Of the script's output.
        python: The interpreter's version.
        cuda: What torch was built for; empty where that is no CUDA.
        driver: The loaded NVIDIA driver; empty without one.
        markers: What the markers of requirements are held against.
        os: The operating system.
        distributions: Python's.
        packages: Debian's.
        sglang: What SGLang says of itself; None where it isn't there, or nobody looked.
    """

    schema_version: Annotated[str, StringConstraints(pattern=r"^1\.\d+$")]
    python: str
    cuda: str = ""
    driver: str = ""
    markers: dict[str, str] = {}
    os: System = System()
    distributions: tuple[Distribution, ...]
    packages: tuple[Package, ...] = ()
    sglang: SglangEntry | None = None

    @classmethod
    def load(cls, file: Path, *, versions_do: bool = False) -> Self:
        """Return what the script printed into `file`.

        Args:
            file: The file.
            versions_do: Whether names and versions are enough, as `inventory.py` of earlier
                releases printed them.

        Raises:
            UsageError: The file can't be read, or holds something else.
        """
        try:
            found = json.loads(file.read_bytes())
            if versions_do and isinstance(found, dict) and "schema_version" not in found:
                return cls.of_versions(found)
            return cls.model_validate(found)
        except OSError as error:
            raise UsageError(f"{file}: can't be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
            raise UsageError(f"{file}: not what installed.py prints: {problem}") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file}: not what installed.py prints: no JSON") from error

    @classmethod
    def of_versions(cls, versions: dict[str, Any]) -> Self:
        """Return the listing of what is known by name and version alone."""
        own = {name: str(versions.get(name, "")) for name in _OWN}
        others = [(name, str(told)) for name, told in versions.items() if name not in own]
        entries = [{"name": name, "version": told} for name, told in others]
        return cls.model_validate({"schema_version": "1.0", "distributions": entries} | own)

    @property
    def versions(self) -> dict[str, str]:
        """Version of each distribution by its canonical name, and of python, cuda and driver."""
        own = {"python": self.python, "cuda": self.cuda, "driver": self.driver}
        seen = [one for one in self.distributions if not one.shadowed]
        found = {canonicalize_name(one.name): one.version for one in seen}
        return {name: told for name, told in own.items() if told} | found

    def chosen(self, names: Iterable[str]) -> dict[str, str]:
        """Return the versions of python and of those distributions of `names` that are there."""
        found = self.versions
        wanted = {name: found.get(canonicalize_name(name), "") for name in ("python", *names)}
        return {name: told for name, told in wanted.items() if told}

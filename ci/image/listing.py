"""What `installed.py` prints in an image, read back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ci.errors import UsageError

Filled = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"[^/\s]")]
"""Text that has something in it which a package URL can name."""

Bytes = Annotated[int, Field(ge=0, le=2**63 - 1)] | None


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Distribution(_Entry):
    """A Python distribution; `indexed` is whether it was installed from an index by name.

    `bytes` are those of its files on disk; None where they aren't known.
    """

    name: Filled
    version: Filled
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


class Installed(_Entry):
    """All that is installed in an image."""

    schema_version: Annotated[str, StringConstraints(pattern=r"^1\.\d+$")]
    python: str
    os: System = System()
    distributions: tuple[Distribution, ...]
    packages: tuple[Package, ...] = ()

    @classmethod
    def load(cls, file: Path) -> Installed:
        """Return what the script printed into `file`.

        Raises:
            UsageError: The file can't be read, or holds something else.
        """
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise UsageError(f"{file}: can't be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
            raise UsageError(f"{file}: not what installed.py prints: {problem}") from error

    def versions(self, names: Iterable[str]) -> dict[str, str]:
        """Return the versions of python and of those distributions of `names` that are there."""
        found = {canonicalize_name(one.name): one.version for one in self.distributions}
        wanted = {name: found.get(canonicalize_name(name), "") for name in names}
        return {"python": self.python} | {name: said for name, said in wanted.items() if said}

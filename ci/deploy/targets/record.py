"""What the `process` target knows of a slot: `slot.json` in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ci.deploy.outliving import Birth
from ci.deploy.world import Release
from ci.errors import TargetFault
from ci.secrets import files

NAME = "slot.json"


@dataclass(frozen=True)
class SlotRecord:
    """One start of a server, written before it, and again once its process is known.

    Args:
        release: What is run.
        address: Where it listens, `host:port`.
        started: When it was started, UTC.
        number: Its place in the order of starts.
        birth: Its process; None where this was not written yet.
        proven: Whether its proof passed.
    """

    release: Release
    address: str
    started: datetime
    number: int = 0
    birth: Birth | None = None
    proven: bool = False

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self.birth is not None and self.birth.lives

    def write(self, folder: Path) -> None:
        """Write it whole or not at all."""
        files.replace(folder / NAME, _ADAPTER.dump_json(self, indent=1).decode())

    @staticmethod
    def read(folder: Path) -> SlotRecord | None:
        """Return what stands in a slot's folder; None where nothing was started.

        Raises:
            TargetFault: It can't be read.
        """
        path = folder / NAME
        try:
            return _ADAPTER.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            cure = "end its server by hand, and remove this file"
            raise TargetFault(f"{path} isn't what a start writes: {cure}") from error


_ADAPTER = TypeAdapter(SlotRecord)

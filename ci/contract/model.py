"""What a recorded contract looks like: one versioned schema.

A `Contract` holds `ContractPart`s (flags, routes, …), a part holds items by their name, an item
holds facets: what of it others rely on. Names and facets are plain text and JSON, so that one
comparison serves all parts, and a recording can be read without this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ci.errors import UsageError
from ci.secrets import files

SCHEMA_VERSION = "1.0"
"""Version of the recording's schema: the major part changes when readers must change."""

PARTS = (
    "flags",
    "routes",
    "answers",
    "metrics",
    "server_info",
    "model_info",
    "sampling",
)
"""Every part of a contract, in the order of its pages."""

Facets = dict[str, Any]
"""Facet to a JSON value."""
Items = dict[str, Facets]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ContractPart(_Model):
    """One side of a server that others rely on."""

    items: Items = Field({}, description="Name to facets.")
    absent: str = Field("", description="Why the server has nothing of it, where it has not.")
    unknown: str = Field("", description="Why it could not be looked at, where it could not.")
    left_out: dict[str, str] = Field({}, description="Item to why it was not looked at.")


class Contract(_Model):
    """What one server gives others to rely on."""

    schema_version: str = SCHEMA_VERSION
    recorded: AwareDatetime
    source: str = Field(description="The server's URL, or the environment's name.")
    sglang: str = Field("", description="The SGLang version that the server names.")
    parts: dict[str, ContractPart]

    def part(self, name: str) -> ContractPart:
        """Return a part; one that says so where the recording has none of it."""
        return self.parts.get(name) or ContractPart(unknown="the recording is older than this part")


def save(contract: Contract, path: Path) -> None:
    """Write a recording.

    Raises:
        UsageError: The file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, contract.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror}") from error


def load(path: Path) -> Contract:
    """Read a recording.

    Raises:
        UsageError: It is missing, something else, or of another major schema version.
    """
    try:
        found = Contract.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: no recorded contract: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise UsageError(f"{path}: not a recorded contract: {where} {first['msg']}") from error
    if found.schema_version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise UsageError(
            f"{path}: its schema is {found.schema_version}, this reads {SCHEMA_VERSION}: "
            "record it again"
        )
    return found

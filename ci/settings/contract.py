"""What may change between two servers' contracts, for a while and for a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ci.settings.fields import Accepted, Budget, Filled, HostPath, Section, Unset


class AcceptedChange(Accepted):
    """[contract] allow: a change that is known, and accepted for a while."""

    item: Filled = Field(
        description="The change's name as the report has it, part first; * stands for anything."
    )


class ContractSettings(Section):
    """[contract]: what may differ from the baseline, and how servers are recorded."""

    allow: tuple[AcceptedChange, ...] = Field(
        (), description="Accepted changes, each with item, until and reason."
    )
    timeout: Budget = Field(60.0, description="Most seconds for one request.")


class UpgradeSettings(Section):
    """[upgrade]: how two SGLang versions are installed, and what is tried."""

    environments: Annotated[Path | None, Unset, HostPath("folder", "host")] = Field(
        None,
        description="Folder that keeps an environment for each version, several GB each; "
        "the user's cache folder where it is unset.",
    )
    uv: Annotated[str, HostPath("program", "host")] = Field(
        "uv", min_length=1, description="The uv that installs: a name or a file."
    )
    overrides: Annotated[Path | None, Unset, HostPath("file", "host")] = Field(
        None, description="Overrides of what SGLang asks for (uv's --overrides); relative to this."
    )
    performance: bool = Field(
        default=True, description="Whether both are compared by [gate], in one run of its pairs."
    )

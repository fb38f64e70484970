"""What a caller wants, and what is found of it beforehand: questions, findings, and their words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ci.errors import SettingsError
from ci.report.model import Case
from ci.settings import Settings
from ci.verdict import Outcome

if TYPE_CHECKING:
    from ci.gate.sides import GateSide

ARGUMENTS = {
    "REGISTRY_USERNAME": "--username",
    "REGISTRY_PASSWORD": "--password",
    "SIGNING_KEY_PASSWORD": "--signing-key-password",
    "SIGNING_KEY": "--signing-key",
    "SIGSTORE_ID_TOKEN": "--identity-token",
}
"""Variables, and the module's arguments that set them in its containers."""
_VARIABLE = re.compile("|".join(ARGUMENTS))


@dataclass(frozen=True)
class Intent:
    """What a caller wants.

    Args:
        settings: The settings in force, made of what is right of them.
        environ: Variables: who asks the registry, and who signs.
        base: Folder of the settings file, from which its relative paths start.
        folder: Folder that gets the report.
        wrong: What is wrong in the settings.
        container: Whether this runs in a container of the module, whose caller knows the
            module's arguments and has never seen its variables and paths.
        everything: Whether all that the settings name is looked at, needed or not.
        publish_to: Where a release is to go; nothing is published where empty.
        revision: The commit that is released.
        version: The version that the image's label will claim; the settings' where empty.
        gpu: Whether the image is SGLang's official one for GPUs.
        baseline: What a candidate is compared with.
        seen: What the caller has found already.
    """

    settings: Settings
    environ: Mapping[str, str]
    base: Path
    folder: Path = Path()
    wrong: tuple[SettingsError, ...] = ()
    container: bool = False
    everything: bool = False
    publish_to: str = ""
    revision: str = ""
    version: str = ""
    gpu: bool = False
    baseline: GateSide | None = None
    seen: tuple[Finding, ...] = ()

    @classmethod
    def here(
        cls, settings: Settings, environ: Mapping[str, str], config: Path | None, **more: Any
    ) -> Self:
        """Return what is asked by a command in the working folder, or beside its settings file."""
        base = config.parent if config else Path()
        return cls(settings, environ, base.absolute(), **more)

    def said(self, text: str) -> str:
        """Return a message in the words of the caller."""
        if not self.container:
            return text
        text = _VARIABLE.sub(lambda found: ARGUMENTS[found[0]], text)
        return text.replace(f"{self.base}/", "")


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Args:
        name: What was asked for.
        outcome: PASSED, ERROR, or SKIPPED where it could not be asked.
        message: What is wrong and what to do, or what is worth knowing.
        usage: Whether the caller asked for something that can't be, as opposed to something
            that is out of reach at the moment.
        line: What is said of it alone, where that isn't its name and message.
    """

    name: str
    outcome: Outcome = Outcome.PASSED
    message: str = ""
    usage: bool = False
    line: str = ""

    @property
    def alone(self) -> str:
        """What is said of it outside of the report, in one line."""
        return self.line or f"{self.name}: {self.message}"

    @property
    def case(self) -> Case:
        """The finding as a case of a report."""
        return Case(name=self.name, outcome=self.outcome, message=self.message)


class NotAsked(Exception):
    """A question can't be asked here; the message says why."""


@dataclass(frozen=True)
class PreflightQuestion:
    """One question.

    Args:
        name: What it is about.
        ask: Returns what is worth knowing; raises an error of ours where something is wrong,
            and `NotAsked` where that can't be known. It may block for seconds.
    """

    name: str
    ask: Callable[[], str] = field(repr=False)

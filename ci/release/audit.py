"""pip-audit, run on exact pins: which known vulnerabilities they have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OSV = "https://api.osv.dev/v1/query"
"""The database that is asked where nobody names another one of its kind."""
ANSWER_SECONDS = 15
"""Most seconds for one answer of the database."""


@dataclass(frozen=True)
class Pin:
    """One distribution as it is looked up.

    Args:
        name: As an index has it.
        version: Without the local part, which no database knows.
        purl: The very component of the bill of materials, local part and all.
        shortened: Whether the component has a local part.
    """

    name: str
    version: str
    purl: str
    shortened: bool = False


CANARY = Pin("django", "1.2", "canary")
"""Known to be vulnerable: a database that doesn't know that knows nothing."""


@dataclass(frozen=True)
class KnownVulnerability:
    """One known vulnerability of one component.

    Args:
        id: Its identifier.
        aliases: Its other identifiers.
        purl: The component.
        fixed_in: Versions that don't have it.
    """

    id: str
    aliases: tuple[str, ...] = ()
    purl: str = ""
    fixed_in: tuple[str, ...] = ()


class AuditError(Exception):
    """The look-up could not be made; the message is one line on why."""


def audit(
    pins: Iterable[Pin], database: str, budget: float
) -> tuple[tuple[KnownVulnerability, ...], dict[str, str]]:
    """Return the known vulnerabilities of `pins`, and why some were not looked up, by purl.

    Args:
        pins: What to look up; pins of one name and different versions are asked for in turn.
        database: URL of an OSV query.
        budget: Most seconds for all of it.

    Raises:
        AuditError: pip-audit or its database gave no answer, or one that is worth nothing.
    """
    deadline = time.monotonic() + budget
    known: list[KnownVulnerability] = []
    skipped: dict[str, str] = {}
    for pinned in _rounds((CANARY, *pins)):
        answer = _asked(pinned.values(), database, deadline - time.monotonic())
        found, unanswered = _sorted(answer, pinned)
        known += found
        skipped |= unanswered
    if not any(each.purl == CANARY.purl for each in known):
        raise AuditError(f"the database knows nothing, not even of {CANARY.name} {CANARY.version}")
    return tuple(each for each in known if each.purl != CANARY.purl), skipped


def _rounds(pins: Iterable[Pin]) -> list[dict[str, Pin]]:
    """Return the pins by name; a second version of a name stands in a second round."""
    rounds: list[dict[str, Pin]] = []
    for pin in pins:
        free = next((one for one in rounds if pin.name not in one), None)
        if free is None:
            free = {}
            rounds.append(free)
        free[pin.name] = pin
    return rounds


def _asked(pins: Iterable[Pin], database: str, budget: float) -> Sequence[Mapping[str, Any]]:
    """Return what pip-audit says of each pin."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        lines = (f"{pin.name}=={pin.version}\n" for pin in pins)
        requirements.write_text("".join(lines), encoding="utf-8")
        argv = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements)]
        argv += ["--disable-pip", "--no-deps", "--format", "json", "--desc", "off"]
        argv += ["--vulnerability-service", "osv", "--osv-url", database]
        argv += ["--progress-spinner", "off", "--timeout", str(ANSWER_SECONDS)]
        argv += ["--cache-dir", folder]
        try:
            ran = subprocess.run(
                argv, capture_output=True, check=False, cwd=folder, timeout=max(budget, 0.1)
            )
        except subprocess.TimeoutExpired as error:
            raise AuditError("pip-audit did not end within its budget") from error
    return _answer(ran)


def _answer(ran: subprocess.CompletedProcess[bytes]) -> Sequence[Mapping[str, Any]]:
    """Return what pip-audit printed: it ends with 1 for a finding and for its own end alike."""
    try:
        found = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        raise AuditError(_reason(ran.stderr.decode(errors="replace"))) from error
    return [each for each in found if isinstance(each, dict)]


def _sorted(
    answer: Iterable[Mapping[str, Any]], pins: Mapping[str, Pin]
) -> tuple[list[KnownVulnerability], dict[str, str]]:
    """Return what is known of the pins, and why some were not looked up."""
    said = {str(each.get("name")): each for each in answer}
    known: list[KnownVulnerability] = []
    skipped: dict[str, str] = {}
    for name, pin in pins.items():
        told = said.get(name, {"skip_reason": "pip-audit did not say anything about it"})
        if "skip_reason" in told:
            skipped[pin.purl] = str(told["skip_reason"])
        else:
            known += _known(pin, told.get("vulns", ()))
    return known, skipped


def _reason(text: str) -> str:
    """Return why pip-audit gave no answer: by an error's name, which shows no URL or secret."""
    names = re.findall(r"^(?:[\w.]+\.)?(\w*(?:Error|Timeout|Exception))\b", text, re.MULTILINE)
    if "No module named pip_audit" in text:
        return "pip-audit isn't installed"
    return f"the database gave no answer ({names[-1]})" if names else "pip-audit failed"


def _known(pin: Pin, found: Iterable[Mapping[str, Any]]) -> Iterator[KnownVulnerability]:
    for each in found:
        aliases = tuple(sorted(map(str, each.get("aliases", ()))))
        fixed_in = tuple(map(str, each.get("fix_versions", ())))
        yield KnownVulnerability(str(each["id"]), aliases, pin.purl, fixed_in)

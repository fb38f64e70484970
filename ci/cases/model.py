"""A file of generated cases: what is in it, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from ci.cases.program import CasePart, Gen, Program, flat, names
from ci.cases.properties import AnyProperty, Equals
from ci.engines.profile import Capability
from ci.errors import UsageError

FILE = "cases.json"


class GeneratedCase(CasePart):
    """A program, and what must hold of its run."""

    name: str
    topic: str
    capability: str
    program: Program = Field(min_length=1)
    properties: tuple[AnyProperty, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        known = names(self.program)
        if len(set(known)) < len(known):
            raise ValueError("two answers have one name")
        about = {name for one in self.properties for name in one.about}
        if unknown := about - set(known):
            raise ValueError(f"a property is about {sorted(unknown)}, which no step makes")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Capabilities that a server must have for this case."""
        found = {Capability.GENERATION, Capability.NATIVE}
        found |= {Capability(need) for one in self.properties for need in one.needs}
        for step in flat(self.program):
            if isinstance(step, Gen):
                found |= {Capability.REGEX} if step.regex is not None else set()
                found |= {Capability.JSON_SCHEMA} if step.json_schema is not None else set()
        return tuple(sorted(found))

    def with_answers(self, texts: dict[str, str]) -> GeneratedCase:
        """Return this with the recorded answers as further properties."""
        golden = tuple(Equals(of=name, text=text) for name, text in texts.items())
        return self.model_copy(update={"properties": (*self.properties, *golden)})


class Provenance(CasePart):
    """Where cases come from; the same again gives the same file."""

    generator: str = Field(description="Version of the vocabulary and grammar of prompts.")
    seed: int
    count: int
    topics: tuple[str, ...]
    capabilities: tuple[str, ...]
    recorded: bool
    model: str = Field(description="Name of the model that the programs were tried on.")
    server: str = Field(description="SGLang's version there.")
    language: str = Field(description="SGLang's version whose frontend language ran them.")


class CaseFile(CasePart):
    """All that a file of cases holds."""

    schema_version: Literal[1] = 1
    provenance: Provenance
    cases: tuple[GeneratedCase, ...]


def read(path: Path) -> CaseFile:
    """Read a file of cases.

    Raises:
        UsageError: It can't be read, or is something else.
    """
    try:
        return CaseFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {first['msg']}") from error


def text(file: CaseFile) -> str:
    """Return a file's text; equal files have equal texts."""
    return file.model_dump_json(indent=2, exclude_defaults=False, exclude_none=True) + "\n"

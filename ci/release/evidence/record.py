"""The release record: one page of facts on a release, which names all other evidence.

`python -m ci.release.evidence.record > docs/release-record.schema.json` writes the schema
anew after a change of the model.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, computed_field

from ci.registry.reference import DIGEST, Reference
from ci.release.kind import EvidenceKind, Judging, first, judged
from ci.release.where import Where
from ci.report.model import Case, Check, Report
from ci.verdict import Outcome, Verdict, judge

if TYPE_CHECKING:
    from ci.release.found import FoundPiece
    from ci.release.publication import Making

SCHEMA_VERSION = "1.0"
"""Version of the record's schema: the major part changes when readers must change."""

NAMED = ("sglang", "torch", "transformers", "sgl-kernel", "flashinfer-python", "xgrammar")
"""Distributions whose versions stand in the record."""
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CheckResult(_Model):
    """What one check came to."""

    name: str
    verdict: Verdict
    cases: dict[Outcome, int] = Field({}, description="How many cases had each outcome.")
    cause: str = Field("", description="Why it isn't PASSED, in one line.")

    @classmethod
    def of(cls, check: Check) -> CheckResult:
        """Return the result of `check`."""
        cases = Counter(case.outcome for case in check.cases)
        return cls(name=check.name, verdict=check.verdict, cases=dict(cases), cause=check.cause)


class Baseline(_Model):
    """The release that this one was compared with."""

    reference: str
    digest: Digest
    verdict: Verdict = Field(description="Verdict of the comparison.")

    @classmethod
    def of(cls, report: Report) -> Baseline | None:
        """Return what a report's release was compared with; None where it was with no image."""
        for check in report.checks:
            reference = check.facts.get("baseline", "") if check.name == "compare" else ""
            digest = reference.rpartition("@")[2]
            if DIGEST.fullmatch(digest):
                return cls(reference=reference, digest=digest, verdict=check.verdict)
        return None


class Origin(_Model):
    """Who released it, and where."""

    actor: str
    where_url: str = Field("", description="Page of the CI's run; empty on a person's machine.")
    system: str = Field(description="github, gitlab, jenkins, ci for another one, or local.")
    commit: str = Field("", description="Commit that was released; empty where it isn't known.")


class Record(_Model):
    """One release: an image by digest, and what is known of it."""

    schema_version: str = SCHEMA_VERSION
    created: AwareDatetime
    reference: str = Field(description="Where the image was published, with its tag.")
    digest: Digest
    inputs: dict[str, str] = Field({}, description="Digest of each thing that the build took in.")
    versions: dict[str, str] = Field({}, description="Versions of what matters most inside it.")
    checks: tuple[CheckResult, ...] = Field((), description="Empty where it was not tested.")
    interrupted: str = Field("", description="Name of the signal that ended the checks early.")
    baseline: Baseline | None = None
    where: Origin
    evidence: dict[str, Digest] = Field(
        {}, description="Kind of each other piece of evidence, to the digest of its bundle."
    )

    @computed_field
    @property
    def verdict(self) -> Verdict:
        """Follows from the checks; ERROR where there were none, or they were interrupted."""
        verdict = judge(check.verdict for check in self.checks)
        return Verdict.ERROR if self.interrupted and verdict is not Verdict.FAILED else verdict

    def predicate(self) -> dict[str, Any]:
        """Return it as it stands in a statement."""
        return self.model_dump(mode="json")


def record(
    reference: Reference,
    report: Report | None,
    where: Where,
    created: datetime,
    *,
    inputs: Mapping[str, str],
    versions: Mapping[str, str],
    evidence: Mapping[str, str],
) -> Record:
    """Return the record of a release.

    Args:
        reference: The published image, by tag and digest.
        report: What the checks found; None where there were none.
        where: Who released it, and where.
        created: When, UTC.
        inputs: Digest of each thing that the build took in.
        versions: Versions of what matters most inside the image.
        evidence: Kind of each other piece, to the digest of its bundle.
    """
    return Record(
        created=created,
        reference=str(reference),
        digest=reference.digest,
        inputs=dict(inputs),
        versions=dict(versions),
        checks=tuple(map(CheckResult.of, report.checks)) if report else (),
        interrupted=report.interrupted if report else "",
        baseline=Baseline.of(report) if report else None,
        where=Origin.model_validate(where.to_dict()),
        evidence=dict(evidence),
    )


def schema() -> str:
    """Return the JSON schema of a record as it is written, its verdict included."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Record.model_json_schema(mode="serialization"), indent=2) + "\n"


class RecordKind(EvidenceKind):
    """One release, and all other evidence on it by name."""

    name = "record"
    predicate_type = "urn:sglang-ci:record:1"
    order = 2

    def make(self, making: Making) -> dict[str, Any]:
        """Return the record of what is published, naming what was made so far."""
        publication = making.publication
        installed = publication.installed
        return record(
            _reference(making),
            publication.report,
            publication.where,
            making.now,
            inputs={each.name or each.uri: each.identity for each in publication.materials},
            versions=installed.chosen(NAMED) if installed else {},
            evidence=making.made,
        ).predicate()

    def stays(self, piece: FoundPiece, making: Making) -> bool:
        """Return whether it names the very pieces and the tag of this publication."""
        told = {"evidence": dict(making.made), "reference": str(_reference(making))}
        return all(piece.predicate.get(key) == value for key, value in told.items())

    def judge(self, piece: FoundPiece, judging: Judging) -> Iterator[Case]:
        """Yield whether the record is about this digest, and each piece that it names."""
        try:
            told = Record.model_validate(piece.predicate)
        except ValidationError as error:
            yield judged("record is whole", f"it is no release record: {first(error)}")
            return
        about = told.digest == judging.evidence.image.digest
        problem = "" if about else f"it is about another digest, {told.digest}"
        problem = problem or ("" if told.evidence else "it names no evidence")
        yield judged("record is whole", problem)
        bundles = {each.bundle: each for each in judging.evidence.found if each.bundle}
        for kind, digest in told.evidence.items():
            problem = _misnamed(kind, bundles.get(digest), judging.doubt)
            yield judged(f"{kind} of the record", problem)
        named = bundles.get(told.evidence.get("report", ""))
        yield judged("record agrees with its report", _disagreement(told, named))

    def facts(self, piece: FoundPiece | None) -> dict[str, str]:
        """Return who published what, when and from where."""
        if piece is None:
            return {"record": "there is none that can be believed"}
        try:
            told = Record.model_validate(piece.predicate)
        except ValidationError:
            return {"record": "malformed"}
        where = told.where
        facts = {
            "published as": told.reference.partition("@")[0],
            "published": f"{piece.created:%Y-%m-%d %H:%M:%S} UTC by {where.actor}",
            "run": where.where_url,
            "commit": where.commit,
            "compared with": told.baseline.reference if told.baseline else "",
            "record signed by": piece.signer or "nobody",
        }
        return {name: value for name, value in facts.items() if value} | told.versions


def _reference(making: Making) -> Reference:
    """Return the published image by tag and digest."""
    return replace(making.publication.subject, tag=making.publication.reference.tag)


def _misnamed(kind: str, found: FoundPiece | None, doubt: Callable[[FoundPiece], str]) -> str:
    """Return why a piece isn't the one that a record names; empty where it is."""
    if found is None:
        return "tampered with: the piece that the record names is gone or replaced"
    if found.statement and found.kind != kind:
        return f"tampered with: the record names a {found.kind or 'foreign statement'} there"
    problem = doubt(found)
    return f"not as the record names it: {problem}" if problem else ""


def _disagreement(told: Record, named: FoundPiece | None) -> str:
    """Return where a record's checks aren't those of the report that it names."""
    if named is None or named.statement is None:
        return "" if not told.checks else "it tells of checks, and there is no report of them"
    try:
        reported = Report.model_validate(named.predicate)
    except ValidationError as error:
        return f"the report is none: {first(error)}"
    ours = {check.name: check.verdict for check in told.checks}
    theirs = {check.name: check.verdict for check in reported.checks}
    apart = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    return f"they differ in {', '.join(apart)}" if apart else ""


KIND = RecordKind()


if __name__ == "__main__":
    sys.stdout.write(schema())

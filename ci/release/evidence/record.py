"""The release record: one page of facts on a release, which names all other evidence.

`python -m ci.release.evidence.record > docs/release-record.schema.json` writes the schema
anew after a change of the model.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field

from ci.registry.reference import DIGEST, Reference
from ci.release.where import Where
from ci.report.model import Check, Report
from ci.verdict import Outcome, Verdict, judge

SCHEMA_VERSION = "1.0"
"""Version of the record's schema: the major part changes when readers must change."""

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


if __name__ == "__main__":
    sys.stdout.write(schema())

"""What a release needs: the registry, who is trusted, and what each environment demands.

No secret stands here: the registry's user and password, and the key that signs, are
environment variables.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from ci.settings.deploy import DeploySettings
from ci.settings.fields import (
    Accepted,
    Budget,
    Filled,
    HostPath,
    NoBool,
    Section,
    Unset,
    misfit,
)
from ci.settings.windows import WindowText

PEM = "-----BEGIN "
"""How a key begins that stands in the settings themselves, and not in a file."""

EVIDENCE_KINDS = tuple(
    sorted(file.stem for file in Path(__file__).parents[1].glob("release/evidence/[!_]*.py"))
)
"""The kinds of evidence. Each is a module, and settings know it by its file's name alone."""
if TYPE_CHECKING:
    EvidenceKind = str
else:
    EvidenceKind = Literal[EVIDENCE_KINDS]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""Also a tag, a table's key and a part of a variable's name: lower case, and no dots."""


def _public(text: str) -> str:
    if "PRIVATE KEY" in text:
        raise ValueError("this is a private key: give the public one, and replace this key")
    return text


PublicKey = Annotated[
    Filled,
    AfterValidator(_public),
    HostPath("file", "trust", "--trust", beside="trust", content=PEM),
]


class RegistrySettings(Section):
    """[registry]: where releases are kept."""

    repository: str = Field(
        "",
        pattern=r"^$|^[^@\s]+$",
        description="The repository of this project's releases, registry included.",
    )
    tag: str = Field(
        "{version}-{revision}",
        pattern=r"^[A-Za-z0-9_.{}-]+$",
        description="Template of a release's tag.",
    )
    immutable: bool = Field(
        default=True, description="Never let a release's tag name another digest later."
    )
    plain_http: bool = Field(default=False, description="Speak HTTP with the registry, not HTTPS.")
    ca_file: Annotated[
        Path | None, Unset, HostPath("file", "registry", "--registry-ca", travels=True)
    ] = Field(None, description="Certificates to trust for it (PEM); relative to this file.")
    endpoint: str = Field(
        "",
        pattern=r"^$|^[^@/\s]+$",
        description="host:port that answers for the registry, where its name doesn't lead there.",
    )
    timeout: Budget = Field(30.0, description="Most seconds without an answer.")
    attempts: Annotated[int, Field(ge=1, le=20), NoBool] = Field(
        5, description="How often a request is tried where trying again can help."
    )


class IdentitySettings(Section):
    """[trust] identities: somebody known to an issuer of OIDC tokens, such as a CI's workflow."""

    subject: Filled = Field(description="The certificate's subject: a mail address or a URL.")
    issuer: Filled = Field(description="URL of the issuer of the identity's tokens.")


class TrustSettings(Section):
    """[trust]: whose signatures count, by the names that environments use."""

    keys: dict[str, PublicKey] = Field(
        {}, description="Name to public key: a PEM file, relative to this file, or the PEM itself."
    )
    identities: dict[str, IdentitySettings] = Field(
        {}, description="Name to an identity of Sigstore: its subject and issuer."
    )

    def names(self) -> tuple[str, ...]:
        """Return the names of all that are trusted."""
        return tuple(dict.fromkeys((*self.keys, *self.identities)))


class AllowedVulnerability(Accepted):
    """[vulnerabilities] allow: one that is known, and accepted for a while."""

    id: Filled = Field(description="Its identifier, such as CVE-2026-1234, or an alias of it.")


class VulnerabilitySettings(Section):
    """[vulnerabilities]: where they are looked up, and which ones are accepted."""

    database: str = Field(
        "https://api.osv.dev/v1/query",
        pattern=r"^https?://[^@\s]+$",
        description="URL of the OSV query that knows them, or of a mirror of it.",
    )
    allow: tuple[AllowedVulnerability, ...] = Field(
        (), description="Accepted ones, each with id, until and reason."
    )


class EnvironmentSettings(Section):
    """[environments.NAME]: what a digest must have to be promoted there."""

    evidence: tuple[EvidenceKind, ...] = Field(
        ("report", "record"), min_length=1, description="Kinds of evidence that must be there."
    )
    checks: tuple[str, ...] = Field(
        ("readiness", "versions", "smoke"),
        description="Checks that the report must hold, all of them PASSED.",
    )
    signed: bool = Field(default=True, description="Whether only signed statements count.")
    signers: tuple[str, ...] = Field(
        (), description="Names of [trust] whose evidence and promotions count; none: all names."
    )
    approvals: Annotated[int, Field(ge=0, le=20), NoBool] = Field(
        0, description="How many different people must approve; 0: none."
    )
    approvers: tuple[str, ...] = Field(
        (),
        description="Who may approve. A name of [trust] signs its approval itself; for any "
        "other name a signer vouches.",
    )
    max_age_days: Annotated[float, Field(ge=0, le=36_500), NoBool] = Field(
        0.0, description="How old evidence and approvals may be, in days; 0: any age."
    )
    after: str = Field("", description="The environment in which the digest must have been before.")
    after_hours: Annotated[float, Field(ge=0, le=8760), NoBool] = Field(
        0.0,
        description="Hours for which the digest must have been deployed in the environment of "
        "`after`, at rest and without an abort; 0: it need not.",
    )
    windows: tuple[WindowText, ...] = Field(
        (),
        description="When something new may be promoted and deployed there, as "
        "'mon-fri 09:00-17:00 Europe/Berlin'; none: at any time.",
    )
    frozen: str = Field(
        "", description="Why nothing new may be promoted or deployed there; empty: it may."
    )
    deploy: DeploySettings = Field(
        DeploySettings(), description="How a digest goes out there, and what watches it."
    )

    @model_validator(mode="after")
    def _approvable(self) -> Self:
        people = len(set(self.approvers))
        if people < self.approvals:
            raise ValueError(
                f"approvals = {self.approvals} needs as many approvers, and there are {people}"
            )
        if self.after_hours and not self.after:
            raise ValueError("after_hours needs the environment to be named by after")
        if not self.signed and (self.approvals or self.signers):
            raise ValueError("signed = false leaves nobody to hold signers and approvals against")
        return self


def check_names(environments: dict[str, EnvironmentSettings], trust: TrustSettings) -> None:
    """Hold the names that environments use against those that there are.

    Raises:
        PydanticCustomError: A signer that nobody trusts, an unknown environment, or a circle.
    """
    known = trust.names()
    for name, environment in environments.items():
        for signer in environment.signers:
            if signer not in known:
                raise misfit((name, "signers"), f"{signer!r} isn't in [trust]", _listed(known))
        _check_order(name, environments)


def _check_order(name: str, environments: dict[str, EnvironmentSettings]) -> None:
    seen, before = {name}, environments[name].after
    while before:
        if before not in environments:
            others = _listed(set(environments) - {name})
            raise misfit((name, "after"), f"there is no environment {before!r}", others)
        if before in seen:
            raise misfit((name, "after"), f"leads in a circle, by way of {before!r}")
        seen.add(before)
        before = environments[before].after


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none yet"

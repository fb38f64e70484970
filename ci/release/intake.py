"""What a publication is made of, as layout, files, settings and variables tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ci.errors import UsageError
from ci.release.evidence import vulnerabilities
from ci.release.evidence.provenance import Material
from ci.release.pieces import Desk
from ci.release.reference import Reference, render_tag

if TYPE_CHECKING:
    from ci.release.layout import OciLayout
    from ci.release.session import Session
    from ci.release.where import Where
    from ci.settings import Settings

LABEL = "org.opencontainers.image"
BUILT = ("image", "model", "server", "versions")
"""Sections of the settings that say what is built and how it serves."""
COMMIT = 12
"""Characters of a commit in a tag."""


def target(layout: OciLayout, reference: Reference, settings: Settings) -> Reference:
    """Return where an image goes to: under the tag that is named, or else by the template.

    Raises:
        UsageError: The tag can't be made, or is one that promotions alone may move.
    """
    fields = {
        "version": layout.label(f"{LABEL}.version"),
        "revision": layout.label(f"{LABEL}.revision")[:COMMIT],
    }
    tag = reference.tag or render_tag(settings.registry.tag, fields)
    environments = settings.environments
    if tag in environments or tag.removesuffix(".history") in environments:
        raise UsageError(f"{tag!r} is an environment's tag: only a promotion may move it")
    if re.fullmatch("sha256-[0-9a-f]{64}", tag):
        raise UsageError(f"{tag!r} is where some registries keep evidence: choose another tag")
    return reference.tagged(tag)


def materials(
    layout: OciLayout, bases: Iterable[str], files: Iterable[Path]
) -> tuple[Material, ...]:
    """Return what a build took in: its commit, its base images and the files that are named.

    Raises:
        UsageError: A base image isn't named by digest, or a file can't be read.
    """
    revision, source = (layout.label(f"{LABEL}.{name}") for name in ("revision", "source"))
    commit = [Material.source(source, revision)] if revision else []
    images = [Material.image(base) for base in bases]
    return (*commit, *images, *(Material.file(path, path.name) for path in files))


def built(layout: OciLayout) -> datetime | None:
    """Return when an image says that it was built; None where it doesn't."""
    try:
        found = datetime.fromisoformat(layout.label(f"{LABEL}.created"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def origin(layout: OciLayout, where: Where) -> Where:
    """Return who publishes and where, with the commit that the image says it is of."""
    return replace(where, commit=layout.label(f"{LABEL}.revision") or where.commit)


def building(rows: Iterable[tuple[str, str, str]]) -> Mapping[str, str]:
    """Return the settings, of all `rows` in force, that say what is built and served."""
    return {name: value for name, value, _ in rows if name.partition(".")[0] in BUILT}


def desk(session: Session, progress: Callable[[str], None]) -> Desk:
    """Return where and with what the user of a session publishes."""
    return Desk(
        registry=session.registry,
        signer=session.signer,
        trust=session.trust,
        now=session.now,
        immutable=session.settings.registry.immutable,
        scan=partial(vulnerabilities.scan, database=session.settings.vulnerabilities.database),
        progress=progress,
    )

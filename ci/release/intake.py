"""What a publication is made of, as layout, files, settings and variables tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ci.errors import UsageError
from ci.registry.reference import Reference, render_tag
from ci.release.material import Material
from ci.release.pieces import Desk
from ci.secrets.veil import veiled_flags

if TYPE_CHECKING:
    from ci.image.layout import OciLayout
    from ci.release.session import RepositorySession
    from ci.release.where import Where
    from ci.settings import Settings

LABEL = "org.opencontainers.image"
BUILT = ("image", "model", "server", "versions")
"""Sections of the settings that say what is built and how it serves."""
COMMIT = 12
"""Characters of a commit in a tag."""
_USER = re.compile(r"//[^/@\s]+@")


def target(layout: OciLayout, reference: Reference, settings: Settings) -> Reference:
    """Return where an image goes to: under the tag that is named, or else by the template.

    Raises:
        UsageError: The tag can't be made, or is one that promotions alone may move.
    """
    fields = {
        "version": layout.label(f"{LABEL}.version"),
        "revision": layout.label(f"{LABEL}.revision")[:COMMIT],
    }
    return placed(reference, settings, fields)


def placed(reference: Reference, settings: Settings, fields: Mapping[str, str]) -> Reference:
    """Return where an image goes to, from what the settings' template of a tag may name.

    Raises:
        UsageError: The tag can't be made, or is one that promotions alone may move.
    """
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

    Of the labels a base image counts that is named by digest; any other one moves.

    Raises:
        UsageError: A base image isn't named by digest, or a file can't be read.
    """
    revision, source = (layout.label(f"{LABEL}.{name}") for name in ("revision", "source"))
    commit = [Material.source(bare(source), revision)] if revision else []
    labelled = layout.label(f"{LABEL}.base.name")
    named = dict.fromkeys([labelled, *bases] if "@sha256:" in labelled else bases)
    images = [Material.image(base) for base in named]
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


def building(settings: Settings) -> dict[str, str]:
    """Return the settings that say what is built and how it serves, free of secrets.

    Of the server's environment the names are given, and of a flag such as `--api-key` no value.
    """
    told = settings.model_dump(mode="json", include=set(BUILT))
    told["server"] |= {
        "environment": sorted(settings.server.environment),
        "flags": veiled_flags(settings.server.flags),
    }
    return {
        f"{section}.{key}": bare(str(value))
        for section, keys in told.items()
        for key, value in keys.items()
    }


def bare(text: str) -> str:
    """Return `text` without the user and password of any URL in it."""
    return _USER.sub("//", text)


def desk(session: RepositorySession, progress: Callable[[str], None]) -> Desk:
    """Return where and with what the user of a session publishes."""
    return Desk(
        registry=session.registry,
        signer=session.signer,
        trust=session.trust,
        now=session.now,
        settings=session.settings,
        progress=progress,
    )

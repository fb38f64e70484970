"""Can the image be built: is its version a release, and are there base images of it?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import ci
from ci import SGLANG
from ci.errors import RegistryFault, UsageError
from ci.image.bases import bases, qualified, refuse_misspelt, remedy
from ci.preflight.asked import Intent, NotAsked, PreflightQuestion

DOCKERFILE = Path(ci.__file__).parents[1] / "Dockerfile"
OFFICIAL = "SGLANG_IMAGE"
_PATIENCE = 5.0
"""Most seconds without an answer of a public registry."""


def questions(asked: Intent) -> Iterator[PreflightQuestion]:
    """Yield whether there is such a version, and where nobody has asked yet, such an image."""
    if asked.settings.engine.profile != SGLANG or asked.version:
        return
    yield PreflightQuestion("SGLang version", partial(version, asked))
    if asked.gpu and not asked.container:
        yield PreflightQuestion("base image", partial(official, asked))


def version(asked: Intent) -> str:
    """See that the version is spelt as releases are.

    Raises:
        UsageError: It isn't.
    """
    named = asked.settings.image.sglang_version
    refuse_misspelt(named, _bases(named).values())
    return named


def official(asked: Intent) -> str:
    """Look for the official image of the version in its registry.

    Raises:
        UsageError: There is none.
        NotAsked: The registry can't be asked from here.
    """
    from ci.registry.access import Access
    from ci.registry.client import Registry

    image = _bases(asked.settings.image.sglang_version).get(OFFICIAL, "")
    try:
        reference = qualified(image)
        with Registry(reference, Access(timeout=_PATIENCE, attempts=1)) as registry:
            found = registry.resolve(reference.digest or reference.tag)
    except (RegistryFault, UsageError) as error:
        raise NotAsked(f"{image}: {error}") from error
    if found is None:
        raise UsageError(f"there is no {image}: {remedy(OFFICIAL)}")
    return image


def _bases(version: str) -> dict[str, str]:
    """Return the base images of a version; none where the Dockerfile isn't installed with us."""
    return bases(DOCKERFILE.read_text(encoding="utf-8"), version) if DOCKERFILE.is_file() else {}

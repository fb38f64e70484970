"""The base images that the Dockerfile names, with the digests to which `make pins` holds them.

The Dockerfile is the one place where they stand: everything that builds reads that, Docker
and Renovate included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.version import Version

from ci.errors import UsageError
from ci.registry.reference import Reference

BASE = re.compile(
    r"^ARG (?P<name>\w+_IMAGE)=(?P<image>[^\s@]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$",
    re.MULTILINE,
)
_VERSION = re.compile(r"^ARG SGLANG_VERSION=(?P<version>\S+)$", re.MULTILINE)
_PLACE = "${SGLANG_VERSION}"
_PARTS = 3
"""Numbers of a release of SGLang: 0.5.16."""


def bases(dockerfile: str, version: str = "") -> dict[str, str]:
    """Return the base images of `dockerfile`, by the arguments that name them.

    Args:
        dockerfile: Its text.
        version: The SGLang version to build; the Dockerfile's own where empty. A digest is
            that of one version only, and left out with another one.
    """
    own = _VERSION.search(dockerfile)
    locked = own["version"] if own else ""
    found = {}
    for base in BASE.finditer(dockerfile):
        image = base["image"].replace(_PLACE, version or locked)
        stays = base["digest"] and (version in {"", locked} or _PLACE not in base["image"])
        found[base["name"]] = f"{image}@{base['digest']}" if stays else image
    return found


def spelt(version: str) -> str:
    """Return a version as releases and their images are named: 0.5.16 for v0.5.16 and 0.5.16.0."""
    found = Version(version)
    kept = list(found.release)
    while len(kept) > _PARTS and not kept[-1]:
        kept.pop()
    return str(found).replace(".".join(map(str, found.release)), ".".join(map(str, kept)), 1)


def refuse_misspelt(version: str, images: Iterable[str]) -> None:
    """See that a version is spelt as its release is: by PEP 440 other spellings mean the same.

    Args:
        version: The version.
        images: The base images that are named by it.

    Raises:
        UsageError: It isn't, and no image would be found.
    """
    right = spelt(version)
    if right != version:
        named = ", ".join(image for image in images if version in image) or f"sglang {version}"
        raise UsageError(
            f"image.sglang_version: no release is called {version}, so there is no {named}: "
            f"write {right}"
        )


def remedy(name: str) -> str:
    """Return what to do where the base image of the Dockerfile's argument `name` can't be had."""
    if name == "SGLANG_IMAGE":
        return (
            "set image.sglang_version to a release that has an image, "
            "or bring an image of your own by --container"
        )
    return "see that the engine reaches the image's registry; `make pins` finds its newest digest"


def qualified(image: str) -> Reference:
    """Return the reference that Docker takes an image's name for: Docker Hub where none is named.

    Raises:
        UsageError: It is no name of an image.
    """
    host = image.partition("/")[0] if "/" in image else ""
    named = host == "localhost" or "." in host or ":" in host
    return Reference.parse(image if named else f"docker.io/{image}")

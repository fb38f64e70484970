"""The base images that the Dockerfile names, with the digests to which `make pins` holds them.

The Dockerfile is the one place where they stand: everything that builds reads that, Docker
and Renovate included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ci.registry.reference import Reference

_BASE = re.compile(
    r"^ARG (?P<name>\w+_IMAGE)=(?P<image>[^\s@]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$",
    re.MULTILINE,
)
_VERSION = re.compile(r"^ARG SGLANG_VERSION=(?P<version>\S+)$", re.MULTILINE)
_PLACE = "${SGLANG_VERSION}"


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
    for base in _BASE.finditer(dockerfile):
        image = base["image"].replace(_PLACE, version or locked)
        stays = base["digest"] and (version in {"", locked} or _PLACE not in base["image"])
        found[base["name"]] = f"{image}@{base['digest']}" if stays else image
    return found


def pinned(dockerfile: str, digests: Mapping[str, str]) -> str:
    """Return `dockerfile` with the digests of `digests`, by argument; the others stay."""

    def line(base: re.Match[str]) -> str:
        digest = digests.get(base["name"])
        return f"ARG {base['name']}={base['image']}@{digest}" if digest else base[0]

    return _BASE.sub(line, dockerfile)


def qualified(image: str) -> Reference:
    """Return the reference that Docker takes an image's name for: Docker Hub where none is named.

    Raises:
        UsageError: It is no name of an image.
    """
    host = image.partition("/")[0] if "/" in image else ""
    named = host == "localhost" or "." in host or ":" in host
    return Reference.parse(image if named else f"docker.io/{image}")

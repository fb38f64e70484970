"""Hold the Dockerfile's base images to the digests that their tags have now.

    python -m requirements.pins [--check] [--mirror HOST[:PORT]] [ARGUMENT ...]

Asks the registry of each image (of the ARGUMENTs given, such as PYTHON_IMAGE; of all by
default) and writes the digest behind the tag: nothing of the images is fetched. With
`--check` nothing is written, and the exit code is 1 where a pin is missing or an older one.

A mirror has to hand on its origin's own manifests, as a pull-through cache does. A copy that
was made otherwise has other digests, which no one else could resolve.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ci.errors import MissingArtifact, SglangCiError, UsageError
from ci.image.bases import BASE, bases, qualified
from ci.registry.client import Access, Registry

DOCKERFILE = Path(__file__).parents[1] / "Dockerfile"
LOOPBACK = ("localhost", "127.0.0.1")


def pinned(dockerfile: str, digests: Mapping[str, str]) -> str:
    """Return `dockerfile` with the digests of `digests`, by argument; the others stay."""

    def line(base: re.Match[str]) -> str:
        digest = digests.get(base["name"])
        return f"ARG {base['name']}={base['image']}@{digest}" if digest else base[0]

    return BASE.sub(line, dockerfile)


def digest(image: str, access: Access) -> str:
    """Return the digest that the tag of `image` has now.

    Raises:
        MissingArtifact: There is no such tag.
        RegistryFault: The registry didn't say.
        UsageError: It is no name of an image with a tag.
    """
    reference = qualified(image.partition("@")[0])
    with Registry(reference, access) as registry:
        found = registry.resolve(reference.tag or "latest")
    if found is None:
        raise MissingArtifact(str(reference), "resolve", "there is no such tag")
    return found.digest


def access(mirror: str) -> Access:
    """Return how registries are reached; one on this host is asked by plain HTTP."""
    return Access(endpoint=mirror, plain_http=mirror.partition(":")[0] in LOOPBACK)


def refresh(options: argparse.Namespace) -> int:
    """Print each image with its digest, write those that changed, and return the exit code."""
    text = options.dockerfile.read_text(encoding="utf-8")
    named = bases(text)
    wanted = options.argument or list(named)
    digests = {name: digest(named[name], access(options.mirror)) for name in wanted}
    stale = [name for name in wanted if not named[name].endswith(f"@{digests[name]}")]
    for name in wanted:
        mark = "" if name not in stale else " (not pinned to this)" if options.check else " (new)"
        sys.stdout.write(f"{named[name].partition('@')[0]}@{digests[name]}{mark}\n")
    if not options.check:
        options.dockerfile.write_text(pinned(text, digests), encoding="utf-8")
    return int(options.check and bool(stale))


def main(argv: list[str] | None = None) -> int:
    """Read the command line, and say in one line what went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where pins are old")
    parser.add_argument("--mirror", default="", help="registry to ask instead of the images' own")
    parser.add_argument("--dockerfile", type=Path, default=DOCKERFILE, help=argparse.SUPPRESS)
    parser.add_argument("argument", nargs="*", help="arguments of the Dockerfile (all)")
    options = parser.parse_args(argv)
    unknown = set(options.argument) - set(bases(options.dockerfile.read_text(encoding="utf-8")))
    if unknown:
        parser.error(f"no base image in the Dockerfile: {', '.join(sorted(unknown))}")
    try:
        return refresh(options)
    except SglangCiError as error:
        sys.stderr.write(f"pins: {error}\n")
        return 2 if isinstance(error, UsageError) else 4


if __name__ == "__main__":
    sys.exit(main())

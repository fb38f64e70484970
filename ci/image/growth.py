"""Two images side by side: which of their parts are the same, and which have grown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from packaging.utils import canonicalize_name

from ci.image.listing import Installed
from ci.image.weight import Layer
from ci.image.words import LONGEST_NAME
from ci.report.text import one_line


@dataclass(frozen=True)
class Limit:
    """How much something may grow.

    Args:
        share: As a share of the baseline's size.
        floor: In bytes; growth counts where it exceeds both.
    """

    share: float
    floor: int

    def broken(self, old: int, new: int) -> bool:
        """Return whether growth from `old` to `new` bytes exceeds both."""
        return new - old > self.floor and new - old > self.share * old


@dataclass(frozen=True)
class ImagePart:
    """A part of an image by its name: the baseline's bytes and the candidate's.

    Where one side lacks it, its bytes are None there.
    """

    name: str
    old: int | None
    new: int | None

    def grown(self, limit: Limit) -> bool:
        """Return whether both have it and it exceeds the limit."""
        return self.old is not None and self.new is not None and limit.broken(self.old, self.new)


@dataclass(frozen=True)
class WeighedPackage:
    """One installed package: its name, its version and its bytes on disk."""

    name: str
    version: str
    bytes: int


def layers(baseline: Sequence[Layer], candidate: Sequence[Layer]) -> tuple[ImagePart, ...]:
    """Return the layers of both, in the candidate's order.

    Layers are the same where their digest or their name is; where as many others stand
    between two such as in the baseline, they are taken for each other in their order: a
    step whose text changed, such as a version in it, is still that step.
    """
    shared = {layer.digest for layer in baseline} & {layer.digest for layer in candidate}
    before, after = (
        [layer.digest if layer.digest in shared else layer.name for layer in side]
        for side in (baseline, candidate)
    )
    found: list[ImagePart] = []
    matcher = SequenceMatcher(a=before, b=after, autojunk=False)
    for _, begin, end, start, stop in matcher.get_opcodes():
        old, new = baseline[begin:end], candidate[start:stop]
        if len(old) == len(new):
            pairs = zip(old, new, strict=True)
            found += [ImagePart(two.name, one.bytes, two.bytes) for one, two in pairs]
        else:
            found += [ImagePart(one.name, one.bytes, None) for one in old]
            found += [ImagePart(one.name, None, one.bytes) for one in new]
    return tuple(found)


def packages(
    baseline: Iterable[WeighedPackage], candidate: Iterable[WeighedPackage]
) -> tuple[ImagePart, ...]:
    """Return the packages of both, the largest first."""
    old = {each.name: each.bytes for each in baseline}
    new = {each.name: each.bytes for each in candidate}
    parts = [ImagePart(name, old.get(name), new.get(name)) for name in sorted({*old, *new})]
    return tuple(sorted(parts, key=lambda part: -max(part.old or 0, part.new or 0)))


def python_packages(listing: Installed) -> tuple[WeighedPackage, ...]:
    """Return the Python distributions of which a size is known, the largest first."""
    told = ((canonicalize_name(one.name), one.version, one.bytes) for one in listing.distributions)
    return _largest(told)


def debian_packages(listing: Installed) -> tuple[WeighedPackage, ...]:
    """Return the Debian packages of which a size is known, the largest first."""
    return _largest((one.name, one.version, one.bytes) for one in listing.packages)


def _largest(told: Iterable[tuple[str, str, int | None]]) -> tuple[WeighedPackage, ...]:
    """Return packages of known size; several of one name, as of two versions, are one."""
    found: dict[str, WeighedPackage] = {}
    for raw, version, count in told:
        if count is not None:
            name = one_line(raw)[:LONGEST_NAME]
            before = found.get(name)
            shown = one_line(version)[:LONGEST_NAME]
            versions = f"{before.version}, {shown}" if before else shown
            found[name] = WeighedPackage(name, versions, count + (before.bytes if before else 0))
    return tuple(sorted(found.values(), key=lambda one: (-one.bytes, one.name)))

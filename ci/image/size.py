"""An image's size as a stage of a run: in total, by layer and by package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ci.image import growth
from ci.image.growth import ImagePart, Limit, WeighedPackage
from ci.image.listing import Installed
from ci.image.weight import ImageSize
from ci.image.words import change, size
from ci.report.model import Case, Figure
from ci.settings.budgets import BudgetSettings
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "size"
LISTED = 10
"""How many of the largest packages are shown."""
NO_BASELINE = "no baseline: name one by --baseline IMAGE, or for good as [gate] baseline"
NO_LISTING = "--installed FILE names them: what installed.py printed inside the image"
NO_OLD_LISTING = "no baseline: --baseline-installed FILE names its packages"


@dataclass(frozen=True)
class MeasuredImage:
    """One image: what it weighs, and what is installed in it where that is known."""

    image: ImageSize
    installed: Installed | None = None

    @property
    def packages(self) -> tuple[WeighedPackage, ...]:
        """The Python distributions of which a size is known, the largest first."""
        return growth.python_packages(self.installed) if self.installed else ()

    @property
    def debian(self) -> tuple[WeighedPackage, ...]:
        """The Debian packages, likewise."""
        return growth.debian_packages(self.installed) if self.installed else ()


def weigh(
    candidate: MeasuredImage, baseline: MeasuredImage | None, budgets: BudgetSettings, tell: Tell
) -> StageResult:
    """Compare an image with its budget and a baseline.

    Args:
        candidate: The image.
        baseline: The image beside which it is held; None where there is none.
        budgets: What it may weigh, and by how much it may have grown.
        tell: Is told each case.
    """
    old = baseline.image if baseline else None
    for case in (
        _image(candidate.image),
        _budget(candidate.image.total, budgets.image_bytes),
        _total(candidate.image, old, Limit(budgets.image_growth, budgets.size_floor)),
        *_layers(candidate.image, old, Limit(budgets.layer_growth, budgets.size_floor)),
        *_packages(candidate, baseline, Limit(budgets.package_growth, budgets.size_floor)),
    ):
        tell(case)
    return StageResult(facts=_facts(candidate, baseline), figures=tuple(_figures(candidate)))


def _image(image: ImageSize) -> Case:
    lines = [f"{size(layer.bytes):>8}  {layer.name}" for layer in image.layers]
    return Case(
        name="image",
        outcome=Outcome.PASSED if image.layers else Outcome.INCONCLUSIVE,
        message=f"{size(image.total)} in {len(image.layers)} layers",
        details="\n".join(lines),
    )


def _budget(total: int, most: int) -> Case:
    if not most:
        message = "no budget: [budgets] image_bytes sets one"
        return Case(name="budget", outcome=Outcome.SKIPPED, message=message)
    outcome = Outcome.PASSED if total <= most else Outcome.FAILED
    message = f"{size(total)} of {size(most)} ({total} of {most} bytes)"
    return Case(name="budget", outcome=outcome, message=message)


def _total(new: ImageSize, old: ImageSize | None, limit: Limit) -> Case:
    if old is None:
        return Case(name="total", outcome=Outcome.SKIPPED, message=NO_BASELINE)
    bad = limit.broken(old.total, new.total)
    return Case(
        name="total",
        outcome=Outcome.FAILED if bad else Outcome.PASSED,
        message=f"{change(old.total, new.total)}; {_allowed(limit)}",
    )


def _layers(new: ImageSize, old: ImageSize | None, limit: Limit) -> Iterator[Case]:
    if old is None:
        yield Case(name="layers", outcome=Outcome.SKIPPED, message=NO_BASELINE)
        return
    yield from _compared("layer", growth.layers(old.layers, new.layers), limit)


def _packages(new: MeasuredImage, old: MeasuredImage | None, limit: Limit) -> Iterator[Case]:
    """Yield the cases of Python's packages, and of Debian's where there are any."""
    pairs = (
        ("package", new.packages, old.packages if old else ()),
        ("Debian package", new.debian, old.debian if old else ()),
    )
    for kind, mine, theirs in pairs:
        if mine and theirs:
            yield from _compared(kind, growth.packages(theirs, mine), limit)
        elif mine or kind == "package":
            outcome, message = _unheld(new, old, mine)
            listed = "\n".join(map(_line, mine[:LISTED]))
            yield Case(name=f"{kind}s", outcome=outcome, message=message, details=listed)


def _unheld(
    new: MeasuredImage, old: MeasuredImage | None, mine: Sequence[WeighedPackage]
) -> tuple[Outcome, str]:
    """Return what is to be said of packages that there is nothing to hold against."""
    if new.installed is None:
        return Outcome.SKIPPED, NO_LISTING
    if not mine:
        return Outcome.INCONCLUSIVE, "the listing names no sizes: print it anew"
    if old is None or old.installed is None:
        return Outcome.SKIPPED, NO_OLD_LISTING
    return Outcome.INCONCLUSIVE, "the baseline's listing names no sizes: print it anew"


def _compared(kind: str, parts: Sequence[ImagePart], limit: Limit) -> Iterator[Case]:
    """Yield a case for each part that has grown too far, and one for all the others."""
    grown = [part for part in parts if part.grown(limit)]
    for part in grown:
        told = f"{change(part.old or 0, part.new or 0)}; {_allowed(limit)}"
        yield Case(name=f"{kind}: {part.name}", outcome=Outcome.FAILED, message=told)
    both = [part for part in parts if part.old is not None and part.new is not None]
    held = len(both) - len(grown)
    message = f"{held} {'others ' if grown else ''}in both; {_allowed(limit)}"
    yield Case(
        name=f"{kind}s",
        outcome=Outcome.PASSED if held else Outcome.SKIPPED,
        message=message if held else f"no {'other' if grown else kind} is in both",
        details="\n".join(_news(parts)),
    )


def _news(parts: Sequence[ImagePart]) -> Iterator[str]:
    """Yield a line for each part that is new, is gone, or has another size."""
    for part in parts:
        if part.old is None:
            yield f"new: {part.name}, {size(part.new or 0)}"
        elif part.new is None:
            yield f"gone: {part.name}, {size(part.old)}"
        elif part.old != part.new:
            yield f"{part.name}: {change(part.old, part.new)}"


def _allowed(limit: Limit) -> str:
    return f"allowed: +{100 * limit.share:g} % or {size(limit.floor)}"


def _line(package: WeighedPackage) -> str:
    return f"{size(package.bytes):>8}  {package.name} {package.version}"


def _facts(candidate: MeasuredImage, baseline: MeasuredImage | None) -> dict[str, str]:
    facts = {"image": candidate.image.reference, "digest": candidate.image.digest}
    if baseline:
        facts["baseline"] = baseline.image.reference
        facts["baseline's digest"] = baseline.image.digest
    return facts


def _figures(side: MeasuredImage) -> Iterator[Figure]:
    """Yield the bytes of the image, of each layer, and of the largest packages."""
    named = [("image", side.image.total)]
    named += [(f"layer: {layer.name}", layer.bytes) for layer in side.image.layers]
    named += [(f"package: {one.name}", one.bytes) for one in side.packages[:LISTED]]
    named += [(f"Debian package: {one.name}", one.bytes) for one in side.debian[:LISTED]]
    for name, count in named:
        yield Figure(name=name, value=count, unit="bytes", better="lower")

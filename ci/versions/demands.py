"""What SGLang's own metadata demands, held against what is installed.

A server starts with a kernel that is too old, or without one, and fails at the first request
that needs it. What a CPU never uses may be missing there: our own environments leave it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from ci.image.listing import Installed
from ci.report.model import Case
from ci.verdict import Outcome
from ci.versions.same import same

SGLANG = "sglang"
LEFT_OUT_ON_A_CPU = frozenset(
    {
        *("cuda-python", "cuda-tile", "flash-attn-4", "flashinfer-python", "humming-kernels"),
        *("nvidia-cutlass-dsl", "nvidia-mathdx", "nvshmem4py-cu13", "quack-kernels"),
        *("sgl-deep-ep", "sgl-deep-gemm", "sgl-flash-mla", "tilelang"),
        *("build", "datasets", "jedi", "modelscope", "ninja", "numba"),
    }
)
"""What `requirements/cpu-overrides.txt` leaves out."""
NOT_TOLD = "the listing doesn't say what sglang demands: print it anew by ci/image/installed.py"


@dataclass(frozen=True)
class Demands:
    """What is known of the server beside the listing.

    Args:
        expected: Canonical name to the version that somebody asked for: it outweighs a demand.
        left_out: Canonical names of what is left out on purpose.
        device: Where the server runs its model, as it says; empty where it doesn't.
    """

    expected: Mapping[str, str]
    left_out: Collection[str] = ()
    device: str = ""

    def cases(self, listing: Installed) -> Iterator[Case]:
        """Yield a case for each demand that isn't met, and one for all the others."""
        asked, there = _demanded(listing), listing.versions
        if not asked:
            yield Case(name=f"what {SGLANG} demands", outcome=Outcome.SKIPPED, message=NOT_TOLD)
            return
        left_out = self._on_purpose(listing) & asked.keys() - there.keys()
        held = {name: demand for name, demand in asked.items() if name not in left_out}
        unmet = [name for name in held if not self._met(held[name], name, there.get(name, ""))]
        for name in unmet:
            wanted = held[name].specifier or "any version"
            yield Case(
                name=f"{name} as {SGLANG} demands",
                outcome=Outcome.FAILED,
                message=f"demanded {wanted}, installed {there.get(name, 'none')}",
            )
        yield Case(
            name=f"what {SGLANG} demands",
            outcome=Outcome.PASSED if len(held) > len(unmet) else Outcome.SKIPPED,
            message=f"{len(held) - len(unmet)} {'others ' if unmet else ''}installed as it demands",
        )
        if left_out:
            told = f"{len(left_out)} of what {SGLANG} demands: {', '.join(sorted(left_out))}"
            yield Case(name="left out on purpose", outcome=Outcome.SKIPPED, message=told)

    def _on_purpose(self, listing: Installed) -> set[str]:
        """Return what may be missing: on a CPU also what only a GPU or a tool uses."""
        on_a_cpu = self.device == "cpu" or not (self.device or listing.driver)
        return {*self.left_out, *(LEFT_OUT_ON_A_CPU if on_a_cpu else ())}

    def _met(self, demand: Requirement, name: str, installed: str) -> bool:
        if not installed:
            return False
        try:
            fits = demand.specifier.contains(installed, prereleases=True)
        except InvalidVersion:
            fits = not demand.specifier
        return fits or same(self.expected.get(name, ""), installed)


def _demanded(listing: Installed) -> dict[str, Requirement]:
    """Return each demand by canonical name, as the listing's own interpreter evaluates markers."""
    environment = {**listing.markers, "extra": ""}
    found: dict[str, Requirement] = {}
    for text in listing.sglang.requires if listing.sglang else _told_here(listing):
        try:
            demand = Requirement(text)
        except InvalidRequirement:
            continue
        if demand.marker is None or demand.marker.evaluate(environment):
            first = found.setdefault(canonicalize_name(demand.name), demand)
            first.specifier &= demand.specifier
    return found


def _told_here(listing: Installed) -> tuple[str, ...]:
    """Return what the SGLang that is installed here demands, if it is the listing's version."""
    try:
        here = version(SGLANG)
    except PackageNotFoundError:
        return ()
    return tuple(requires(SGLANG) or ()) if here == listing.versions.get(SGLANG) else ()

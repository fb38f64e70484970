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
        asked = _demanded(listing)
        if not asked:
            yield Case(name=f"what {SGLANG} demands", outcome=Outcome.SKIPPED, message=NOT_TOLD)
            return
        there, on_purpose = listing.versions, self._on_purpose(listing)
        left_out = {name for name in asked if name not in there and name in on_purpose}
        unmet = 0
        for name, demand in asked.items():
            if name not in left_out and not self._met(demand, name, there.get(name, "")):
                unmet += 1
                told = f"demanded {demand}, installed {there.get(name, 'none')}"
                case = f"{demand.name} as {SGLANG} demands"
                yield Case(name=case, outcome=Outcome.FAILED, message=told)
        met = len(asked) - len(left_out) - unmet
        outcome = Outcome.PASSED if met else Outcome.SKIPPED
        others = "others " if unmet else ""
        message = f"{met} {others}installed as it demands"
        yield Case(name=f"what {SGLANG} demands", outcome=outcome, message=message)
        if left_out:
            message = f"{len(left_out)} of what {SGLANG} demands: {', '.join(sorted(left_out))}"
            yield Case(name="left out on purpose", outcome=Outcome.SKIPPED, message=message)

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
        return fits or self.expected.get(name) == installed


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
            same = found.setdefault(canonicalize_name(demand.name), demand)
            same.specifier &= demand.specifier
    return found


def _told_here(listing: Installed) -> tuple[str, ...]:
    """Return what the SGLang that is installed here demands, if it is the listing's version."""
    try:
        same = version(SGLANG) == listing.versions.get(SGLANG)
    except PackageNotFoundError:
        return ()
    return tuple(requires(SGLANG) or ()) if same else ()

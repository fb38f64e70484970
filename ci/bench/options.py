"""What a bench is asked to do. Everything has a default that runs. Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ci.bench.agreement import Tolerance
from ci.bench.client import Timeouts
from ci.bench.dialects import Sampling
from ci.bench.metrics import Slo
from ci.bench.prompts import Prompts, SyntheticPrompts
from ci.bench.ramp import Ramp
from ci.bench.saturation import SaturationBounds
from ci.bench.schedule import Closed, Load
from ci.engines.metrics import SGLANG_METRICS, MetricNames

_CLOSED = Closed(concurrency=8, requests=128)


@dataclass(frozen=True)
class WarmUp:
    """How a load's warm-up ends: as soon as a steady state is shown, or at one of the limits.

    Args:
        drift: Largest drift that still counts as steady, as a share.
        requests: Most requests; 0 for no warm-up. At least eight a stream are sent.
        seconds: Seconds after which no further request is sent.
    """

    drift: float = 0.2
    requests: int = 512
    seconds: float = 60.0

    def most(self, load: Load) -> int:
        """Return the most requests of the warm-up of a load."""
        streams = load.concurrency if isinstance(load, Closed) else 1
        return max(self.requests, 8 * streams) if self.requests else 0


@dataclass(frozen=True)
class BenchOptions:
    """A bench.

    Args:
        api: What is asked: SGLang's `/generate`, where every chunk carries its token count, or
            OpenAI's chat completions or completions.
        model: The model's name for OpenAI's APIs; empty to ask the server.
        prompts: Where prompts come from.
        loads: The load shapes, one after the other.
        ramp: A search for the highest rate that meets an SLO, after them.
        slo: What goodput is counted by.
        sampling: What is asked of the sampler.
        warm_up: How each load's warm-up ends.
        timeouts: Limits of one request.
        probe: Most seconds until the first token of the request that is sent before all others;
            0 for none.
        limit: Most seconds of one load.
        bounds: Beyond what the client counts as saturated.
        tolerance: By how much the server's own mean latencies may differ.
        poll: Seconds between two looks at the server's gauges during a load; 0 for none.
        headers: Further headers of every request beside the API key's; never recorded.
        metrics: What the server's metrics are called.
        uncounted: Why the server counts no tokens of streams; empty where it does.
    """

    api: Literal["generate", "chat", "completions"] = "generate"
    model: str = ""
    prompts: Prompts = field(default_factory=SyntheticPrompts)
    loads: tuple[Load, ...] = (_CLOSED,)
    ramp: Ramp | None = None
    slo: Slo = field(default_factory=Slo)
    sampling: Sampling = field(default_factory=Sampling)
    warm_up: WarmUp = field(default_factory=WarmUp)
    timeouts: Timeouts = field(default_factory=Timeouts)
    probe: float = 45.0
    limit: float = 600.0
    bounds: SaturationBounds = field(default_factory=SaturationBounds)
    tolerance: Tolerance = field(default_factory=Tolerance)
    poll: float = 5.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    metrics: MetricNames = SGLANG_METRICS
    uncounted: str = ""

"""From the settings of a load to what the load client is asked."""

from __future__ import annotations

from ci.bench.agreement import Tolerance
from ci.bench.dialects import Sampling
from ci.bench.lengths import Lengths
from ci.bench.metrics import Slo
from ci.bench.options import BenchOptions, WarmUp
from ci.bench.prompt_files import FromFile
from ci.bench.prompts import Prefix, Prompts, SyntheticPrompts
from ci.bench.ramp import Ramp
from ci.bench.saturation import SaturationBounds
from ci.bench.schedule import Closed, Load, Open
from ci.engines.profile import Capability, Profile
from ci.engines.sglang import PROFILE as SGLANG
from ci.settings import BenchSettings
from ci.settings.bench import DEFAULT_CONCURRENCY

LENIENT = SaturationBounds(lag=0.05, lag_share=0.5)
"""Bounds of a client on a machine that does other work."""
ROUGHER = 5.0
"""How much more drift and disagreement a tolerant bench lets pass."""


def bench_options(at: BenchSettings, engine: Profile = SGLANG) -> BenchOptions:
    """Return what a bench is to do.

    Args:
        at: The settings.
        engine: What is put under load.

    Raises:
        UsageError: A value that makes no sense, such as fewer requests than streams.
    """
    slo = Slo(at.slo_ttft, at.slo_tpot, at.slo_e2e)
    ramp = Ramp(slo, at.ramp_share, at.ramp_start, seconds=at.ramp_seconds) if at.ramp else None
    rougher = ROUGHER if at.tolerant else 1.0
    drift, tolerance = rougher * at.warm_up_drift, Tolerance()
    return BenchOptions(
        api=engine.api(at.api),
        model=at.model,
        prompts=_prompts(at, as_text=engine.api(at.api) != "generate"),
        loads=tuple(_loads(at)),
        ramp=ramp,
        slo=slo,
        warm_up=WarmUp(drift, at.warm_up_requests, at.warm_up_seconds),
        probe=at.probe,
        limit=at.limit,
        bounds=LENIENT if at.tolerant else SaturationBounds(),
        tolerance=Tolerance(rougher * tolerance.seconds, rougher * tolerance.share),
        poll=at.poll,
        headers={} if engine.reuses_connections else {"Connection": "close"},
        metrics=engine.metrics,
        sampling=Sampling(ignore_eos=engine.does(Capability.EXACT_USAGE)),
        uncounted=engine.absent.get(Capability.STREAM_USAGE, ""),
    )


def _loads(at: BenchSettings) -> list[Load]:
    loads: list[Load] = [Closed(streams, at.requests) for streams in at.concurrency]
    loads += [Open(rate, at.requests, at.arrivals, at.seed) for rate in at.rate]
    if not loads and not at.ramp:
        loads = [Closed(min(DEFAULT_CONCURRENCY, at.requests), at.requests)]
    return loads


def _prompts(at: BenchSettings, *, as_text: bool) -> Prompts:
    if at.prompts is not None:
        return FromFile.read(
            at.prompts, seed=at.seed, output_tokens=at.output_tokens, repeat=at.repeat
        )
    shared = Prefix(at.prefix_share, at.prefix_tokens, at.prefix_groups)
    return SyntheticPrompts(
        seed=at.seed,
        input=Lengths.parse(at.input),
        output=Lengths.parse(at.output),
        prefix=shared if at.prefix_share else None,
        as_text=as_text,
    )

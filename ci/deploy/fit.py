"""Does a release fit where it is to go? What was measured of it, held against settings and host.

Everything here can be known before a deployment does anything: budgets of time against what the
release took where it was proven, and the GPUs of its slots and their memory against its flags.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from ci.bench.stage import NAME as BENCH
from ci.boot import readiness
from ci.boot.serving import engine_of
from ci.deploy.routers.haproxy_config import HaproxyOptions
from ci.report.model import Report
from ci.settings import Settings
from ci.settings.deploy import DeploySettings

_PHASES = ("process started", "port open", "serving", "first token")
_SIZES = (
    ("--tp-size", "--tensor-parallel-size", "--tp"),
    ("--pp-size", "--pipeline-parallel-size", "--pp"),
    ("--dp-size", "--data-parallel-size", "--dp"),
)
_ATTENTION = "--enable-dp-attention"
"""With it the data-parallel ranks share the GPUs of the tensor-parallel ones."""
_FRACTION = "--mem-fraction-static"
_TOKENS = "--max-total-tokens"
"""Bounds the KV cache, so that the fraction is no more than a limit."""
_HALF = 0.5


def gpus_needed(flags: Sequence[str]) -> int:
    """Return how many GPUs a server with these flags of SGLang's takes."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for number, names in enumerate(_SIZES):
        parser.add_argument(*names, dest=str(number), type=int, default=1)
    try:
        found = vars(parser.parse_known_args(flags)[0])
    except argparse.ArgumentError:
        return 1  # what is no number SGLang itself refuses
    tensor, pipeline, data = (int(found[str(number)]) for number in range(len(_SIZES)))
    return tensor * pipeline * (1 if _ATTENTION in flags else data)


def misfits(
    settings: Settings, at: DeploySettings, report: Report | None, gpus: int | None
) -> Iterator[str]:
    """Yield everything that doesn't fit, each in one line with its cure.

    Args:
        settings: The settings in force.
        at: How the environment is deployed to.
        report: What was measured of the release; None where there is no such evidence.
        gpus: How many GPUs this host has; None where its driver tells of none.
    """
    if report is not None:
        yield from _start_up(settings, report)
        yield from _answers(at, report)
    yield from _devices(settings, at, gpus)
    if gpus and settings.server.device != "cpu" and _both_on_one(at):
        yield from _memory(settings)


def _start_up(settings: Settings, report: Report) -> Iterator[str]:
    """Hold the phases of its start against their budgets."""
    took = _figures(report, readiness.NAME)
    for phase in _PHASES:
        key = phase.replace(" ", "_")
        budget = getattr(settings.readiness, key)
        if took.get(phase, 0) > budget:
            yield (
                f"{phase} took {took[phase]:.0f} s where the release was proven, and "
                f"readiness.{key} gives it {budget:g} s: raise it"
            )


def _answers(at: DeploySettings, report: Report) -> Iterator[str]:
    """Hold its slowest answers against what cuts them."""
    took = _figures(report, BENCH)
    whole, first = _slowest(took, "e2e"), _slowest(took, "TTFT")
    if whole > at.grace:
        yield (
            f"answers took up to {whole:.0f} s where the release was proven, and a drained slot is "
            f"stopped after deploy.grace = {at.grace:g} s: raise it"
        )
    silence = HaproxyOptions().silence
    if at.router == "haproxy" and first > silence:
        yield (
            f"first tokens took up to {first:.0f} s where the release was proven, and the router "
            f"cuts a stream that is silent for {silence} s: send shorter prompts, or more servers"
        )


def _devices(settings: Settings, at: DeploySettings, gpus: int | None) -> Iterator[str]:
    """Hold the GPUs that the flags need against those of the slots, and of the host."""
    need = gpus_needed(settings.launch_flags())
    if at.target == "container":
        for slot, indices in at.gpus:
            if indices and len(indices) < need:
                yield (
                    f"the flags need {need} GPUs, and deploy.gpus.{slot} names {len(indices)}: "
                    "name more, or lower --tp-size"
                )
            elif gpus is not None and (missing := [one for one in indices if one >= gpus]):
                yield f"deploy.gpus.{slot} names GPU {missing[0]}, and this host has {gpus}"
    elif gpus is not None and settings.server.device != "cpu" and need > gpus:
        yield f"the flags need {need} GPUs, and this host has {gpus}: lower --tp-size"


def _both_on_one(at: DeploySettings) -> bool:
    """Return whether two servers run on the same GPU at some time."""
    if at.strategy == "replace":
        return False
    return at.target == "process" or bool(set(at.gpus.blue) & set(at.gpus.green))


def _memory(settings: Settings) -> Iterator[str]:
    """Hold what a server takes of a GPU's memory against another one's on the same.

    SGLang takes its fraction of what is free as it starts, weights included, so a second server
    starts all the same: with a KV cache that is a small part of the first one's.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(_FRACTION, type=float, dest="fraction")
    parser.add_argument(_TOKENS, dest="tokens")
    try:
        found = parser.parse_known_args(settings.launch_flags())[0]
    except argparse.ArgumentError:
        return
    cure = f"give each less than {_HALF} by {_FRACTION}, or use the strategy replace"
    if not engine_of(settings).native or found.tokens:
        return
    if found.fraction is None:
        yield f"both slots are on one GPU, and SGLang takes most of one by itself: {cure}"
    elif found.fraction >= _HALF:
        left = 1 - found.fraction
        yield (
            f"both slots are on one GPU, and {_FRACTION} {found.fraction:g} of the one that runs "
            f"leaves {left:.0%} of it to the other: {cure}"
        )


def _figures(report: Report, check: str) -> Mapping[str, float]:
    """Return what a check measured, by name."""
    found = (one.figures for one in report.checks if one.name == check)
    return {figure.name: figure.value for figures in found for figure in figures}


def _slowest(figures: Mapping[str, float], latency: str) -> float:
    """Return the highest percentile of a latency under any load, in seconds; 0 for none."""
    named = (value for name, value in figures.items() if f": {latency} p" in f": {name}")
    return max(named, default=0.0)

"""From the settings of the gate to how a comparison is run."""

from __future__ import annotations

import secrets
from dataclasses import replace

from ci.bench.configured import LENIENT
from ci.bench.options import BenchOptions
from ci.bench.schedule import Closed
from ci.gate.measured import Options
from ci.gate.rule import Rule
from ci.gate.sequential import Schedule
from ci.gate.starts import StartEffect
from ci.settings import GateSettings

_SEEDS = 2**31


def gate_options(at: GateSettings, effect: StartEffect | None = None) -> Options:
    """Return how a comparison is run; its seed is drawn where the settings name none.

    Args:
        at: The settings.
        effect: What is known of how two starts differ; None where each block has its own.

    Raises:
        UsageError: The least effect isn't below the slow-down that must not pass.
    """
    return Options(
        rule=Rule(at.slowdown, at.least, at.false_alarm, at.power, at.metrics),
        schedule=Schedule(at.pairs, at.interim, at.repeat, 1 if effect is None else at.rounds),
        seed=secrets.randbelow(_SEEDS) if at.seed is None else at.seed,
        budget=at.budget,
        wait=at.wait,
        identical=at.identical,
        effect=effect,
    )


def block_load(at: GateSettings) -> Closed:
    """Return the load of one block.

    Raises:
        UsageError: It has fewer requests than streams.
    """
    return Closed(at.concurrency, at.requests)


def block_options(bench: BenchOptions) -> BenchOptions:
    """Return how servers are asked in blocks, where answers are kept to be compared.

    Both sides of a pair have the same client on the same machine: one that stamps some
    milliseconds late makes noise, which the gate measures, and no difference.
    """
    return replace(
        bench,
        bounds=LENIENT,
        poll=0.0,
        sampling=replace(bench.sampling, keep_outputs=True),
    )

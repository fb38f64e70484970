"""How often a watch errs about speed, by seeded simulation on invented noise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.noise import SyntheticNoise
from ci.deploy.speed import speed_options
from ci.gate.power import rates
from ci.settings import GateSettings
from tests.rare import rare

pytestmark = pytest.mark.unit

RUNS = 400
NOISE = SyntheticNoise(spread={"ttft": 0.12, "tpot": 0.08})
"""Twice the usual noise of blocks of 32 requests, for blocks of four."""


def most(rate: float) -> float:
    """Return the count that a true rate exceeds once in ten thousand times."""
    return RUNS * rate + 3.7 * math.sqrt(RUNS * rate * (1 - rate))


@pytest.mark.parametrize(
    ("start", "slower"), [(0.0, 0.2), *rare([(0.07, 0.0), (0.05, 0.0), (0.0, 0.1)])]
)
def test_a_good_candidate_seldom_goes_back(start: float, slower: float) -> None:
    """Releases as fast as is allowed are taken back, or equal ones whose starts differ."""
    options = speed_options(GateSettings(), 0.2)
    noise = replace(NOISE, instance=start)
    looks = options.schedule.looks(options.rule)
    found = rates(noise, options.rule, looks, slower=slower, runs=RUNS)
    assert found.failed <= most(0.01)


@pytest.mark.parametrize(("slower", "least"), [(0.5, 0.95), *rare([(0.4, 0.9), (0.3, 0.3)], 0)])
def test_a_slow_candidate_goes_back_mostly(slower: float, least: float) -> None:
    """A watch of speed finds nothing."""
    options = speed_options(GateSettings(), 0.2)
    looks = options.schedule.looks(options.rule)
    found = rates(NOISE, options.rule, looks, slower=slower, runs=RUNS)
    assert found.failed >= least * RUNS
    assert found.passed <= most(0.05)

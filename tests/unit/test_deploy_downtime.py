"""How long nothing served, and why: what the steps, the readiness and the log of a server say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ci.deploy.downtime import Downtime
from ci.deploy.outcome import TakenStep
from ci.deploy.steps import Fetch, Prove, Shift, Start, Step, Stop
from ci.report.model import Check, Phase
from tests.unit.deploy_stand import B

pytestmark = pytest.mark.unit

BEGIN = datetime(2026, 11, 30, 12, tzinfo=UTC)
LOG = (
    "[2026-11-30 12:00:40] Load weight end. elapsed=12.50 s, type=LlamaForCausalLM, avail mem=1 GB"
)
STEPS: tuple[tuple[float, Step, float], ...] = (
    (0, Fetch(B), 5),
    (5, Shift((0, 0)), 0.1),
    (5.1, Stop("blue", 60), 3),
    (8.1, Start("blue", B), 1),
    (9.1, Prove("blue"), 40),
    (49.1, Shift((100, 0)), 0.2),
)
READY = {"port open": (0.0, 20.9), "serving": (20.9, 3.0), "first token": (23.9, 1.0)}


def taken(steps: tuple[tuple[float, Step, float], ...] = STEPS) -> list[TakenStep]:
    """Return steps that were taken, by when they began and for how long."""
    return [TakenStep(step, BEGIN + timedelta(seconds=at), took) for at, step, took in steps]


def ready() -> Check:
    """Return a server's readiness, which was waited for from the tenth second on."""
    phases = tuple(
        Phase(name=name, start=start, seconds=seconds) for name, (start, seconds) in READY.items()
    )
    started = BEGIN + timedelta(seconds=10)
    return Check(name="readiness", started=started, seconds=25, cases=(), phases=phases)


def test_behind_a_router_it_lasts_until_the_proof() -> None:
    """The time of a proof, during which users get nothing, isn't told."""
    found = Downtime.of(taken(), [ready()], LOG, routed=True)
    assert found
    assert found.seconds == pytest.approx(44.3)
    assert found.told == (
        "44.3 s: stop 3.1 s, start 10.3 s, weights 12.5 s, warm-up 4.0 s, proof 14.4 s"
    )
    assert sum(found.causes.values()) == pytest.approx(found.seconds)
    assert [figure.name for figure in found.figures][:2] == ["downtime", "downtime: stop"]


def test_without_a_router_it_ends_with_the_first_token() -> None:
    """Time is counted in which users had their answers."""
    found = Downtime.of(taken(), [ready()], "", routed=False)
    assert found
    assert found.told == "29.8 s: stop 3.0 s, start 22.8 s, warm-up 4.0 s"


def test_where_something_always_served_there_is_none() -> None:
    """A switch between two servers is told as a downtime, or one that isn't over as its length."""
    between = tuple(one for one in STEPS if one[1] != Shift((0, 0)))
    assert Downtime.of(taken(between), [ready()], LOG, routed=True) is None
    assert Downtime.of(taken(STEPS[:-2]), [], LOG, routed=True) is None
    first = tuple(one for one in STEPS if not isinstance(one[1], Stop))
    assert Downtime.of(taken(first), [ready()], LOG, routed=False) is None

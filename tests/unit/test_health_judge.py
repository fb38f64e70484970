"""Health: what was seen becomes a verdict by the budgets, and never says more than that."""

from __future__ import annotations

import os
from typing import Any

import anyio
import pytest
import yaml
from ruamel.yaml import YAML

from ci.health import table
from ci.health.advice import advise, compose, kubernetes
from ci.health.experiments import Exit, Observation
from ci.health.judge import judge
from ci.health.probes import KINDS, PATHS, REQUEST, Answers, ProbeAnswer
from ci.settings import ReadinessSettings
from ci.settings.health import HealthSettings
from ci.verdict import Outcome
from tests.fakes.sglang import FakeSglang

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SETTINGS = HealthSettings(timeout=5, detect=10, recover=10, exit=10)
HURT, HEALED = 10.0, 40.0


def seen(
    fault: str, answers: list[tuple[float, float, int]] | None = None, **more: Any
) -> Observation:
    """Return what the one-token request answered: (start, seconds, status) of each."""
    told = [ProbeAnswer("request", *one) for one in [(1.0, 0.1, 200), *(answers or [])]]
    known = {"begun": 0.0, "hurt": HURT, "healed": HEALED, "ended": 60.0}
    return Observation(fault, Answers(told), **(known | more))


def dead(fault: str, answers: list[tuple[float, float, int]], end: Exit | None) -> Observation:
    """Return what was seen of a fault that can't be healed."""
    return seen(fault, answers, healed=None, exit=end)


GOOD, LATE, BAD = (50.0, 0.1, 200), (11.0, 20.0, 200), (11.0, 1.0, 503)
STOPPED = "scheduler stopped"
KILLED = "scheduler killed"


@pytest.mark.parametrize(
    ("one", "case", "outcome"),
    [
        (seen(STOPPED, [LATE, GOOD]), "shown in time", Outcome.PASSED),
        (seen(STOPPED, [BAD, GOOD]), "shown in time", Outcome.PASSED),
        (seen(STOPPED, [(25.0, 1.0, 503), GOOD]), "shown in time", Outcome.FAILED),
        (seen(STOPPED, [(11.0, 1.0, 200), GOOD]), "shown in time", Outcome.FAILED),
        (seen(STOPPED, [GOOD]), "shown in time", Outcome.FAILED),
        (seen(STOPPED, [(38.0, 20.0, 200)]), "shown in time", Outcome.FAILED),
        (seen(STOPPED, [BAD, GOOD]), "recovers", Outcome.FAILED),
        (seen(STOPPED, [BAD, (45.0, 0.1, 200)]), "recovers", Outcome.PASSED),
        (seen(STOPPED, [BAD, (45.0, 6.0, 200)]), "recovers", Outcome.FAILED),
        (seen(STOPPED, [BAD]), "recovers", Outcome.FAILED),
        (dead(KILLED, [BAD], Exit(6.0, -9, ())), "exits in time", Outcome.PASSED),
        (dead(KILLED, [BAD], Exit(66.0, -9, ())), "exits in time", Outcome.FAILED),
        (dead(KILLED, [BAD], None), "exits in time", Outcome.FAILED),
        (dead(KILLED, [BAD], Exit(6.0, -9, ())), "leaves no process", Outcome.PASSED),
        (dead(KILLED, [BAD], Exit(6.0, -9, ("x",))), "leaves no process", Outcome.FAILED),
        (seen("saturation", [(11.0, 1.0, 200)] * 3, done=1), "no false alarm", Outcome.PASSED),
        (seen("saturation", [BAD, BAD], done=1), "no false alarm", Outcome.FAILED),
        (seen("saturation", [LATE], done=1), "no false alarm", Outcome.FAILED),
        (seen("saturation", [(11.0, 1.0, 200)] * 3), "no false alarm", Outcome.INCONCLUSIVE),
        (seen("saturation", [], done=1), "no false alarm", Outcome.INCONCLUSIVE),
        (seen("saturation", begun=5.0), "content before", Outcome.INCONCLUSIVE),
        (seen("saturation", [(2.0, 1.0, 503)]), "content before", Outcome.FAILED),
        (seen("saturation"), "content before", Outcome.PASSED),
    ],
    ids=lambda value: None if isinstance(value, Observation) else str(value),
)
def test_verdict_follows_what_was_seen(one: Observation, case: str, outcome: Outcome) -> None:
    """A server that lies passes, or one that tells the truth fails."""
    found = {each.name: each for each in judge(one, SETTINGS)}
    told = found[f"{one.fault}: {case}"]
    assert told.outcome is outcome, told.message
    assert bool(told.message) is (outcome is not Outcome.PASSED)


def test_only_the_named_probe_is_judged() -> None:
    """A server fails for an endpoint that nobody relies on."""
    lying = Answers([ProbeAnswer("health", 1, 1, 200), ProbeAnswer("health", 11, 1, 200)])
    one = Observation(STOPPED, lying, hurt=HURT, healed=HEALED, ended=60)
    health = SETTINGS.model_copy(update={"probe": "health"})
    outcomes = {case.name: case.outcome for case in judge(one, health)}
    assert outcomes[f"{STOPPED}: shown in time"] is Outcome.FAILED
    one.answers.all += [ProbeAnswer("request", 1, 1, 200), ProbeAnswer("request", 11, 6, 0, "none")]
    outcomes = {case.name: case.outcome for case in judge(one, SETTINGS)}
    assert outcomes[f"{STOPPED}: shown in time"] is Outcome.PASSED


def test_unfinished_answer_is_no_alarm_before_its_time() -> None:
    """The end of the watching reads as an alarm."""
    waiting = ProbeAnswer("request", 11, 3, 0, "not yet", pending=True)
    assert waiting.alarm(5) is None
    assert waiting.alarm(2) == 13


def test_table() -> None:
    """The table says something else than what was answered."""
    one = seen(STOPPED, [(11.0, 1.0, 200), (13.0, 2.0, 200), (16.0, 20.0, 503), (38.0, 9.0, 200)])
    assert table.said(one, "request", 5) == (
        "alarm at 11.0 s: 2 x 200 (≤ 2.0 s), 503 (20.0 s), then none"
    )
    assert table.said(one, "health", 5) == "no alarm: not asked"
    lines = table.markdown([one], 5).splitlines()
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1
    assert len(table.jsonl([one]).splitlines()) == 5
    assert set(table.rows([one], 5)) >= {f"{STOPPED}: truth", f"{STOPPED}: /health"}


@pytest.mark.parametrize("kind", KINDS)
def test_advice_is_the_probe_that_hides_least(kind: str) -> None:
    """Users are told to rely on a probe that was seen to lie."""
    told = [ProbeAnswer(each, 11, 1, 503 if each == kind else 200) for each in KINDS]
    stopped = Observation(STOPPED, Answers(told), hurt=HURT, healed=HEALED, ended=60)
    busy = seen("saturation", [(11.0, 4.0, 200)], done=1)
    advice = advise([stopped, busy], SETTINGS, ReadinessSettings())
    assert advice is not None
    assert (advice.liveness, advice.blind, advice.alarmed) == (kind, (), ())
    assert advice.timeout == (12 if kind == "request" else 3)
    for text in (kubernetes(advice), compose(advice)):
        assert f"{kind}: of the probes it hides least" in text
    probes, service = yaml.safe_load(kubernetes(advice)), yaml.safe_load(compose(advice))
    assert list(probes) == ["startupProbe", "readinessProbe", "livenessProbe"]
    assert probes["livenessProbe"]["timeoutSeconds"] == advice.timeout
    call = service["healthcheck"]["test"][-1]
    compile(call, "healthcheck", "exec")
    if kind == REQUEST:
        assert probes["livenessProbe"]["exec"]["command"] == ["python3", "-c", call]
    else:
        assert probes["livenessProbe"]["httpGet"] == {"path": PATHS[kind], "port": 30000}


def test_no_advice_without_a_fault() -> None:
    """A probe is recommended although nobody has seen whether it tells the truth."""
    harmless = [seen("saturation", [(11.0, 4.0, 200)], done=1)]
    assert advise(harmless, SETTINGS, ReadinessSettings()) is None


def yaml_of(text: str) -> Any:
    """Return a document of Kubernetes' or Compose's."""
    return YAML(typ="safe").load(text)


def test_a_start_has_the_time_of_its_budgets() -> None:
    """A platform ends a server that still loads, for which readiness would have waited."""
    start = ReadinessSettings(port_open=1000, process_started=20, serving=120, first_token=60)
    stopped = Observation(STOPPED, Answers([]), hurt=HURT, healed=HEALED, ended=60)
    advice = advise([stopped], SETTINGS, start)
    assert advice is not None
    probe = yaml_of(kubernetes(advice))["startupProbe"]
    assert probe["httpGet"]["path"] == "/health"
    assert probe["failureThreshold"] * probe["periodSeconds"] == 1200
    assert yaml_of(compose(advice))["healthcheck"]["start_period"] == "1200s"


async def test_the_start_up_probe_asks_for_each_length_of_prompts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A first prompt of a new length stalls for 40 s, long after the platform sent traffic."""
    start = ReadinessSettings(first_token=45, prompt_tokens=(3, 700))
    stopped = Observation(STOPPED, Answers([]), hurt=HURT, healed=HEALED, ended=60)
    advice = advise([stopped], SETTINGS, start)
    assert advice is not None
    probe = yaml_of(kubernetes(advice))["startupProbe"]
    assert probe["timeoutSeconds"] == 90
    assert probe["failureThreshold"] * probe["periodSeconds"] == pytest.approx(875, abs=10)
    assert "sglang-ci wait" in compose(advice)
    with FakeSglang() as server:
        port = server.url.rpartition(":")[2]
        await anyio.run_process(probe["exec"]["command"], env=os.environ | {"PORT": port})
        assert server.asked == ["/generate", "/generate"]

"""Probe settings for Kubernetes and Compose, from what was measured, as text to paste."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ci.health.experiments import HARMLESS, Observation
from ci.health.probes import KINDS, PATHS, REQUEST

if TYPE_CHECKING:
    from ci.settings import ReadinessSettings
    from ci.settings.health import HealthSettings

LEAST_TIMEOUT = 3
"""Seconds; SGLang's /health takes one at its best."""
MARGIN = 3.0
"""How many times the slowest good answer under load a platform should wait."""
PERIOD, FAILURES = 10, 3
"""Kubernetes' own defaults for the period in seconds, and for failures in a row."""
PORT = 30000
HEALTH = {"httpGet": {"path": "/health", "port": PORT}}

_ASK = (
    "r.urlopen(r.Request("
    "'http://127.0.0.1:%s/generate' % os.environ.get('PORT', '30000'), "
    "json.dumps({PROMPT, 'sampling_params': {'max_new_tokens': 1}}).encode(), "
    "{'Content-Type': 'application/json', "
    "'Authorization': 'Bearer ' + os.environ.get('SGLANG_API_KEY', '')}), timeout=TIMEOUT).read()"
)
_IMPORTS = "import json, os, urllib.request as r; "
_CALL = _IMPORTS + _ASK.replace("PROMPT", "'text': 'Hello'")
_IDS = "'input_ids': [10 + n % 191] + [10 + i % 200 for i in range(n - 1)]"
_WARM = f"{_IMPORTS}[{_ASK.replace('PROMPT', _IDS)} for n in LENGTHS]"
"""The first token id is a length's own, so that no cached beginning shortens the prompt."""


@dataclass(frozen=True)
class Advice:
    """What to probe with.

    Args:
        liveness: The probe whose alarm should end the server.
        timeout: Seconds to wait for it.
        readiness_timeout: Seconds to wait for /health, which takes a server out of traffic.
        blind: Faults that the liveness probe did not show.
        alarmed: Harmless loads under which it alarmed.
        start: Most seconds of a start, by the budgets of readiness.
        prompts: Lengths of prompts, in tokens, whose first ones belong to the start.
        prompt: Seconds that each of those may take.
    """

    liveness: str
    timeout: int
    readiness_timeout: int
    blind: tuple[str, ...]
    alarmed: tuple[str, ...]
    start: float = 600.0
    prompts: tuple[int, ...] = ()
    prompt: float = 60.0

    @property
    def startup_failures(self) -> int:
        """How often a start-up probe may fail."""
        return math.ceil(self.start / PERIOD)

    @property
    def detect(self) -> int:
        """Most seconds until a platform acts on a fault that the probe shows by no answer."""
        return (PERIOD + self.timeout) + (FAILURES - 1) * max(PERIOD, self.timeout)

    @property
    def why(self) -> str:
        """Why this probe, in words."""
        blind = f"it did not show: {', '.join(self.blind)}" if self.blind else "it showed all"
        alarmed = f"; it alarmed under {', '.join(self.alarmed)}" if self.alarmed else ""
        return f"{self.liveness}: of the probes it hides least; {blind}{alarmed}"


def advise(
    seen: Sequence[Observation],
    settings: HealthSettings,
    start: ReadinessSettings,
) -> Advice | None:
    """Return the probe that hides least and alarms least, and how long to wait for it.

    None where no fault was seen that a probe could have hidden.
    """
    if all(one.fault in HARMLESS for one in seen):
        return None
    best = min(KINDS, key=lambda kind: _badness(kind, seen, settings))
    return Advice(
        liveness=best,
        timeout=_timeout(best, seen),
        readiness_timeout=_timeout("health", seen),
        blind=_blind(best, seen, settings),
        alarmed=_alarmed(best, seen, settings),
        start=start.whole(),
        prompts=start.prompt_tokens,
        prompt=start.first_token,
    )


def _badness(
    kind: str, seen: Sequence[Observation], settings: HealthSettings
) -> tuple[int, int, int]:
    blind, alarmed = _blind(kind, seen, settings), _alarmed(kind, seen, settings)
    return (len(blind), len(alarmed), KINDS.index(kind))


def _blind(kind: str, seen: Sequence[Observation], settings: HealthSettings) -> tuple[str, ...]:
    return tuple(
        one.fault
        for one in seen
        if one.fault not in HARMLESS
        and one.answers.alarm(kind, settings.timeout, one.hurt, one.until) is None
    )


def _alarmed(kind: str, seen: Sequence[Observation], settings: HealthSettings) -> tuple[str, ...]:
    return tuple(
        one.fault
        for one in seen
        if one.fault in HARMLESS
        and one.answers.alarm(kind, settings.timeout, one.hurt, one.until) is not None
    )


def _timeout(kind: str, seen: Sequence[Observation]) -> int:
    slowest = max(
        (
            answer.seconds
            for one in seen
            if one.fault in HARMLESS
            for answer in one.answers.of(kind, one.begun, one.until)
            if answer.good
        ),
        default=1.0,
    )
    return max(LEAST_TIMEOUT, math.ceil(slowest * MARGIN))


def kubernetes(advice: Advice) -> str:
    """Return a container's probes in Kubernetes' words, as YAML."""
    waiting = {"timeoutSeconds": advice.readiness_timeout}
    period = {"periodSeconds": PERIOD, "failureThreshold": advice.startup_failures}
    readiness = {**HEALTH, "periodSeconds": 5, **waiting, "failureThreshold": 2}
    liveness = {
        **_kubernetes_call(advice),
        "periodSeconds": PERIOD,
        "timeoutSeconds": advice.timeout,
        "failureThreshold": FAILURES,
    }
    until, startup = _startup(advice)
    return "".join(
        (
            f"# From what was measured: {advice.why}.\n",
            f"# A fault that shows by no answer ends the container within {advice.detect} s and "
            "its grace.\n",
            f"# {until}\n",
            _yaml({"startupProbe": startup | period}),
            "# Takes the pod out of traffic; /health is 503 as soon as SIGTERM has come.\n",
            _yaml({"readinessProbe": readiness}),
            "# Ends the container; a server with --api-key needs the key in SGLANG_API_KEY too.\n",
            _yaml({"livenessProbe": liveness}),
        )
    )


def _startup(advice: Advice) -> tuple[str, dict[str, Any]]:
    """Return until when the start-up probe waits, and what it asks: prompts of each length too."""
    if not advice.prompts:
        until = "Until the first token; /health is 503 before."
        return until, {**HEALTH, "timeoutSeconds": advice.readiness_timeout}
    limit = math.ceil(advice.prompt)
    call = _WARM.replace("TIMEOUT", str(limit)).replace("LENGTHS", str(list(advice.prompts)))
    until = "Until a token came after a prompt of each length, of which the first may be slow."
    return until, {**_exec(call), "timeoutSeconds": limit * len(advice.prompts)}


def compose(advice: Advice) -> str:
    """Return a service's health check in Compose's words, as YAML."""
    check = {
        "test": ["CMD", "python3", "-c", _compose_call(advice)],
        "interval": f"{PERIOD}s",
        "timeout": f"{advice.timeout}s",
        "retries": FAILURES,
        "start_period": f"{PERIOD * advice.startup_failures}s",
    }
    warm = "# It has no start-up probe: `sglang-ci wait` asks for prompts of each length.\n"
    return (
        f"# From what was measured: {advice.why}.\n"
        "# Compose restarts nothing by itself that is unhealthy: have something act on it.\n"
        + (warm if advice.prompts else "")
        + _yaml({"healthcheck": check, "stop_grace_period": "30s"})
    )


def _kubernetes_call(advice: Advice) -> dict[str, Any]:
    if advice.liveness != REQUEST:
        return {"httpGet": {"path": PATHS[advice.liveness], "port": PORT}}
    return _exec(_call(advice))


def _exec(call: str) -> dict[str, Any]:
    return {"exec": {"command": ["python3", "-c", call]}}


def _compose_call(advice: Advice) -> str:
    if advice.liveness == REQUEST:
        return _call(advice)
    url = f"http://127.0.0.1:{PORT}{PATHS[advice.liveness]}"
    return f"import urllib.request as r; r.urlopen('{url}', timeout={advice.timeout}).read()"


def _call(advice: Advice) -> str:
    return _CALL.replace("TIMEOUT", str(advice.timeout))


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=math.inf)
    return text

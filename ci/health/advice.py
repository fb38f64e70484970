"""Probe settings for Kubernetes and Compose, from what was measured, as text to paste."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ci.health.experiments import HARMLESS, Observation
from ci.health.probes import KINDS, PATHS, REQUEST

if TYPE_CHECKING:
    from ci.settings.health import HealthSettings

LEAST_TIMEOUT = 3
"""Seconds; SGLang's /health takes one at its best."""
MARGIN = 3.0
"""How many times the slowest good answer under load a platform should wait."""
PERIOD, FAILURES = 10, 3
"""Kubernetes' own defaults for the period in seconds, and for failures in a row."""
STARTUP_FAILURES = 60

_CALL = (
    "import json, os, urllib.request as r; r.urlopen(r.Request("
    "'http://127.0.0.1:%s/generate' % os.environ.get('PORT', '30000'), "
    "json.dumps({'text': 'Hello', 'sampling_params': {'max_new_tokens': 1}}).encode(), "
    "{'Content-Type': 'application/json', "
    "'Authorization': 'Bearer ' + os.environ.get('SGLANG_API_KEY', '')}), timeout=TIMEOUT).read()"
)


@dataclass(frozen=True)
class Advice:
    """What to probe with.

    Args:
        liveness: The probe whose alarm should end the server.
        timeout: Seconds to wait for it.
        readiness_timeout: Seconds to wait for /health, which takes a server out of traffic.
        blind: Faults that the liveness probe did not show.
        alarmed: Harmless loads under which it alarmed.
    """

    liveness: str
    timeout: int
    readiness_timeout: int
    blind: tuple[str, ...]
    alarmed: tuple[str, ...]

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


def advise(seen: Sequence[Observation], settings: HealthSettings) -> Advice | None:
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
    """Return a container's probes in Kubernetes' words."""
    return f"""\
# From what was measured: {advice.why}.
# A fault that shows by no answer ends the container within {advice.detect} s and its grace.
startupProbe: # until the first token; /health is 503 before
  httpGet: {{path: /health, port: 30000}}
  periodSeconds: {PERIOD}
  timeoutSeconds: {advice.readiness_timeout}
  failureThreshold: {STARTUP_FAILURES}
readinessProbe: # takes the pod out of traffic; /health is 503 as soon as SIGTERM has come
  httpGet: {{path: /health, port: 30000}}
  periodSeconds: 5
  timeoutSeconds: {advice.readiness_timeout}
  failureThreshold: 2
livenessProbe: # ends the container; with --api-key it needs that key as SGLANG_API_KEY too
{_indented(_kubernetes_call(advice), 2)}
  periodSeconds: {PERIOD}
  timeoutSeconds: {advice.timeout}
  failureThreshold: {FAILURES}
"""


def compose(advice: Advice) -> str:
    """Return a service's health check in Compose's words."""
    return f"""\
# From what was measured: {advice.why}.
# Compose restarts nothing by itself that is unhealthy: have something act on it.
healthcheck:
  test: ["CMD", "python3", "-c", "{_compose_call(advice)}"]
  interval: {PERIOD}s
  timeout: {advice.timeout}s
  retries: {FAILURES}
  start_period: {PERIOD * STARTUP_FAILURES}s
stop_grace_period: 30s
"""


def _kubernetes_call(advice: Advice) -> str:
    if advice.liveness != REQUEST:
        return f"httpGet: {{path: {PATHS[advice.liveness]}, port: 30000}}"
    call = _CALL.replace("TIMEOUT", str(advice.timeout))
    return f'exec:\n  command:\n    - python3\n    - -c\n    - "{call}"'


def _compose_call(advice: Advice) -> str:
    if advice.liveness == REQUEST:
        return _CALL.replace("TIMEOUT", str(advice.timeout))
    url = f"http://127.0.0.1:30000{PATHS[advice.liveness]}"
    return f"import urllib.request as r; r.urlopen('{url}', timeout={advice.timeout}).read()"


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.splitlines())

"""How long a start takes on this GPU, and what a server costs that shares another one's weights.

`starts` starts one server after the other, each way of `WAYS` in each round. `shared` has SGLang's
weight cache daemon hold the weights, and puts two servers on them, as a switch on one GPU would.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import httpx

from benchmarks.gpu.model import DUMMY
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.processes import (
    Deadline,
    StepFailed,
    fresh,
    keep,
    servers,
    started,
    stop,
    tail,
)
from benchmarks.switches import used
from ci.report.write import load

FROM_DAEMON = ("--weight-cache-mode=client",)
PROMPTS = ("The server", "One two three four", "A B C D E F G H", "release")
READY = "are ready"
"""What SGLang's weight cache daemon says once its weights lie there."""
KEPT = "home-1"
"""The home of whatever keeps its kernels: the one that the first start has filled."""
POLL = 0.2


@dataclass(frozen=True)
class Way:
    """One way to start: `kept` caches of kernels or none, and further flags."""

    kept: bool = True
    flags: tuple[str, ...] = ()


WAYS: Mapping[str, Way] = {
    "first": Way(kept=False),
    "kept caches": Way(),
    "kept, graphs up to 8": Way(flags=("--cuda-graph-max-bs-decode=8", "--max-running-requests=8")),
    "kept, no prefill graphs": Way(flags=("--disable-prefill-cuda-graph",)),
    "kept, no graphs": Way(flags=("--disable-cuda-graph",)),
}
"""A home of its own keeps a start from finding the kernels that an earlier one has compiled."""


def starts(plan: Plan) -> dict[str, Any]:
    """Start a server in each way, in turns, until there is no time for another start."""
    deadline = plan.deadline("starts")
    rows: list[dict[str, Any]] = []
    number = 0
    while True:
        number += 1
        for name, way in WAYS.items():
            if rows and deadline.left < 1.3 * max(row["seconds"] for row in rows):
                return {"as_expected": True, "rows": rows, "ways": list(_medians(rows))}
            home = plan.out / KEPT if way.kept else fresh(plan.out / f"home-{number}")
            rows.append({"way": name, "round": number} | _start(plan, way.flags, home, deadline))
            keep(plan.out / "starts.json", rows)
            print(rows[-1], flush=True)


def _start(plan: Plan, flags: Sequence[str], home: Path, deadline: Deadline) -> dict[str, Any]:
    config = replace(plan, flags=(*plan.flags, *flags), home=home).settings("start.toml")
    begin = time.monotonic()
    with servers([config], [plan.port], deadline):
        return {"seconds": round(time.monotonic() - begin, 1), "MiB": _in_use()} | _phases(config)


def _phases(config: Path) -> dict[str, Any]:
    """Return what the readiness of the server of `config` told, phase by phase."""
    (check,) = load(config.with_name(f"{config.stem}-readiness")).checks
    return {"phases": {phase.name: round(phase.seconds, 1) for phase in check.phases}}


def _in_use() -> int:
    """Return the MiB that are in use on all GPUs; 0 where no driver tells of one."""
    return sum(anyio.run(used).values())


def _medians(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the median of each way's seconds and phases."""
    for name in WAYS:
        if not (mine := [row for row in rows if row["way"] == name]):
            continue
        phases = {
            phase: round(statistics.median(row["phases"].get(phase, 0.0) for row in mine), 1)
            for phase in mine[-1]["phases"]
        }
        seconds = statistics.median(row["seconds"] for row in mine)
        told = {"way": name, "starts": len(mine), "seconds": round(seconds, 1)}
        yield told | {"MiB": mine[-1]["MiB"], "phases": phases}


def shared(plan: Plan) -> dict[str, Any]:
    """Start two servers with weights of their own, then two on the weights of one daemon."""
    deadline = plan.deadline("shared")
    own = _both(plan, (), deadline)
    before = _in_use()
    with _daemon(plan, deadline) as seconds:
        held = {"seconds": seconds, "MiB": _in_use() - before}
        found = {"own": own, "daemon": held, "shared": _both(plan, FROM_DAEMON, deadline)}
    alike = found["shared"]["answers"] == own["answers"]
    return found | {"as_expected": alike and found["shared"]["lives on"]}


def _both(plan: Plan, flags: Sequence[str], deadline: Deadline) -> dict[str, Any]:
    """Have a second server start beside the first, and the first one end, as in a switch."""
    plan = replace(plan, flags=(*plan.flags, *flags), home=plan.out / KEPT)
    kind = "shared" if flags else "own"
    configs = [plan.settings(f"{kind}-{number}.toml", number) for number in (0, 1)]
    begin, before = time.monotonic(), _in_use()
    with servers(configs[:1], [plan.port], deadline) as old:
        first = {"seconds": round(time.monotonic() - begin, 1), "MiB": _in_use() - before}
        begin, between = time.monotonic(), _in_use()
        with servers(configs[1:], [plan.port + 1], deadline):
            second = {"seconds": round(time.monotonic() - begin, 1), "MiB": _in_use() - between}
            answers = [[_answer(plan.url(number), text) for text in PROMPTS] for number in (0, 1)]
            stop(old[0])
            return {
                "first": first | _phases(configs[0]),
                "second": second | _phases(configs[1]),
                "MiB of both": between - before + second["MiB"],
                "answers": answers,
                "lives on": [_answer(plan.url(1), text) for text in PROMPTS] == answers[1],
            }


def _answer(url: str, text: str) -> str:
    asked = {"text": text, "sampling_params": {"temperature": 0, "max_new_tokens": 16}}
    return str(httpx.post(f"{url}/generate", json=asked, timeout=60).json()["text"])


@contextmanager
def _daemon(plan: Plan, deadline: Deadline) -> Iterator[float]:
    """Hold the plan's weights on the GPU; yield the seconds until they lay there.

    Raises:
        StepFailed: The daemon ended, or isn't ready by the deadline.
    """
    log, begin = plan.out / "weight-cache.log", time.monotonic()
    argv = [sys.executable, "-m", "sglang.srt.weight_cache.daemon", f"--model-path={plan.model}"]
    argv += [] if any(plan.model.glob("*.safetensors")) else [DUMMY]
    with started(argv, log) as process:
        while READY not in tail(log):
            if process.poll() is not None or time.monotonic() > deadline.until:
                raise StepFailed(f"no weight cache daemon:\n{tail(log)}")
            time.sleep(POLL)
        yield round(time.monotonic() - begin, 1)

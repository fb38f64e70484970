"""The steps, each a function of the plan that returns what it found as plain values."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench_serving import Foreign, read
from benchmarks.gpu import starts
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.processes import (
    CI,
    Deadline,
    Done,
    StepFailed,
    call,
    fresh,
    keep,
    servers,
    stop,
    tail,
)
from ci.bench.files import FOREIGN
from ci.gate import slow_proxy
from ci.report.model import Check
from ci.report.write import load
from ci.verdict import Outcome, Verdict

Found = dict[str, Any]

FIGURES = (
    "completed",
    "duration",
    "request_throughput",
    "output_throughput",
    *(
        f"{of}_{name}_ms"
        for name in ("ttft", "tpot", "itl", "e2e_latency")
        for of in ("median", "p99")
    ),
)
"""What is laid side by side; the names are those of `bench_serving`."""


FAULTS = ("long prefill", "saturation", "scheduler stopped")
"""What is done to a server that has to live on, for its drain."""


def boot(plan: Plan) -> Found:
    """Start a server by `launch.sh`, ask it every question, stop it: `sglang-ci ci`."""
    folder, config = fresh(plan.out / "boot"), plan.settings("boot.toml")
    argv = (*CI, "ci", "--config", str(config), "--report-dir", str(folder))
    done = call(argv, plan.out / "boot.log", plan.deadline("boot"))
    found = report(folder, done)
    return found | {"as_expected": found["verdict"] == Verdict.PASSED}


def health(plan: Plan) -> Found:
    """Hurt a server that has to say so (`health`), then end it while it works (`drain`)."""
    deadline, config = plan.deadline("health"), plan.settings("health.toml")
    faults = [part for fault in FAULTS for part in ("--fault", fault)]
    found: Found = {}
    with servers([config], [plan.port], deadline) as running:
        at = (plan.url(0), "--pid", str(running[0].pid), "--config", str(config))
        for name, asked in (("health", faults), ("drain", ["--scenario", "streams"])):
            folder = fresh(plan.out / name)
            argv = (*CI, name, *at, *asked, "--report-dir", str(folder))
            found[name] = report(folder, call(argv, plan.out / f"{name}-run.log", deadline))
    good = all(part["verdict"] == Verdict.PASSED for part in found.values())
    checks = [check for part in found.values() for check in part["checks"]]
    return found | {"as_expected": good, "checks": checks}


def bench(plan: Plan) -> Found:
    """Put one server under each load by our client and by SGLang's, in alternating order."""
    deadline, rows, commands = plan.deadline("bench"), [], []
    with servers([plan.settings("bench.toml")], [plan.port], deadline):
        for number, (streams, requests) in enumerate(plan.sizes.loads.items()):
            found: dict[str, Foreign] = {}
            verdict = ""
            for client in ("ours", "theirs")[:: 1 if number % 2 == 0 else -1]:
                if client == "ours":
                    done, found[client], verdict = _ours(plan, streams, requests, deadline)
                else:
                    done, found[client] = _theirs(plan, streams, requests, deadline)
                commands.append(done.command)
            rows.append(_row(streams, requests, verdict, found))
            keep(plan.out / "bench.json", rows)
    usable = all(row["verdict"] == Verdict.PASSED for row in rows)
    return {"as_expected": usable, "loads": rows, "commands": commands}


def _ours(plan: Plan, streams: int, requests: int, deadline: Deadline) -> tuple[Done, Foreign, str]:
    folder = fresh(plan.out / f"bench-{streams}")
    asked = ("--concurrency", str(streams), "--requests", str(requests), "--set")
    argv = (*CI, "bench", plan.url(0), "--config", str(plan.out / "bench.toml"), *asked)
    told = (*argv, f"bench.seed={streams}", "--report-dir", str(folder))
    done = call(told, plan.out / f"bench-{streams}.log", deadline)
    if not (folder / FOREIGN).is_file():
        raise StepFailed(f"no figures came of: {done.command}")
    return done, read(folder / FOREIGN)[-1], str(load(folder).verdict)


def _theirs(plan: Plan, streams: int, requests: int, deadline: Deadline) -> tuple[Done, Foreign]:
    """Run `sglang.bench_serving` with the same lengths; each load has prompts of its own."""
    file = plan.out / f"bench_serving-{streams}.jsonl"
    file.unlink(missing_ok=True)
    told = {
        "backend": "sglang",
        "base-url": plan.url(0),
        "model": str(plan.model),
        "tokenizer": str(plan.model),
        "dataset-name": "random-ids",
        "random-input-len": plan.sizes.prompt,
        "random-output-len": plan.sizes.answer,
        "random-range-ratio": "1.0",
        "num-prompts": requests,
        "max-concurrency": streams,
        "warmup-requests": streams,
        "seed": streams,
        "output-file": str(file),
    }
    pairs = [part for name, value in told.items() for part in (f"--{name}", str(value))]
    argv = [sys.executable, "-m", "sglang.bench_serving", *pairs, "--tokenize-prompt"]
    log = file.with_suffix(".log")
    done = call([*argv, "--disable-tqdm"], log, deadline)
    if done.code or not file.is_file():
        raise StepFailed(f"bench_serving ended with {done.code}:\n{tail(log)}")
    return done, read(file)[-1]


def _row(streams: int, requests: int, verdict: str, found: dict[str, Foreign]) -> Found:
    sides = {name: {key: one.figures.get(key) for key in FIGURES} for name, one in found.items()}
    return {"concurrency": streams, "requests": requests, "verdict": verdict} | sides


def gate(plan: Plan) -> Found:
    """Compare two equal servers on one GPU, then one of them with one that is slower."""
    deadline, plan = plan.deadline("gate"), plan.for_gate()
    both = [plan.settings("gate-baseline.toml"), plan.settings("gate-equal.toml", 1)]
    ports = [plan.port, plan.port + 1]
    with servers(both, ports, deadline) as running:
        equal = _compare(plan, "equal", plan.url(1), deadline)
        keep(plan.out / "gate.json", {"equal": equal})
        if plan.slowed:
            with proxy(plan.url(1), plan.slowed) as url:
                slower = _compare(plan, "slower", url, deadline)
        else:
            stop(running[1])
            slow = plan.settings("gate-slower.toml", 1, slower=True)
            with servers([slow], ports[1:], deadline):
                slower = _compare(plan, "slower", plan.url(1), deadline)
    expected = equal["verdict"] == Verdict.PASSED and slower["verdict"] == Verdict.FAILED
    by = f"a proxy, by {plan.slowed:.0%}" if plan.slowed else " ".join(plan.slower)
    return {"as_expected": expected, "slower_by": by, "equal": equal, "slower": slower}


def gpus(plan: Plan) -> Found:
    """Do the same with a GPU for each server, which the gate itself starts and places."""
    deadline, plan = plan.deadline("gpus"), plan.for_gate()
    plan.settings("gate-baseline.toml")
    found = {
        name: _compare(
            plan,
            name,
            str(plan.settings(f"gate-{name}.toml", 1, slower=name == "slower")),
            deadline,
            baseline=str(plan.out / "gate-baseline.toml"),
        )
        for name in ("equal", "slower")
    }
    expected = [found[name]["verdict"] for name in found] == [Verdict.PASSED, Verdict.FAILED]
    return {"as_expected": expected, "slower_by": " ".join(plan.slower), **found}


def _compare(
    plan: Plan, name: str, candidate: str, deadline: Deadline, baseline: str = ""
) -> Found:
    folder, config = fresh(plan.out / f"gate-{name}"), plan.out / "gate-baseline.toml"
    argv = (*CI, "compare", baseline or plan.url(0), candidate, "--config", str(config))
    placed = ("--set", "gate.servers=gpus") if baseline else ()
    log = plan.out / f"gate-{name}-compare.log"
    done = call((*argv, *placed, "--report-dir", str(folder)), log, deadline)
    return report(folder, done)


@contextmanager
def proxy(url: str, share: float) -> Iterator[str]:
    """Yield the URL of the server at `url`, slower by `share`."""
    argv = (sys.executable, "-I", slow_proxy.__file__, url, repr(share))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().decode().strip()
        process.stdin.close()  # which ends it


def report(folder: Path, done: Done) -> Found:
    """Return what a report says, in few words."""
    found = load(folder)
    return {
        "verdict": str(found.verdict),
        "exit_code": done.code,
        "seconds": done.seconds,
        "command": done.command,
        "checks": [_check(check) for check in found.checks],
        "facts": dict(found.facts),
    }


def _check(check: Check) -> Found:
    told = {case.name: f"{case.outcome}: {case.message}" for case in check.cases}
    passed = sum(case.outcome is Outcome.PASSED for case in check.cases)
    return {
        "name": check.name,
        "verdict": str(check.verdict),
        "seconds": round(check.seconds, 1),
        "passed": passed,
        "cases": len(check.cases),
        "other_cases": {
            case.name: told[case.name]
            for case in check.cases
            if case.outcome is not Outcome.PASSED or case.message
        },
        "phases": {phase.name: round(phase.seconds, 2) for phase in check.phases},
        "facts": check.facts,
    }


STEPS = {
    "boot": boot,
    "health": health,
    "bench": bench,
    "gate": gate,
    "gpus": gpus,
    "starts": starts.starts,
    "shared": starts.shared,
}
USUAL = ("boot", "health", "bench", "gate")
"""What one GPU is enough for."""

"""Measure how long this project's environment takes to start a server, against other starts.

    python -m benchmarks.boot [--plain PLAIN/bin/python] [--ours PYTHON] [--rounds 3]

*Plain* is what a user gets by hand, the platform plugin present; without it two starts are left:

    uv venv --python 3.11 PLAIN
    uv pip install --python PLAIN/bin/python --prerelease allow sglang==0.5.23
    uv pip install --python PLAIN/bin/python --no-deps --editable .

Starts are timed in each round, in turns, from the command to the first token that
`POST /generate` answers:

    first   plain, in a copy without any `.pyc` file: as uv leaves it, on its first start
    plain   plain with its `.pyc` files: a later start, or an install by pip, which compiles
    spawned this environment, started by `launch.sh` with START_METHOD=spawn
    ours    the same, as it starts by itself: SGLang's processes are forked

The medians' ratios are the figure. CPU seconds of the whole process tree stand beside the
wall clock, since they bear a busy machine better. Run it on a quiet one.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil

from ci.platform import TINY_MODEL

LAUNCH = Path(__file__).parents[1] / "launch.sh"
PROMPT = {"text": "The server", "sampling_params": {"max_new_tokens": 1}}
LIMITS = ("--max-total-tokens=8192", "--max-running-requests=8")
BY_HAND = (
    f"--model-path={TINY_MODEL}",
    "--load-format=dummy",
    "--enable-metrics",
    "--device=cpu",
    "--attention-backend=torch_native",
    "--sleep-on-idle",
    *LIMITS,
)
BUDGET = 600.0


@dataclass(frozen=True)
class Start:
    """One start of a server: seconds until the first token, and CPU seconds spent on it."""

    wall: float
    cpu: float


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the process and all that descend from it."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


@contextmanager
def server(
    argv: list[str], port: int, python: str, method: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `argv` as a server on `port`; leave none of its processes behind."""
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PORT": str(port),
        "PYTHON": python,
        "DEVICE": "cpu",
        "MODEL_PATH": str(TINY_MODEL),
        "START_METHOD": method,
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            running = tree(process) if process.poll() is None else []
            for member in running:
                member.kill()
            process.wait()
            psutil.wait_procs(running, timeout=30)


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU seconds of a process tree, of its ended members too."""
    return sum(sum(member.cpu_times()[:4]) for member in tree(process))


def measure(argv: list[str], port: int, python: str, method: str = "auto") -> Start:
    """Start a server, wait for its first token, and stop it.

    Raises:
        RuntimeError: it ended, or gave no token within the budget.
    """
    began = time.monotonic()
    url = f"http://127.0.0.1:{port}/generate"
    with server(argv, port, python, method) as process, httpx.Client(trust_env=False) as client:
        while time.monotonic() - began < BUDGET and process.poll() is None:
            try:
                if client.post(url, json=PROMPT, timeout=30).is_success:
                    return Start(time.monotonic() - began, cpu_seconds(process))
            except httpx.TransportError:
                time.sleep(0.1)
    raise RuntimeError(f"no token from {python}: exit code {process.returncode}")


def start_by_hand(python: str) -> Start:
    """Time a start with SGLang's own command."""
    port = free_port()
    return measure([python, "-m", "sglang.launch_server", *BY_HAND, f"--port={port}"], port, python)


def start_ours(python: str, method: str = "auto") -> Start:
    """Time a start by `launch.sh`, which brings its own flags for a CPU."""
    return measure([str(LAUNCH), *LIMITS], free_port(), python, method)


def start_first(python: str) -> Start:
    """Time a start in a copy (by hard links) of the environment, without `.pyc` files."""
    environment = Path(python).parents[1]
    with tempfile.TemporaryDirectory(dir=environment.parent) as folder:
        copy = Path(folder, environment.name)
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(environment, copy, symlinks=True, ignore=without, copy_function=os.link)
        return start_by_hand(str(copy / "bin" / "python"))


def result(starts: dict[str, list[Start]]) -> dict[str, object]:
    """Return medians, their ratios to `ours`, and every single start."""
    median = {
        name: Start(*map(statistics.median, ([s.wall for s in all_], [s.cpu for s in all_])))
        for name, all_ in starts.items()
    }
    ours = median["ours"]
    ratios = {
        f"ours/{name}": {"wall": round(ours.wall / it.wall, 3), "cpu": round(ours.cpu / it.cpu, 3)}
        for name, it in median.items()
        if name != "ours"
    }
    return {
        "unit": "s",
        "median": {name: vars(start) for name, start in median.items()},
        "ratio": ratios,
        "starts": {name: [vars(start) for start in all_] for name, all_ in starts.items()},
    }


def main() -> None:
    """Measure in turns, and print each start, then the result as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plain", help="interpreter of a plain environment")
    parser.add_argument("--ours", default=sys.executable, help="interpreter of ours (this one)")
    parser.add_argument("--rounds", type=int, default=3, help="starts of each kind (3)")
    options = parser.parse_args()
    kinds = {
        "spawned": partial(start_ours, options.ours, "spawn"),
        "ours": partial(start_ours, options.ours),
    }
    if options.plain:
        by_hand = {"first": start_first, "plain": start_by_hand}
        kinds = {name: partial(start, options.plain) for name, start in by_hand.items()} | kinds
    starts: dict[str, list[Start]] = {name: [] for name in kinds}
    for round_ in range(options.rounds):
        for name in list(kinds)[:: -1 if round_ % 2 else 1]:
            starts[name].append(kinds[name]())
            print(f"round {round_ + 1}: {name}: {starts[name][-1]}", file=sys.stderr, flush=True)
    print(json.dumps(result(starts), indent=1))


if __name__ == "__main__":
    main()

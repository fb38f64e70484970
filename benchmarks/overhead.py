"""What `sglang-ci ci` costs over the server and the suite that it runs.

    python -m benchmarks.overhead [ROUNDS]

Each round does the same work twice, in random order: once by the command, once by hand. By
hand means: start `launch.sh`, ask for one token every 50 ms until one comes, run the smoke
suite with pytest itself, send SIGTERM, wait for the end. The figure is the median over the
rounds of the ratio of wall times; the goal is at most 1.05.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import DEVNULL

import httpx

from ci.boot.launch import launch_script
from ci.platform import TINY_MODEL
from ci.smoke import SUITE


def free_port() -> int:
    """Return a port that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_token(url: str) -> None:
    """Return as soon as the server at `url` has generated one token."""
    body = {"text": "Hello", "sampling_params": {"max_new_tokens": 1}}
    while True:
        try:
            if httpx.post(f"{url}/generate", json=body, timeout=60).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)


def by_hand() -> dict[str, float]:
    """Return the seconds of boot, suite and stop, done without this package's command."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {"MODEL_PATH": str(TINY_MODEL), "PORT": str(port), "PYTHON": sys.executable}
    marks = [time.monotonic()]
    argv = ["bash", str(launch_script())]
    with subprocess.Popen(
        argv, env=os.environ | variables, stdout=DEVNULL, stderr=DEVNULL
    ) as server:
        wait_for_token(url)
        marks.append(time.monotonic())
        options = [f"--sglang-url={url}", "-p", "ci.smoke.plugin", "-p", "no:cacheprovider"]
        pytest = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, *options, str(SUITE)]
        subprocess.run(pytest, check=True, stdout=DEVNULL, stderr=DEVNULL)
        marks.append(time.monotonic())
        server.send_signal(signal.SIGTERM)
        server.wait()
    marks.append(time.monotonic())
    return {
        name: marks[at + 1] - marks[at] for at, name in enumerate(("boot", "suite", "stop"))
    } | {"total": marks[-1] - marks[0]}


def by_command() -> dict[str, float]:
    """Return the wall time of `sglang-ci ci`, and of the checks in it."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "ci", "ci", "--report-dir", folder]
        subprocess.run(argv, check=True, stdout=DEVNULL, stderr=DEVNULL)
        total = time.monotonic() - begin
        report = json.loads((Path(folder) / "report.json").read_text())
    return {check["name"]: check["seconds"] for check in report["checks"]} | {"total": total}


def main(rounds: int) -> None:
    """Measure, and print a line a round and the median ratio."""
    ratios = []
    for _ in range(rounds):
        ways = [by_hand, by_command]
        random.shuffle(ways)
        found = {way.__name__: way() for way in ways}
        ratios.append(found["by_command"]["total"] / found["by_hand"]["total"])
        shown = {
            name: {key: round(value, 2) for key, value in times.items()}
            for name, times in found.items()
        }
        print(json.dumps({"ratio": round(ratios[-1], 3)} | shown), flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} over {rounds} rounds; goal 1.05")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

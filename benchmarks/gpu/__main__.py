"""Prove, bench and gate SGLang on this machine's GPU; nothing is downloaded.

    python -m benchmarks.gpu --out FOLDER [--steps boot,health,bench,gate] [--quick]
        [--shape 3b] [--weights] [--seconds 300]
        [--flags="--attention-backend triton"] [--slower-flags="--disable-cuda-graph"]

`boot` starts a server by `launch.sh` and proves it (`sglang-ci ci`): readiness, versions, smoke
and shutdown. `health` loads a server, stops its scheduler for a while, and drains it. `bench`
puts one under loads of our client and of `sglang.bench_serving`. `gate` compares two equal
servers on one GPU, and then one of them with a slower one, which has to be FAILED; so does
`gpus`, which has to be named, with a GPU for each. So have `starts`, which times starts with and
without what shortens them, and `shared`, which puts two servers on the weights of one daemon
(`--weights`). A step that fails is told and ends no other;
runs into the same folder add their steps to `results.json` and `results.md`. Any Python that
has SGLang does; to rehearse without a GPU:

    python -m benchmarks.gpu --out FOLDER --device cpu --quick --model tiny --slowed 0.5

The exit code is 0 if every step that ran ended as it should.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import signal
import subprocess
import time
import traceback
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.gpu.model import SHAPES, make
from benchmarks.gpu.page import page
from benchmarks.gpu.plan import GPU_FLAGS, QUICK, SLOWER_FLAGS, Plan, Sizes
from benchmarks.gpu.processes import StepFailed
from benchmarks.gpu.steps import STEPS, USUAL
from ci.errors import SglangCiError
from ci.platform import TINY_MODEL

PACKAGES = ("sglang", "sglang-kernel", "torch", "triton", "transformers", "flashinfer-python")


def machine() -> dict[str, str]:
    """Return what the figures were taken on."""
    found = {"python": platform.python_version(), "cores": str(os.cpu_count())}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        seen = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30)
        found["GPU"] = "; ".join(seen.stdout.strip().splitlines())
    return found


def step(name: str, plan: Plan) -> dict[str, Any]:
    """Run one step, and return what it found or why it couldn't."""
    print(f"\n== {name}", flush=True)
    begin = time.monotonic()
    try:
        found = STEPS[name](plan)
    except (StepFailed, SglangCiError, OSError) as error:
        found = {"as_expected": False, "error": str(error)}
    except Exception:  # noqa: BLE001 - a step that breaks must not take the others with it
        found = {"as_expected": False, "error": traceback.format_exc()}
    if "error" in found:
        print(found["error"], flush=True)
    return found | {"seconds": round(time.monotonic() - begin, 1)}


def run(plan: Plan, names: list[str]) -> bool:
    """Run the steps, and write what is known after each of them."""
    file, good = plan.out / "results.json", True
    results: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"steps": {}}
    results["machine"] = machine()
    for name in names:
        found = step(name, plan)
        good = good and found["as_expected"]
        results["steps"][name] = found | {"flags": list(plan.flags)}
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (plan.out / "results.md").write_text(page(results), encoding="utf-8")
    print(f"\n{page(results)}", flush=True)
    return good


def made(folder: Path, shape: str, *, weights: bool) -> Path:
    """Return the model's folder, which an earlier call may have made."""
    return folder if (folder / "config.json").is_file() else make(folder, shape, weights=weights)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", default=",".join(USUAL))
    parser.add_argument("--quick", action="store_true", help="little load: does it work at all?")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", default="", help="a model's folder, or tiny; else 8B's shape")
    parser.add_argument("--shape", choices=SHAPES, default="8b", help="of the model that is made")
    parser.add_argument("--weights", action="store_true", help="write random weights of that shape")
    parser.add_argument("--flags", default="", help="further flags of every server")
    parser.add_argument("--slower-flags", default=" ".join(SLOWER_FLAGS))
    parser.add_argument("--slowed", type=float, default=0.0, help="a proxy instead: 0.5 is 50 %%")
    parser.add_argument("--seconds", type=float, default=math.inf, help="most of one step")
    asked = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers end with this process
    out: Path = asked.out
    out.mkdir(parents=True, exist_ok=True)
    named = TINY_MODEL if asked.model == "tiny" else Path(asked.model)
    plan = Plan(
        out=out,
        model=named if asked.model else made(out / "model", asked.shape, weights=asked.weights),
        device=asked.device,
        flags=(*(GPU_FLAGS if asked.device == "cuda" else ()), *shlex.split(asked.flags)),
        slower=tuple(shlex.split(asked.slower_flags)),
        slowed=asked.slowed,
        seconds=asked.seconds,
        sizes=QUICK if asked.quick else Sizes(),
    )
    return 0 if run(plan, asked.steps.split(",")) else 1


if __name__ == "__main__":
    raise SystemExit(main())

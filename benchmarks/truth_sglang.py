"""SGLang's own load clients against the server of known timing; run by SGLang's Python.

    PYTHON benchmarks/truth_sglang.py (serving|rust) URL STREAMS REQUESTS TOKENS CORE TOKENIZER

Prints one JSON object, as `benchmarks.truth_peers` does but for the time stamps. CPU time is
that of the load alone for `serving` (its `benchmark` coroutine), and for `rust` of the whole
call, which makes its prompts in milliseconds. This file imports nothing but SGLang.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def options(url: str, streams: str, requests: str, tokens: str, tokenizer: str) -> list[str]:
    """Return the options that both clients share."""
    told = {
        "backend": "sglang",
        "base-url": url,
        "model": tokenizer,
        "tokenizer": tokenizer,
        "dataset-name": "random-ids",
        "random-input-len": "128",
        "random-output-len": tokens,
        "random-range-ratio": "1.0",
        "num-prompts": requests,
        "max-concurrency": streams,
        "warmup-requests": "1",
    }
    pairs = (part for name, value in told.items() for part in (f"--{name}", value))
    return [*pairs, "--tokenize-prompt", "--output-details", "--disable-tqdm"]


def serving(arguments: list[str]) -> float:
    """Run `sglang.bench_serving`, and return the CPU seconds of its load."""
    from sglang.benchmark import serving as module

    load, spent = module.benchmark, []

    async def benchmark(*positional: Any, **named: Any) -> Any:
        begin = time.process_time()
        try:
            return await load(*positional, **named)
        finally:
            spent.append(time.process_time() - begin)

    module.benchmark = benchmark
    sys.argv = ["bench_serving", *arguments]
    module.cli_main()
    return float(spent[0])


def rust(arguments: list[str]) -> float:
    """Run SGLang's Rust client, and return the CPU seconds of the whole call."""
    from sglang.benchmark.rust_client import main as run

    begin = time.process_time()
    if run(["sglang-bench", *arguments, "--vocab-size", "500", "--worker-threads", "1"]):
        raise SystemExit("the Rust client failed")
    return time.process_time() - begin


def main(client: str, *told: str) -> None:
    """Measure, and print."""
    *rest, core, tokenizer = told
    if int(core) >= 0:
        os.sched_setaffinity(0, {int(core)})
    out = os.dup(1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.jsonl"
        arguments = [*options(rest[0], rest[1], rest[2], rest[3], tokenizer)]
        cpu = {"serving": serving, "rust": rust}[client]([*arguments, "--output-file", str(file)])
        result = json.loads(file.read_text().splitlines()[-1])
    itls = [gap for gaps in result["itls"] for gap in gaps]
    found = {"ttfts": result["ttfts"], "itls": itls, "seconds": result["duration"], "cpu": cpu}
    os.write(out, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

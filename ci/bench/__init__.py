"""A load client for streams, and what it measures.

`run` is the whole: warm-up, load, verdicts. Below it, `client` (on `wire` and `answer`) asks
a server and stamps every token's arrival; `load` decides when; `metrics` (on `percentiles`)
is arithmetic over `records` and knows no server. `docs/bench.md` defines every figure.

The room runs under asyncio: where tokens of hundreds of streams arrive at once, what lies
between the socket and the time stamp is part of the figure.
"""

LEAVES = ("bench.json", "bench_serving.jsonl", "bench-*.jsonl.gz")
"""Patterns of the files that it leaves beside a report."""

"""Metrics of SGLang that begin with an event which a known traffic can't bring about.

Source: the names in SGLang 0.5.23, sglang/srt, that a real server on a CPU doesn't show after the
traffic of `ci.observe.traffic`; what they begin with was read where they are counted.
"""

from __future__ import annotations

import re

FEATURES = {
    r"spec_\w+": "speculative decoding (--speculative-algorithm)",
    r"lora_\w+": "LoRA adapters (--lora-paths)",
    r"(hicache|load_back|backup|backuped|prefetch|prefetched|storage_prefetch)_\w+": (
        "a hierarchical cache (--enable-hierarchical-cache)"
    ),
    r"encoder_\w+": "an encoder of its own, or images",
    r"(kv_transfer|decode_deferred_kv_release)_\w+|num_(bootstrap_failed|transfer_failed)_reqs_total"
    r"|num_prefill_retries_total|num_decode_host_receive_reqs_total": (
        "prefill and decode apart (--disaggregation-mode)"
    ),
    r"(dp_cooperation|prefill_delayer)_\w+": "attention in data parallel (--enable-dp-attention)",
    r"eplb_\w+": "experts in parallel (--ep-size)",
    r"num_retracted_(requests|input_tokens|output_tokens)_total": "a KV cache that overflows",
    r"evicted_tokens_total|eviction_duration_seconds\w*": "a prefix cache that overflows",
    r"(grammar|num_grammar)_\w+|num_so_requests_total": "a constrained answer",
    r"num_streaming_sessions|streaming_session_\w+|failed_session_recoveries_total": "sessions",
    r"estimated_\w+_per_gpu_total|forward_execution_seconds_total": (
        "forward passes that are measured, on a GPU"
    ),
    r"(func_latency|get_loads_duration)_seconds\w*": "functions that are timed",
    r"max_total_num_tokens_swa": "a model with sliding windows",
    r"(weight_load_duration_seconds|startup_latency_breakdown_seconds)\w*": "weights that are read",
    r"process_cpu_seconds_total": "the first look at its processors, 5 s after the start",
}
"""Names without `sglang:`, to what they begin with."""

EXPORTER = re.compile(r"sglang_ci_\w+")
"""Names of our own exporter, which is another target than the server."""


def begins_with(name: str) -> str:
    """Return what a metric of SGLang's begins with; empty for one that isn't known.

    Args:
        name: With `sglang:` or `sglang_` before it.
    """
    if EXPORTER.fullmatch(name):
        return "`sglang-ci observe exporter`"
    found = re.fullmatch(r"sglang[:_](\w+)", name)
    known = (told for one, told in FEATURES.items() if found and re.fullmatch(one, found[1]))
    return next(known, "")

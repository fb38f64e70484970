"""vLLM. By its documentation only: it was never run for this profile.

Sources: docs.vllm.ai, pages *OpenAI-Compatible Server* (`vllm serve`, extra parameters),
*Structured Outputs* (`structured_outputs`, since 0.12) and *Production Metrics*;
`vllm/v1/metrics/loggers.py` and `vllm/entrypoints/openai/api_server.py` (`/health`,
`/version`) of github.com/vllm-project/vllm.
"""

from __future__ import annotations

from typing import Any

from ci.engines.metrics import MetricNames
from ci.engines.openai import lacks
from ci.engines.profile import At, Capability, Profile, Start, openai_constrain


def _argv(start: Start) -> list[str]:
    name = ["--served-model-name", start.served_name] if start.served_name else []
    module = "vllm.entrypoints.openai.api_server"
    at = ["--host", start.host, "--port", str(start.port)]
    return [start.python, "-m", module, "--model", start.needs_model("vllm"), *name, *at]


def _constrain(kind: Capability, grammar: Any) -> dict[str, Any]:
    """Ask for constrained output by vLLM's extra parameter, schemas by OpenAI's."""
    if kind is Capability.JSON_SCHEMA:
        return openai_constrain(kind, grammar)
    name = "grammar" if kind is Capability.EBNF else str(kind)
    return {"structured_outputs": {name: grammar}}


PROFILE = Profile(
    name="vllm",
    title="vLLM",
    package="vllm",
    argv=_argv,
    version_at=At("/version", "version"),
    absent=lacks(
        Capability.REGEX,
        Capability.EBNF,
        Capability.JSON_SCHEMA,
        Capability.LOGPROBS,
        Capability.CHOICES,
        Capability.PROMPTS,
        Capability.STREAM_USAGE,
        Capability.EXACT_USAGE,
        Capability.STRICT,
    ),
    constrain=_constrain,
    metrics=MetricNames(
        prefix="vllm:",
        running="num_requests_running",
        queued="num_requests_waiting",
        token_usage="kv_cache_usage_perc",  # noqa: S106 - a metric's name
        counters={
            "requests": "request_success_total",
            "prompt tokens": "prompt_tokens_total",
            "output tokens": "generation_tokens_total",
            "cached tokens": "prefix_cache_hits_total",
        },
        histograms={"TTFT": "time_to_first_token_seconds", "e2e": "e2e_request_latency_seconds"},
    ),
    clean_exits=(0, -15),
)

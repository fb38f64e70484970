"""Text Generation Inference. By its documentation only: it was never run for this profile.

Sources: huggingface.co/docs/text-generation-inference, pages *Metrics*, *Messages API* and
*Guidance*; `router/src/server.rs`, `router/src/lib.rs` (`Info`, `CompletionRequest`,
`GrammarType`) and `launcher/src/main.rs` of github.com/huggingface/text-generation-inference,
3.3.6.
"""

from __future__ import annotations

from typing import Any

from ci.engines.metrics import MetricNames
from ci.engines.openai import lacks
from ci.engines.profile import At, Capability, Profile, Start


def _argv(start: Start) -> list[str]:
    at = ["--hostname", start.host, "--port", str(start.port)]
    return ["text-generation-launcher", "--model-id", start.needs_model("tgi"), *at]


def _constrain(kind: Capability, grammar: Any) -> dict[str, Any]:
    """Ask for constrained output of a chat, as a grammar with its type."""
    name = "json" if kind is Capability.JSON_SCHEMA else str(kind)
    return {"response_format": {"type": name, "value": grammar}}


PROFILE = Profile(
    name="tgi",
    title="Text Generation Inference",
    argv=_argv,
    version_at=At("/info", "version"),
    model_at=At("/info", "model_id"),
    absent=lacks(
        Capability.JSON_SCHEMA,
        Capability.PROMPTS,
        because={
            Capability.REGEX: "TGI takes regular expressions for chat only",
            Capability.LOGPROBS: "TGI gives log-probabilities for chat only",
            Capability.CHOICES: "TGI gives one choice a request",
            Capability.EXACT_USAGE: "TGI's OpenAI API has no way to ignore the end of text",
        },
    ),
    constrain=_constrain,
    metrics=MetricNames(
        prefix="tgi_",
        running="batch_current_size",
        queued="queue_size",
        counters={
            "requests": "request_success",
            "prompt tokens": "request_input_length_sum",
            "output tokens": "request_generated_tokens_sum",
        },
        histograms={"e2e": "request_duration"},
    ),
)

"""What the fake server is told to be, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.shapes import Json

METRICS = """\
# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="fake"} 0.0
# HELP sglang:prompt_tokens_total Number of prefill tokens processed.
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="fake"} 1.0
"""


@dataclass(frozen=True)
class Settings:
    """How the fake server is, beside its faults.

    Attributes:
        port: Where it listens; 0 for any free port.
        open_after: Seconds from the start until the port is open.
        ready_after: Seconds from then until it is ready; before that it answers 503.
        token_seconds: How long a token of a stream takes.
        version: The version that `/server_info` tells.
        model: The served model's name and path.
        embedding: Whether it makes embeddings instead of text.
        grammar_backend: What `/server_info` tells of the grammar backend.
        context_length: Most tokens of a prompt.
        device: What `/server_info` tells of the device.
        leak: A key that it tells whoever asks: in `/server_info`, and where it refuses.
        drains: Whether it says that it drains, as one of ours does.
        api_key: The key that requests need; none where empty.
        guarded: Start of the paths that need it, as a regular expression; SGLang's own rule.
        refusal: HTTP status of an answer without it.
        dress: How streams are written, of `tests.fakes.dresses`; plainly where empty.
        piece: Bytes of a stream that are written at once; an event where 0.
        seed: The random seed that a start draws; 0 for one of the fake's own.
    """

    port: int = 0
    open_after: float = 0.0
    ready_after: float = 0.0
    token_seconds: float = 0.0
    version: str = "0.5.23"
    model: str = "fake/model"
    embedding: bool = False
    grammar_backend: str = "xgrammar"
    context_length: int = 2048
    device: str = "cpu"
    leak: str = ""
    drains: bool = True
    api_key: str = ""
    guarded: str = "(?!/health|/ready|/metrics)"
    refusal: int = 401
    dress: str = ""
    piece: int = 0
    seed: int = 0


def model_info(settings: Settings) -> Json:
    """Return `/model_info`."""
    return {
        "model_path": settings.model,
        "served_model_name": settings.model,
        "tokenizer_path": settings.model,
        "is_generation": not settings.embedding,
    }


def server_info(settings: Settings) -> Json:
    """Return `/server_info`."""
    leaked = {"api_key": settings.leak, "launch_command": f"serve --api-key {settings.leak}"}
    return (leaked if settings.leak else {}) | {
        "version": settings.version,
        "status": "ready",
        "model_path": settings.model,
        "served_model_name": settings.model,
        "device": settings.device,
        "grammar_backend": settings.grammar_backend,
        "is_embedding": settings.embedding,
        "disable_radix_cache": False,
        "page_size": 1,
        "dp_size": 1,
        "random_seed": settings.seed,
        "startup_time": {"load_weight": 0.1, "scheduler_e2e": settings.seed / 1000},
        "internal_states": [{}],
    }


def drain(settings: Settings) -> Json:
    """Return `/sglang-ci/drain`."""
    return {"seconds": 20.0}


def models(settings: Settings) -> Json:
    """Return `/v1/models`."""
    card = {"id": settings.model, "object": "model", "max_model_len": settings.context_length}
    return {"object": "list", "data": [card]}

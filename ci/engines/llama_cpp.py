"""llama.cpp, by its two servers.

`llama-cpp` is the OpenAI server of llama-cpp-python, `python -m llama_cpp.server`. It works on
one request at a time; by default a new one cuts the one under way, which this profile turns
off. Source: its 0.3.36, `llama_cpp/server/app.py` and `types.py`. Really run.

`llama-server` is llama.cpp's own, a program. Source: `tools/server/README.md` of
github.com/ggml-org/llama.cpp, as of llama-cpp-python 0.3.36. It closes a connection after a
stream without saying so. Really run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ci.engines.metrics import MetricNames
from ci.engines.openai import lacks
from ci.engines.profile import At, Capability, Profile, Start


def _file(start: Start, engine: str) -> str:
    """Return the model's file: the one named, or the one in the folder that is named."""
    path = Path(start.needs_model(engine))
    found = sorted(path.glob("*.gguf")) if path.is_dir() else []
    return str(found[0] if found else path)


def _python(start: Start) -> list[str]:
    name = ["--model_alias", start.served_name] if start.served_name else []
    at = ["--host", start.host, "--port", str(start.port)]
    model = ["--model", _file(start, "llama-cpp")]
    whole = ["--interrupt_requests", "false"]
    return [start.python, "-m", "llama_cpp.server", *model, *name, *at, *whole]


def _server(start: Start) -> list[str]:
    name = ["--alias", start.served_name] if start.served_name else []
    at = ["--host", start.host, "--port", str(start.port), "--metrics"]
    return ["llama-server", "--model", _file(start, "llama-server"), *name, *at]


def _constrain(kind: Capability, grammar: Any) -> dict[str, Any]:
    """Ask for constrained output as both servers take it."""
    if kind is Capability.JSON_SCHEMA:
        return {"response_format": {"type": "json_object", "schema": grammar}}
    return {"grammar": grammar}  # GBNF, which has what the suite's EBNF uses


PYTHON = Profile(
    name="llama-cpp",
    title="llama-cpp-python's server",
    package="llama-cpp-python",
    argv=_python,
    ready=(),
    version_at=At("/openapi.json", "info.version"),
    absent=lacks(
        Capability.JSON_SCHEMA,
        Capability.EBNF,
        because={
            Capability.CHOICES: "llama_cpp.server ignores n",
            Capability.PROMPTS: "llama_cpp.server takes one prompt a request",
            Capability.LOGPROBS: "the model has to be loaded with --logits_all for them",
            Capability.STREAM_USAGE: "llama_cpp.server counts no tokens in streams",
            Capability.EXACT_USAGE: "llama_cpp.server can't ignore the end of text, and goes on "
            "beyond max_tokens to end a character",
            Capability.STRICT: "llama_cpp.server takes wrong values, and fails on broken JSON",
        },
    ),
    constrain=_constrain,
    clean_exits=(0, -15),
)
SERVER = Profile(
    name="llama-server",
    title="llama-server",
    argv=_server,
    version_at=At("/props", "build_info"),
    model_at=At("/props", "model_path"),
    absent=lacks(
        Capability.JSON_SCHEMA,
        Capability.EBNF,
        Capability.STREAM_USAGE,
        Capability.EXACT_USAGE,
        because={
            Capability.CHOICES: "llama-server counts the tokens of one choice only",
            Capability.PROMPTS: "llama-server counts the tokens of one prompt only",
            Capability.LOGPROBS: "llama-server's completions have them in the shape of chat's",
            Capability.STRICT: "llama-server takes wrong values, and answers 500 to broken JSON",
        },
    ),
    constrain=_constrain,
    metrics=MetricNames(
        prefix="llamacpp:",
        running="requests_processing",
        queued="requests_deferred",
        counters={
            "output tokens": "tokens_predicted_total",
            "cached tokens": "prompt_tokens_cached_total",
        },
        hint="the server shows no metrics (--metrics)",
    ),
    reuses_connections=False,
)

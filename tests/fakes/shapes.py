"""Shapes of the fake server's answers: choices, events and log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.fakes.model import Made, decode

Json = dict[str, Any]
Faults = set[str]

LOGPROB = -0.5
"""Log-probability of every token that the model chooses; the next best have one less each."""


def native_logprobs(made: Made, body: Json, faults: Faults) -> Json:
    """Return the log-probabilities of `/generate`."""
    top, count = _top(faults), body.get("top_logprobs_num", 0)
    found: Json = {"output_token_logprobs": [[top[0], one, None] for one in made.ids]}
    if body.get("logprob_start_len") == 0:
        texts = bool(body.get("return_text_in_logprobs"))
        pairs = [[LOGPROB, one, decode([one]) if texts else None] for one in made.prompt]
        found["input_token_logprobs"] = [[None, *pairs[0][1:]], *pairs[1:]]
    if count:
        found["output_top_logprobs"] = [
            [[top[place], one + place, None] for place in range(count)] for one in made.ids
        ]
    return found


def completion_choice(index: int, made: Made, body: Json, faults: Faults) -> Json:
    """Return one choice of `/v1/completions`."""
    choice: Json = {"index": index, "text": made.text, "finish_reason": made.reason}
    if body.get("logprobs"):
        choice["logprobs"] = {
            "tokens": [decode([one]) for one in made.ids],
            "token_logprobs": [_top(faults)[0] for _ in made.ids],
            "top_logprobs": [{"x": _top(faults)[0]} for _ in made.ids],
        }
    return choice


def chat_choice(index: int, made: Made, body: Json, faults: Faults) -> Json:
    """Return one choice of `/v1/chat/completions`."""
    message = {"role": "assistant", "content": made.text}
    choice: Json = {"index": index, "message": message, "finish_reason": made.reason}
    if body.get("logprobs"):
        top = [{"token": "x", "logprob": one} for one in _top(faults)]
        choice["logprobs"] = {
            "content": [
                {"token": decode([one]), "logprob": top[0]["logprob"], "top_logprobs": top}
                for one in made.ids
            ]
        }
    return choice


def openai_event(index: int, part: str | None, reason: str | None, *, chat: bool) -> Json:
    """Return one event of an OpenAI stream; `part` is None where a chat's role is named."""
    choice: Json = {"index": index, "finish_reason": reason}
    if chat:
        choice["delta"] = {"role": "assistant"} if part is None else {"content": part}
    else:
        choice["text"] = part or ""
    return {"id": "fake", "choices": [choice]}


def parts(made: Made, *, chat: bool) -> Iterator[tuple[str | None, str | None]]:
    """Yield what each event of a stream adds, and its finish reason."""
    if chat:
        yield None, None
    for letter in made.text[:-1]:
        yield letter, None
    yield made.text[-1:], made.reason


def _top(faults: Faults) -> list[float]:
    best = 0.5 if "positive_logprobs" in faults else LOGPROB
    top = [best, best - 1, best - 2]
    return [top[1], top[0], top[2]] if "unordered_logprobs" in faults else top

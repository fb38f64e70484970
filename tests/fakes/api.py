"""What the fake server answers: SGLang's native and OpenAI endpoints over the fake model.

Shapes and refusals are those of SGLang 0.5.23, as far as this project reads them.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes import shapes
from tests.fakes.model import FIRST, Made, decode, encode, finish, generate
from tests.fakes.shapes import Json

LIMITS = {"max_new_tokens": (0, 10**6), "temperature": (0, 100), "top_p": (0, 1), "n": (1, 64)}
"""Least and most allowed value of the numeric sampling parameters that are checked."""

OTHERS = (
    *("top_k", "min_p", "frequency_penalty", "regex", "ebnf", "json_schema"),
    *("stop", "stop_token_ids"),
)
SAMPLING = {*LIMITS, *OTHERS, "no_stop_trim", "ignore_eos"}
ROLES = {"system", "user", "assistant", "tool"}

Prompts = list[tuple[int, ...]]


class BadRequestError(ValueError):
    """A request that SGLang refuses with 400."""


@dataclass
class Api:
    """One server's state and answers."""

    model: str
    faults: set[str]
    context_length: int
    seen: Prompts = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    counter: Iterator[int] = field(default_factory=itertools.count)

    def native(self, body: Json) -> list[Json] | Json:
        """Answer `/generate`."""
        answers = [self._native(made, body, len(made.ids)) for made in self._native_made(body)]
        several = isinstance(body.get("text"), list) or len(answers) > 1
        return answers if several else answers[0]

    def native_events(self, body: Json) -> list[Json]:
        """Answer a `/generate` stream: each event holds all tokens so far."""
        prompts = native_prompts(body)
        if len(prompts[0]) > self.context_length:
            return [{"error": {"message": "The input is too long.", "code": 400}}]
        made = self._streamed(self._native_made(body)[0])
        return [self._native(made, body, count) for count in range(1, len(made.ids) + 1)]

    def openai(self, body: Json, *, chat: bool) -> Json:
        """Answer `/v1/completions` or `/v1/chat/completions`."""
        made = self._openai_made(body, chat=chat)
        choice = shapes.chat_choice if chat else shapes.completion_choice
        return {
            "id": "fake",
            "object": "chat.completion" if chat else "text_completion",
            "model": body["model"],
            "choices": [choice(index, one, body, self.faults) for index, one in enumerate(made)],
            "usage": self._usage(made),
        }

    def openai_events(self, body: Json, *, chat: bool) -> list[Json]:
        """Answer a stream: each event holds what is new, the last one usage."""
        made = [self._streamed(one) for one in self._openai_made(body, chat=chat)]
        events = [
            shapes.openai_event(index, part, reason, chat=chat)
            for index, one in enumerate(made)
            for part, reason in shapes.parts(one, chat=chat)
        ]
        if body.get("stream_options", {}).get("include_usage"):
            events.append({"id": "fake", "choices": [], "usage": self._usage(made)})
        return events

    def embeddings(self, body: Json) -> Json:
        """Answer `/v1/embeddings` with one vector a text; a list of numbers is one of token ids."""
        given = body.get("input")
        if not isinstance(given, str | list):
            raise BadRequestError("input is missing")
        ids = isinstance(given, list) and all(isinstance(one, int) for one in given)
        texts = [" ".join(map(str, given))] if ids else [given] if isinstance(given, str) else given
        seeds = [1 if "constant_embedding" in self.faults else sum(encode(one)) for one in texts]
        data = [
            {"index": index, "embedding": [1.0, seed % 7, seed % 11]}
            for index, seed in enumerate(seeds)
        ]
        usage = {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}
        return {"object": "list", "data": data, "usage": usage}

    def _native_made(self, body: Json) -> list[Made]:
        sampling = body.get("sampling_params") or {}
        check(sampling)
        made = [self._make(prompt, sampling) for prompt in native_prompts(body)]
        return made * self._choices(sampling.get("n", 1))

    def _openai_made(self, body: Json, *, chat: bool) -> list[Made]:
        sampling = openai_sampling(body)
        check(sampling)
        prompts = chat_prompts(body) if chat else completion_prompts(body)
        made = [self._make(prompt, sampling) for prompt in prompts]
        return made * self._choices(body.get("n", 1))

    def _choices(self, count: int) -> int:
        return count + (1 if "extra_choice" in self.faults and count > 1 else 0)

    def _make(self, prompt: tuple[int, ...], sampling: Json) -> Made:
        if len(prompt) > self.context_length:
            raise BadRequestError("The input is longer than the model's context length.")
        seed = (next(self.counter),) if "unrepeatable" in self.faults else ()
        try:
            made = generate((*prompt, *seed), sampling, frozenset(self.faults))
        except ValueError as error:
            raise BadRequestError(str(error)) from error
        return finish(replace(made, prompt=prompt), trim=not sampling.get("no_stop_trim"))

    def _streamed(self, made: Made) -> Made:
        if "stream_differs" not in self.faults:
            return made
        ids = (FIRST + ord("z"), *made.ids[1:])
        return replace(made, ids=ids, text=f"z{made.text[1:]}")

    def _native(self, made: Made, body: Json, count: int) -> Json:
        ended = count == len(made.ids)
        meta = {
            "id": body.get("rid", "fake"),
            "finish_reason": {"type": made.reason, "matched": made.matched} if ended else None,
            "prompt_tokens": len(made.prompt),
            "completion_tokens": count,
            "cached_tokens": self._cached(made) if ended else 0,
        }
        if body.get("return_logprob"):
            meta |= shapes.native_logprobs(made, body, self.faults)
        text = made.text if ended else decode(made.ids[:count])
        return {"text": text, "output_ids": list(made.ids[:count]), "meta_info": meta}

    def _cached(self, made: Made) -> int:
        """Return how many tokens of the prompt were seen before, and remember all of them."""
        with self.lock:
            known = max((shared(made.prompt, one) for one in self.seen), default=0)
            self.seen.append(made.prompt + made.ids)
        if "phantom_cache" in self.faults:
            return len(made.prompt) - 1
        return 0 if "no_cache" in self.faults else min(known, len(made.prompt) - 1)

    def _usage(self, made: list[Made]) -> Json:
        prompt = sum(len(one.prompt) for one in made)
        completion = sum(len(one.ids) for one in made)
        total = prompt + completion + ("usage_off_by_one" in self.faults)
        counts = {"prompt_tokens": prompt, "completion_tokens": completion}
        return {**counts, "total_tokens": total}


def shared(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the length of the longest common start."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))


def check(sampling: Any) -> None:
    """Refuse sampling parameters that SGLang refuses."""
    if not isinstance(sampling, dict):
        raise BadRequestError("sampling_params is no dictionary")
    if unknown := set(sampling) - SAMPLING:
        raise BadRequestError(f"unknown field {unknown.pop()}")
    for key, (least, most) in LIMITS.items():
        value = sampling.get(key, least)
        if not isinstance(value, int | float) or not least <= value <= most:
            raise BadRequestError(f"{key} must be in [{least}, {most}], got {value!r}")


def native_prompts(body: Json) -> Prompts:
    """Return the prompts of a `/generate` request."""
    text, ids = body.get("text"), body.get("input_ids")
    if isinstance(text, str):
        return [encode(text)]
    if isinstance(text, list):
        return [encode(one) for one in text]
    if isinstance(ids, list) and all(isinstance(one, int) for one in ids):
        return [tuple(ids)]
    raise BadRequestError("Either text, input_ids or input_embeds should be provided.")


def completion_prompts(body: Json) -> Prompts:
    """Return the prompts of a `/v1/completions` request."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str | list):
        raise BadRequestError("prompt has the wrong type")
    return [encode(one) for one in ([prompt] if isinstance(prompt, str) else prompt)]


def chat_prompts(body: Json) -> Prompts:
    """Return the one prompt of a chat request."""
    messages = body.get("messages")
    if not messages or not isinstance(messages, list):
        raise BadRequestError("Messages cannot be empty.")
    if any(message.get("role") not in ROLES for message in messages):
        raise BadRequestError("unknown role")
    return [encode("".join(f"{one['role']}: {one['content']}\n" for one in messages))]


def openai_sampling(body: Json) -> Json:
    """Return the sampling parameters of an OpenAI request."""
    form = body.get("response_format") or {"type": "text"}
    if form.get("type") not in {"text", "json_object", "json_schema"}:
        raise BadRequestError("unknown response_format")
    sampling = {key: body[key] for key in SAMPLING if key in body}
    sampling["max_new_tokens"] = body.get("max_tokens", 16)
    if "json_schema" in form:
        sampling["json_schema"] = json.dumps(form["json_schema"]["schema"])
    return sampling

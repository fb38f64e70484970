"""The APIs that streams are asked of: SGLang's `/generate`, OpenAI's chat and completions.

Token counts are always the server's. On `/generate` every chunk carries them. An OpenAI
stream is asked for them with every chunk (`continuous_usage_stats`); where a server gives them
only at the end, its chunks are taken as tokens if there are as many, else the times between
tokens stay unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ci.bench.answer import ReceivedAnswer, message_of
from ci.bench.prompts import Prompt
from ci.bench.records import ErrorKind
from ci.errors import UsageError
from ci.server.documents import document

_COUNTED = re.compile(rb'"completion_tokens":\s*(\d+)')
_UNFINISHED = re.compile(rb'"finish_reason":\s*null')
_ERROR = b'"error"'


@dataclass(frozen=True)
class Sampling:
    """What is asked of the sampler.

    Args:
        temperature: 0 for greedy decoding.
        ignore_eos: Whether an answer has the length asked for whatever it says.
        more: Further sampling parameters, by the server's names.
        keep_outputs: Whether records keep what was generated.
    """

    temperature: float = 0.0
    ignore_eos: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)
    keep_outputs: bool = False


class Generate:
    """SGLang's own `/generate`."""

    path = "/generate"

    def __init__(self, sampling: Sampling) -> None:
        """Take how answers are sampled."""
        self._sampling = sampling

    def body(self, prompt: Prompt) -> bytes:
        """Return the request that asks for a stream.

        Raises:
            UsageError: The prompt is a conversation, which this API doesn't take.
        """
        if prompt.messages:
            raise UsageError("a prompt of messages needs the chat API")
        asked = {"text": prompt.text} if prompt.text else {"input_ids": prompt.input_ids}
        at = self._sampling
        parameters = {
            "max_new_tokens": prompt.output_tokens,
            "temperature": at.temperature,
            "ignore_eos": at.ignore_eos,
            **at.more,
        }
        return _json({**asked, "sampling_params": parameters, "stream": True})

    def read(self, event: bytes, answer: ReceivedAnswer) -> None:
        """Tell `answer` what one event holds.

        Most events are read without parsing them: each repeats all that came before. A quote
        inside of a JSON string is escaped, so that no generated text looks like a key.
        """
        if answer.counts and _ERROR not in event and _UNFINISHED.search(event):
            at = event.rfind(b'"completion_tokens":')
            if found := _COUNTED.match(event, at) if at >= 0 else None:
                answer.tokens(int(found[1]))
                return
        self._parse(document(event), answer)

    def _parse(self, told: Any, answer: ReceivedAnswer) -> None:
        if problem := message_of(told):
            answer.fault(ErrorKind.STREAM, problem)
            return
        meta = told["meta_info"]
        answer.prompt_tokens = _optional(meta.get("prompt_tokens"))
        answer.cached_tokens = _optional(meta.get("cached_tokens"))
        answer.tokens(_count(meta["completion_tokens"]))
        if not (finish := meta.get("finish_reason")):
            return
        answer.finish = str(finish.get("type")) if isinstance(finish, dict) else str(finish)
        if answer.finish == "abort" and isinstance(finish, dict):
            answer.fault(ErrorKind.ABORTED, str(finish.get("message") or finish))
        if self._sampling.keep_outputs:
            _keep(told, answer)


def _keep(told: Mapping[str, Any], answer: ReceivedAnswer) -> None:
    """Keep the outputs of a final event, unless it holds only their last part."""
    ids = told.get("output_ids") or ()
    if not ids or len(ids) == answer.output_tokens:
        answer.output, answer.output_ids = str(told.get("text") or ""), tuple(ids)


class Chat:
    """OpenAI's `/v1/chat/completions`."""

    path = "/v1/chat/completions"

    def __init__(self, sampling: Sampling, model: str) -> None:
        """Take how answers are sampled, and the name of the served model."""
        self._sampling, self._model = sampling, model

    def body(self, prompt: Prompt) -> bytes:
        """Return the request that asks for a stream.

        Raises:
            UsageError: The prompt is one of token ids, which this API doesn't take.
        """
        if prompt.input_ids:
            raise UsageError("a prompt of token ids needs the generate API")
        messages = prompt.messages or ({"role": "user", "content": prompt.text},)
        return self._asked(prompt.output_tokens, messages=messages)

    def _asked(self, output_tokens: int, **what: Any) -> bytes:
        at = self._sampling
        asked = {
            "model": self._model,
            **what,
            "max_tokens": output_tokens,
            "temperature": at.temperature,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
        return _json({**asked, **({"ignore_eos": True} if at.ignore_eos else {}), **at.more})

    def read(self, event: bytes, answer: ReceivedAnswer) -> None:
        """Tell `answer` what one event holds."""
        told = document(event)
        if problem := message_of(told):
            answer.fault(ErrorKind.STREAM, problem)
            return
        text = False
        for choice in told["choices"]:
            text = self._choice(choice, answer) or text
        usage = told.get("usage")
        counted = bool(usage) and len(answer.counts) == len(answer.times)
        if text and not counted:
            answer.chunk()
        if usage:
            self._usage(usage, answer, counted=counted)

    def _choice(self, choice: Mapping[str, Any], answer: ReceivedAnswer) -> bool:
        """Return whether a choice brings something that was generated."""
        if choice.get("finish_reason"):
            answer.finish = str(choice["finish_reason"])
        delta = self._delta(choice)
        if self._sampling.keep_outputs:
            answer.output += delta.get("content") or ""
        return any(delta.get(key) for key in ("content", "reasoning_content", "tool_calls"))

    def _delta(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        return choice.get("delta") or {}

    def _usage(self, usage: Mapping[str, Any], answer: ReceivedAnswer, *, counted: bool) -> None:
        answer.prompt_tokens = _optional(usage.get("prompt_tokens"))
        details = usage.get("prompt_tokens_details") or {}
        answer.cached_tokens = _optional(details.get("cached_tokens"))
        tell = answer.tokens if counted else answer.total
        tell(_count(usage["completion_tokens"]))


class Completions(Chat):
    """OpenAI's `/v1/completions`."""

    path = "/v1/completions"

    def body(self, prompt: Prompt) -> bytes:
        """Return the request that asks for a stream.

        Raises:
            UsageError: The prompt is a conversation, which this API doesn't take.
        """
        if prompt.messages:
            raise UsageError("a prompt of messages needs the chat API")
        return self._asked(prompt.output_tokens, prompt=prompt.text or prompt.input_ids)

    def _delta(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"content": choice.get("text")}


Api = Generate | Chat


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no number of tokens")
    return value


def _optional(value: Any) -> int | None:
    return None if value is None else _count(value)


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()

"""The two APIs that streams are asked of: what is sent, and what an event says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ci.server.documents import document
from ci.server.events import is_done

GENERATE, CHAT = "generate", "chat"
PATHS = {GENERATE: "/generate", CHAT: "/v1/chat/completions"}
_ABORT = "abort"
_SPOKEN = ("content", "reasoning_content", "tool_calls")


@dataclass
class Progressed:
    """How far a stream has come.

    Args:
        events: How many events came, `[DONE]` not counted.
        token: Whether a token came.
        finish: The finish reason; empty where none came.
        done: Whether `[DONE]` came.
        error: The first error that an event told; empty where none did.
    """

    events: int = 0
    token: bool = False
    finish: str = ""
    done: bool = False
    error: str = ""

    def take(self, event: bytes) -> None:
        """Take in the data of an event, of either API.

        Raises:
            ValueError: It is no JSON object.
        """
        if is_done(event):
            self.done = True
            return
        told = document(event)
        if not isinstance(told, dict):
            raise ValueError("an event holds no JSON object")  # noqa: TRY004 - as any bad event
        self.events += 1
        self.error = self.error or _error(told)
        _native(told, self)
        for choice in _listed(told.get("choices")):
            _choice(choice, self)

    def lacking(self, api: str) -> str:
        """Return what a stream that has ended lacks; empty where it is whole."""
        if self.error:
            return f"an event tells an error: {self.error}"
        if self.finish == _ABORT:
            return "aborted by the server"
        if not self.finish:
            return "it ended without finish_reason"
        return "it ended without [DONE]" if api == CHAT and not self.done else ""


def request(api: str, model: str, prompt: str, tokens: int) -> dict[str, Any]:
    """Return the body of a request for a stream of exactly so many tokens."""
    if api == GENERATE:
        sampling = {"max_new_tokens": tokens, "temperature": 0, "ignore_eos": True}
        return {"text": prompt, "sampling_params": sampling, "stream": True}
    messages = [{"role": "user", "content": prompt}]
    asked = {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0}
    return asked | {"ignore_eos": True, "stream": True}


def _native(told: Mapping[str, Any], so_far: Progressed) -> None:
    """Take in an event of `/generate`."""
    meta = told.get("meta_info")
    if not isinstance(meta, dict):
        return
    so_far.token = so_far.token or bool(meta.get("completion_tokens") or told.get("text"))
    if reason := meta.get("finish_reason"):
        so_far.finish = str(reason.get("type")) if isinstance(reason, dict) else str(reason)


def _choice(choice: Mapping[str, Any], so_far: Progressed) -> None:
    """Take in a choice of an event of OpenAI's API."""
    delta = choice.get("delta")
    said = delta if isinstance(delta, dict) else {}
    finish = choice.get("finish_reason")
    so_far.token = so_far.token or bool(finish or any(said.get(key) for key in _SPOKEN))
    so_far.finish = str(finish) if finish else so_far.finish


def _error(told: Mapping[str, Any]) -> str:
    """Return the error that an event tells; empty where it tells none."""
    error = told.get("error")
    if not error and told.get("object") != "error":
        return ""
    found = error or told
    return str(found.get("message", found) if isinstance(found, dict) else found)


def _listed(found: Any) -> list[Mapping[str, Any]]:
    parts = found if isinstance(found, list) else []
    return [one for one in parts if isinstance(one, dict)]

"""Shapes of a server's answers, as far as smoke cases read them.

Source: SGLang 0.5.23, `/generate` and the OpenAI endpoints; keys that are not listed here are
ignored. Whether the values make sense is for cases to judge.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from ci.secrets.veil import beginning

TokenLogprob = tuple[float | None, int, str | None]
"""Log-probability (None for a prompt's first token), token id, text where it was asked for."""


class Answer(BaseModel):
    """Anything that a server answers with."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FinishReason(Answer):
    """Why a generation ended: `stop` with what matched, `length` or `abort`."""

    type: str
    matched: int | str | None = None


class Meta(Answer):
    """What `/generate` says about one generation; counts are tokens."""

    id: str
    finish_reason: FinishReason | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    input_token_logprobs: tuple[TokenLogprob, ...] = ()
    output_token_logprobs: tuple[TokenLogprob, ...] = ()
    output_top_logprobs: tuple[tuple[TokenLogprob, ...] | None, ...] = ()


class Generation(Answer):
    """One answer of `/generate`, or one event of its stream."""

    text: str
    output_ids: tuple[int, ...]
    meta_info: Meta

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """Token ids of the prompt, as the server echoes them; empty where it wasn't asked to."""
        return tuple(token for _, token, _ in self.meta_info.input_token_logprobs)

    @property
    def ending(self) -> str:
        """Why it ended: the finish reason's type; empty where there is none."""
        return self.meta_info.finish_reason.type if self.meta_info.finish_reason else ""


class Generations(RootModel[tuple[Generation, ...]]):
    """The answer of `/generate` to several prompts, or for several choices."""


class Usage(Answer):
    """Token counts of an OpenAI answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Embedding(Answer):
    """The vector of one input."""

    index: int
    embedding: tuple[float, ...]


class Embeddings(Answer):
    """An answer of `/v1/embeddings`."""

    object: str
    data: tuple[Embedding, ...]
    usage: Usage


class CompletionLogprobs(Answer):
    """Log-probabilities of one choice of a completion, one entry a token."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float | None, ...]
    top_logprobs: tuple[dict[str, float] | None, ...] = ()


class CompletionChoice(Answer):
    """One choice of a completion, or its part in one event."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: CompletionLogprobs | None = None


class Completion(Answer):
    """An answer of `/v1/completions`."""

    id: str
    object: str
    model: str
    choices: tuple[CompletionChoice, ...]
    usage: Usage


class CompletionEvent(Answer):
    """One event of a completion's stream."""

    choices: tuple[CompletionChoice, ...]
    usage: Usage | None = None


class Message(Answer):
    """An assistant's message, or its part in one event."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None

    @property
    def said(self) -> str:
        """All text, thoughts first."""
        return (self.reasoning_content or "") + (self.content or "")


class ChatToken(Answer):
    """One token of a chat answer with its log-probability."""

    token: str
    logprob: float
    top_logprobs: tuple[ChatToken, ...] = ()


class ChatLogprobs(Answer):
    """Log-probabilities of one choice of a chat answer, one entry a token."""

    content: tuple[ChatToken, ...]


class ChatChoice(Answer):
    """One choice of a chat answer."""

    index: int
    message: Message
    finish_reason: str | None
    logprobs: ChatLogprobs | None = None


class Chat(Answer):
    """An answer of `/v1/chat/completions`."""

    id: str
    object: str
    model: str
    choices: tuple[ChatChoice, ...]
    usage: Usage


class ChatDelta(Answer):
    """What one event of a chat stream adds to one choice."""

    index: int
    delta: Message
    finish_reason: str | None = None


class ChatEvent(Answer):
    """One event of a chat stream."""

    choices: tuple[ChatDelta, ...]
    usage: Usage | None = None


AnswerT = TypeVar("AnswerT", bound=BaseModel)


def read(kind: type[AnswerT], answer: object, where: str) -> AnswerT:
    """Return `answer` as `kind`.

    Raises:
        AssertionError: It has another shape; the first line names the request and the key.
    """
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "answer"
        problem = f"{where}: {key}: {first['msg']}"
        raise AssertionError(f"{problem}\n{beginning(str(answer), 4000)}") from error

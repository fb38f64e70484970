"""What a profile is: how an engine is started, asked, and read.

A server that speaks the OpenAI API needs no more than data; what it does in a way of its own
is a method that its profile overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal

import httpx

from ci.engines.metrics import NO_METRICS, MetricNames
from ci.errors import AnswerFault, BadAnswer, UsageError
from ci.server.client import ServerClient
from ci.server.exchange import Json
from ci.server.faults import REFUSALS

Api = Literal["generate", "chat", "completions"]


WORD = " the"
"""A word that is about one token."""


class OtherServer(AnswerFault):
    """Something else than the engine of the settings answers at the URL."""


class Capability(StrEnum):
    """Something that not every server does."""

    GENERATION = "generation"
    EMBEDDING = "embedding"
    CHAT = "chat"
    LOGPROBS = "logprobs"
    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    EBNF = "ebnf"
    PREFIX_CACHE = "prefix_cache"
    NATIVE = "native"
    """SGLang's own endpoints, such as `/generate` and `/server_info`."""
    CHOICES = "choices"
    """Several choices (`n`) for one prompt."""
    PROMPTS = "prompts"
    """Several prompts in one completion."""
    STREAM_USAGE = "stream_usage"
    """Token counts with a stream, by `stream_options.include_usage`."""
    EXACT_USAGE = "exact_usage"
    """Token counts that are those of the tokens asked for, the end of text ignored."""
    STRICT = "strict"
    """Requests with a wrong value are refused with 4xx."""


@dataclass(frozen=True)
class Start:
    """What an engine is started with.

    Args:
        model: Folder or file of the model; None where the settings name none.
        host: Address to listen on.
        port: Port to listen on.
        served_name: Name that the server gives the model; its own choice where empty.
        python: The interpreter that has the engine.
    """

    model: Path | None
    host: str
    port: int
    served_name: str
    python: str

    def needs_model(self, engine: str) -> str:
        """Return the model's path.

        Raises:
            UsageError: The settings name none.
        """
        if self.model is None:
            raise UsageError(f"engine.profile {engine!r} needs a model: set model.path or name")
        return str(self.model)


@dataclass(frozen=True)
class At:
    """Where a server tells a fact: the path of an answer, and the key in it, dots between keys."""

    path: str
    key: str

    async def read(self, client: ServerClient) -> str:
        """Return the fact as text; empty where the answer lacks it."""
        found: Any = await client.get(self.path)
        for part in self.key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return "" if found is None else str(found)


@dataclass(frozen=True)
class ReadinessSeen:
    """What a server that answers says of its readiness.

    Args:
        ready: Whether it serves.
        told: What was seen, for a person.
        generation: Whether it generates, and doesn't make embeddings.
    """

    ready: bool
    told: str
    generation: bool = True


@dataclass(frozen=True)
class DescribedServer:
    """What a running server says of itself; empty where it doesn't tell."""

    version: str
    model_path: str
    names: tuple[str, ...]
    device: str = ""


Constrain = Callable[[Capability, Any], dict[str, Any]]
"""Keys of an OpenAI request that hold its answer to a regex, a schema or a grammar."""


def openai_constrain(kind: Capability, grammar: Any) -> dict[str, Any]:
    """Return OpenAI's keys for a schema, and SGLang's for the rest, which OpenAI lacks."""
    if kind is Capability.JSON_SCHEMA:
        named = {"name": "thing", "schema": grammar}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {str(kind): grammar}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """An engine that speaks the OpenAI API.

    Args:
        name: What the settings call it.
        title: What people call it.
        package: The distribution whose version is the engine's; empty where there is none.
        argv: Makes the command that starts it here; None where only `[engine] command` can.
        ready: Paths of which the first that is there says by 200 that the engine serves.
        version_at: Where it tells its version; None where it doesn't.
        model_at: Where it tells the path of its model.
        absent: For each capability that it lacks, the reason.
        constrain: How constrained output is asked of it.
        metrics: What its metrics are called.
        clean_exits: Exit codes of a good end after SIGTERM.
        leaves: Patterns of the names in /dev/shm that a good one leaves behind.
        reuses_connections: Whether a connection can be used again after a stream.
    """

    name: str
    title: str
    package: str = ""
    argv: Callable[[Start], list[str]] | None = None
    ready: tuple[str, ...] = ("/health",)
    version_at: At | None = None
    model_at: At | None = None
    absent: Mapping[Capability, str] = field(default_factory=dict)
    constrain: Constrain = openai_constrain
    metrics: MetricNames = NO_METRICS
    clean_exits: tuple[int, ...] = (0,)
    leaves: tuple[str, ...] = ()
    reuses_connections: bool = True

    native: ClassVar[bool] = False
    stranger: ClassVar[type[AnswerFault]] = OtherServer

    @property
    def tells_model(self) -> bool:
        """Whether it tells the path of its model."""
        return self.native or self.model_at is not None

    def does(self, capability: Capability) -> bool:
        """Return whether it isn't known to lack `capability`."""
        return capability not in self.absent

    def client(self, url: str, timeout: float = 30.0) -> ServerClient:
        """Return a client that tells a stranger from this engine in this engine's words."""
        return ServerClient(url, timeout=timeout, stranger=self.stranger)

    def api(self, asked: Api) -> Api:
        """Return the API that is put under load where the settings ask for `asked`."""
        return "completions" if asked == "generate" else asked

    def one_token(self, model: str, *, generation: bool = True) -> tuple[str, Json]:
        """Return path and body of the smallest request that shows that the model works."""
        if not generation:
            return "/v1/embeddings", {"model": model, "input": "Hello"}
        body = {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
        return "/v1/completions", body

    async def serving(self, client: ServerClient) -> ReadinessSeen:
        """Ask whether the server serves; an error of `ci.errors` where it says nothing."""
        if seen := await self.health_page(client):
            return seen
        names = await client.served_models()
        return ReadinessSeen(bool(names), f"{client.url}/v1/models lists {len(names)} models")

    async def health_page(self, client: ServerClient) -> ReadinessSeen | None:
        """Ask the first of the `ready` paths that is there for us; None where none is."""
        for path in self.ready:
            status = await client.status(path)
            if status not in {httpx.codes.NOT_FOUND, *REFUSALS}:
                return ReadinessSeen(
                    status == httpx.codes.OK, f"{client.url}{path} answers {status}"
                )
        return None

    async def first_token(self, client: ServerClient, *, generation: bool = True) -> Json:
        """Ask for one token.

        Raises:
            AnswerFault: None came, or something else.
        """
        names = await client.served_models()
        path, body = self.one_token(names[0] if names else "", generation=generation)
        answer = await client.post(path, body)
        choices = answer.get("data" if not generation else "choices")
        if not (isinstance(choices, list) and choices):
            raise BadAnswer(f"{client.url}{path}", "a token was asked for, and no choice came")
        return answer

    async def prompt(self, client: ServerClient, tokens: int, *, generation: bool = True) -> None:
        """Ask for one token after a prompt of about so many.

        It begins in a way of its own, so that no beginning in the cache shortens the work.

        Raises:
            AnswerFault: The server doesn't take it, or gives no token.
        """
        names = await client.served_models()
        path, body = self.one_token(names[0] if names else "", generation=generation)
        text = f"{tokens}{WORD * (tokens - 1)}"
        answer = await client.post(path, body | {"prompt" if generation else "input": text})
        if not (answer.get("choices") or answer.get("data")):
            raise BadAnswer(f"{client.url}{path}", "a token was asked for, and no choice came")

    async def describe(self, client: ServerClient) -> DescribedServer:
        """Ask what the server is.

        Raises:
            AnswerFault: It doesn't say so.
        """
        version = await self.version_at.read(client) if self.version_at else ""
        model = await self.model_at.read(client) if self.model_at else ""
        return DescribedServer(version, model, tuple(await client.served_models()))

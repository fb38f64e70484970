"""What a server says it is and can do, so that cases it can't pass are skipped with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from ci.engines.profile import Capability, OtherServer, Profile
from ci.engines.sglang import PROFILE as SGLANG
from ci.errors import BadAnswer, NotSglang
from ci.server.exchange import Json, Reply, object_of
from ci.smoke.transport import key_in

__all__ = ["Capability", "Server", "discover"]


@dataclass(frozen=True)
class Server:
    """The server under test.

    Attributes:
        base_url: Where it answers, without a trailing slash.
        model_card: The first entry of `/v1/models`.
        model_info: The answer of `/model_info`; empty for another engine than SGLang.
        server_info: The answer of `/server_info`: every flag, the version, live state; likewise.
        absent: For each capability that the server doesn't have, the reason.
        engine: What it is a server of.
    """

    base_url: str
    model_card: Mapping[str, Any]
    model_info: Mapping[str, Any]
    server_info: Mapping[str, Any]
    absent: Mapping[Capability, str]
    engine: Profile = SGLANG

    @property
    def model(self) -> str:
        """The served model's name."""
        return str(self.model_card["id"])

    def can(self, capability: Capability | str) -> bool:
        """Return whether the server has `capability`."""
        return Capability(capability) not in self.absent

    def why_not(self, capability: Capability | str) -> str:
        """Return why the server lacks `capability`; empty where it has it."""
        return self.absent.get(Capability(capability), "")

    def constrained(self, capability: Capability | str, grammar: Any) -> dict[str, Any]:
        """Return the keys of an OpenAI request that hold its answer to a grammar."""
        return self.engine.constrain(Capability(capability), grammar)

    @property
    def context_length(self) -> int:
        """Most tokens of one request, prompt and answer together; 0 where it isn't told."""
        return int(self.model_card.get("max_model_len") or 0)

    @property
    def page_size(self) -> int:
        """Tokens of one page of the KV cache: prefixes are shared page by page."""
        return int(self.server_info.get("page_size") or 1)


def discover(client: httpx.Client, engine: Profile = SGLANG) -> Server:
    """Ask the server what it is and can do.

    Raises:
        NotSglang: Something else than SGLang answers there.
        OtherServer: Something else than the named engine does.
        KeyRefused: The server wants another API key.
        BadAnswer: An answer has another status or shape than SGLang's.
        httpx.TransportError: It doesn't answer.
    """
    return _sglang(client) if engine.native else _other(client, engine)


def _other(client: httpx.Client, engine: Profile) -> Server:
    """Ask a server of another engine: its profile knows what it does, and `/v1/models` which."""
    try:
        card = _served(client)
    except BadAnswer as error:
        if error.status is not None and error.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise
        raise OtherServer(error.url, f"not {engine.title}: {error.problem}") from error
    absent = {**engine.absent}
    if Capability.CHAT not in absent and (reason := _no_chat(client, str(card["id"]))):
        absent[Capability.CHAT] = reason
    return Server(_url(client, ""), card, {}, {}, absent, engine)


def _sglang(client: httpx.Client) -> Server:
    """Ask a server of SGLang."""
    model_info = _model_info(client)
    server_info = _object(client, "/server_info")
    absent = {**_absent(model_info, server_info)}
    if Capability.CHAT not in absent and (reason := _no_chat(client)):
        absent[Capability.CHAT] = reason
    return Server(
        base_url=_url(client, ""),
        model_card=_served(client),
        model_info=model_info,
        server_info=server_info,
        absent=absent,
    )


def _model_info(client: httpx.Client) -> Json:
    try:
        info = _object(client, "/model_info")
    except BadAnswer as error:
        if error.status is not None and error.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise
        raise NotSglang(error.url, f"not an SGLang server: {error.problem}") from error
    if not isinstance(info.get("model_path"), str):
        raise NotSglang(
            _url(client, "/model_info"), "not an SGLang server: the answer has no model_path"
        )
    return info


def _object(client: httpx.Client, path: str) -> Json:
    response = client.get(path)
    answer = Reply.of(response, response.content)
    return object_of(_url(client, path), answer, key_in(client.headers))


def _url(client: httpx.Client, path: str) -> str:
    return f"{str(client.base_url).rstrip('/')}{path}"


def _served(client: httpx.Client) -> Json:
    models = _object(client, "/v1/models").get("data")
    if isinstance(models, list) and models and isinstance(models[0], dict) and "id" in models[0]:
        return models[0]
    raise BadAnswer(_url(client, "/v1/models"), "the answer lists no model", body=str(models))


_OF_ANY_MODEL = {Capability.EMBEDDING, Capability.NATIVE}


def _absent(model_info: Json, server_info: Json) -> dict[Capability, str]:
    if not model_info.get("is_generation", True):
        makes = "the model makes embeddings"
        return {one: makes for one in Capability if one not in _OF_ANY_MODEL}
    absent = {Capability.EMBEDDING: "the server was started without --is-embedding"}
    backend = server_info.get("grammar_backend") or "none"
    if backend == "none":
        grammars = (Capability.JSON_SCHEMA, Capability.REGEX, Capability.EBNF)
        absent |= dict.fromkeys(grammars, "the server was started without a grammar backend")
    if backend == "outlines":
        absent[Capability.EBNF] = "the grammar backend 'outlines' has no EBNF"
    if server_info.get("disable_radix_cache"):
        absent[Capability.PREFIX_CACHE] = "the server was started with --disable-radix-cache"
    if (replicas := server_info.get("dp_size") or 1) > 1:
        absent[Capability.PREFIX_CACHE] = f"requests are spread over {replicas} replicas"
    return absent


def _no_chat(client: httpx.Client, model: str = "default") -> str:
    """Ask for one token of chat; return the reason only where a template is what lacks."""
    body = {"model": model, "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
    answer = client.post("/v1/chat/completions", json=body)
    refused = httpx.codes.is_client_error(answer.status_code)
    return "the model has no chat template" if refused and "template" in answer.text else ""

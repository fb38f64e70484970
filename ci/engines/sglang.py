"""SGLang: started by `launch.sh`, asked by its own endpoints. Really run.

Source: SGLang 0.5.23, `sglang/srt/entrypoints/http_server.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ci import SGLANG
from ci.engines.metrics import SGLANG_METRICS
from ci.engines.profile import Api, DescribedServer, Profile, ReadinessSeen
from ci.errors import AnswerFault, BadAnswer, NotSglang
from ci.server import first_token
from ci.server.client import ServerClient
from ci.server.exchange import Json

FIRST_ID, IDS = 10, 200
"""Token ids that prompts are made of: every vocabulary has them, and few of them are special."""


@dataclass(frozen=True, kw_only=True)
class Sglang(Profile):
    """The engine that this package is made for."""

    native: ClassVar[bool] = True
    stranger: ClassVar[type[AnswerFault]] = NotSglang

    def api(self, asked: Api) -> Api:
        """Return what is asked for."""
        return asked

    def one_token(self, model: str, *, generation: bool = True) -> tuple[str, Json]:  # noqa: ARG002
        """Return path and body; SGLang takes any model's name, and none."""
        if not generation:
            return first_token.EMBEDDINGS, first_token.EMBEDDING
        return first_token.PATH, first_token.REQUEST

    async def serving(self, client: ServerClient) -> ReadinessSeen:
        """Ask `/model_info` what it is, then `/ready`, else `/health`."""
        info = await client.model_info()
        generation = bool(info.get("is_generation", True))
        seen = await self.health_page(client) or ReadinessSeen(ready=True, told="")
        return replace(seen, generation=generation)

    async def first_token(self, client: ServerClient, *, generation: bool = True) -> Json:
        """Ask `/generate` for one token."""
        return await client.first_token(generation=generation)

    async def prompt(self, client: ServerClient, tokens: int, *, generation: bool = True) -> None:
        """Ask for one token after a prompt of exactly so many."""
        ids = _ids(tokens)
        if not generation:
            await client.post("/v1/embeddings", {"model": "default", "input": ids})
            return
        parameters = {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True}
        answer = await client.post("/generate", {"input_ids": ids, "sampling_params": parameters})
        seen = answer.get("meta_info", {}).get("prompt_tokens")
        if seen != tokens:
            problem = f"a prompt of {tokens} tokens was sent, prompt_tokens is {seen!r}"
            raise BadAnswer(f"{client.url}/generate", problem)

    async def describe(self, client: ServerClient) -> DescribedServer:
        """Ask `/server_info`, `/model_info` and `/v1/models`."""
        server = await client.server_info()
        model = await client.model_info()
        names = await client.served_models()
        return DescribedServer(
            version=str(server.get("version", "")),
            model_path=str(model.get("model_path", "")),
            names=tuple(names),
            device=str(server.get("device", "")),
        )


def _ids(tokens: int) -> list[int]:
    """Return a prompt that begins by its own length: no other one in the cache shortens it."""
    digits = [FIRST_ID + int(digit) for digit in str(tokens)]
    return [*digits, *(FIRST_ID + at % IDS for at in range(tokens))][:tokens]


PROFILE = Sglang(
    name=SGLANG,
    title="an SGLang server",
    package="sglang",
    ready=("/ready", "/health"),
    metrics=SGLANG_METRICS,
    leaves=("sglang_loads_*.shm",),
)

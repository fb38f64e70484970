"""SGLang: started by `launch.sh`, asked by its own endpoints. Really run.

Source: SGLang 0.5.23, `sglang/srt/entrypoints/http_server.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ci.engines.metrics import SGLANG_METRICS
from ci.engines.profile import Api, Described, Profile, Seen
from ci.errors import AnswerFault, NotSglang
from ci.server import first_token
from ci.server.client import ServerClient
from ci.server.exchange import Json
from ci.settings.engine import SGLANG


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

    async def serving(self, client: ServerClient) -> Seen:
        """Ask `/model_info` what it is, then `/ready`, else `/health`."""
        info = await client.model_info()
        generation = bool(info.get("is_generation", True))
        seen = await self.health_page(client) or Seen(ready=True, told="")
        return replace(seen, generation=generation)

    async def first_token(self, client: ServerClient, *, generation: bool = True) -> Json:
        """Ask `/generate` for one token."""
        return await client.first_token(generation=generation)

    async def describe(self, client: ServerClient) -> Described:
        """Ask `/server_info`, `/model_info` and `/v1/models`."""
        server = await client.server_info()
        model = await client.model_info()
        names = await client.served_models()
        return Described(
            str(server.get("version", "")), str(model.get("model_path", "")), tuple(names)
        )


PROFILE = Sglang(
    name=SGLANG,
    title="an SGLang server",
    package="sglang",
    ready=("/ready", "/health"),
    metrics=SGLANG_METRICS,
)

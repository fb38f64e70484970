"""A typed client of one SGLang server, for control traffic.

Whatever goes wrong becomes an error of `ci.errors` that names the URL. Endpoints: SGLang 0.5.23,
`sglang/srt/entrypoints/http_server.py`.
"""

from __future__ import annotations

import httpx

from ci.errors import AnswerFault, BadAnswer, NotSglang
from ci.server import first_token
from ci.server.door import Door
from ci.server.exchange import Exchange, Json
from ci.server.faults import is_passing


class ServerClient(Exchange):
    """One server at `url`; use it as an async context manager.

    Args:
        url: The server's base URL, with or without a trailing slash.
        timeout: Most seconds of a call, from connecting to the last byte of the answer.
        transport: Another transport, for tests.
        stranger: The error for something else than the server that is expected.

    Raises:
        UsageError: `url` is not the URL of a server.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        stranger: type[AnswerFault] = NotSglang,
    ) -> None:
        door = Door.to(url, timeout)
        super().__init__(door, door.client(transport=transport), stranger)

    async def status(self, path: str) -> int:
        """Return the HTTP status of `GET path`, whatever it is."""
        return (await self.ask("GET", path)).status

    async def model_info(self) -> Json:
        """Return `/model_info`.

        Raises:
            NotSglang: Something else answers there.
        """
        try:
            info = await self.get("/model_info")
        except BadAnswer as error:
            if error.status is None or is_passing(error.status):
                raise
            raise NotSglang(error.url, f"not an SGLang server: {error.problem}") from error
        if not isinstance(info.get("model_path"), str):
            url = f"{self.url}/model_info"
            raise NotSglang(url, "not an SGLang server: the answer has no model_path")
        return info

    async def server_info(self) -> Json:
        """Return `/server_info`: all flags, the version, live internal state."""
        return await self.get("/server_info")

    async def served_models(self) -> list[str]:
        """Return the names under which `/v1/models` lists the served models."""
        models = await self.get("/v1/models")
        try:
            return [str(model["id"]) for model in models["data"]]
        except (KeyError, TypeError) as error:
            raise BadAnswer(f"{self.url}/v1/models", "is not a list of models") from error

    async def first_token(self, *, generation: bool = True) -> Json:
        """Ask for one token, or for an embedding where the model makes those."""
        if not generation:
            return await self.post(first_token.EMBEDDINGS, first_token.EMBEDDING)
        answer = await self.post(first_token.PATH, first_token.REQUEST)
        if problem := first_token.problem_of(answer):
            raise BadAnswer(f"{self.url}{first_token.PATH}", problem)
        return answer

"""Small contracts, and a server that answers as SGLang does, for the tests of contracts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ci.contract.model import Contract, ContractPart
from ci.report.model import now
from tests.fakes.serving import JsonHandler, serving

INTERFACE: dict[str, Any] = {
    "sglang": "0.5.23",
    "missing": {},
    "flags": [
        {
            "names": ["--tensor-parallel-size", "--tp-size"],
            "default": 1,
            "choices": None,
            "type": "integer",
            "takes": "a value",
            "deprecated": False,
            "help": "How many.",
        },
        {
            "names": ["--dtype"],
            "default": "auto",
            "choices": ["auto", "half"],
            "type": "text",
            "takes": "a value",
            "deprecated": False,
            "help": "(Deprecated: use --kind) Which.",
        },
    ],
    "sampling": {"temperature": 1.0, "max_new_tokens": 128},
}
OPENAPI: dict[str, Any] = {
    "paths": {
        "/generate": {
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/c/schemas/Ask"}}},
                },
                "responses": {"200": {"content": {"application/json": {"schema": {}}}}},
            }
        }
    },
    "components": {
        "schemas": {
            "Ask": {
                "type": "object",
                "required": ["text"],
                "properties": {
                    "text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "mode": {"enum": ["fast", "slow"], "default": "fast"},
                    "inner": {"$ref": "#/c/schemas/Ask"},
                },
            }
        }
    },
}


def contract(**parts: Any) -> Contract:
    """Return a contract of the given items; parts that aren't given are unknown."""
    made = {
        name: part if isinstance(part, ContractPart) else ContractPart(items=part)
        for name, part in parts.items()
    }
    return Contract(recorded=now(), source="here", sglang="0.5.23", parts=made)


class Pretender:
    """Answers as an SGLang server of this contract does.

    Attributes:
        asked: Method and path of every request.
        pages: Path to what is answered instead: status and JSON.
        metrics: Whether there are any.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.pages: dict[str, tuple[int, Any]] = {}
        self.metrics = True
        self.events = 0
        self.info: dict[str, Any] = {"version": "0.5.23", "port": 1, "startup": {"load": 0.5}}

    @property
    def transport(self) -> httpx.MockTransport:
        """What stands for the network."""
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path, request.method
        self.asked.append((method, path))
        if path in self.pages:
            status, body = self.pages[path]
            return httpx.Response(status, json=body)
        known: dict[str, Callable[[httpx.Request], httpx.Response]] = {
            "/metrics": self._metrics,
            "/generate": self._generate,
            "/server_info": lambda _: httpx.Response(200, json=self.info),
            "/model_info": lambda _: httpx.Response(200, json={"model_path": "x"}),
            "/openapi.json": lambda _: httpx.Response(200, json=OPENAPI),
            "/v1/models": lambda _: _models(),
        }
        found = known.get(path)
        return found(request) if found else httpx.Response(404, json={"detail": "Not Found"})

    def _metrics(self, request: httpx.Request) -> httpx.Response:
        if not self.metrics:
            return httpx.Response(404, json={"detail": "Not Found"})
        lines = ["# TYPE sglang:running gauge", 'sglang:running{pid="1"} 0']
        if self.events:
            lines += [
                "# TYPE sglang:num_aborted_requests_total counter",
                f"sglang:num_aborted_requests_total {self.events}",
            ]
        text = "\n".join(lines)
        accept = request.headers["accept"]
        if "openmetrics" in accept and "allow-utf-8" not in accept:
            text = text.replace("\nsglang:", "\nsglang_")
        return httpx.Response(200, text=text)

    def _generate(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return httpx.Response(405, json={"detail": "Method Not Allowed"})
        self.events += 1
        try:
            body = json.loads(request.content)
        except ValueError:
            return httpx.Response(400, json={"object": "error", "code": 400, "message": "bad"})
        given = body.get("sampling_params", {}) if isinstance(body, dict) else {}
        tokens = given.get("max_new_tokens", 128) if isinstance(given, dict) else -1
        if tokens < 0 or "text" not in body:
            return httpx.Response(400, json={"error": {"message": "bad"}})
        meta = {"id": str(self.events), "completion_tokens": tokens}
        return httpx.Response(200, json={"text": "a", "meta_info": meta})


@contextmanager
def openly(pretender: Pretender | None = None) -> Iterator[str]:
    """Yield the URL at which a pretender answers over real HTTP."""
    answers = (pretender or Pretender()).transport

    class Handler(JsonHandler):
        def do_GET(self) -> None:  # noqa: N802 - the server calls it so
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {"accept": self.headers.get("accept", "*/*")}
            url = f"http://server{self.path}"
            asked = httpx.Request(self.command, url, headers=headers, content=body)
            answer = answers.handle_request(asked)
            self.send(answer.status_code, answer.content)

        do_POST = do_DELETE = do_GET  # noqa: N815 - the server calls them so

    with serving(Handler) as url:
        yield url


def _models() -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": "tiny", "max_model_len": 64}]})

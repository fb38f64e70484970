"""SGLang's own routes behind its own guard, once with each choice of keys, and without a model.

    python -m tests.live.guarded_apps

prints a line of JSON, the keys of each server to its URL, and serves until its input ends. A route
that acts fails, for there is nothing that it could act on, and `acted` is printed.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from typing import Any

import uvicorn

CHOICES: dict[str, dict[str, str | None]] = {
    "none": {"api_key": None, "admin_api_key": None},
    "api": {"api_key": "a", "admin_api_key": None},
    "admin": {"api_key": None, "admin_api_key": "b"},
    "both": {"api_key": "a", "admin_api_key": "b"},
}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Untouchable:
    """What every route of SGLang's acts on; whatever is done with it is told."""

    def __getattr__(self, name: str) -> Any:
        _say(f"acted: {name}")
        raise RuntimeError("a route acted")


def _living(app: Any) -> Any:
    """Let an app say that a model is there, as far as anybody may ask."""

    def models() -> dict[str, Any]:
        return {}

    app.add_api_route("/v1/models", models)
    app.router.routes.insert(0, app.router.routes.pop())
    return app


def _apps() -> dict[str, Any]:
    from sglang.srt.entrypoints import http_server
    from sglang.srt.utils.auth import add_api_key_middleware

    http_server.set_global_state(_Untouchable())
    made, living = {}, _living(http_server.app)
    for name, keys in CHOICES.items():
        app = copy.copy(living)
        app.user_middleware, app.middleware_stack = list(app.user_middleware), None
        if any(keys.values()):
            add_api_key_middleware(app, **keys)
        made[name] = app
    return made


async def main() -> None:
    """Serve all of them."""
    servers = {
        name: uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error"))
        for name, app in _apps().items()
    }
    tasks = [asyncio.create_task(server.serve()) for server in servers.values()]
    while not all(server.started for server in servers.values()):
        await asyncio.sleep(0.05)
    ports = {name: one.servers[0].sockets[0].getsockname()[1] for name, one in servers.items()}
    _say(json.dumps({name: f"http://127.0.0.1:{port}" for name, port in ports.items()}))
    await asyncio.to_thread(sys.stdin.read)
    for server in servers.values():
        server.should_exit = True
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main())

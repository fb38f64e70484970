"""The hook of a user's own router, as the contract of routers needs it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import anyio
from anyio.abc import SocketAttribute, SocketStream

from ci.deploy.routers.hook import PROGRAMS, HookRouter
from ci.errors import RouterFault
from tests.unit.launching import program
from tests.unit.router_rigs import FakeRig


class HookRig(FakeRig):
    """The router in memory behind programs of a hook, which ask it over a socket."""

    def __init__(self, folder: Path, port: int) -> None:
        """Write the programs."""
        super().__init__()
        for name in PROGRAMS:
            program(folder / name, HOOK.format(port=port, name=name))
        self.router = HookRouter("http://router.invalid", folder)

    async def answer(self, stream: SocketStream) -> None:
        """Do what a program asks, and say `ok` and its output, or what is wrong."""
        async with stream:
            name, *words = (await stream.receive()).decode().split()
            try:
                said = f"ok\n{await self._done(name, words)}"
            except RouterFault as error:
                said = str(error)
            await stream.send(said.encode())

    async def _done(self, name: str, words: list[str]) -> str:
        if name == "point":
            await self.fake.point(words[0], words[1])
        elif name == "shift":
            shares = (word.partition("=") for word in words)
            await self.fake.shift({slot: int(share) for slot, _, share in shares})
        seen = await self.fake.seen()
        told = {slot: asdict(one) for slot, one in seen.items()}
        return json.dumps({slot: {**one, **one.pop("traffic")} for slot, one in told.items()})


HOOK = """exec bash -c '
exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1
echo "$@" >&3
IFS= read -r first <&3
if [ "$first" != ok ]; then echo "$first" >&2; exit 1; fi
cat <&3
' bash {name} "$@"
"""


@asynccontextmanager
async def hook_rig() -> AsyncIterator[HookRig]:
    """Serve a hook's programs."""
    with tempfile.TemporaryDirectory() as folder:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        rig = HookRig(Path(folder), listener.extra(SocketAttribute.local_port))  # noqa: S610 - no Django
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, rig.answer)
            yield rig
            tasks.cancel_scope.cancel()

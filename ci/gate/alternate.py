"""Blocks of two servers that can't both be up: on one GPU, or in too little memory.

Each block gets a start of its own. That costs time, and it changes what is compared: what
tells two starts of one image apart is then noise of every pair, which takes more pairs to
see through, where with two servers that stay up it is one fixed difference, which no number
of pairs can see through. `docs/gate.md` has the figures.

A server isn't kept for the next pair, even where that begins with the same side: two pairs
that share a start lean the same way, and the test would take them for two.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from ci.gate.blocks import Block, BlockResult

Boot = Callable[[str], AbstractAsyncContextManager[str]]
"""Starts a server by a name of the caller's choice, and yields its URL once it is ready."""


def booted(block: Block, boot: Boot) -> Block:
    """Return a block that takes the name of a server in place of its URL, and boots it.

    Args:
        block: Measures a running server, its warm-up included.
        boot: Starts one, and stops it at the end of its context.
    """

    async def measure(name: str, seed: int) -> BlockResult:
        async with boot(name) as url:
            return await block(url, seed)

    return measure

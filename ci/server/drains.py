"""What a server itself says of its end: whether it drains as `docs/drain.md` promises."""

from __future__ import annotations

from ci.errors import AnswerFault
from ci.platform.gate import PROMISE_PATH
from ci.server.client import ServerClient


async def drain_seconds(client: ServerClient) -> float | None:
    """Return what running requests get after SIGTERM; None where a server doesn't promise it."""
    try:
        told = await client.get(PROMISE_PATH)
    except AnswerFault:
        return None
    seconds = told.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def promise(seconds: float | None) -> str:
    """Return what a server's answer means, in words."""
    if seconds is None:
        return "SGLang's own end, and no drain: the plugin isn't attached, as its log's start says"
    return f"running requests have {seconds:g} s after SIGTERM, and new ones get 503"

"""SGLang's plugin for an end that loses nothing: new work is refused, and old work bounded.

SGLang by itself keeps accepting requests after SIGTERM, waits for them without a limit, and
looks every five seconds. SGLang calls `activate` through the entry point group
`sglang.srt.plugins`; where `launch.sh` has set `SGLANG_CI_DRAIN_SECONDS`, each process that
answers HTTP then refuses new work after SIGTERM (503 with `Retry-After`), gives what it has
accepted that many seconds, ends what is left by a final event, and leaves by SGLang's own way.
`docs/drain.md` argues it. Sources: `http_server.py` and `tokenizer_manager.py` of 0.5.13 to 0.5.23.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ci.platform import crew as crews
from ci.platform.crew import Crew
from ci.platform.doors import FLUSH_SECONDS, POLL_SECONDS, Doors, until
from ci.platform.gate import DrainGate, Exchanges
from ci.platform.promise import SECONDS, obstacle, seam

ARGUMENTS = "sglang.srt.server_args.ServerArgs"
"""A method of it is called before SGLang imports its HTTP server, and so do we."""
ABORT_SECONDS = 1.0
"""Most seconds in which aborted requests have to end by themselves."""
SCHEDULER_SECONDS = 2
"""Most seconds for a scheduler that hangs to leave, before it is killed; SGLang has 15."""

Manager = Any
logger = logging.getLogger(__name__)


def activate() -> None:
    """Have the server drain as above, or step aside where nobody asked for it."""
    if not os.environ.get(SECONDS) or multiprocessing.parent_process():
        return
    if problem := obstacle(os.environ, sys.argv[1:]):
        logger.warning("after SIGTERM this server goes SGLang's own way: %s", problem)
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(f"{ARGUMENTS}.{seam()}", _resolved, HookType.AFTER)


def _resolved(_result: object, arguments: Any, *_: object) -> None:
    """Attach to the HTTP server; a server that can't be drained so must still start."""
    global _resolved_once  # noqa: PLW0603 - SGLang calls it more than once
    if not _resolved_once:
        _resolved_once = True
        try:
            seconds = float(os.environ[SECONDS])
            if getattr(arguments, "tokenizer_worker_num", 1) > 1:
                crews.lead(SCHEDULER_SECONDS)
            else:
                attach(seconds, None)
            logger.info("after SIGTERM running requests have %g s, and new ones get 503", seconds)
        except Exception:
            logger.exception("draining is SGLang's own: the plugin does not fit this version")


_resolved_once = False


def attach(seconds: float, crew: Crew | None) -> None:
    """Have this process, which answers HTTP, drain.

    Args:
        seconds: What running requests get after SIGTERM.
        crew: The workers that do the same; None where this process is the only one.
    """
    from sglang.srt.entrypoints import http_server
    from sglang.srt.managers import tokenizer_manager

    def manager() -> Manager:
        state = http_server.get_global_state()
        return state.tokenizer_manager if state else None

    def started() -> None:
        if crew:  # what SGLang does at the first request, and for a server of one process
            manager().set_server_stop_hook(doors.stop)
            manager().auto_create_handle_loop()

    exchanges, doors = Exchanges(), Doors(http_server.uvicorn.Server, started)
    original = tokenizer_manager.TokenizerManager.sigterm_watchdog

    async def watchdog(one: Manager) -> None:
        while not one.gracefully_exit:
            await asyncio.sleep(POLL_SECONDS)
        hangs = not await drain(exchanges, lambda: one.abort_request(abort_all=True), seconds)
        if crew:
            crew.leave(hangs=hangs)
            await until(crew.is_empty, seconds + ABORT_SECONDS)
        await doors.close()
        await asyncio.sleep(FLUSH_SECONDS)
        if one.rid_to_state:  # of nobody who waits; SGLang would wait, in steps of 5 s
            os.environ["SGL_FORCE_SHUTDOWN"] = "1"
        own_end(tokenizer_manager, SCHEDULER_SECONDS if hangs else None)
        await original(one)

    def draining() -> bool:
        one = manager()
        return bool(one and one.gracefully_exit)

    http_server.app.add_middleware(
        DrainGate, draining=draining, exchanges=exchanges, seconds=seconds
    )
    tokenizer_manager.TokenizerManager.sigterm_watchdog = watchdog
    warm_until(http_server, lambda: draining() or doors.are_closing())


def warm_until(module: Any, ending: Callable[[], bool]) -> None:
    """Have a server that is told to end while it warms itself up not wait for that, nor die of it.

    By itself SGLang waits for its warm-up, up to two minutes, before it leaves; and as the warm-up
    is refused like all new work, it would kill the process with all that it has accepted.

    Args:
        module: SGLang's `http_server`, whose names its warm-up uses.
        ending: Says whether the server was told to end.
    """
    warm, kill = module._wait_and_warmup, module.kill_process_tree  # noqa: SLF001

    def warming(*arguments: Any, **named: Any) -> None:
        thread = threading.Thread(target=warm, args=arguments, kwargs=named, daemon=True)
        thread.start()
        while thread.is_alive() and not ending():
            thread.join(POLL_SECONDS)

    def killing(*arguments: Any, **named: Any) -> None:
        if ending():
            logger.info("draining: the server was told to end while it warmed itself up")
        else:
            kill(*arguments, **named)

    module._wait_and_warmup, module.kill_process_tree = warming, killing  # noqa: SLF001


def own_end(module: Any, scheduler_seconds: float | None) -> None:
    """Have SGLang's own end keep to a time and an exit code, in versions which lack that too.

    Before 0.5.20 a scheduler gets 15 s, whatever it does; before 0.5.19 the server ends all its
    processes and first of all itself, so that its exit code is that of SIGKILL.

    Args:
        module: SGLang's `tokenizer_manager`, whose names that end uses.
        scheduler_seconds: Most seconds for the scheduler to leave; None for SGLang's own.
    """
    kill = module.kill_process_tree

    def kill_children(pid: int, include_parent: bool = True, *more: Any, **options: Any) -> None:  # noqa: FBT001, FBT002
        leaves = include_parent and pid == os.getpid()
        kill(pid, include_parent and not leaves, *more, **options)
        if leaves:
            sys.exit(0)

    module.kill_process_tree = kill_children
    if scheduler_seconds is not None:
        end, schedulers = time.monotonic() + scheduler_seconds, module.collect_scheduler_processes
        module.collect_scheduler_processes = lambda: schedulers() if time.monotonic() < end else []


async def drain(exchanges: Exchanges, abort: Callable[[], object], seconds: float) -> bool:
    """Wait for all exchanges; after `seconds` abort them, and end what even then is left.

    Returns:
        Whether they all ended by themselves or by the abort: the scheduler works.
    """
    logger.info("draining: %d requests have %g s", len(exchanges), seconds)
    if not await exchanges.ended(seconds):
        logger.warning("draining: aborting %d requests after %g s", len(exchanges), seconds)
        abort()
        await exchanges.ended(ABORT_SECONDS)
    left = len(exchanges)
    if left:
        logger.error("draining: %d requests can't be aborted, the scheduler hangs", left)
        await exchanges.close()
    return not left

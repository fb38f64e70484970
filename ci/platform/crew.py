"""Several processes that answer HTTP for one SGLang (`--tokenizer-worker-num`), ended together.

By itself SGLang has each of them drain alone, and the first that is done ends the scheduler
under the others, which then wait for ever. Here none takes the server apart before all have
drained: while one has work it holds a shared lock on a file in memory, which is free when it
dies. SGLang's workers load no plugins, but import what `SGLANG_HTTP_SERVER_APP_PATH` names.
Sources: `http_server.py` and `multi_tokenizer_mixin.py` of 0.5.23, uvicorn's `multiprocess.py`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from ci.platform.promise import APP_PATH, WORKER_APP

CREW = "SGLANG_CI_DRAIN_CREW"
RELEASE_SECONDS = 15.0
"""Most seconds for schedulers that work to release what they hold; SGLang's own limit."""
logger = logging.getLogger(__name__)


class Crew:
    """The processes of one server that have work.

    Args:
        path: The file that all of them lock.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def join(self) -> None:
        """Be one of them."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def leave(self, *, hangs: bool) -> None:
        """Have no more work; `hangs` tells the leader that the scheduler doesn't answer."""
        if hangs:
            os.pwrite(self._file, b"hangs", 0)
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def is_empty(self) -> bool:
        """Return whether none has work any more; only for one that has left."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def hangs(self) -> bool:
        """Return whether one of them found that the scheduler doesn't answer."""
        return os.fstat(self._file).st_size > 0


def lead(hung_seconds: float) -> None:
    """Have the workers that this process will start drain, and end them well.

    Args:
        hung_seconds: Most seconds for a scheduler that hangs to leave.
    """
    from sglang.srt.entrypoints import http_server
    from uvicorn.supervisors import Multiprocess

    path = f"/proc/{os.getpid()}/fd/{os.memfd_create('sglang-ci-drain')}"
    os.environ |= {CREW: path, APP_PATH: WORKER_APP}
    crew = Crew(path)

    def leave() -> None:
        seconds = hung_seconds if crew.hangs() else RELEASE_SECONDS
        _release(http_server.get_global_state().tokenizer_manager, seconds)

    supervise(Multiprocess, leave)


def supervise(kind: Any, leave: Callable[[], None]) -> None:
    """Have a supervisor pass SIGTERM on at once, and do something once its workers have ended.

    Args:
        kind: uvicorn's class of supervisors, which looks for signals twice a second.
        leave: What is done.
    """
    begin, run = kind.__init__, kind.run

    def prompt(supervisor: Any, *arguments: Any, **options: Any) -> None:
        begin(supervisor, *arguments, **options)
        own = signal.getsignal(signal.SIGTERM)

        def pass_on(number: int, frame: Any) -> None:
            for worker in supervisor.processes:
                if worker.process.is_alive():
                    os.kill(worker.process.pid, number)
            own(number, frame)  # type: ignore[operator, misc]

        signal.signal(signal.SIGTERM, pass_on)

    def whole(supervisor: Any) -> None:
        run(supervisor)
        try:
            leave()
        except Exception:
            logger.exception("draining: the scheduler can't be waited for; the server ends anyway")

    kind.__init__, kind.run = prompt, whole


def _release(manager: Any, seconds: float) -> None:
    """Wait for schedulers that were asked to end: who is killed may keep its GPU's memory."""
    from sglang.srt.utils.cudacore_pyspy_dump_utils import collect_scheduler_processes

    if manager._subprocess_watchdog:  # noqa: SLF001 - else a scheduler's end is a crash to it
        manager._subprocess_watchdog.stop()  # noqa: SLF001
    end = time.monotonic() + seconds
    while collect_scheduler_processes() and time.monotonic() < end:
        time.sleep(0.1)

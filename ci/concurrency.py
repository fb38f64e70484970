"""Small tools of structured concurrency on top of anyio, and of sharing a machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

import anyio
from anyio.abc import Process

from ci.errors import SglangCiError

_T = TypeVar("_T")


@contextmanager
def one_error() -> Iterator[None]:
    """Raise what a task group gathered as one plain error.

    That is the first error of this package among them, or the only one; anything else stays
    a group.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found = list(leaves(group))
        ours = [leaf for leaf in found if isinstance(leaf, SglangCiError)]
        if ours or len(found) == 1:
            raise (ours or found)[0] from group
        raise


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that a group gathered, or the one error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


async def ended(process: Process, grace: float) -> None:
    """End a process: SIGTERM, and SIGKILL where it is still there after `grace` seconds."""
    with suppress(ProcessLookupError):
        process.terminate()
    with anyio.move_on_after(grace):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def unless(
    work: Callable[[], Awaitable[_T]], fault: Callable[[], Awaitable[Exception]]
) -> _T:
    """Return what `work` returns, unless `fault` returns an error first, which is raised."""
    results: list[_T] = []

    async def watch() -> None:
        raise await fault()

    with one_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            results.append(await work())
            tasks.cancel_scope.cancel()
    return results[0]


@contextmanager
def lock(path: Path, mode: int = 0o600) -> Iterator[int | None]:
    """Hold the lock of a file while the context lasts; the file is made where it is missing.

    The system gives back the lock of a process that died.

    Yields:
        The lock's open descriptor, which a child may inherit: the lock then lasts as long as that
        child does. None where somebody else holds the lock.

    Raises:
        OSError: The file can't be made or opened.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, mode)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = None
        else:
            found = descriptor
        yield found
    finally:
        os.close(descriptor)


@asynccontextmanager
async def lock_within(path: Path, seconds: float, poll: float = 0.1) -> AsyncIterator[int | None]:
    """Hold a file's lock as `lock` does, and wait for it up to `seconds` where it is taken."""
    end = anyio.current_time() + seconds
    while True:
        with lock(path) as held:
            if held is not None or anyio.current_time() >= end:
                yield held
                return
        await anyio.sleep(poll)


@contextmanager
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a pipe for a child's output, unbuffered; both ends are closed at the end.

    What a child leaves behind may hold the event loop's own pipe for ever.
    """
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as out, open(writer, "wb", buffering=0) as into:  # noqa: PTH123
        yield out, into


def waited_for_core() -> float | None:
    """Return the seconds that this thread was ready to run and had no core, since its start.

    None where the system doesn't tell.
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None

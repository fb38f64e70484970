"""One call of the program on a host: the order goes, events come, and the answer in the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from ci import __version__
from ci.concurrency import one_error
from ci.deploy.remote.events import LINE, replay
from ci.deploy.remote.order import BEAT, GREETING, MOST_SENT, SILENCE, Answer, Order, unpacked
from ci.errors import HostFault
from ci.report.model import Check
from ci.report.progress import Progress
from ci.secrets.veil import veiled

if TYPE_CHECKING:
    import asyncssh

    Process = asyncssh.SSHClientProcess[bytes]

ENDING = 120.0
"""Most seconds that a run which was interrupted here has for its end there."""
LAST_WORDS = 10.0
"""Most seconds between the end of the answer and that of the program."""
NOISE = 65_536
"""Most bytes that a shell's profile may print before the program speaks."""
_BLOCK = 65_536
_NOT_FOUND, _NOT_RUN, _USAGE = 127, 126, 2
_RESUME = "what goes on there ends by itself: repeat the command to resume"


class Call:
    """One run there.

    Args:
        host: The host, for people.
        command: Runs the program there.
        order: What is asked for.
        progress: Is told what happens there.
        signal: Returns the name of the signal that has ended the run here; empty for none.

    `checks` are those that have ended there so far, and `answer` is what came in the end.
    """

    def __init__(
        self,
        host: str,
        command: str,
        order: Order,
        progress: Progress,
        signal: Callable[[], str] = str,
    ) -> None:
        self.checks: list[Check] = []
        self.answer: Answer | None = None
        self._host, self._command, self._order = host, command, order
        self._progress, self._signal = progress, signal
        self._said: deque[str] = deque(maxlen=20)
        self._greeted = self._over = False
        self._heard = 0.0
        self._quiet = anyio.Event()

    async def run(self, connection: asyncssh.SSHClientConnection, folder: Path) -> None:
        """Give the order, and keep the answer; files of it are put into a folder.

        A run that is cancelled here is ended there as well, and its answer is waited for.

        Raises:
            HostFault: There is no such program, it is another version, or the connection broke.
        """
        whole = anyio.CancelScope(shield=True)
        with one_error():
            async with anyio.create_task_group() as around:
                with self._lost():
                    asked = f"{self._command} deploy there"
                    process = await connection.create_process(
                        asked, encoding=None, request_pty=False, env={}, send_env=None
                    )
                self._heard = anyio.current_time()
                around.start_soon(self._pass_on, process, whole)
                with whole:
                    await self._exchange(process, folder)
                self._over = True
                around.cancel_scope.cancel()

    async def _exchange(self, process: Process, folder: Path) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._events, process)
            tasks.start_soon(self._listen)
            with self._lost():
                content = await self._greeting(process)
                if self._greeted:
                    process.stdin.write(self._order.line())
                    tasks.start_soon(self._beat, process)
                    content = await self._rest(process, content)
                with anyio.move_on_after(LAST_WORDS):
                    await self._quiet.wait()
                    await process.wait_closed()
            if not (self._greeted and content):
                raise self._unanswered(process, content)
            self.answer = unpacked(content, folder, self._host)
            tasks.cancel_scope.cancel()

    async def _greeting(self, process: Process) -> bytes:
        """Return what follows the greeting, or all that came where there is none.

        Raises:
            HostFault: It is another version, or something else talks.
        """
        came = b""
        while chunk := await process.stdout.read(_BLOCK):
            self._heard = anyio.current_time()
            came += chunk
            before, greeting, behind = came.partition(GREETING)
            version, end, rest = behind.partition(b"\n")
            if greeting and end:
                self._see_version(version.decode("ascii", "replace").strip())
                self._greeted = True
                return rest
            if len(before) > NOISE:
                break
        return came

    def _see_version(self, version: str) -> None:
        if version != __version__:
            raise self._fault(
                f"has sglang-ci {version}, and this is {__version__}: install the same on both"
            )

    async def _rest(self, process: Process, content: bytes) -> bytes:
        parts, size = [content], len(content)
        while chunk := await process.stdout.read(_BLOCK):
            self._heard = anyio.current_time()
            parts.append(chunk)
            size += len(chunk)
            if size > MOST_SENT:
                raise self._fault(f"its answer is larger than {MOST_SENT >> 20} MiB")
        return b"".join(parts)

    async def _events(self, process: Process) -> None:
        """Tell what comes line by line, as it comes."""
        held = b""
        with self._lost():
            while chunk := await process.stderr.read(_BLOCK):
                self._heard = anyio.current_time()
                *lines, held = (held + chunk).split(b"\n")
                for line in lines:
                    self._tell(line)
                held = held[-LINE:]
        self._tell(held)
        self._quiet.set()

    def _tell(self, line: bytes) -> None:
        if not line.startswith(b"["):
            self._said.extend(filter(None, [veiled(line.decode("utf-8", "replace")).strip()]))
        if self._greeted and (check := replay(line, self._progress)):
            self.checks.append(check)

    async def _beat(self, process: Process) -> None:
        with self._lost():
            while True:
                await anyio.sleep(BEAT)
                process.stdin.write(b"\n")

    async def _listen(self) -> None:
        """End the call where nothing is heard any more."""
        while (gone := anyio.current_time() - self._heard) < SILENCE:
            await anyio.sleep(SILENCE - gone)
        raise self._fault(f"says nothing for {SILENCE:g} s; {_RESUME}")

    async def _pass_on(self, process: Process, whole: anyio.CancelScope) -> None:
        """Have a run ended that ends here."""
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            if not self._over and self._greeted:
                whole.deadline = anyio.current_time() + ENDING
                with suppress(OSError):
                    process.stdin.write(f"{self._signal() or 'SIGINT'}\n".encode())
            elif not self._over:
                whole.cancel()
            raise

    def _unanswered(self, process: Process, content: bytes) -> HostFault:
        """Return why there is no answer."""
        code, said = process.exit_status, self._said[-1] if self._said else ""
        if self._greeted:
            how = process.exit_signal[0] if process.exit_signal else f"exit code {code}"
            told = f": {said}" if said else ""
            return self._fault(f"the run there ended without an answer ({how}){told}; {_RESUME}")
        command = f"`{self._command}`"
        if code in {_NOT_FOUND, _NOT_RUN}:
            return self._fault(
                f"{command} can't be run there: {said}; install sglang-ci, or name it in full by "
                "deploy.command"
            )
        if code == _USAGE and any("No such command" in line for line in self._said):
            return self._fault(
                f"{command} is an older sglang-ci there: install {__version__} on both"
            )
        answer = veiled(content.decode("utf-8", "replace")).strip().splitlines()
        heard = said or (answer[-1] if answer else "nothing")
        return self._fault(
            f"{command} doesn't answer as sglang-ci does, but: {heard[:200]}; see what "
            f"`{self._command} --version` says there"
        )

    def _fault(self, problem: str) -> HostFault:
        return HostFault(self._host, problem, details="\n".join(self._said))

    @contextmanager
    def _lost(self) -> Iterator[None]:
        """Say in one line that a connection broke."""
        import asyncssh

        try:
            yield
        except (OSError, asyncssh.Error) as error:
            text = str(error) or type(error).__name__
            raise self._fault(f"the connection broke ({text}); {_RESUME}") from error

"""The log: its phases, its end, and the line that says why a server died."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.boot import log as logs
from ci.boot.log import BEGAN, BOOT, ENDED, KEPT_LINES, LONGEST_LINE, ServerLog, follow
from ci.concurrency import one_error
from ci.errors import UsageError

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LOGS = Path(__file__).parent / "logs"
"""What SGLang 0.5.23 really said as it died; long lines cut, paths changed."""

OUT_OF_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 40.00 GiB. GPU 0 has a total "
    "capacity of 139.80 GiB of which 22.26 GiB is free. Process 451 has 56.51 GiB memory in use. "
    "Process 488 has 60.51 GiB memory in use. Including non-PyTorch memory, this process has "
    "518.00 MiB memory in use."
)
"""What torch 2.11 really said beside two processes on an H200; its advice cut."""


def log_of(*lines: str) -> ServerLog:
    """Return a log in which a line came each second."""
    log = ServerLog(0.0)
    for at, line in enumerate(lines, start=1):
        log.add(line, float(at))
    return log


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("bad_flag", "sglang serve: error: unrecognized arguments: --no-such-flag"),
        (
            "empty_config",
            "ValueError: Unrecognized model in /srv/model. Should have a `model_type`",
        ),
        ("no_tokenizer", "ValueError: Couldn't instantiate the backend tokenizer from one of: (1)"),
        ("no_weights", "RuntimeError: Cannot find any model weights with `/srv/model`"),
        ("wrong_architecture", "ValueError: Cannot find model module. 'NoSuchForCausalLM' is not"),
        ("port_taken", "ERROR:    [Errno 98] error while attempting to bind on address"),
        ("scheduler_killed", "Subprocess scheduler_0 (pid=8722) crashed with exit code -9."),
    ],
)
async def test_real_deaths_are_explained(name: str, cause: str) -> None:
    """A server dies for a plain reason, and the report shows a stack trace or nothing."""
    lines = (LOGS / f"{name}.log").read_text().splitlines()
    assert log_of(*lines).explain().startswith(cause)
    assert log_of(*lines, ENDED).explain().startswith(cause)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], "no output"),
        (["", "  "], "no output"),
        (["loading", "still loading", ""], "still loading"),
        (["[2026-01-01 00:00:00] loading", ""], "loading"),
        (["launch.sh: port taken: 1 by pid 2; stop it", ENDED], "launch.sh: port taken"),
        (["ValueError: of a request", "[t] RuntimeError: last"], "RuntimeError: last"),
        (["[t TP0] torch.OutOfMemoryError: CUDA"], "torch.OutOfMemoryError: CUDA"),
        (
            [
                OUT_OF_MEMORY,
                "",
                "Exception: Capture cuda graph failed: CUDA out",
                "Received sigquit",
            ],
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 40.00 GiB. GPU 0 has a",
        ),
        (["KeyError: 'x'", "Received sigquit from a child", "SystemExit: 1"], "KeyError: 'x'"),
        (["loading", "Received sigquit from a child", "OSError: x"], "OSError: x"),
        (
            [
                *("[t] kill_process_tree called: parent_pid=7", "ValueError: why", "EOFError"),
                "RuntimeError: Rank 0 scheduler died during initialization (exit code: 1).",
            ],
            "ValueError: why",
        ),
        (
            ["ValueError: of a request", "[t] Subprocess tp_1 (pid=5) crashed with exit code -9."],
            "Subprocess tp_1 (pid=5) crashed",
        ),
        (
            ["ValueError: why", "[t] Subprocess tp_1 (pid=5) crashed with exit code 1."],
            "ValueError: why",
        ),
        (["Fatal Python error: Segmentation fault", "Thread 0x1"], "Fatal Python error: Seg"),
        (["an ErrorHandler was set", "Errors: none yet"], "Errors: none yet"),
    ],
)
async def test_the_line_that_says_most(lines: list[str], cause: str) -> None:
    """The aftermath of a death is shown in place of its cause."""
    assert log_of(*lines).explain().startswith(cause)


@given(st.lists(st.text(max_size=40), max_size=8))
def test_any_output_can_be_explained(lines: list[str]) -> None:
    """Some output breaks the explanation of a death."""

    async def explain() -> str:
        return log_of(*lines).explain()

    assert anyio.run(explain)


async def test_phases_of_a_real_start() -> None:
    """The report's timeline is empty: SGLang words its log otherwise."""
    log = log_of(*(LOGS / "scheduler_killed.log").read_text().splitlines())
    phases = {phase.name: phase for phase in log.phases()}
    assert list(phases) == ["arguments", "scheduler", "weights", "KV cache", "warm-up"]
    assert {phases[name].within for name in phases} == {"port open", "serving"}
    order = [phase.start for phase in log.phases()]
    assert order == sorted(order)
    assert all(phase.seconds > 0 for phase in log.phases())


async def test_a_quiet_log_has_no_phases() -> None:
    """At log level `warning` the readiness check breaks."""
    assert log_of("warning: something").phases() == ()
    assert log_of().last_line() == ""


async def test_half_a_phase_is_none() -> None:
    """A phase that never ended is shown with a time."""
    log = log_of("x server_args=1", "Load weight begin", "Load weight begin")
    assert [phase.name for phase in log.phases()] == ["arguments"]


async def test_old_lines_go_and_long_ones_are_cut() -> None:
    """A chatty server fills the memory of the run that watches it."""
    log = log_of(*(f"line {at}" for at in range(KEPT_LINES + 10)), "x" * (LONGEST_LINE * 2))
    assert len(log.tail(10 * KEPT_LINES).splitlines()) == KEPT_LINES
    assert len(log.last_line()) == LONGEST_LINE
    assert log.tail(2).splitlines()[0] == f"line {KEPT_LINES + 9}"


async def until(log: ServerLog, line: str) -> None:
    """Wait until `line` is the log's last one."""
    with anyio.fail_after(10):
        while log.last_line() != line:
            await anyio.sleep(0.005)


async def test_follow_reads_a_file_as_it_grows(tmp_path: Path) -> None:
    """Lines get lost, doubled or cut where a log is written in pieces or starts anew."""
    path, log = tmp_path / "server.log", ServerLog(0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, path, log, 0.005)
        await anyio.sleep(0.02)
        with path.open("ab", buffering=0) as file:
            file.write(b"one\r\ntw")
            await until(log, "one")
            file.write(b"o\nbad \xff\n")
            await until(log, "bad \N{REPLACEMENT CHARACTER}")
        path.write_bytes(b"anew\n")
        await until(log, "anew")
        with path.open("ab", buffering=0) as file:
            file.write(f"{ENDED}\n".encode())
        with anyio.fail_after(10):
            await log.ended.wait()
        tasks.cancel_scope.cancel()
    assert log.tail().splitlines() == ["one", "two", "bad \N{REPLACEMENT CHARACTER}", "anew", ENDED]


HERE = f"{BEGAN}{BOOT.read_text()}"
"""What a server of this kernel writes first."""


@asynccontextmanager
async def followed(path: Path) -> AsyncIterator[ServerLog]:
    """Follow a file for as long as the context lasts."""
    log = ServerLog(anyio.current_time())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, path, log, 0.005)
        yield log
        tasks.cancel_scope.cancel()


async def test_a_server_that_ended_before_anybody_looked(tmp_path: Path) -> None:
    """A server that died while its prober was being built is waited for, or its name is blamed."""
    path = tmp_path / "server.log"
    path.write_text(f"{HERE}OSError: the reason\nthe last line\n")
    async with followed(path) as log:
        with anyio.fail_after(10):
            await log.ended.wait()
    assert log.explain() == "OSError: the reason"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="it has not begun"),
        pytest.param("a line\n", id="somebody else writes it, without a lock"),
        pytest.param(f"{BEGAN}\na line\n", id="its kernel is not known"),
        pytest.param(f"{BEGAN}another\na line\n", id="its lock is another kernel's"),
    ],
)
async def test_a_free_lock_alone_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """A server that still starts, or whose lock can't be seen from here, is called dead."""
    monkeypatch.setattr(logs, "STALE_SECONDS", 0.05)
    path = tmp_path / "server.log"
    path.write_text(content)
    async with followed(path) as log:
        await anyio.sleep(0.3)
        assert not log.ended.is_set()


async def test_the_log_of_an_earlier_server_is_not_this_ones(tmp_path: Path) -> None:
    """A server that is started beside `wait` is called dead by the log of the one before."""
    path = tmp_path / "server.log"
    path.write_text(f"{HERE}OSError: earlier\n{ENDED}\n")
    async with followed(path) as log:
        await anyio.sleep(0.1)
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            path.write_text(HERE)
            await until(log, HERE.strip())
            await anyio.sleep(0.1)
            assert not log.ended.is_set()
        with anyio.fail_after(10):
            await log.ended.wait()
    assert log.explain() == "no output"


async def test_follow_says_that_a_log_can_not_be_read(tmp_path: Path) -> None:
    """A wrong `--log` breaks the check, or is waited for until the budget is spent."""
    with pytest.raises(UsageError, match="the log can't be read: Is a directory"), one_error():
        with anyio.fail_after(10):
            await follow(tmp_path, ServerLog(0.0))

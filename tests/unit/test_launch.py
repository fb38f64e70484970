"""How `launch.sh` starts a server: with which flags, as which process, into which log."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ci.boot.launch import is_sglang
from ci.platform import TINY_MODEL, fork, records
from ci.secrets.veil import VEIL
from tests.rare import rare
from tests.unit.launching import HANG, LAUNCH, Place, kill_group, make_place, program, with_command

pytestmark = pytest.mark.unit

SECRET = "sk-planted/7f3a-9c1d"
BEGAN = f"launch.sh began on {Path('/proc/sys/kernel/random/boot_id').read_text()}"
ENDED = "launch.sh: server output ended\n"
ON_CPU = [
    *("--device", "cpu", "--attention-backend", "torch_native", "--sleep-on-idle"),
    *("--max-total-tokens", "8192", "--max-running-requests", "8"),
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder from which a server starts."""
    return make_place(tmp_path)


def told(place: Place, *flags: str) -> dict[str, Any]:
    """Return what the server tells that it was started with."""
    done = place.run(*flags)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def common(place: Place, level: str = "info") -> list[str]:
    """Return the flags that every server gets."""
    port = place.environment["PORT"]
    where = ["--host", "127.0.0.1", "--port", port, "--log-level", level]
    return ["--model-path", place.environment["MODEL_PATH"], *where]


def test_flags_on_a_cpu(place: Place) -> None:
    """A server on a CPU takes most of the memory, burns an idle core or doesn't start."""
    assert told(place)["argv"] == common(place) + ON_CPU


def test_flags_on_a_gpu(place: Place) -> None:
    """A server on a GPU is held back by a CPU's limits, or the GPU isn't found."""
    place = place.lacking("CUDA_VISIBLE_DEVICES").having(LOG_LEVEL="debug")
    seen = told(place)
    assert seen["argv"] == [*common(place, "debug"), "--device", "cuda"]
    assert "CUDA_VISIBLE_DEVICES" not in seen["environment"]


def test_cpu_hides_the_gpus(place: Place) -> None:
    """`DEVICE=cpu` fails on a machine with a GPU, where the CPU plugin steps aside."""
    seen = told(place.having(DEVICE="cpu", CUDA_VISIBLE_DEVICES="0"))
    assert seen["argv"] == common(place) + ON_CPU
    assert seen["environment"]["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(("asked", "told_to"), [(None, "20"), ("4.5", "4.5"), ("", "")])
def test_seconds_of_a_drain(place: Place, asked: str | None, told_to: str) -> None:
    """A server gets no limit for its drain, or can't be left to SGLang's own way."""
    place = place if asked is None else place.having(DRAIN_SECONDS=asked)
    assert told(place)["environment"]["SGLANG_CI_DRAIN_SECONDS"] == told_to


@pytest.mark.parametrize(("method", "forks"), [("auto", True), ("fork", True), ("spawn", False)])
def test_processes_are_forked_on_a_cpu_alone(place: Place, method: str, forks: bool) -> None:  # noqa: FBT001
    """A GPU's context is copied, or nobody can have a CPU's server start as one on a GPU does."""
    place = place.having(START_METHOD=method)
    assert (fork.METHOD in told(place)["environment"]) == forks
    assert (told(place)["environment"].get("OPENBLAS_NUM_THREADS") == "1") == forks
    if method != "fork":
        place = place.having(DEVICE="cuda").lacking("CUDA_VISIBLE_DEVICES")
        assert fork.METHOD not in told(place)["environment"]


def test_a_log_of_records(place: Place) -> None:
    """A server writes text where records were asked for, or a user's own configuration is lost."""
    assert records.CONFIG_PATH not in told(place)["environment"]
    place = place.having(LOG_FORMAT="json")
    assert told(place)["environment"][records.CONFIG_PATH] == str(records.CONFIG)
    own = told(place.having(**{records.CONFIG_PATH: "/own.json"}))
    assert own["environment"][records.CONFIG_PATH] == "/own.json"


def test_the_command_is_started_where_there_is_one(place: Place) -> None:
    """SGLang warns of a way to start it that will go, or another process is the server."""
    place = with_command(place)
    assert told(place, "--a=b")["argv"] == ["serve", *common(place), *ON_CPU, "--a=b"]
    with place.running("--stay") as process:
        assert f'"pid": {process.pid},' in read_until(process, "child")
        assert is_sglang(psutil.Process(process.pid).cmdline())
        process.terminate()
        assert process.wait(HANG) == 7


def test_a_command_of_another_installation_is_not_started(place: Place) -> None:
    """The command of an SGLang that lacks `serve` ends with a usage error."""
    place = with_command(place)
    (place.root / "site/sglang/cli/serve.py").unlink()
    assert told(place)["argv"] == common(place) + ON_CPU


@pytest.mark.parametrize(
    ("variables", "flags", "why"),
    rare(
        [
            ({"DRAIN_SECONDS": ""}, [], "DRAIN_SECONDS is empty"),
            ({"SGLANG_RUST_SERVER": "1"}, [], "SGLANG_RUST_SERVER answers HTTP outside of Python"),
            ({"SGLANG_PLUGINS": "other"}, [], "SGLANG_PLUGINS=other leaves the plugin 'drain' out"),
            ({}, ["--grpc-mode"], "--grpc-mode runs another server"),
            (
                {},
                ["--tokenizer-worker-num", "2"],
                "SGLang 0.5.23 has no SGLANG_HTTP_SERVER_APP_PATH",
            ),
        ],
        2,
    ),
)
def test_a_promise_that_does_not_hold_is_said(
    place: Place, variables: dict[str, str], flags: list[str], why: str
) -> None:
    """A server drops its clients at its end, and nothing said that it would."""
    done = place.having(**variables).run(*flags)
    assert done.returncode == 0
    first, *_ = done.stderr.splitlines()
    assert first == f"launch.sh notes: no drain as in docs/drain.md, but SGLang's own end: {why}"
    assert "notes" not in place.run().stderr


def test_an_interpreter_without_this_package_does_not_drain(place: Place) -> None:
    """SGLang's official image without sglang-ci looks as if it drained."""
    done = place.having(PYTHON=str(place.root / "bin/bare-python")).run()
    assert "own end: sglang-ci isn't installed in " in done.stderr


def test_models_flags_come_before_the_callers(place: Place) -> None:
    """A caller can't override what the model brings along, or a value is torn at a space."""
    lines = ["# a comment", "", '  --override={"a": 1} ', "--context-length=7", "--enable-metrics"]
    (place.model / "launch.flags").write_text("\n".join(lines))
    brought = ['--override={"a": 1}', "--context-length=7", "--enable-metrics"]
    asked = ["--context-length", "9", "--name", "two words", "*"]
    assert told(place, *asked)["argv"] == common(place) + ON_CPU + brought + asked


def test_packaged_model_is_the_default(place: Place) -> None:
    """Without a model of one's own nothing starts."""
    path = f"{place.environment['PYTHONPATH']}:{LAUNCH.parent}"
    seen = told(place.having(PYTHONPATH=path).lacking("MODEL_PATH"))
    assert seen["argv"][:2] == ["--model-path", str(TINY_MODEL)]
    assert "--load-format=dummy" in seen["argv"]


@pytest.mark.parametrize("name", ["python3", "python"])
def test_interpreter_is_found(place: Place, name: str) -> None:
    """Where `PYTHON` isn't set no server starts."""
    for tool in ("bash", "sed", "timeout"):
        (place.root / "bin" / tool).symlink_to(str(shutil.which(tool)))
    program(place.root / "bin" / name, f'exec {place.environment["PYTHON"]} "$@"')
    assert told(place.lacking("PYTHON").having(PATH=str(place.root / "bin")))["pid"]


def test_current_folder_is_not_imported(place: Place) -> None:
    """A user's own folder `ci` or `sglang` takes the place of the installed package."""
    (place.root / "sglang").mkdir()
    (place.root / "sglang/__init__.py").write_text("raise SystemExit('the wrong sglang')")
    assert told(place)["pid"]


def test_environment_of_the_server(place: Place) -> None:
    """A dead child is noticed after a minute, or a model's name tries the network first."""
    names = {
        "SGLANG_CUDA_COREDUMP_BEFORE_CRASH": "0",
        "SGLANG_PYSPY_DUMP_BEFORE_CRASH": "0",
        "HF_HUB_OFFLINE": "1",
    }
    assert names.items() <= told(place)["environment"].items()
    own = dict.fromkeys(names, "own")
    assert own.items() <= told(place.having(**own))["environment"].items()


@pytest.mark.parametrize("log", ["", "log"])
def test_server_is_the_process_that_was_started(place: Place, log: str) -> None:
    """SIGTERM or the exit code is lost on its way between caller and server."""
    place = place.having(LOG_FILE=str(place.root / log) if log else "")
    with place.running("--stay") as process:
        assert f'"pid": {process.pid},' in read_until(process, "child")
        process.terminate()
        assert read_until(process, "").endswith(f"ended by {signal.SIGTERM:d}\n")
        assert process.wait(HANG) == 7


def test_log_file_holds_all_output(place: Place) -> None:
    """What the server said is missing in the log or on the terminal."""
    log = place.root / "log"
    log.write_text("of an earlier run\n")
    done = place.having(LOG_FILE=str(log)).run()
    assert done.stdout.startswith("{")
    assert done.stderr == "a line on standard error\n"
    first, *lines, last = log.read_text().splitlines(keepends=True)
    assert first == BEGAN
    assert sorted(lines) == sorted([done.stdout, done.stderr])
    assert last == ENDED


@pytest.mark.parametrize("where", ["flag", "model", "variable"])
def test_log_file_shows_no_secret(place: Place, where: str) -> None:
    """A file that is kept, or published, holds the key that the server was started with."""
    log, flags = place.root / "log", ["--served-model-name=x"]
    place = place.having(LOG_FILE=str(log), MODEL_PATH=str(place.model), DEVICE="cpu")
    if where == "flag":
        flags += ["--api-key", SECRET]
    elif where == "model":
        (place.model / "launch.flags").write_text(f"--api-key={SECRET}\n")
    else:
        place = place.having(SOME_TOKEN=SECRET)
    done = place.run(*flags)
    assert done.stdout.count(SECRET)
    assert SECRET not in log.read_text()
    assert log.read_text().count(VEIL) == done.stdout.count(SECRET)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_copies_outlive_signals(place: Place, number: signal.Signals) -> None:
    """Ctrl-C or a supervisor that signals each process cuts off the server's last words."""
    log = place.root / "log"
    with place.having(LOG_FILE=str(log)).running("--stay") as process:
        read_until(process, "child")
        for copy in copies(log):
            assert os.getpgid(copy.pid) != process.pid
            copy.parent().send_signal(number)
            copy.send_signal(number)
        process.terminate()
        read_until(process, "")
    assert log.read_text().endswith(f"ended by {signal.SIGTERM:d}\n{ENDED}")


@pytest.mark.parametrize("slow", [0, 1])
def test_last_line_waits_for_both_streams(place: Place, slow: int) -> None:
    """A prober stops reading before the error that ended the server."""
    log = place.root / "log"
    with place.having(LOG_FILE=str(log)).running("--stay") as process:
        read_until(process, "child")
        copy = copies(log)[slow]
        copy.suspend()
        try:
            kill_group(process.pid)
            process.wait(HANG)
            time.sleep(0.3)
            assert ENDED not in log.read_text()
        finally:
            copy.resume()
        read_until(process, "")
    assert log.read_text().endswith(ENDED)


def test_lock_tells_when_the_server_is_gone(place: Place) -> None:
    """A prober that shares only the log's folder doesn't see that a server was killed."""
    log = place.root / "log"
    place = place.having(LOG_FILE=str(log))
    with place.running("--stay") as process:
        read_until(process, "child")
        assert is_locked(log)
        process.kill()
        process.wait(HANG)
        assert not is_locked(log)
        assert ENDED not in log.read_text(), "its child still holds the output"
        kill_group(process.pid)
        read_until(process, "")
    assert log.read_text().endswith(ENDED)


def test_log_file_of_a_live_server_is_left_alone(place: Place) -> None:
    """A second server erases the log of the first, and both write to it."""
    log = place.root / "log"
    place = place.having(LOG_FILE=str(log))
    with place.running("--stay") as process:
        read_until(process, "child")
        before = log.read_text()
        assert place.run().returncode == 64
        assert log.read_text().startswith(before)
        assert "bad LOG_FILE" not in log.read_text()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """Return the output up to a line that begins with `word`, or to its end where that is empty."""
    assert process.stdout is not None
    if not word:
        return process.stdout.read()
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith(word):
            return text
    raise AssertionError(text)


def copies(log: Path) -> list[psutil.Process]:
    """Return the two processes that copy a server's output to `log`."""
    running = psutil.process_iter(["cmdline"])
    found = [each for each in running if (each.info["cmdline"] or [])[-1:] == [str(log)]]
    assert len(found) == 2
    return found


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the file's lock."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

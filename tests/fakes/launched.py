"""An installation in which SGLang is the fake server, so that `launch.sh` itself starts it.

`install` lays it in a folder and returns the variables that lead there; what the server then
does, from its first line to its last, is a `Plan`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fakes.sglang import FakeSglang, Settings

ROOT = Path(__file__).parents[2]
PLAN = "FAKE_SGLANG_PLAN"
VERSION = "0.5.23"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@dataclass(frozen=True)
class Plan:
    """What a server does.

    Attributes:
        open_after: Seconds from its start until its port is open.
        ready_after: Seconds from then until it is ready.
        faults: Faults of the fake server.
        version: The version that it tells.
        dies_after: Seconds from its start until it ends by itself; never where negative.
        dies_on: A path; once it was asked for that, it ends by itself.
        exit_code: Its exit code then; a signal's number where negative.
        last_words: What it says before that.
        deaf: Whether it ignores SIGTERM.
        child: Whether it has a child that ignores SIGTERM.
        tells: A variable whose value it says in its log.
    """

    open_after: float = 0.0
    ready_after: float = 0.0
    faults: tuple[str, ...] = ()
    version: str = VERSION
    dies_after: float = -1.0
    dies_on: str = ""
    exit_code: int = 1
    last_words: str = ""
    deaf: bool = False
    child: bool = False
    tells: str = ""


def install(folder: Path, plan: Plan | None = None) -> dict[str, str]:
    """Make the installation in `folder`, and return the variables under which it is found."""
    package = folder / "sglang"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "launch_server.py").write_text("from tests.fakes.launched import main\n\nmain()\n")
    about = folder / f"sglang-{VERSION}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sglang\nVersion: {VERSION}\n")
    found = {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return found | {PLAN: json.dumps(asdict(plan or Plan()))}


def main() -> None:
    """Serve as the plan says, until SIGTERM."""
    plan = json.loads(os.environ[PLAN])
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int)
    parser.add_argument("--model-path")
    parser.add_argument("--api-key", default="")
    given, _ = parser.parse_known_args()
    if plan["child"]:
        subprocess.Popen([sys.executable, "-c", STUBBORN])
    signal.signal(signal.SIGTERM, signal.SIG_IGN if plan["deaf"] else lambda *_: os._exit(0))
    _say(f"server_args={given}")
    if plan["tells"]:
        _say(f"logged in with {os.environ[plan['tells']]} at the hub")
    if plan["dies_after"] >= 0:
        threading.Timer(plan["dies_after"], _die, [plan]).start()
    settings = Settings(
        port=given.port,
        open_after=plan["open_after"],
        ready_after=plan["ready_after"],
        version=plan["version"],
        model=given.model_path,
        leak=given.api_key,
        api_key=given.api_key,
    )
    with FakeSglang(settings, plan["faults"]) as server:
        _say("The server is fired up and ready to roll!")
        while plan["dies_on"] not in server.asked:
            time.sleep(0.02)
        _die(plan)


def _die(plan: dict[str, Any]) -> None:
    _say(plan["last_words"])
    if plan["exit_code"] < 0:
        os.kill(os.getpid(), -plan["exit_code"])
    os._exit(plan["exit_code"])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

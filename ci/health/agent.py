"""A fault agent: runs a server inside its container, and hurts it when asked over HTTP.

    python3 agent.py --port 30999 [--idle] -- launch.sh ...

It is mounted alone into a container under test, never into a released image, and so needs
nothing but Python. It starts the command as a child, in a session of its own; stays when
that has ended, to say how and what it left, or to start it anew; and ends with the child's
exit code `--linger` seconds later, or as soon as it was asked to and the child has ended.
SIGTERM asks for both: it is how a container is told to end. With `--idle` the command is first
started when it is asked for.

    GET  /state    {"running", "exit_code", "processes": [{"pid", "role", "title"}]}
    POST /signal   {"role": "scheduler", "signal": "SIGSTOP"} -> {"pid"}; 404: no such process
    POST /restart  kills what is left of the command and starts it anew -> as /state
    POST /end
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
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TITLES = {"sglang::scheduler": "scheduler", "sglang::detokenizer": "detokenizer"}
"""How SGLang's children call themselves (`setproctitle`, with a rank behind), to their role."""
MODULE, COMMAND = "sglang.launch_server", ("sglang", "serve")
"""What SGLang's own process is started by: a module, or a command and its first word."""
SIGNALS = ("SIGSTOP", "SIGCONT", "SIGKILL", "SIGTERM")
NOTHING = (sys.executable, "-Ic", "")
"""A command that ends at once, and well."""
POLL = 0.05


def role_of(title: str) -> str:
    """Return a process's role by its command line: `parent`, a child's, or `other`."""
    for start, role in TITLES.items():
        if title.startswith(start):
            return role
    words = title.split()
    pairs = zip((Path(word).name for word in words), words[1:], strict=False)
    return "parent" if MODULE in words or COMMAND in pairs else "other"


def processes(session: int) -> list[dict[str, Any]]:
    """Return the living processes of a session, oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        state, of_session, started = fields[0], int(fields[3]), int(fields[19])
        if of_session == session and state not in {"Z", "X"}:
            one = {"pid": int(folder.name), "role": role_of(title), "title": title.strip()}
            found.append((started, one))
    return [one for _, one in sorted(found, key=lambda pair: (pair[0], pair[1]["pid"]))]


class Agent:
    """One command, and what is asked about it.

    Args:
        command: What is run.
        linger: Most seconds to stay after its end.
        idle: Whether it is as if the command had ended already.
    """

    def __init__(self, command: list[str], linger: float, *, idle: bool = False) -> None:
        self._command, self._linger = command, linger
        self._end, self._restarting = threading.Event(), threading.Lock()
        self._child = self._start(NOTHING if idle else command)

    def state(self) -> dict[str, Any]:
        """Return whether the command runs, how it ended, and which processes there are."""
        code = self._child.poll()
        found = processes(self._child.pid)
        return {"running": code is None, "exit_code": code, "processes": found}

    def signal(self, role: str, number: signal.Signals) -> int | None:
        """Send a signal to the oldest process of a role; return its pid, None without one."""
        for one in processes(self._child.pid):
            if one["role"] == role:
                os.kill(one["pid"], number)
                return int(one["pid"])
        return None

    def restart(self) -> None:
        """Kill what is left of the command, and start it anew."""
        with self._restarting:
            self._clear()
            self._child = self._start(self._command)

    def terminate(self, *_: object) -> None:
        """Pass SIGTERM on, and end as soon as the command has."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        self._end.set()

    def end(self) -> None:
        """Let `wait` return once the command has ended."""
        self._end.set()

    def wait(self) -> int:
        """Wait until the command has ended and the agent may exit; return an exit code."""
        alive = time.monotonic()
        while self._child.poll() is None or not self._may_go(alive):
            if self._child.poll() is None:
                alive = time.monotonic()
            time.sleep(POLL)
        self._clear()
        code = self._child.returncode
        return code if code >= 0 else 128 - code

    def _may_go(self, alive: float) -> bool:
        return self._end.is_set() or time.monotonic() - alive > self._linger

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, start_new_session=True)

    def _clear(self) -> None:
        """Kill the command's session, and return when it is gone."""
        while left := processes(self._child.pid):
            for one in left:
                with suppress(ProcessLookupError):
                    os.kill(one["pid"], signal.SIGKILL)
            time.sleep(POLL)
        self._child.wait()


def handler(agent: Agent) -> type[BaseHTTPRequestHandler]:
    """Return what answers HTTP for an agent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, agent.state()) if self.path == "/state" else self._answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path == "/end":
                self._answer(200, {})
                return agent.end()
            if self.path == "/restart":
                agent.restart()
                return self._answer(200, agent.state())
            return self._signal(body) if self.path == "/signal" else self._answer(404, {})

        def _signal(self, body: bytes) -> None:
            try:
                asked = json.loads(body)
                role, name = str(asked["role"]), str(asked["signal"])
            except (ValueError, KeyError, TypeError):
                return self._answer(400, {"error": "not {role, signal}"})
            if name not in SIGNALS:
                return self._answer(400, {"error": f"signal is none of {', '.join(SIGNALS)}"})
            pid = agent.signal(role, signal.Signals[name])
            return self._answer(404 if pid is None else 200, {"pid": pid})

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            content = json.dumps(document).encode()
            with suppress(ConnectionError):  # who asked may be gone
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Leave the server's log to the server."""

    return Handler


def main(arguments: list[str]) -> int:
    """Run the command, answer for it, and return its exit code."""
    parser = argparse.ArgumentParser(description="Run a server, and hurt it when asked to.")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - asked from another container
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--linger", type=float, default=300.0)
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    agent = Agent(given.command, given.linger, idle=given.idle)
    signal.signal(signal.SIGTERM, agent.terminate)
    server = ThreadingHTTPServer((given.host, given.port), handler(agent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return agent.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

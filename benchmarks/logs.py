"""Lines of a log counted at both ends: what is lost, or comes twice, when something goes wrong.

    python -m benchmarks.logs [--seconds 20] [--rate 200] [--away 60] [--only FAULT …] [--json FILE]
        [--collector otelcol] [--receiver victoria-logs]

A writer writes the records of `ci/platform/records.py` and, between them, tracebacks as Python
prints them itself. An OpenTelemetry collector reads them by what `observe render` writes, and a
VictoriaLogs receives them, both on loopback. Each fault has processes and a folder of its own. A
record counts where its number and its whole text came; a traceback where it came as one entry.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from ci.boot.port import reserved
from ci.monitoring.write import configuration, write
from ci.platform.records import JsonFormatter
from ci.settings import Settings

SETTLED, LOOK, START = 90.0, 1.0, 30.0
"""Most seconds until all has come after the last line, between two looks, and for a start."""
EVERY, PRINTED = 25, 60
"""A traceback stands in every so many-th record, and is printed by itself after so many lines."""
FAULTS = (
    "none", "collector killed", "receiver away", "receiver killed", "renamed", "cut to nothing",
    "disk full",
)  # fmt: skip
GATE = "stanza.synchronousLogEmitter"
"""Without it a collector that is killed loses the up to 100 lines that it was about to send."""
DISK = "size=512k"
"""The collector's own disk where that is to be full."""


@dataclass
class Shipped:
    """What became of the lines of one run.

    Args:
        fault: What went wrong.
        records: Records that were written, and tracebacks that were printed beside them.
        printed: The latter alone.
        lost: Records that never came.
        twice: Records that came more than once.
        torn: Tracebacks of records that didn't come whole.
        printed_lost: Printed tracebacks of which the last line never came.
        printed_torn: Printed ones that came in several entries.
        late: Seconds from the last line until nothing more came.
    """

    fault: str
    records: int = 0
    printed: int = 0
    lost: int = 0
    twice: int = 0
    torn: int = 0
    printed_lost: int = 0
    printed_torn: int = 0
    late: float = 0.0


@dataclass
class LogWriter:
    """Writes numbered lines to a file as a server does: appended, flushed line by line."""

    path: Path
    rate: float
    formatter: JsonFormatter = field(default_factory=JsonFormatter)
    records: int = 0
    printed: int = 0

    def write(self, seconds: float, at: Callable[[float], None]) -> None:
        """Write for so many seconds; `at` is called with the share of them that is over."""
        begin = time.monotonic()
        while (now := time.monotonic() - begin) < seconds:
            at(now / seconds)
            self._append(self._record())
            if self.records % PRINTED == 0:
                self._append(self._traceback())
            time.sleep(max(0.0, self.records / self.rate - (time.monotonic() - begin)))

    def _append(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{text}\n")

    def _record(self) -> str:
        self.records += 1
        record = logging.makeLogRecord(
            {"name": "writer", "msg": "line %d", "args": (self.records,), "levelno": logging.INFO}
        )
        record.levelname = "INFO"
        if self.records % EVERY == 0:
            record.exc_info = _raised(f"error {self.records}")
        return self.formatter.format(record)

    def _traceback(self) -> str:
        self.printed += 1
        kind, error, trace = _raised(f"printed {self.printed}")
        return "".join(traceback.format_exception(kind, error, trace)).rstrip()


def _raised(text: str) -> Any:
    try:
        _raise(text)
    except RuntimeError:
        return sys.exc_info()


def _raise(text: str) -> None:
    raise RuntimeError(text)


@dataclass
class Shipping:
    """A collector and a receiver, with the folder that they share."""

    folder: Path
    collector: str
    receiver: str
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The receiver's base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The log that is shipped."""
        return self.folder / "server.log"

    def configure(self) -> None:
        """Render what the collector reads."""
        told = {
            "logs": [f"{self.log}*"],
            "logs_to": f"{self.url}/insert/opentelemetry/v1/logs",
        }
        write(self.folder, configuration(Settings.model_validate({"observe": told})))
        (self.folder / "state").mkdir(exist_ok=True)

    def start(self, name: str) -> None:
        """Start the collector or the receiver; of the receiver wait until it answers."""
        argv = {
            "collector": [
                self.collector,
                f"--config={self.folder / 'otel-collector.yml'}",
                f"--feature-gates={GATE}",
            ],
            "receiver": [
                self.receiver,
                f"-storageDataPath={self.folder / 'received'}",
                f"-httpListenAddr=127.0.0.1:{self.port}",
            ],
        }[name]
        with (self.folder / f"{name}.out").open("ab") as output:
            self.running[name] = subprocess.Popen(
                argv,
                stdout=output,
                stderr=output,
                env=os.environ | {"LOGS_STATE": str(self.folder / "state")},
            )
        if name == "receiver":
            self._answers()

    def _answers(self) -> None:
        end = time.monotonic() + START
        while time.monotonic() < end:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", trust_env=False).is_success:
                    return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "receiver.out").read_text()[-2000:])

    def end(self, name: str, *, kill: bool) -> None:
        """End one of them, with or without a chance to tidy up."""
        process = self.running[name]
        (process.kill if kill else process.terminate)()
        process.wait(START)

    def entries(self) -> list[dict[str, Any]]:
        """Return everything that was received."""
        answer = httpx.post(
            f"{self.url}/select/logsql/query",
            data={"query": "*", "start": "1970-01-01T00:00:00Z"},
            timeout=60,
            trust_env=False,
        )
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]


@contextmanager
def shipping(collector: str, receiver: str) -> Iterator[Shipping]:
    """Yield a collector and a receiver that run, and end them afterwards."""
    with reserved("127.0.0.1", 0) as port, tempfile.TemporaryDirectory() as folder:
        made = Shipping(Path(folder), collector, receiver, port)
        made.configure()
        try:
            made.start("receiver")
            made.start("collector")
            yield made
        finally:
            for process in made.running.values():
                process.kill()
                process.wait()


def tried(fault: str, at: Shipping, seconds: float, rate: float, away: float) -> Shipped:
    """Write lines while a fault comes, and count what was received."""
    done = Shipped(fault)
    writer = LogWriter(at.log, rate)
    waiting = [fault]
    later: list[threading.Thread] = []

    def come(share: float) -> None:
        if share < 1 / 3 or not waiting:
            return
        _come(waiting.pop(), at, away, later)

    with _disk(at, full=fault == "disk full"):
        writer.write(seconds, come)
        for thread in later:
            thread.join()
        last = time.monotonic()
        found = _all(at, writer.records)
        done.late = time.monotonic() - last
    done.records, done.printed = writer.records, writer.printed
    _count(done, found)
    return done


def _come(fault: str, at: Shipping, away: float, later: list[threading.Thread]) -> None:
    """Have the fault."""
    name = fault.split(maxsplit=1)[0]
    if name in at.running:
        at.end(name, kill=fault.endswith("killed"))
        pause = away if fault == "receiver away" else 3.0

        def back() -> None:
            time.sleep(pause)
            at.start(name)

        later.append(threading.Thread(target=back))
        later[-1].start()
    elif fault == "renamed":
        at.log.rename(at.log.with_name("server.log.1"))
    elif fault == "cut to nothing":
        shutil.copy(at.log, at.folder / "copy")
        at.log.write_bytes(b"")


@contextmanager
def _disk(at: Shipping, *, full: bool) -> Iterator[None]:
    """Give the collector a disk of its own that is full, with the receiver away for a while."""
    if not full:
        yield
        return
    at.end("collector", kill=False)
    at.end("receiver", kill=False)
    state = at.folder / "state"
    subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "none", str(state)], check=True)
    try:
        at.start("collector")
        time.sleep(1)
        with (state / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        threading.Timer(15.0, at.start, ["receiver"]).start()
        yield
    finally:
        at.end("collector", kill=True)
        subprocess.run(["umount", str(state)], check=True)


def _all(at: Shipping, expected: int) -> list[dict[str, Any]]:
    """Return what was received once all is there, or nothing more comes."""
    end, found, quiet = time.monotonic() + SETTLED, list[dict[str, Any]](), 0
    while time.monotonic() < end and quiet < 15:  # noqa: PLR2004 - looks without anything new
        time.sleep(LOOK)
        before = len(found)
        with suppress(httpx.HTTPError):
            found = at.entries()
        quiet = quiet + 1 if len(found) == before else 0
        if len(found) > expected and quiet > 3:  # noqa: PLR2004
            break
    return found


def _count(done: Shipped, found: list[dict[str, Any]]) -> None:
    """Count what is missing, and what isn't whole."""
    numbered = [one for one in found if one.get("logger") == "writer"]
    came = Counter(one["_msg"] for one in numbered)
    wanted = {f"line {at}" for at in range(1, done.records + 1)}
    done.lost = len(wanted - set(came))
    done.twice = sum(count - 1 for count in came.values())
    for one in numbered:
        number = int(one["_msg"].split()[1])
        whole = str(one.get("exception.stacktrace", "")).endswith(f"error {number}\n")
        done.torn += number % EVERY == 0 and not whole
    texts = [one.get("_msg", "") for one in found if one.get("logger") != "writer"]
    for number in range(1, done.printed + 1):
        end = f"RuntimeError: printed {number}"
        ends = [text for text in texts if f"{end}\n" in f"{text}\n"]
        done.printed_lost += not ends
        done.printed_torn += bool(ends) and not any(
            text.startswith("Traceback") and text.endswith(end) for text in ends
        )


def main() -> None:
    """Try each fault, and print what became of the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=200, help="lines a second")
    parser.add_argument("--away", type=float, default=60, help="seconds without a receiver")
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=FAULTS)
    parser.add_argument("--collector", default="otelcol")
    parser.add_argument("--receiver", default="victoria-logs")
    parser.add_argument("--json", type=Path)
    at = parser.parse_args()
    rows = []
    for fault in at.only:
        with shipping(at.collector, at.receiver) as made:
            rows.append(tried(fault, made, at.seconds, at.rate, at.away))
        print(rows[-1])
    table = Table(*asdict(rows[0]))
    for row in rows:
        table.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value)
                        for value in asdict(row).values()))  # fmt: skip
    Console(width=140).print(table)
    if at.json:
        at.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()

"""What `dagger call ci` still does when nothing changed.

    python -m benchmarks.warm

Calls `dagger call ci verdict` twice and lists the steps of the second call that were not
taken from the cache, with their seconds. Every step that remains must have a reason: it
measures the server, or it is the server.
"""

from __future__ import annotations

import os
import re
import subprocess
import time

STEP = re.compile(r"^(?P<id>\d+)\s+: (?:┆ )*(?P<what>.*)$")
DONE = re.compile(
    r"(?:Container|Service|Missing)\.\w+ (?P<state>DONE|CACHED) \[(?P<time>[^\]]+)\]$"
)
SHOWN_SECONDS = 0.5


def call() -> tuple[float, str]:
    """Return wall seconds and the plain progress of one call."""
    begin = time.monotonic()
    argv = ["dagger", "--progress=plain", "call", "ci", "verdict"]
    variables = os.environ | {"NO_COLOR": "1"}
    ran = subprocess.run(argv, env=variables, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "PASSED", ran.stdout
    return time.monotonic() - begin, ran.stderr


def seconds(text: str) -> float:
    """Return the seconds of a duration such as `1m2s` or `0.4s`."""
    minutes, _, rest = text.rpartition("m")
    return 60 * float(minutes or 0) + float(rest.rstrip("s"))


def executed(progress: str) -> list[tuple[float, str]]:
    """Return time and command of each `withExec` that ran, those under half a second left out."""
    commands: dict[str, str] = {}
    found: dict[str, float] = {}
    for line in progress.splitlines():
        step = STEP.match(line)
        if step is None:
            continue
        if step["what"].startswith("withExec "):
            commands[step["id"]] = step["what"]
        elif (done := DONE.match(step["what"])) and done["state"] == "DONE":
            found[step["id"]] = max(found.get(step["id"], 0.0), seconds(done["time"]))
    steps = [(took, commands[at]) for at, took in found.items() if at in commands]
    return [step for step in steps if step[0] >= SHOWN_SECONDS]


def main() -> None:
    """Measure, and print both wall times and the steps that ran again."""
    first, _ = call()
    second, progress = call()
    print(f"first call {first:.1f} s, second {second:.1f} s; what ran in the second:")
    for took, command in executed(progress):
        print(f"{took:7.1f} s  {command[:150]}")


if __name__ == "__main__":
    main()

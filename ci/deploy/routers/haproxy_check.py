"""What in a user's own HAProxy configuration breaks streams, shares or what is seen of both."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import anyio

from ci.deploy.routers.haproxy_config import HaproxyOptions
from ci.errors import RouterFault

SECONDS = 20.0
"""Most seconds for HAProxy to look through a configuration."""
_PLACES = ("/usr/sbin", "/usr/local/sbin")
_SECTION = ("global", "defaults", "frontend", "backend", "listen")
_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AGAIN = ("all-retryable-errors", "response-timeout", "junk-response", "500", "502", "504")
Line = tuple[str, ...]


def program() -> str:
    """Return the absolute path of HAProxy, which it starts itself by on a reload.

    Raises:
        RouterFault: It isn't installed.
    """
    where = os.pathsep.join((os.environ.get("PATH", os.defpath), *_PLACES))
    if (found := shutil.which("haproxy", path=where)) is None:
        raise RouterFault("HAProxy isn't installed; apt-get install haproxy, or choose a router")
    return os.path.abspath(found)  # noqa: PTH100 - a link's own name is kept


async def syntax(text: str) -> list[str]:
    """Return what HAProxy itself finds wrong in a configuration, a line each.

    Raises:
        RouterFault: It isn't installed, or doesn't come to an end.
    """
    argv = [program(), "-c", "-f", "/dev/stdin"]
    try:
        with anyio.fail_after(SECONDS):
            ran = await anyio.run_process(argv, input=text.encode(), check=False)
    except TimeoutError as error:
        raise RouterFault(f"`{shlex.join(argv)}` didn't end within {SECONDS:g} s") from error
    if not ran.returncode:
        return []
    told = (ran.stderr + ran.stdout).decode("utf-8", "replace").splitlines()
    return [line for line in told if "[ALERT]" in line] or told or ["it says nothing"]


def misfits(text: str, options: HaproxyOptions | None = None) -> list[str]:
    """Return what matters in a configuration and is wrong, a line each with its cure.

    Args:
        text: The configuration; `.if` and variables aren't followed.
        options: What is needed: backend, slots, and what was measured.
    """
    at = options or HaproxyOptions()
    sections = _sections(text)
    own = next((found for found in sections if found.is_backend(at.backend)), None)
    if own is None:
        return [f"no backend {at.backend}: add it, with `server` lines for {', '.join(at.slots)}"]
    return [
        *_of_global([line for found in sections if found.kind == "global" for line in found.lines]),
        *_of_times(own, [found for found in sections if found.leads_to(at.backend)], at),
        *_of_options(own),
        *_of_shares(own),
        *_of_servers(own, at),
    ]


@dataclass(frozen=True)
class _Section:
    """A section with all that holds in it: the lines of its defaults before its own."""

    kind: str
    name: str
    lines: tuple[Line, ...]

    def is_backend(self, name: str) -> bool:
        return self.kind in {"backend", "listen"} and self.name == name

    def leads_to(self, name: str) -> bool:
        if self.kind == "listen" and self.name == name:
            return True
        ways = {"default_backend", "use_backend"}
        return self.kind == "frontend" and any(
            line[0] in ways and line[1:2] == (name,) for line in self.lines
        )

    def all(self, *words: str) -> list[Line]:
        """Return what follows these words, a line each."""
        size = len(words)
        return [line[size:] for line in self.lines if line[:size] == words]

    def last(self, *words: str) -> Line | None:
        """Return what follows these words in the line that holds."""
        return next(reversed(self.all(*words)), None)

    def has(self, option: str) -> bool:
        """Return whether an option is set, and not taken back."""
        told = [line for line in self.lines if option in line[1:3] and "option" in line[:2]]
        return bool(told) and told[-1][0] != "no"


def _sections(text: str) -> list[_Section]:
    found: list[_Section] = []
    defaults: dict[str, tuple[Line, ...]] = {"": ()}
    for head, lines in _parts(text):
        name = head[1] if len(head) > 1 else ""
        base = head[head.index("from") + 1] if "from" in head[1:-1] else ""
        inherited = () if head[0] == "global" else defaults.get(base, ())
        if head[0] == "defaults":
            own = "" if name == "from" else name
            inherited = inherited if base else ()
            defaults |= {"": inherited + lines, own: inherited + lines}
        found.append(_Section(head[0], name, inherited + lines))
    return found


def _parts(text: str) -> Iterator[tuple[Line, tuple[Line, ...]]]:
    head: Line = ("",)
    lines: list[Line] = []
    for line in map(_words, text.splitlines()):
        if line and line[0] in _SECTION:
            yield head, tuple(lines)
            head, lines = line, []
        elif line:
            lines.append(line)
    yield head, tuple(lines)


def _words(line: str) -> Line:
    try:
        return tuple(shlex.split(line, comments=True))
    except ValueError:
        return tuple(line.split())


def _of_global(lines: list[Line]) -> Iterator[str]:
    sockets = [line for line in lines if line[:2] == ("stats", "socket")]
    if not any(_follows(line, "level") == "admin" for line in sockets):
        yield "no `stats socket PATH level admin` in global: traffic can't be moved"
    if not any(line[0] == "server-state-file" for line in lines):
        yield "no `server-state-file` in global: a reload forgets addresses and shares"


def _of_times(own: _Section, fronts: list[_Section], at: HaproxyOptions) -> Iterator[str]:
    needs: Mapping[str, tuple[list[_Section], float, str]] = {
        "server": ([own], at.least_silence, "a stream is silent until its first token"),
        "client": (fronts, at.least_silence, "a client is silent while its stream runs"),
        "check": ([own], at.least_check, "a healthy server's /health takes a second"),
        "connect": ([own], 0.1, "a connection would be waited for without end"),
        "queue": ([own], 0.1, "it is that of `connect` otherwise"),
    }
    for name, (sections, least, why) in needs.items():
        for told in [section.last("timeout", name) for section in sections]:
            if told is None and name != "queue":
                yield f"no `timeout {name}`: set at least {least:g}s, as {why}"
            elif told and _seconds(told[0]) < least:
                yield f"`timeout {name} {told[0]}` is too short: set at least {least:g}s, as {why}"


def _of_options(own: _Section) -> Iterator[str]:
    needed = {
        "http-no-delay": "each event of a stream waits up to 200 ms",
        "redispatch": "a request that a dead slot didn't take isn't given to the other",
        "http-buffer-request": "a request whose body comes in a packet of its own isn't sent again",
        "abortonclose": "a client that went away holds its slot, and counts as failed",
    }
    for option, why in needed.items():
        if not own.has(option):
            yield f"no `option {option}`: {why}; add it to backend {own.name} or its defaults"
    if own.has("prefer-last-server"):
        yield "`option prefer-last-server` keeps clients on a slot; take it away"
    if own.last("load-server-state-from-file") not in {("global",), ("local",)}:
        yield "no `load-server-state-from-file global`: a reload forgets addresses and shares"
    if (own.last("mode") or ("tcp",)) != ("http",):
        yield f"backend {own.name} isn't `mode http`: requests aren't counted or shared"
    if own.all("compression", "algo"):
        yield "`compression algo` holds back the events of streams; take it away"


def _of_shares(own: _Section) -> Iterator[str]:
    balance = (own.last("balance") or ("roundrobin",))[0]
    if balance != "roundrobin":
        yield f"`balance {balance}` gives no exact shares; say `balance roundrobin`"
    for sticky in (("cookie",), ("stick",), ("stick-table",)):
        if own.all(*sticky):
            yield f"`{sticky[0]}` keeps clients on a slot, and shares aren't exact; take it away"
    if own.last("retries") == ("0",):
        yield "`retries 0`: a request that a dead slot didn't take is lost; say `retries 2`"
    if again := set(own.last("retry-on") or ()) & set(_AGAIN):
        yield f"`retry-on {min(again)}` generates again what is generated already; take it away"
    reuse = (own.last("http-reuse") or ("safe",))[0]
    if reuse in {"aggressive", "always"}:
        yield f"`http-reuse {reuse}` loses requests on connections that close; say `safe`"
    if not any("x-sglang-slot" in line for line in own.all("http-response", "set-header")):
        yield "no `http-response set-header x-sglang-slot %s`: nobody can tell who answered"


def _of_servers(own: _Section, at: HaproxyOptions) -> Iterator[str]:
    usual = tuple(word for line in own.all("default-server") for word in line)
    declared = {line[0]: (*usual, *line[1:]) for line in own.all("server") if line}
    for slot in at.slots:
        words = declared.pop(slot, None)
        if words is None:
            yield f"no `server {slot} 127.0.0.1:1 check disabled`: slots are declared beforehand"
            continue
        for word, why in (("check", "a dead slot keeps its share"), ("disabled", _EARLY)):
            if word not in words:
                yield f"server {slot} isn't `{word}`: {why}"
        for word in {"backup", "slowstart", "maxconn"} & set(words):
            yield f"server {slot} has `{word}`: its share isn't exact; take it away"
    for name in declared:
        yield f"server {name} is no slot, and takes a share of its own; take it away"


_EARLY = "it gets traffic before it was pointed anywhere"


def _follows(line: Line, word: str) -> str:
    return line[line.index(word) + 1] if word in line[:-1] else ""


def _seconds(text: str) -> float:
    """Return a time; one that HAProxy won't take is long enough here."""
    found = re.fullmatch(r"(\d+)(us|ms|s|m|h|d|)", text)
    return int(found[1]) * _UNITS[found[2]] if found else math.inf

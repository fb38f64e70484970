"""HAProxy's configuration as we render it, from typed options and what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ci.deploy.routers.haproxy_socket import LONGEST_PATH
from ci.deploy.world import SLOTS
from ci.errors import UsageError

LOOPBACK = ("127.", "localhost:", "[::1]:")
EVERYWHERE = ("", "*", "0.0.0.0")  # noqa: S104 - names of it


@dataclass(frozen=True)
class HaproxyOptions:
    """How our own HAProxy is to be; times in seconds.

    Args:
        bind: Where clients connect, `host:port`.
        backend: The backend's name.
        slots: The slots' names.
        ttft: The longest time to first token that was measured; streams may be silent as long.
        health: How long `/health` takes on a healthy server.
        check_path: What is asked of a slot, again and again; 200 is healthy.
        check_interval: Time between two checks.
        fall: Failed checks in a row after which a slot is down.
        queue: Longest wait for a slot.
        connections: Most connections of clients.
        exporter: Where HAProxy's own metrics are served, a `host:port` on loopback; empty for
            nowhere.
    """

    bind: str = "127.0.0.1:8080"
    backend: str = "sglang"
    slots: tuple[str, ...] = SLOTS
    ttft: float = 30.0
    health: float = 1.0
    check_path: str = "/health"
    check_interval: float = 1.0
    fall: int = 2
    queue: float = 10.0
    connections: int = 4096
    exporter: str = ""

    @property
    def url(self) -> str:
        """Where clients of this host send their requests."""
        host, _, port = self.bind.rpartition(":")
        return f"http://{'127.0.0.1' if host in EVERYWHERE else host}:{port}"

    @property
    def least_silence(self) -> float:
        """Least time-out of client and server: they are silent until the first token."""
        return max(60.0, 2 * self.ttft)

    @property
    def least_check(self) -> float:
        """Least time-out of a check."""
        return 2 * self.health

    @property
    def silence(self) -> int:
        """The time-out of client and server that is rendered."""
        return math.ceil(max(600.0, self.least_silence))

    @property
    def check(self) -> int:
        """The time-out of a check that is rendered."""
        return math.ceil(max(3.0, 3 * self.health))


@dataclass(frozen=True)
class Files:
    """What our own HAProxy has in its folder."""

    folder: Path

    def __post_init__(self) -> None:
        """Refuse a folder whose path HAProxy can't take.

        Raises:
            UsageError: It is too long for sockets, or has characters that part its words.
        """
        longest = bytes(self.master)
        if len(longest) > LONGEST_PATH or set("', \n\t") & set(str(self.folder)):
            raise UsageError(
                f"{self.folder}: HAProxy's sockets need a path of at most {LONGEST_PATH} bytes"
                " with their names, without blanks, commas and quotes; name another folder"
            )

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.folder / "haproxy.cfg"

    @property
    def socket(self) -> Path:
        """Its runtime socket."""
        return self.folder / "haproxy.sock"

    @property
    def master(self) -> Path:
        """Its master's socket."""
        return self.folder / "master.sock"

    @property
    def state(self) -> Path:
        """The state of its servers, which it loads when it starts."""
        return self.folder / "haproxy.state"

    @property
    def pid(self) -> Path:
        """Its master's process id."""
        return self.folder / "haproxy.pid"

    @property
    def log(self) -> Path:
        """Its log: its own life, checks and failed requests."""
        return self.folder / "haproxy.log"


def rendered(options: HaproxyOptions, at: Files) -> str:
    """Return the configuration as text.

    Raises:
        UsageError: The exporter isn't on loopback.
    """
    parts = [_GLOBAL, _DEFAULTS, _TRAFFIC, *_exporter(options)]
    values = {name: getattr(options, name) for name in ("bind", "backend", "silence", "check")}
    values |= {"fall": options.fall, "connections": options.connections, "path": options.check_path}
    values |= {"queue": _ms(options.queue), "interval": _ms(options.check_interval)}
    slots = "".join(f"  server {slot} 127.0.0.1:1 disabled\n" for slot in options.slots)
    text = "\n".join(parts)
    return text.format(socket=at.socket, state=at.state, slots=slots, error=_ERROR, **values)


def _exporter(options: HaproxyOptions) -> list[str]:
    if not options.exporter:
        return []
    if not options.exporter.startswith(LOOPBACK):
        raise UsageError(
            f"{options.exporter}: HAProxy's metrics are for this host; name a port of 127.0.0.1"
        )
    return [_EXPORTER.replace("BIND", options.exporter)]


def _ms(seconds: float) -> str:
    return f"{math.ceil(1000 * seconds)}ms"


_ERROR = """'{"object":"error","message":"no slot takes requests","code":503}'"""

_GLOBAL = """\
# Rendered by sglang-ci: a change made here is overwritten.
global
  stats socket {socket} mode 600 level admin expose-fd listeners
  server-state-file {state}
  maxconn {connections}
  # A request that is sent again has to fit.
  tune.bufsize 65536
  # A second HAProxy on this port fails, instead of sharing its connections.
  noreuseport
  # Failed requests are told at level err, good ones at level info.
  log stderr format raw local0 notice
"""

_DEFAULTS = """\
defaults
  mode http
  log global
  # Paths without their query.
  log-format "%ci [%tr] %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%bc/%sc/%rc/%sq/%bq %HM %HPO"
  option log-separate-errors
  option dontlognull
  load-server-state-from-file global
  # Without this each event of a stream waits 200 ms.
  option http-no-delay
  option http-keep-alive
  http-reuse safe
  # A client that goes away sets its slot free before the answer begins.
  option abortonclose
  # No slot answered yet: the other one may. A 503 is an answer. Without its body in the buffer
  # a request isn't sent again, and most clients send bodies in a packet of their own.
  option http-buffer-request
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response
  timeout connect 2s
  timeout client {silence}s
  timeout server {silence}s
  timeout http-keep-alive 75s
  timeout http-request 10s
  timeout queue {queue}
  timeout check {check}s
"""

_TRAFFIC = """\
frontend clients
  bind {bind}
  default_backend {backend}

backend {backend}
  # Exact shares; leastconn has none.
  balance roundrobin
  option httpchk GET {path}
  http-check expect status 200
  http-response set-header x-sglang-slot %s
  http-error status 503 content-type application/json string {error}
  default-server check inter {interval} fall {fall} rise 1
{slots}"""

_EXPORTER = """\
frontend metrics
  bind BIND
  http-request use-service prometheus-exporter if {{ path /metrics }}
  http-request deny
"""

"""What HAProxy says of a backend's servers, read from its tables by their headers.

Counters are HAProxy's own, since its worker started. For each slot it is told:

`requests`
    `stot`: every attempt to send a request there, repeated ones too.
`cut`
    `srv_abrt`: the server went away, or stalled until `timeout server`, after its answer began.
`failed`
    `hrsp_5xx`, and attempts that no answer came to. No single counter has the latter: HAProxy
    counts a reset as two `eresp`, a repeated request as up to two `wretr` and a `wredis`. So it
    is the smaller one of two that are never too small: attempts less answers less open ones,
    which has the requests that a client gave up early in it, and the sum of `econ`, `eresp`,
    `wretr` and `wredis`, which counts some twice but no client's doing. A client's own abort is
    neither failed nor cut.

A 503 that HAProxy repeats elsewhere (`retry-on 503`) is failed as well: the slot said it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from ci.deploy.world import WHOLE, Traffic
from ci.errors import RouterFault
from ci.secrets.veil import beginning

Row = Mapping[str, str]

_MAINTAINED, _DRAINED, _CHECKED = 0x23, 0x18, 0x04
"""Bits of `srv_admin_state` (forced, inherited, by name resolution) and of `srv_check_state`."""
_NOWHERE = {"0", "1"}
"""Ports of a slot that was declared and never pointed anywhere."""
_ANSWERS = ("hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
_ERRORS = ("econ", "eresp", "wretr", "wredis")
_UP = ("UP", "DRAIN", "NOLB", "no check")


@dataclass(frozen=True)
class Server:
    """One server of a backend.

    Args:
        address: Where it is, `host:port`; empty where it was never pointed anywhere.
        set_weight: Its weight, whether it is in rotation or not.
        drained: Whether it gets no new requests.
        maintained: Whether it is in maintenance: no requests, no checks.
        checked: Whether HAProxy checks its health.
        up: Whether HAProxy believes that it answers.
        open: Requests that are open or queued on it, in this worker.
        traffic: What it was given since the worker started.
    """

    address: str = ""
    set_weight: int = 0
    drained: bool = False
    maintained: bool = False
    checked: bool = False
    up: bool = False
    open: int = 0
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def weight(self) -> int:
        """Its weight in rotation; 0 where it gets no new requests."""
        return 0 if self.drained or self.maintained else self.set_weight


def servers(stat: str, state: str, backend: str) -> dict[str, Server]:
    """Return a backend's servers by name, from the answers to `show stat` and `show servers state`.

    Raises:
        RouterFault: These are not HAProxy's tables, or it has no such backend.
    """
    counted = {row["svname"]: row for row in table(stat, ",") if row["pxname"] == backend}
    _, _, states = state.partition("\n")
    stated = {row["srv_name"]: row for row in table(states, " ") if row["be_name"] == backend}
    try:
        return {name: _server(counted[name], stated[name]) for name in stated if name in counted}
    except (KeyError, ValueError) as error:
        raise RouterFault(
            f"HAProxy's tables lack what is needed: {error}; is it 2.4 or newer?"
        ) from error


def table(text: str, separator: str) -> list[Row]:
    """Return the rows of one of HAProxy's tables, whose first line names the columns.

    Raises:
        RouterFault: It is none.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("# "):
        said = lines[0] if lines else "nothing"
        raise RouterFault(f"not a table of HAProxy's, but: {beginning(said, 200)}")
    rows = csv.DictReader(io.StringIO("\n".join([lines[0][2:], *lines[1:]])), delimiter=separator)
    return [{key: value or "" for key, value in row.items() if key} for row in rows]


def open_requests(stat: str) -> dict[str, int]:
    """Return the open requests of each server, from an answer to `show stat`."""
    return {row["svname"]: _number(row, "scur") + _number(row, "qcur") for row in table(stat, ",")}


def shares_of(weights: Mapping[str, int]) -> dict[str, int]:
    """Return weights as shares of 100, which add up: largest remainders get what is left."""
    whole = sum(weights.values())
    if not whole:
        return dict.fromkeys(weights, 0)
    found = {name: WHOLE * weight // whole for name, weight in weights.items()}
    missing = WHOLE - sum(found.values())
    by_rest = sorted(weights, key=lambda name: -(WHOLE * weights[name] % whole))
    return found | {name: found[name] + 1 for name in by_rest[:missing]}


def _server(counted: Row, stated: Row) -> Server:
    admin, checks = int(stated["srv_admin_state"]), int(stated["srv_check_state"])
    host, port = stated["srv_addr"], stated["srv_port"]
    host = f"[{host}]" if ":" in host else host
    return Server(
        address="" if port in _NOWHERE else f"{host}:{port}",
        set_weight=int(stated["srv_uweight"]),
        drained=bool(admin & _DRAINED),
        maintained=bool(admin & _MAINTAINED),
        checked=bool(checks & _CHECKED),
        up=counted["status"].startswith(_UP),
        open=_number(counted, "scur") + _number(counted, "qcur"),
        traffic=_traffic(counted),
    )


def _traffic(row: Row) -> Traffic:
    sent, cut = _number(row, "stot"), _number(row, "srv_abrt")
    answered = sum(_number(row, name) for name in _ANSWERS)
    unanswered = max(0, sent - answered - _number(row, "scur"))
    errors = sum(_number(row, name) for name in _ERRORS)
    return Traffic(sent, _number(row, "hrsp_5xx") + min(unanswered, errors), cut)


def _number(row: Row, name: str) -> int:
    return int(row[name] or 0)

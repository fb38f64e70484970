#!/usr/bin/env python3
"""Moves nginx for `router = "hook"`: run as look, point or shift, which are links to this file.

The folder that NGINX_SLOTS names (or this one) has `nginx.conf`, which includes `slots.conf`; nginx
writes `nginx.pid`, `nginx.log` and `slots.log` there. nginx is reloaded for each change: its old
workers end the requests that they have.

`open` is what this host has open to a slot. Counters are read from the logs, so rotate these while
nothing is deployed.
"""

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(os.environ.get("NGINX_SLOTS", Path(__file__).parent)).absolute()
SLOTS = ("blue", "green")
SECONDS = 10


def state():
    """Return each slot's address and share."""
    with suppress(FileNotFoundError):
        return json.loads((HERE / "slots.json").read_text())
    return {slot: {"address": "", "share": 0} for slot in SLOTS}


def keep(slots):
    """Write what nginx includes, and what this program reads, each whole or not at all."""
    servers = [
        f"server {one['address']} weight={one['share']} max_fails=0;"
        for one in slots.values()
        if one["share"]
    ]
    names = [f"{one['address']} {slot};" for slot, one in slots.items() if one["address"]]
    upstream = "\n".join(servers or ["server 127.0.0.1:1 down;"])
    told = "\n".join(names)
    text = f"upstream slots {{\n{upstream}\n}}\nmap $upstream_addr $slot {{\n{told}\n}}\n"
    for name, content in (("slots.conf", text), ("slots.json", json.dumps(slots))):
        new = HERE / f".{name}"
        new.write_text(content)
        new.replace(HERE / name)


def master():
    """Return the process id of nginx; end where it doesn't run."""
    try:
        pid = int((HERE / "nginx.pid").read_text())
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        stat = ") Z"
    if stat.rpartition(")")[2].split()[0] == "Z":
        sys.exit("nginx doesn't run; start it")
    return pid


def workers(pid):
    """Return the workers that take requests."""
    found = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            title = Path(f"/proc/{child}/cmdline").read_text()
            if title.startswith("nginx: worker process") and "shutting down" not in title:
                found.add(child)
    return found


def reload():
    """Have nginx take new requests by what was written; return once it does."""
    pid = master()
    before, end = workers(pid), time.monotonic() + SECONDS
    os.kill(pid, signal.SIGHUP)
    while not (now := workers(pid)) or now & before:
        if time.monotonic() > end:
            sys.exit("nginx didn't reload; nginx -t says why")
        time.sleep(0.02)


def opened(address):
    """Return the connections that are open to an address: one for each request."""
    host, _, port = address.rpartition(":")
    if not host:
        return 0
    wanted = f"{socket.inet_aton(host)[::-1].hex().upper()}:{int(port):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2] == wanted and row[3] == "01" for row in rows)


def answers(address):
    """Return whether somebody takes connections at an address."""
    host, _, port = address.rpartition(":")
    if host:
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=2):
            return True
    return False


def lines(log):
    """Return the lines of a log of nginx."""
    with suppress(FileNotFoundError):
        return (HERE / log).read_text("utf-8", "replace").splitlines()
    return []


def look():
    """Print every slot."""
    master()
    counted = {slot: [0, 0] for slot in SLOTS}
    for line in lines("slots.log"):
        slot, _, status = line.rpartition(" ")
        if slot in counted:
            counted[slot][0] += 1
            counted[slot][1] += int(status) >= 500
    lost = [line for line in lines("nginx.log") if "prematurely closed" in line]
    told = {}
    for slot, one in state().items():
        requests, failed = counted[slot]
        now, address = opened(one["address"]), f"http://{one['address']}/"
        cut = sum(address in line for line in lost) if one["address"] else 0
        cut = max(0, cut - failed)  # nginx logs an answer that never began likewise
        seen = {"open": now, "requests": requests + now, "failed": failed, "cut": cut}
        told[slot] = {**one, **seen, "up": answers(one["address"])}
    sys.stdout.write(json.dumps(told))


def point(slot, address):
    """Say where a slot listens; it gets nothing yet."""
    slots = state()
    for one in slots.values():
        if one["address"] == address and not one["share"]:
            one["address"] = ""
    keep(slots | {slot: {"address": address, "share": 0}})
    reload()


def shift(*words):
    """Give each slot its share."""
    slots = state()
    for word in words:
        slot, _, share = word.partition("=")
        slots[slot]["share"] = int(share)
    keep(slots)
    reload()


if __name__ == "__main__":
    {"look": look, "point": point, "shift": shift}[Path(sys.argv[0]).name](*sys.argv[1:])

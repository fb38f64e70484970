"""The host's side: take an order from standard input, and carry it out as if it were given here."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
from pydantic import ValidationError

from ci import __version__
from ci.deploy.deployment import Deployment
from ci.deploy.grounds import Grounds
from ci.deploy.remote import luggage
from ci.deploy.remote.caller import Caller
from ci.deploy.remote.events import Lines, SentProgress
from ci.deploy.remote.order import GREETING, SILENCE, Answer, Order, packed
from ci.errors import SglangCiError, TargetFault, UsageError
from ci.registry.access import Access
from ci.secrets.veil import learn, learn_environment, learn_flags
from ci.settings import Settings
from ci.stages import Stages


def serve() -> None:
    """Carry out one order, and answer it on standard output.

    What anything else prints goes to standard error, between the events.
    """
    answers, lines = _own_output(), Lines(sys.stderr.fileno())
    _write(answers, b"\n" + GREETING + __version__.encode() + b"\n")
    caller = Caller(sys.stdin.fileno(), lines)
    if not (line := caller.order()):
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    caller.watch()
    try:
        with tempfile.TemporaryDirectory(prefix="sglang-ci-there-") as place:
            content = _answered(line, Path(place), lines, caller)
    except OSError as error:
        content = packed(_faulty(_full(error)), Path())
    signal.alarm(round(SILENCE))  # nobody may be left to read it
    with suppress(BrokenPipeError):
        _write(answers, content)


def _own_output() -> int:
    """Return a descriptor of standard output that nobody else writes to."""
    sys.stdout.flush()
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _answered(line: bytes, place: Path, lines: Lines, caller: Caller) -> bytes:
    files = place / "files"
    files.mkdir()
    try:
        answer = _carried_out(line, place, Stages(SentProgress(lines), files))
    except SglangCiError as error:
        answer = _faulty(error)
    except OSError as error:
        answer = _faulty(_full(error))
    caller.over()
    return packed(answer, files)


def _carried_out(line: bytes, place: Path, stages: Stages) -> Answer:
    order = _order(line)
    learn([order.password] if order.password else [])
    settings = _settings(order, place)
    access = Access(
        username=order.username,
        password=order.password,
        plain_http=settings.registry.plain_http,
        ca_file=settings.registry.ca_file,
    )
    grounds = Grounds.of(settings, order.environment, access)
    match order.does:
        case "look":
            busy, world = anyio.run(grounds.glance)
            return Answer(world=world, busy=busy)
        case "deploy":
            deployment = Deployment(grounds, order.wait, order.approved)
            wanted = deployment.wanted(order.release, back=order.back)
            work = partial(deployment.run, wanted, stages)
            return Answer(report=anyio.run(stages.report, work))


def _order(line: bytes) -> Order:
    try:
        return Order.model_validate_json(line)
    except ValidationError as error:
        raise _other_build(error) from None


def _settings(order: Order, place: Path) -> Settings:
    try:
        given = Settings.model_validate(order.settings)
    except ValidationError as error:
        raise _other_build(error) from None
    settings = luggage.unpack(given, order.packed, place / "luggage")
    learn_flags(settings.server.flags)
    learn_environment(settings.server.environment)
    return settings


def _other_build(error: ValidationError) -> UsageError:
    first = error.errors(include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return UsageError(
        f"the order can't be read ({where}: {first['msg']}): the sglang-ci that sent it is another "
        f"build of {__version__}; install the same on both"
    )


def _faulty(error: SglangCiError) -> Answer:
    usage = isinstance(error, UsageError)
    return Answer(fault=str(error), details=error.details, usage=usage)


def _full(error: OSError) -> TargetFault:
    place = f"{error.filename}: " if error.filename else ""
    return TargetFault(f"{place}{error.strerror}: free some space there, or make it writable")

"""The subcommand that sends real streams for a while, and judges each of them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ci.commands.options import ConfigFile, ReportDir, Set, effective, listed, pairs
from ci.commands.outcome import one_stage
from ci.commands.server import Url
from ci.errors import UsageError
from ci.settings.traffic import MOST_STREAMS

Seconds = Annotated[
    float | None,
    typer.Option(help="For how long streams are started. [default: 60, or as --requests take]"),
]
Requests = Annotated[int | None, typer.Option(help="Most streams that are started.")]
Rate = Annotated[float | None, typer.Option(help="Streams that start each second.")]
Concurrency = Annotated[
    int | None, typer.Option(help=f"Most streams under way at once, up to {MOST_STREAMS}.")
]
Slow = Annotated[
    float | None, typer.Option(help="Most seconds to a first token. [default: not judged]")
]
Expect = Annotated[
    list[str] | None,
    typer.Option("--expect", metavar="SLOT=SHARE", help="A slot's share, of 100; repeatable."),
]
SlotHeader = Annotated[
    list[str] | None,
    typer.Option("--slot-header", help="Response header that names the slot; repeatable."),
]


def traffic(
    url: Url,
    seconds: Seconds = None,
    requests: Requests = None,
    rate: Rate = None,
    concurrency: Concurrency = None,
    slow: Slow = None,
    expect: Expect = None,
    slot_header: SlotHeader = None,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Send real streams for a while, usually through a router, and judge each of them."""
    from ci import engines
    from ci.traffic.options import TrafficOptions
    from ci.traffic.stage import NAME, traffic

    given = {"rate": rate, "concurrency": concurrency, "slow": slow}
    overrides = {f"traffic.{name}": str(one) for name, one in given.items() if one is not None}
    overrides |= listed("traffic.slot_headers", slot_header)
    at = effective(config, settings, overrides).settings
    options = TrafficOptions(at.traffic, seconds, requests, _shares(expect))
    if "generate" in options.apis:
        engines.only_sglang(at.engine.profile, f"{NAME} by /generate (traffic.api)")
    one_stage(at, report_dir, NAME, partial(traffic, url, options))


def _shares(expect: list[str] | None) -> dict[str, float]:
    found = {}
    for slot, text in pairs("--expect", "SLOT=SHARE", expect).items():
        try:
            found[slot] = float(text)
        except ValueError:
            raise UsageError(f"--expect {slot}={text}: the share is no number, of 100") from None
    return found

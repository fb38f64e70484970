"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

PLACES = ("first", "second")
"""The servers of a switch, by their starts."""


def page(results: dict[str, Any]) -> str:
    """Return results, as `results.json` has them, as a page."""
    machine, steps = results["machine"], results["steps"]
    lines = [*_table(("machine", ""), machine.items())]
    for name, tell in TELL.items():
        if name not in steps:
            continue
        step = steps[name]
        lines += ["", f"## {name}", "", f"{step['seconds']:.0f} s; {_ended(step)}", ""]
        lines += tell(step) if "error" not in step else ["```", step["error"], "```"]
    return "\n".join(lines) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield a table's lines."""
    names = tuple(head)
    yield _line(names)
    yield "|---" * len(names) + "|"
    yield from map(_line, rows)


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _ended(step: dict[str, Any]) -> str:
    return "as expected" if step["as_expected"] else "NOT as expected"


def _checks(step: dict[str, Any]) -> Iterator[str]:
    yield from _table(
        ("check", "verdict", "seconds", "cases passed", "phases, s"),
        (
            (
                *(check["name"], check["verdict"], check["seconds"]),
                f"{check['passed']} of {check['cases']}",
                ", ".join(f"{name} {seconds}" for name, seconds in check["phases"].items()),
            )
            for check in step["checks"]
        ),
    )
    for check in step["checks"]:
        for name, told in check["other_cases"].items():
            yield f"\n- {check['name']}, {name}: {told}"


def _bench(step: dict[str, Any]) -> Iterator[str]:
    yield "Each cell: our client / `sglang.bench_serving`; times in milliseconds."
    yield ""
    names = [name for name in step["loads"][0]["ours"] if name != "completed"]
    first = ("concurrency", "requests", "verdict")
    yield from _table(
        (*first, *names),
        (
            (
                *(row[name] for name in first),
                *(
                    f"{_number(row['ours'][name])} / {_number(row['theirs'][name])}"
                    for name in names
                ),
            )
            for row in step["loads"]
        ),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _gate(step: dict[str, Any]) -> Iterator[str]:
    yield f"The slower candidate: {step['slower_by']}"
    yield ""
    head = ("candidate", "verdict", "seconds", "pairs", "what was seen")
    yield from _table(head, ((name, *_compared(step[name])) for name in ("equal", "slower")))


def _compared(found: dict[str, Any]) -> tuple[str, ...]:
    check = found["checks"][0]
    told = "; ".join(f"{of}: {text}" for of, text in check["other_cases"].items())
    pairs = check["facts"].get("pairs of blocks", "-")
    return found["verdict"], f"{found['seconds']:.0f}", pairs, told


def _starts(step: dict[str, Any]) -> Iterator[str]:
    names = dict.fromkeys(name for way in step["ways"] for name in way["phases"])
    yield from _table(
        ("way", "starts", "seconds, median", "MiB", *names),
        (
            (
                *(way[name] for name in ("way", "starts", "seconds", "MiB")),
                *(_number(way["phases"].get(name)) for name in names),
            )
            for way in step["ways"]
        ),
    )


def _shared(step: dict[str, Any]) -> Iterator[str]:
    daemon = step["daemon"]
    yield f"The daemon: {daemon['seconds']} s, {daemon['MiB']} MiB."
    yield ""
    head = ("first, s", "first, MiB", "second, s", "second, MiB", "MiB of both", "lives on")
    yield from _table(
        ("weights", *head),
        (
            (
                kind,
                *(step[kind][place][unit] for place in PLACES for unit in ("seconds", "MiB")),
                *(step[kind]["MiB of both"], step[kind]["lives on"]),
            )
            for kind in ("own", "shared")
        ),
    )


TELL = {
    "boot": _checks,
    "health": _checks,
    "bench": _bench,
    "gate": _gate,
    "gpus": _gate,
    "starts": _starts,
    "shared": _shared,
}
"""How each step is told."""

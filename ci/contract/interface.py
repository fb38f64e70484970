"""Describe the SGLang of the Python environment that runs this file.

It needs nothing but the standard library and that SGLang, so that it can be handed to any
image's interpreter: `python3 interface.py > interface.json`. No server is started. Each part
that can't be had says why. Source: SGLang 0.5.22 and 0.5.23, `sglang/srt/server_args.py`,
`sglang/srt/sampling/sampling_params.py`, `sglang/srt/entrypoints/http_server.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

PLAIN: dict[Any, str] = {None: "text", str: "text", int: "integer", float: "number"}
"""How the types of flags are called; any other one is called by its parser's name."""


def interface() -> dict[str, Any]:
    """Return `sglang` (its version), `flags`, `sampling` and `openapi`, each if it can be had."""
    found: dict[str, Any] = {"sglang": version("sglang"), "missing": {}}
    for name, part in (("flags", flags), ("sampling", sampling), ("openapi", openapi)):
        try:
            found[name] = part()
        except Exception as error:  # noqa: BLE001 - what is wrong there is what is to be said
            found["missing"][name] = f"{type(error).__name__}: {error}"
    return found


def flags() -> list[dict[str, Any]]:
    """Return every launch flag that the parser takes."""
    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser(add_help=False)
    ServerArgs.add_cli_args(parser)
    return [_flag(action) for action in parser._actions if action.option_strings]  # noqa: SLF001


def _flag(action: argparse.Action) -> dict[str, Any]:
    kind = type(action).__name__
    return {
        "names": list(action.option_strings),
        "default": _plain(action.default),
        "choices": sorted(map(str, action.choices)) if action.choices is not None else None,
        "type": PLAIN.get(action.type) or getattr(action.type, "__name__", "parsed"),
        "takes": {None: "a value", 0: "nothing", "?": "perhaps a value"}.get(
            action.nargs, "values"
        ),
        "deprecated": "Deprecated" in kind,
        "help": " ".join((action.help or "").split()),
    }


def sampling() -> dict[str, Any]:
    """Return the engine's sampling parameters with their defaults."""
    from sglang.srt.sampling.sampling_params import SamplingParams

    parameters = inspect.signature(SamplingParams).parameters.values()
    return {each.name: _plain(each.default) for each in parameters}


def openapi() -> Any:
    """Return the server's OpenAPI document."""
    from sglang.srt.entrypoints.http_server import app

    return app.openapi()


def _plain(value: object) -> Any:
    if value is inspect.Parameter.empty or value is argparse.SUPPRESS:
        return None
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return type(value).__name__


def quiet(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do `work` while whatever is printed goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        return work()


if __name__ == "__main__":
    json.dump(quiet(interface), sys.stdout, indent=1, sort_keys=True, allow_nan=False)

"""Whether the server that is about to start will drain as promised, told before it starts.

`launch.sh` says it in its first lines, and the plugin itself (`ci/platform/drain.py`) asks here
before it attaches. Nothing of SGLang is imported: its source is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata, util
from itertools import pairwise
from pathlib import Path

SECONDS = "SGLANG_CI_DRAIN_SECONDS"
"""How long running requests have after SIGTERM; SGLang's own way where empty."""
GROUP, NAME = "sglang.srt.plugins", "drain"
SEAMS = ("resolve_once", "__post_init__")
"""Methods of `ServerArgs` that SGLang calls before it imports its HTTP server: 0.5.19 and later
have the first, and in those before it the second is as late."""
ARGUMENTS = "srt/server_args.py"
PARTS = (
    ("launch_server.py", "load_plugins"),
    ("srt/managers/tokenizer_manager.py", "sigterm_watchdog"),
)
APP_PATH = "SGLANG_HTTP_SERVER_APP_PATH"
WORKER_APP = "ci.platform.worker:app"
SEVERAL = (("srt/entrypoints/http_server.py", APP_PATH),)
"""Files of SGLang and what the plugin needs of them: always, and for several workers."""
UNSEEN = ("--smg-grpc-mode", "--grpc-mode", "--encoder-only", "--use-ray")
"""Flags with which another server than SGLang's HTTP server runs."""


def obstacle(environment: Mapping[str, str], flags: Sequence[str]) -> str:
    """Return what keeps a server from draining as promised; empty where nothing does.

    Args:
        environment: The server's.
        flags: The server's.
    """
    if not environment.get(SECONDS):
        return "DRAIN_SECONDS is empty"
    if environment.get("SGLANG_RUST_SERVER", "").lower() in {"1", "true", "yes", "y"}:
        return "SGLANG_RUST_SERVER answers HTTP outside of Python"
    if other := next((flag for flag in flags if flag.partition("=")[0] in UNSEEN), ""):
        return f"{other} runs another server"
    return _absent(environment) or _unfit(environment, flags)


def _absent(environment: Mapping[str, str]) -> str:
    """Return why SGLang doesn't load the plugin; empty where it does."""
    chosen = environment.get("SGLANG_PLUGINS", "")
    if chosen and NAME not in {name.strip() for name in chosen.split(",")}:
        return f"SGLANG_PLUGINS={chosen} leaves the plugin {NAME!r} out"
    if not any(one.name == NAME for one in metadata.entry_points(group=GROUP)):
        return "sglang-ci isn't installed beside this SGLang"
    return ""


def _unfit(environment: Mapping[str, str], flags: Sequence[str]) -> str:
    """Return what the installed SGLang lacks; empty where it lacks nothing."""
    several = _workers(flags) > 1
    if several and "--enable-http2" in flags:
        return "--enable-http2 starts several workers in another way"
    if several and environment.get(APP_PATH, WORKER_APP) != WORKER_APP:
        return f"{APP_PATH} names another application"
    for file, word in (*PARTS, *(SEVERAL if several else ())):
        if missing := lacks(file, word):
            return missing
    return "" if seam() else f"{_version()} has no {SEAMS[0]}"


def lacks(file: str, *words: str) -> str:
    """Return what a file of the installed SGLang has not, as a sentence; empty where all is there.

    Args:
        file: Below SGLang's package.
        words: What a plugin needs of it.
    """
    missing = next((word for word in words if word not in _source(file)), "")
    return f"{_version()} has no {missing}" if missing else ""


def seam() -> str:
    """Return the method of SGLang's arguments to attach at; empty where it has none."""
    source = _source(ARGUMENTS)
    return next((name for name in SEAMS if f"def {name}(" in source), "")


def _workers(flags: Sequence[str]) -> int:
    """Return how many processes will answer HTTP."""
    words = [part for flag in flags for part in flag.split("=", 1)]
    told = [after for word, after in pairwise(words) if word == "--tokenizer-worker-num"]
    return int(told[-1]) if told and told[-1].isdecimal() else 1


def _source(file: str) -> str:
    """Return the text of one of SGLang's files; empty where it isn't there."""
    try:
        return (_package() / file).read_text()
    except OSError:
        return ""


def _package() -> Path:
    found = util.find_spec("sglang")
    return Path(found.origin or "").parent if found else Path()


def _version() -> str:
    found = next((one.version for one in metadata.distributions(name="sglang")), "?")
    return f"SGLang {found}"

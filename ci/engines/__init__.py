"""What differs between SGLang and other servers of language models: one file a profile.

A profile is an object of `ci.engines.profile.Profile`. Ours are listed here; a package of
somebody else's offers its own by an entry point of the group `sglang_ci.engines`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from ci import SGLANG
from ci.engines.profile import Profile
from ci.errors import SettingsError, UsageError

__all__ = ["GROUP", "only_sglang", "profile"]

GROUP = "sglang_ci.engines"
"""Entry point group of further profiles: the profile's name to `module:attribute`."""

OURS = {
    SGLANG: "ci.engines.sglang:PROFILE",
    "vllm": "ci.engines.vllm:PROFILE",
    "tgi": "ci.engines.tgi:PROFILE",
    "llama-cpp": "ci.engines.llama_cpp:PYTHON",
    "llama-server": "ci.engines.llama_cpp:SERVER",
    "openai": "ci.engines.openai:PROFILE",
}


def profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        SettingsError: There is none, or it can't be loaded, or is something else.
    """
    if name in OURS:
        module, _, attribute = OURS[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        found = _installed(name)
    if not isinstance(found, Profile):
        raise SettingsError(f"entry point {GROUP}", name, "is no ci.engines.profile.Profile")
    return found


def _installed(name: str) -> object:
    theirs = entry_points(group=GROUP)
    if name not in theirs.names:
        allowed = ", ".join(sorted({*OURS, *theirs.names}))
        raise SettingsError("engine", "profile", f"{name!r} is no engine's profile", allowed)
    try:
        return theirs[name].load()
    except Exception as error:
        problem = f"can't be loaded: {type(error).__name__}: {error}"
        raise SettingsError(f"entry point {GROUP}", name, problem) from error


def only_sglang(name: str, stage: str) -> None:
    """Refuse a stage that asks what no other engine has.

    Raises:
        UsageError: The profile `name` is another one.
    """
    if name != SGLANG:
        raise UsageError(f"{stage} is of SGLang's own endpoints; engine.profile is {name!r}")

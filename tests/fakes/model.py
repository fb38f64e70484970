"""A deterministic language model with one token a character, for the fake server."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes.grammar import text_for

EOS = 1
FIRST = 3
"""Token id of character 0."""


@dataclass(frozen=True)
class Made:
    """One generation: the prompt's tokens, the answer's, its text, and why it ended."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    text: str
    reason: str
    matched: int | str | None = None


def encode(text: str) -> tuple[int, ...]:
    """Return the token ids of a text."""
    return tuple(ord(letter) + FIRST for letter in text)


def decode(ids: Sequence[int]) -> str:
    """Return the text of token ids; special tokens have none."""
    return "".join(chr(one - FIRST) for one in ids if one >= FIRST)


def generate(prompt: tuple[int, ...], sampling: dict[str, Any], faults: frozenset[str]) -> Made:
    """Return the answer to a prompt, as the sampling parameters and the faults have it.

    Raises:
        ValueError: The grammar can't be compiled.
    """
    limit = sampling.get("max_new_tokens", 128) + (2 if "ignores_limit" in faults else 0)
    allowed = text_for(sampling)
    if allowed is None or "ignores_grammar" in faults:
        ids = _letters(prompt, limit)
    else:
        ids = (*encode(allowed), EOS)
    made = Made(prompt, ids[:limit], "", "length")
    if EOS in made.ids:
        made = replace(made, reason="stop", matched=EOS)
    return made if "ignores_stop" in faults else _stopped(made, sampling)


def finish(made: Made, *, trim: bool = True) -> Made:
    """Return a generation with its text, cut before the stop string that matched."""
    text = decode(made.ids)
    if isinstance(made.matched, str):
        text = text[: text.index(made.matched) + (0 if trim else len(made.matched))]
    return replace(made, text=text)


def _letters(prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
    seed = zlib.crc32(repr(prompt).encode())
    return tuple(encode("abcdefgh"[(seed >> (index % 24)) % 8])[0] for index in range(count))


def _stopped(made: Made, sampling: dict[str, Any]) -> Made:
    stops = sampling.get("stop") or []
    strings = [stops] if isinstance(stops, str) else list(stops)
    for end in range(1, len(made.ids) + 1):
        ids = made.ids[:end]
        if ids[-1] in (sampling.get("stop_token_ids") or []):
            return replace(made, ids=ids, reason="stop", matched=ids[-1])
        found = next((stop for stop in strings if decode(ids).endswith(stop)), None)
        if found:
            return replace(made, ids=ids, reason="stop", matched=found)
    return made

"""Prompts from files: JSONL, and the ShareGPT format that the field uses.

A line of JSONL is an object with one of `prompt` (or `text`), `input_ids`, `messages`, and
`output_tokens` (or `max_tokens`) where its answer's length is its own. ShareGPT is a JSON
array, or JSONL, of objects with `conversations`; the first turn is the prompt and the second
one's length is the answer's, at `CHARACTERS` a token, because no tokenizer is at hand.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ci.bench.prompts import Prompt, digest
from ci.errors import UsageError

CHARACTERS = 4
"""Characters that are taken for a token where a file holds an answer's text."""

_TURNS = 2


@dataclass(frozen=True)
class FromFile:
    """The prompts of a file, in an order that the seed gives.

    Args:
        name: The file's name.
        prompts: All of them, in the file's order.
        seed: What makes the order repeatable.
        repeat: Whether they may come more than once, as cache hits.
    """

    name: str
    prompts: tuple[Prompt, ...]
    seed: int = 0
    repeat: bool = False

    @classmethod
    def read(
        cls, path: Path, *, seed: int = 0, output_tokens: int = 0, repeat: bool = False
    ) -> Self:
        """Read a file.

        Args:
            path: The file.
            seed: What makes the order repeatable.
            output_tokens: Length of every answer; 0 for each prompt's own.
            repeat: Whether prompts may come more than once.

        Raises:
            UsageError: It can't be read, or holds something else.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError) as error:
            raise UsageError(f"{path}: can't be read: {error}") from error
        found = (_prompt(entry, output_tokens, where) for entry, where in _entries(text, path))
        prompts = tuple(prompt for prompt in found if prompt)
        if not prompts:
            raise UsageError(f"{path}: holds no prompt")
        return cls(path.name, prompts, seed, repeat)

    def take(self, stream: str) -> Iterator[Prompt]:
        """Yield the prompts; without end where they may be repeated."""
        chance = random.Random(f"{self.seed}/{stream}")  # noqa: S311 - repeatable, no secret
        while True:
            yield from chance.sample(self.prompts, len(self.prompts))
            if not self.repeat:
                return

    def facts(self) -> dict[str, str]:
        """Return where the prompts are from."""
        told = f"{self.name} ({len(self.prompts)} prompts, sha256:{digest(self.prompts)[:12]})"
        return {"prompts": f"{told}, seed {self.seed}"}


def _entries(text: str, path: Path) -> Iterator[tuple[Any, str]]:
    """Yield each entry of a JSON array or of JSONL, and where it stands."""
    try:
        if text.lstrip().startswith("["):
            yield from ((one, f"{path}: entry {at}") for at, one in enumerate(json.loads(text)))
            return
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield json.loads(line), f"{path}:{number}"
    except ValueError as error:
        raise UsageError(f"{path}: neither JSON nor JSONL: {error}") from error


def _prompt(entry: Any, output_tokens: int, where: str) -> Prompt | None:
    """Return an entry's prompt; None for a conversation without a prompt and an answer."""
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: no object")
    turns = entry.get("conversations", entry.get("conversation"))
    if turns is not None:
        return _turns(turns, output_tokens, where)
    asked = output_tokens or entry.get("output_tokens") or entry.get("max_tokens")
    if not isinstance(asked, int) or isinstance(asked, bool):
        raise UsageError(f"{where}: no output_tokens, and none is given for all")
    try:
        return Prompt(
            asked,
            text=str(entry.get("prompt") or entry.get("text") or ""),
            input_ids=tuple(map(int, entry.get("input_ids") or ())),
            messages=tuple(dict(one) for one in entry.get("messages") or ()),
        )
    except (TypeError, ValueError, UsageError) as error:
        raise UsageError(f"{where}: {error}") from error


def _turns(turns: Any, output_tokens: int, where: str) -> Prompt | None:
    try:
        texts = [str(turn.get("value", turn.get("content"))) for turn in turns[:_TURNS]]
    except (TypeError, AttributeError) as error:
        raise UsageError(f"{where}: no conversation: {error}") from error
    if len(texts) < _TURNS or not all(text.strip() for text in texts):
        return None
    return Prompt(output_tokens or max(len(texts[1]) // CHARACTERS, 1), text=texts[0])

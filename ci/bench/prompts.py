"""Synthetic prompts: lengths by a distribution, prefixes shared at a set rate, always seeded.

The same seed and stream name give the same prompts on every machine, so that both sides of a
comparison get the same and no two blocks do. But for the prefixes that are meant to be
shared, two prompts have hardly a token or two in common, so that no cache hit is an accident.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ci.bench.lengths import Lengths
from ci.errors import UsageError

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORD = 4
_INPUT, _OUTPUT = Lengths("fixed", 128), Lengths("fixed", 32)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked for: a text, token ids or a conversation, and how long the answer is to be.

    Args:
        output_tokens: The output length asked for.
        text: The text; never empty where it is the prompt, which kills SGLang 0.5.23.
        input_ids: The token ids.
        messages: The conversation.
    """

    output_tokens: int
    text: str = ""
    input_ids: tuple[int, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a prompt that is empty or two at once."""
        if bool(self.text) + bool(self.input_ids) + bool(self.messages) != 1:
            raise UsageError("a prompt is a text, token ids or messages, and not empty")
        if self.output_tokens < 1:
            raise UsageError("a prompt asks for at least one token")


class Prompts(Protocol):
    """Where prompts come from."""

    def take(self, stream: str) -> Iterator[Prompt]:
        """Yield prompts: the same ones for the same stream's name."""
        ...

    def facts(self) -> dict[str, str]:
        """Return what makes them, for the report."""
        ...


@dataclass(frozen=True)
class Prefix:
    """Prefixes that prompts share.

    Args:
        share: Share of the prompts that begin with one, from 0 to 1.
        tokens: Its length.
        groups: How many different ones there are.
    """

    share: float
    tokens: int
    groups: int = 1

    def __post_init__(self) -> None:
        """Refuse what can't be shared."""
        if not 0 <= self.share <= 1 or self.tokens < 1 or self.groups < 1:
            raise UsageError(f"{self}: a share is from 0 to 1, tokens and groups from 1")


@dataclass(frozen=True)
class SyntheticPrompts:
    """Random prompts.

    Args:
        seed: What makes them repeatable.
        input: Lengths of the prompts; of a text in words, which are one token or a few.
        output: Lengths of the answers.
        prefix: What some of them share.
        vocabulary: Token ids from the first to below the last. An id outside of the model's
            vocabulary kills SGLang 0.5.23; the default lies within any model's.
        as_text: Whether prompts are texts, as the chat API needs them.
    """

    seed: int = 0
    input: Lengths = _INPUT
    output: Lengths = _OUTPUT
    prefix: Prefix | None = None
    vocabulary: tuple[int, int] = (10, 500)
    as_text: bool = False

    def __post_init__(self) -> None:
        """Refuse a vocabulary without tokens."""
        first, last = self.vocabulary
        if first < 0 or last <= first:
            raise UsageError(f"vocabulary {first} to {last} holds no token id")

    def take(self, stream: str) -> Iterator[Prompt]:
        """Yield prompts without end."""
        chance = random.Random(f"{self.seed}/{stream}")  # noqa: S311 - repeatable, no secret
        shared = tuple(self._shared())
        while True:
            length, asked = self.input.draw(chance), self.output.draw(chance)
            start = self._start(chance, shared)
            rest = self._tokens(chance, max(length - len(start), 1))
            yield self._prompt((*start, *rest), asked)

    def facts(self) -> dict[str, str]:
        """Return what makes the prompts."""
        unit = "words" if self.as_text else "token ids"
        told = {"prompts": f"synthetic, seed {self.seed}", "input lengths": f"{self.input} {unit}"}
        told["output lengths"] = f"{self.output} tokens"
        if at := self.prefix:
            told["shared prefix"] = (
                f"{at.share:.0%} of prompts, {at.tokens} {unit}, {at.groups} of them"
            )
        return told

    def _shared(self) -> Iterator[tuple[int, ...]]:
        """Yield the shared prefixes, which are the same in every stream."""
        chance = random.Random(f"{self.seed}/prefixes")  # noqa: S311 - repeatable, no secret
        if self.prefix:
            for _ in range(self.prefix.groups):
                yield self._tokens(chance, self.prefix.tokens)

    def _start(self, chance: random.Random, shared: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
        if self.prefix and chance.random() < self.prefix.share:
            return chance.choice(shared)
        return ()

    def _tokens(self, chance: random.Random, count: int) -> tuple[int, ...]:
        first, last = self.vocabulary
        return tuple(chance.choices(range(first, last), k=count))

    def _prompt(self, tokens: tuple[int, ...], asked: int) -> Prompt:
        if not self.as_text:
            return Prompt(asked, input_ids=tokens)
        return Prompt(asked, text=" ".join(map(word, tokens)))


def word(number: int) -> str:
    """Return the word that stands for a token id in a text."""
    letters = [_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(_WORD)]
    return "".join(letters)


def digest(prompts: Iterable[Prompt]) -> str:
    """Return the SHA-256 of prompts in their order, by which two runs know the same workload."""
    found = hashlib.sha256()
    for prompt in prompts:
        told = (prompt.output_tokens, prompt.text, prompt.input_ids, prompt.messages)
        found.update(json.dumps(told, sort_keys=True).encode() + b"\n")
    return found.hexdigest()

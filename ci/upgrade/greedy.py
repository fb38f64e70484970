"""Greedy outputs of a fixed set of prompts, and how alike two servers' are."""

from __future__ import annotations

from dataclasses import dataclass

from ci.errors import BadAnswer
from ci.report.model import Case
from ci.server.exchange import Exchange
from ci.verdict import Outcome

TOKENS = 32
OK = 200
PROMPTS = (
    "The capital of France is",
    "Q: What is 17 plus 25?\nA:",
    "def fibonacci(n):\n",
    "Translate to German: good morning.",
    "Once upon a time there was a",
    '{"name": "Ada", "born":',
    "1, 2, 3, 4, 5,",
    "The opposite of hot is",
    "SELECT name FROM users WHERE",
    "A haiku about rain:\n",
    "Water boils at a temperature of",
    "Dear Sir or Madam,\n",
)
"""Short ones of several kinds; what they continue as differs between models, not between runs."""

Outputs = list[list[int]]


async def outputs(exchange: Exchange) -> Outputs:
    """Return the greedy tokens for each prompt, in order.

    Raises:
        BadAnswer: An answer isn't one of a generation.
    """
    found = []
    for prompt in PROMPTS:
        parameters = {"max_new_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
        answer = await exchange.post("/generate", {"text": prompt, "sampling_params": parameters})
        try:
            found.append([int(token) for token in answer["output_ids"]])
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnswer(f"{exchange.url}/generate", "an answer without output_ids") from error
    return found


@dataclass(frozen=True)
class Agreement:
    """How alike two sets of outputs are.

    Args:
        identical: How many prompts have the same output.
        prompts: How many there are.
        first: Earliest place of a different token, from 0; None where there is none.
        prompt: The prompt where that is.
    """

    identical: int
    prompts: int
    first: int | None = None
    prompt: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        told = f"{self.identical} of {self.prompts} outputs identical"
        if self.first is None:
            return told
        return f"{told}; first different token: number {self.first + 1} after {self.prompt!r}"


def agreement(ours: Outputs, theirs: Outputs) -> Agreement:
    """Return how alike two servers' outputs for `PROMPTS` are."""
    places = [_divergence(one, other) for one, other in zip(ours, theirs, strict=True)]
    apart = [(place, PROMPTS[at]) for at, place in enumerate(places) if place is not None]
    first, prompt = min(apart, default=(None, ""))
    return Agreement(len(places) - len(apart), len(places), first, prompt)


def _divergence(one: list[int], other: list[int]) -> int | None:
    if one == other:
        return None
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def case(seen: tuple[Outputs, Outputs], again: Outputs) -> Case:
    """Return the case of two servers.

    A new version may well choose another token where two are nearly as likely. That is no
    fault by itself and can't be judged here: it is INCONCLUSIVE. Nor does it tell anything
    where the old server doesn't agree with itself.

    Args:
        seen: The old server's outputs and the new one's.
        again: The old server's, asked a second time.
    """
    itself, found = agreement(seen[0], again), agreement(*seen)
    if found.first is None:
        return Case(name="greedy outputs", outcome=Outcome.PASSED, message=str(found))
    told = f"{found}: whether the new ones are as good needs an evaluation"
    if itself.first is not None:
        told = f"{found}; but the old server's own differ too: {itself}"
    return Case(name="greedy outputs", outcome=Outcome.INCONCLUSIVE, message=told)

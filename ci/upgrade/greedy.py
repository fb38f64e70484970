"""Greedy outputs of a fixed set of prompts, and how alike two servers' are."""

from __future__ import annotations

from ci.errors import BadAnswer
from ci.gate.outputs import Agreement
from ci.report.model import Case
from ci.server.exchange import Exchange
from ci.verdict import Outcome

TOKENS = 32
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

Outputs = list[tuple[int, ...]]


async def outputs(exchange: Exchange) -> Outputs:
    """Return the greedy tokens for each prompt, in order.

    Raises:
        BadAnswer: An answer isn't one of a generation.
    """
    found: Outputs = []
    for prompt in PROMPTS:
        parameters = {"max_new_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
        answer = await exchange.post("/generate", {"text": prompt, "sampling_params": parameters})
        try:
            found.append(tuple(map(int, answer["output_ids"])))
        except (ValueError, KeyError, TypeError) as error:
            raise BadAnswer(f"{exchange.url}/generate", "an answer without output_ids") from error
    return found


def agreement(ours: Outputs, theirs: Outputs) -> Agreement:
    """Return how alike two servers' outputs for `PROMPTS` are."""
    return Agreement().with_block(0, ours, theirs)


def told(found: Agreement) -> str:
    """Say in one line how alike outputs are, and where they part first."""
    alike = f"{found.identical} of {found.compared} outputs identical"
    if found.first is None:
        return alike
    place, prompt = found.first.position + 1, PROMPTS[found.first.request]
    return f"{alike}; first different token: number {place} after {prompt!r}"


def case(seen: tuple[Outputs, Outputs], again: Outputs) -> Case:
    """Return the case of two servers.

    A new version may well choose another token where two are nearly as likely. That is no
    fault by itself and can't be judged here: it is INCONCLUSIVE. The message says so too where
    the old server doesn't even agree with itself.

    Args:
        seen: The old server's outputs and the new one's.
        again: The old server's, asked a second time.
    """
    itself, found = agreement(seen[0], again), agreement(*seen)
    if found.first is None:
        return Case(name="greedy outputs", outcome=Outcome.PASSED, message=told(found))
    why = "whether the new ones are as good needs an evaluation"
    if itself.first is not None:
        why = f"but the old server's own differ too: {told(itself)}"
    return Case(
        name="greedy outputs", outcome=Outcome.INCONCLUSIVE, message=f"{told(found)}; {why}"
    )

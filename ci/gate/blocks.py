"""Blocks, pairs of blocks, and the file of pairs: what a comparison measures and keeps.

A *block* is a short load on one server; a *pair* is one block on each of both, in random order
and with the same new prompts, so that whatever the machine does in these seconds hits both.
The median of a block stands for it: single requests of one block aren't independent.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ci.errors import UsageError
from ci.secrets import files

Answer = str | tuple[int, ...]
"""One answer: its text, or the ids of its tokens."""


class Arm(StrEnum):
    """One side of a comparison."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


@dataclass(frozen=True)
class BlockResult:
    """What one block of load saw.

    Args:
        metrics: Seconds of each request, by the metric's name.
        answers: The answers in the order of the prompts; empty where they weren't kept.
        problem: Why the block can't be used: errors, fewer requests than asked, a client
            that was the bottleneck. Empty where it can.
        disturbance: What else took the machine meanwhile; empty where nothing did.
    """

    metrics: Mapping[str, Sequence[float]]
    answers: Sequence[Answer] = field(default=())
    problem: str = ""
    disturbance: str = ""


Block = Callable[[str, int], Awaitable[BlockResult]]
"""Measures the server at a URL with the prompts of a seed; equal seeds mean equal prompts."""

Medians = dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]


class Pair(BaseModel):
    """Both blocks of one pair: one line of `pairs.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    index: int = Field(ge=0)
    seed: int = Field(description="Seed of the prompts, the same in both blocks.")
    first: Arm = Field(description="Which block came first, by the toss of a coin.")
    baseline: Medians = Field(description="Median seconds of each metric.")
    candidate: Medians
    round: int = Field(default=1, ge=1, description="Which start of both sides it belongs to.")

    def difference(self, metric: str) -> float:
        """Return the logarithm of candidate over baseline."""
        return math.log(self.candidate[metric]) - math.log(self.baseline[metric])


def medians(result: BlockResult, metrics: Iterable[str]) -> Medians:
    """Return a block's median of each metric.

    Raises:
        ValueError: The block can't be used; the message says why.
    """
    if result.problem:
        raise ValueError(result.problem)
    found: Medians = {}
    for metric in metrics:
        samples = result.metrics.get(metric, ())
        if not samples:
            raise ValueError(f"no {metric} was measured")
        if not all(math.isfinite(sample) and sample >= 0 for sample in samples):
            raise ValueError(f"a {metric} is not a number of seconds")
        found[metric] = statistics.median(samples)
        if not found[metric]:
            raise ValueError(f"the median {metric} is 0: too few tokens to measure it by")
    return found


def columns(pairs: Iterable[Pair], metrics: Iterable[str]) -> dict[str, list[float]]:
    """Return the differences of each metric, one a pair."""
    kept = list(pairs)
    return {metric: [pair.difference(metric) for pair in kept] for metric in metrics}


def rounds_of(pairs: Iterable[Pair], metrics: Iterable[str]) -> list[dict[str, list[float]]]:
    """Return the differences of each metric, round by round."""
    kept, named = list(pairs), tuple(metrics)
    numbers = dict.fromkeys(pair.round for pair in kept)
    return [columns((pair for pair in kept if pair.round == at), named) for at in numbers]


@dataclass(frozen=True)
class PairPlan:
    """One pair that is to be measured: the prompts' seed and the order of the blocks."""

    seed: int
    order: tuple[Arm, Arm]


def plans(seed: int) -> Iterator[PairPlan]:
    """Yield pairs without end: new prompts for each, and a fair coin for the order.

    The coin is what makes the test exact: with two equal servers it alone decides the sign of
    a difference, however the machine drifts, and whatever one block does to the next.
    """
    dice = random.Random(seed)  # noqa: S311 - no secret; the seed makes a run repeatable
    while True:
        order = (Arm.BASELINE, Arm.CANDIDATE)
        prompts = dice.getrandbits(63)
        yield PairPlan(prompts, order if dice.getrandbits(1) else (order[1], order[0]))


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write one JSON line a pair."""
    lines = [f"{pair.model_dump_json()}\n" for pair in pairs]
    files.write(path, "".join(lines))


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """Return the pairs of a file that `write_pairs` wrote.

    Raises:
        UsageError: The file can't be read, holds no pair, or a line is no pair.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    found: list[Pair] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Pair.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"]
            raise UsageError(f"{path}:{number}: not a pair of blocks: {problem}") from error
    if not found:
        raise UsageError(f"{path}: holds no pairs")
    return tuple(found)

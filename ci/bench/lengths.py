"""Distributions of lengths, in tokens."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import Literal, Self

from ci.errors import UsageError

Kind = Literal["fixed", "uniform", "lognormal"]

_FORMS = "256, 128-512, or lognormal:MEDIAN,SIGMA such as lognormal:256,0.6"
_FIXED = re.compile(r"(\d+)(?:-(\d+))?")
_LOGNORMAL = re.compile(r"lognormal:(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)")

LIMIT = 1_000_000
"""Most tokens of a length."""


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths in tokens, never below 1.

    Args:
        kind: Its shape.
        middle: The length; the lower end of a uniform one; the median of a lognormal one.
        spread: The upper end of a uniform one; sigma of a lognormal one's logarithm.
        most: What longer ones are cut to.
    """

    kind: Kind
    middle: float
    spread: float = 0.0
    most: int = LIMIT

    def __post_init__(self) -> None:
        """Refuse what is no distribution of lengths."""
        upper = self.spread if self.kind == "uniform" else self.middle
        if not 1 <= self.middle <= upper <= LIMIT or self.spread < 0 or self.most < 1:
            raise UsageError(f"{self} is no distribution of lengths from 1 to {LIMIT}")

    @classmethod
    def parse(cls, text: str, most: int = LIMIT) -> Self:
        """Return the distribution that `text` names.

        Raises:
            UsageError: It names none.
        """
        if found := _FIXED.fullmatch(text.strip()):
            if found[2] is None:
                return cls("fixed", int(found[1]), most=most)
            return cls("uniform", int(found[1]), int(found[2]), most)
        if found := _LOGNORMAL.fullmatch(text.strip()):
            return cls("lognormal", float(found[1]), float(found[2]), most)
        raise UsageError(f"{text!r} is no length: write {_FORMS}")

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        if self.kind == "lognormal":
            return f"lognormal:{self.middle:g},{self.spread:g}"
        upper = f"-{self.spread:g}" if self.kind == "uniform" else ""
        return f"{self.middle:g}{upper}"

    def draw(self, chance: random.Random) -> int:
        """Return one length."""
        length = self.middle
        if self.kind == "uniform":
            length = chance.randint(int(self.middle), int(self.spread))
        elif self.kind == "lognormal":
            power = chance.normalvariate(math.log(self.middle), self.spread)
            length = math.exp(min(power, math.log(LIMIT)))
        return max(round(min(length, self.most)), 1)

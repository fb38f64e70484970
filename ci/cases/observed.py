"""What a program's run showed, by whichever way it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Score:
    """What a server made of one option of a selection.

    Attributes:
        option: The option.
        mean: Mean log-probability of its tokens, scored among all options.
        alone: The same, scored by itself.
        echo: End of the text that the server says it scored.
    """

    option: str
    mean: float
    alone: float
    echo: str


@dataclass(frozen=True)
class Observed:
    """One answer of a run; counts are tokens.

    Attributes:
        text: The answer, or the option that was selected.
        ending: Type of its finish reason; empty for a selection.
        matched: The stop string that ended it, where one did.
        prompt_tokens: Tokens of its whole prompt.
        completion_tokens: Tokens of the answer.
        cached_tokens: Tokens of the prompt that the server found in its cache.
        scores: For a selection, what each option scored.
    """

    text: str
    ending: str = ""
    matched: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    scores: tuple[Score, ...] = ()

    @classmethod
    def of(cls, scores: Sequence[Mapping[str, Any]] = (), **answer: Any) -> Observed:
        """Return what an interpreter told of one answer."""
        return cls(**answer, scores=tuple(Score(**score) for score in scores))


@dataclass(frozen=True)
class ObservedRun:
    """All answers of one run, by name; `page` is the size of a page of the KV cache in tokens."""

    answers: Mapping[str, Observed] = field(default_factory=dict)
    page: int = 1

    @classmethod
    def of(cls, answers: Mapping[str, Mapping[str, Any]], page: int) -> ObservedRun:
        """Return the run of which an interpreter told these answers."""
        return cls({name: Observed.of(**answer) for name, answer in answers.items()}, page)

    def __getitem__(self, name: str) -> Observed:
        return self.answers[name]

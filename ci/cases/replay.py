"""Replays generated cases over plain HTTP, by the smoke plugin's fixtures; SGLang isn't needed.

Requests are sent one after the other. Branches that are compared are sent when the server's
cache holds their prompts already: batching and the cache may change a model's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest

from ci.cases.interpreter import Json, echo, interpret, sampling, shown
from ci.cases.model import FILE, GeneratedCase, read
from ci.cases.observed import ObservedRun
from ci.cases.program import Program, as_data
from ci.smoke.answers import Generation
from ci.smoke.ask import Ask
from ci.smoke.server import Server

SCORED = {"return_logprob": True, "logprob_start_len": 0, "return_text_in_logprobs": True}
"""Keys of a request that has a prompt's tokens scored."""


def cases(folder: Path) -> list[object]:
    """Return the cases of a folder, as parameters for pytest."""
    return [
        pytest.param(case, id=case.name, marks=pytest.mark.needs(*case.needs))
        for case in read(folder / FILE).cases
    ]


def hold(case: GeneratedCase, ask: Ask, server: Server) -> None:
    """Run a case's program, and assert that all its properties hold.

    Raises:
        AssertionError: One doesn't; the first line says which, and what came.
        pytest.skip.Exception: Nothing can be said of one on this server.
    """
    run = replay(case.program, ask, server.page_size)
    for one in case.properties:
        if problem := one.problem(run):
            raise AssertionError(problem)
    if void := next((reason for one in case.properties if (reason := one.void(run))), ""):
        pytest.skip(void)


def replay(program: Program, ask: Ask, page: int) -> ObservedRun:
    """Run a program over plain HTTP."""
    return ObservedRun.of(interpret(as_data(program), _OverHttp(ask)), page)


class _OverHttp:
    """A prompt that grows by plain requests, one after the other.

    The option with the best mean log-probability is chosen, as the language does.
    """

    def __init__(self, ask: Ask, text: str = "") -> None:
        self._ask, self._text = ask, text
        self._seen: Json = {}

    def add(self, steps: Sequence[Json]) -> None:
        for step in steps:
            if "say" in step:
                self._text += step["say"]
            else:
                limit, asked = step["max_tokens"], sampling(step)
                answer = self._ask.generate(self._text, max_new_tokens=limit, **asked)
                self._seen[step["gen"]] = shown(answer.text, answer.meta_info.model_dump())
                self._text += answer.text

    def seen(self, name: str) -> Json:
        found: Json = self._seen[name]
        return found

    def choose(self, options: Sequence[str]) -> tuple[str, list[float], list[str]]:
        prompt = self._ask.generate(self._text, SCORED, max_new_tokens=0)
        asked = [self._text + option for option in options]
        batch = self._ask.batch(asked, SCORED, max_new_tokens=0)
        means = [mean(prompt, one) for one in batch]
        pairs = zip(means, options, strict=True)
        chosen = max(pairs, key=lambda pair: pair[0])[1]
        self._text += chosen
        return chosen, means, [echo(one.meta_info.input_token_logprobs) for one in batch]

    def copy(self) -> _OverHttp:
        return _OverHttp(self._ask, self._text)

    def fork(self, branches: Sequence[Sequence[Json]]) -> list[_OverHttp]:
        for branch in branches:
            opening = next((part["say"] for part in branch if "say" in part), "")
            self._ask.generate(self._text + opening, max_new_tokens=0)
        return [self.copy() for _ in branches]


def mean(prompt: Generation, whole: Generation) -> float:
    """Return the mean log-probability of those tokens of a text that its prompt doesn't have.

    The last tokens of the prompt may be others where an option follows; they count as well.

    Raises:
        AssertionError: The server scored none of them.
    """
    both = zip(prompt.prompt_ids, whole.prompt_ids, strict=False)
    same = len(prompt.prompt_ids)
    same = next((at for at, (one, other) in enumerate(both) if one != other), same)
    scores = [pair[0] for pair in whole.meta_info.input_token_logprobs[same:]]
    if not (known := [score for score in scores if score is not None]):
        raise AssertionError("POST /generate: an option's tokens have no log-probability")
    return fmean(known)

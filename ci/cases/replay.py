"""Replays generated cases over plain HTTP, by the smoke plugin's fixtures; SGLang isn't needed.

Requests are sent one after the other. Branches that are compared are sent when the server's
cache holds their prompts already: batching and the cache may change a model's numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest

from ci.cases.model import FILE, GeneratedCase, read
from ci.cases.observed import Observed, Run, Score
from ci.cases.program import Fork, Gen, Program, Say, Select
from ci.smoke.answers import Generation, TokenLogprob
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


def replay(program: Program, ask: Ask, page: int) -> Run:
    """Run a program over plain HTTP."""
    replayer = _Replayer(ask)
    replayer.steps(program)
    return Run(replayer.answers, page)


class _Replayer:
    """One run: the text so far, and the answers."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._text = ""
        self.answers: dict[str, Observed] = {}

    def steps(self, program: Sequence[Say | Gen | Select | Fork]) -> None:
        for step in program:
            if isinstance(step, Say):
                self._text += step.say
            elif isinstance(step, Gen):
                self._generated(step)
            elif isinstance(step, Select):
                self._selected(step)
            else:
                self._forked(step)

    def _generated(self, step: Gen) -> None:
        sampling = step.sampling
        if step.json_schema is not None:
            sampling["json_schema"] = json.dumps(step.json_schema)
        answer = self._ask.generate(self._text, max_new_tokens=step.max_tokens, **sampling)
        self.answers[step.gen] = observed(answer)
        self._text += answer.text

    def _selected(self, step: Select) -> None:
        prompts = [self._text + option for option in step.options]
        prompt = self._ask.generate(self._text, SCORED, max_new_tokens=0)
        batch = self._ask.batch(prompts, SCORED, max_new_tokens=0)
        alone = [self._ask.generate(one, SCORED, max_new_tokens=0) for one in prompts]
        means, ones = ([mean(prompt, one) for one in some] for some in (batch, alone))
        echoes = [echo(one) for one in batch]
        told = zip(step.options, means, ones, echoes, strict=True)
        scores = tuple(Score(option, score, one, text) for option, score, one, text in told)
        chosen = max(scores, key=lambda score: score.mean).option
        self.answers[step.select] = Observed(chosen, scores=scores)
        self._text += chosen

    def _forked(self, step: Fork) -> None:
        start = self._text
        for branch in step.fork:
            opening = next((part.say for part in branch if isinstance(part, Say)), "")
            self._ask.generate(start + opening, max_new_tokens=0)
        for branch in step.fork:
            self._text = start
            self.steps(branch)
        self._text = start


def observed(answer: Generation) -> Observed:
    """Return what properties read of an answer."""
    meta, reason = answer.meta_info, answer.meta_info.finish_reason
    matched = reason.matched if reason else None
    return Observed(
        text=answer.text,
        ending=answer.ending,
        matched=matched if isinstance(matched, str) else "",
        prompt_tokens=meta.prompt_tokens,
        completion_tokens=meta.completion_tokens,
        cached_tokens=meta.cached_tokens,
    )


def mean(prompt: Generation, whole: Generation) -> float:
    """Return the mean log-probability of those tokens of a text that its prompt doesn't have.

    The last tokens of the prompt may be others where an option follows; they count as well.
    """
    pairs = whole.meta_info.input_token_logprobs
    both = zip(prompt.prompt_ids, whole.prompt_ids, strict=False)
    same = next((at for at, (one, other) in enumerate(both) if one != other), None)
    new = scores_of(pairs[len(prompt.prompt_ids) if same is None else same :])
    if not new:
        raise AssertionError("POST /generate: an option's tokens have no log-probability")
    return fmean(new)


def scores_of(pairs: Sequence[TokenLogprob]) -> list[float]:
    """Return the log-probabilities that there are."""
    return [score for score, _, _ in pairs if score is not None]


def echo(answer: Generation) -> str:
    """Return the text of the tokens that a server says it scored."""
    return "".join(text or "" for _, _, text in answer.meta_info.input_token_logprobs)

"""Generated cases for tests: one made by hand, its runs, and a runner that needs no SGLang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from ci.cases.language import Tried
from ci.cases.model import GeneratedCase
from ci.cases.observed import Observed, ObservedRun, Score
from ci.cases.program import Gen, Say, Select
from ci.cases.properties import AnyProperty
from ci.cases.replay import replay
from ci.cases.stage import CasesWanted, generate
from ci.report.model import Check
from ci.smoke.ask import Ask
from ci.smoke.transport import open_client
from ci.stages import checked

GOOD = Observed("AB-12", "stop", "", 40, 6, 20)


@dataclass(frozen=True)
class OverHttp:
    """Runs programs as they are replayed, in place of SGLang's language."""

    url: str

    async def run(self, cases: Sequence[GeneratedCase], page: int) -> tuple[str, list[Tried]]:
        """Run the cases' programs, one after the other."""
        return "none", await anyio.to_thread.run_sync(self._all, cases, page)

    def _all(self, cases: Sequence[GeneratedCase], page: int) -> list[Tried]:
        with open_client(self.url, 10) as client:
            return [self._one(case, Ask(client, "default"), page) for case in cases]

    @staticmethod
    def _one(case: GeneratedCase, ask: Ask, page: int) -> Tried:
        try:
            return replay(case.program, ask, page)
        except AssertionError as error:
            return str(error)


def generated(
    url: str, out: Path, count: int = 63, seed: int = 7, *, record: bool = False, **only: str
) -> Check:
    """Generate cases without SGLang's language; `only` names a topic or a capability."""
    topics = tuple(value for key, value in only.items() if key == "topic")
    capabilities = tuple(value for key, value in only.items() if key == "capability")
    asked = CasesWanted(out, seed, count, topics, capabilities, record)
    return anyio.run(checked, "generate-cases", partial(generate, OverHttp(url), asked))


def case(*properties: AnyProperty, regex: str = "[A-Z]{2}-[0-9]{2}") -> GeneratedCase:
    """Return a case with an answer `a`, a selection `s` and an answer `b`."""
    return GeneratedCase(
        name="by-hand",
        topic="none",
        capability="regex",
        program=(
            Say(say="Code: "),
            Gen(gen="a", max_tokens=16, regex=regex),
            Select(select="s", options=(" red", " blue")),
            Gen(gen="b", max_tokens=16, regex=regex),
        ),
        properties=properties,
    )


def run(page: int = 1, /, **answers: Observed) -> ObservedRun:
    """Return a good run of `case`, with other answers in place of its own."""
    scores = (Score(" red", -2.0, -2.0, "x: red"), Score(" blue", -1.0, -1.0, "x: blue"))
    good = {"a": GOOD, "s": Observed(" blue", scores=scores), "b": GOOD}
    return ObservedRun(good | answers, page)

"""The names under which one scraper stores a server's metrics, for whoever reads a query.

`ci.boards` compares two versions. Here the newer one is what is stored, and the older one the same
with every label that any query asks for: what a query needs and finds only there is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Self

from ci.boards.found import FoundSeries, Labels, Lack, Problem
from ci.boards.model import Board, Query
from ci.boards.names import NamedSeries, Names, Versions
from ci.boards.query import ask
from ci.contract.model import ContractPart
from ci.observe.catalogue import Catalogue
from ci.observe.conditional import begins_with

ENGINES = {
    "sglang": "SGLang",
    "vllm": "vLLM",
    "tgi": "Text Generation Inference",
    "llamacpp": "llama.cpp",
    "nv": "Triton or TensorRT-LLM",
    "trtllm": "TensorRT-LLM",
    "lmdeploy": "LMDeploy",
    "sgl_router": "SGLang's former router",
    "smg": "SGLang's gateway",
}
"""How metrics of engines and routers begin, up to `:` or `_`, to whose they are."""
SCRAPES = frozenset(
    {"instance", "job", "namespace", "pod", "service", "container", "node", "cluster", "prometheus"}
)
"""Labels that a scrape adds: Prometheus itself, or what finds servers in Kubernetes."""
WORD = re.compile(r"[A-Za-z_]\w*")
CLOSE = 0.75


@dataclass(frozen=True)
class StoredNames(Versions):
    """What is stored of one server.

    Args:
        others: Name to what it is stored as, of names as other scrapers store them.
        names: All that is stored.
        own: How this server's metrics begin.
        asked: Labels that a query may need; all others are the scrape's.
        rules: What rules record, to why they can't; None where they ask for nothing of it.
        title: Who stores it.
    """

    others: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    asked: Labels = frozenset()
    rules: Mapping[str, Problem | None] = field(default_factory=dict)
    title: str = ""

    @classmethod
    def stored(
        cls,
        catalogue: Catalogue,
        boards: Sequence[Board],
        added: Iterable[str] = (),
        title: str = "",
    ) -> Self:
        """Return what is stored of a server, without what rules record.

        Args:
            catalogue: What the server exposes, as it is stored.
            boards: Whatever is asked.
            added: Labels that the scrape adds, beside the usual.
            title: Who stores it.
        """
        metrics = catalogue.metrics
        texts = [query.text for board in boards for query in board.queries]
        words = {word for text in texts for word in WORD.findall(text) if word[:2] != "__"}
        words |= {label for one in metrics.values() for label in one.labels}
        asked = frozenset(words) - SCRAPES - frozenset(added)
        after = {name: NamedSeries(one.labels, name) for name, one in metrics.items()}
        before = {name: NamedSeries(one.labels | asked, name) for name, one in after.items()}
        others = {_other(name): name for name in metrics if _other(name) not in metrics}
        own = frozenset(beginning(name) for name in metrics) & frozenset(ENGINES)
        record = {query.record for board in boards for query in board.queries if query.record}
        return cls(
            before,
            after,
            (ContractPart(), ContractPart()),
            others=others,
            names=frozenset(metrics),
            own=own,
            asked=asked,
            rules=dict.fromkeys(sorted(record)),
            title=title,
        )

    def unseen(self, name: str, *, pattern: bool) -> Problem | None:
        """Return what is wrong with a name that isn't stored; None for one of somebody else's."""
        if name in self.rules:
            why = self.rules[name]
            return Problem(why.lack, f"no rule records {name}: {why.told}") if why else None
        other = next((one for one in self.others if _matches(name, one, pattern=pattern)), "")
        if other:
            there = self.others[other]
            told = f"{self.title} stores {other} as {there}"
            return Problem(Lack.SPELLED, told)
        whose = beginning(name)
        if whose not in ENGINES:
            return None
        if whose not in self.own:
            return Problem(Lack.FOREIGN, f"{name} is a metric of {ENGINES[whose]}'s")
        if event := begins_with(name):
            return Problem(Lack.EVENT, f"{name} begins with {event}, which there wasn't")
        return Problem(Lack.UNSEEN, f"{name} doesn't exist on this server{self._perhaps(name)}")

    def with_rules(self, boards: Sequence[Board]) -> Self:
        """Return these with what the boards' rules record, each on top of those before.

        A rule may use one that stands after it, as Prometheus has that one's last value: so they
        are gone through until nothing new comes.
        """
        recording = [(board, query) for board in boards for query in board.queries if query.record]
        found = self
        for _ in recording:
            then = found
            for board, rule in recording:
                found = found._recorded(rule, ask(rule, board.variables, found))
            if found == then:
                break
        return found

    def _recorded(self, rule: Query, asked: FoundSeries) -> Self:
        worst = next((one for one in asked.problems if one.lack is not Lack.LABEL), None)
        labels = [one.after for one in asked.series if one.after is not None]
        rules = {**self.rules, rule.record: worst}
        names: Names = {}
        if labels and worst is None:
            whole = frozenset(rule.added).union(*labels)
            names = {rule.record: NamedSeries(whole)}
        before = {name: NamedSeries(one.labels | self.asked) for name, one in names.items()}
        return replace(self.recording(before, names), rules=rules)

    def _perhaps(self, name: str) -> str:
        """Return in words which name may be meant; nothing where none is close."""
        near = get_close_matches(name, sorted({*self.names, *self.others}), 1, CLOSE)
        return f"; perhaps {near[0]}" if near else ""


def beginning(name: str) -> str:
    """Return whose a metric is, by how it begins; the first part of its name where nobody knows."""
    known = (one for one in ENGINES if re.match(rf"\W*{one}[:_\[(.]", name))
    return max(known, key=len, default="") or name.partition("_")[0].partition(":")[0]


def _other(name: str) -> str:
    """Return what a name is where another scraper stores it: `sglang:…` against `sglang_…`."""
    first = re.match(r"([a-z0-9]+)([:_])", name)
    if not first:
        return name
    return f"{first[1]}{'_' if first[2] == ':' else ':'}{name[first.end() :]}"


def _matches(asked: str, name: str, *, pattern: bool) -> bool:
    return bool(re.fullmatch(asked, name)) if pattern else asked == name

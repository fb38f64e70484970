"""Generates cases against a server: composes, tries, sifts and writes them, as a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio
import httpx

from ci.cases import folder
from ci.cases.compose import CAPABILITIES, GENERATOR, candidates
from ci.cases.coverage import coverage
from ci.cases.language import Tried
from ci.cases.model import CaseFile, GeneratedCase, Provenance
from ci.cases.sift import Sifted, Why, sift
from ci.cases.topics import TOPICS
from ci.errors import UsageError
from ci.report.model import Case, Figure
from ci.server.faults import fault_of
from ci.smoke.server import Server, discover
from ci.smoke.transport import open_client
from ci.stages import StageResult, Tell
from ci.verdict import Outcome

NAME = "generate-cases"


@dataclass(frozen=True)
class CasesWanted:
    """What is asked for.

    Args:
        out: Folder that the cases are written to.
        seed: Where the random choices start.
        count: How many cases.
        topics: Names of topics; all where empty.
        capabilities: Names of capabilities; all where empty.
        record: Whether the server's answers become properties.
    """

    out: Path
    seed: int
    count: int
    topics: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    record: bool = False

    def __post_init__(self) -> None:
        """Refuse names that nobody knows.

        Raises:
            UsageError: There is one, or the folder holds other files.
        """
        _known("--topic", self.topics, TOPICS)
        _known("--capability", self.capabilities, CAPABILITIES)
        folder.check(self.out)

    @property
    def all_topics(self) -> tuple[str, ...]:
        """Topics in force, in an order of their own."""
        return tuple(one for one in TOPICS if one in self.topics or not self.topics)

    @property
    def all_capabilities(self) -> tuple[str, ...]:
        """Capabilities in force, likewise."""
        return tuple(
            one for one in CAPABILITIES if one in self.capabilities or not self.capabilities
        )


class Interpreter(Protocol):
    """What runs programs: SGLang's language, or something that a test puts there."""

    @property
    def url(self) -> str:
        """The server's base URL."""

    async def run(self, cases: Sequence[GeneratedCase], page: int) -> tuple[str, list[Tried]]:
        """Return a version, and what each program showed."""


async def generate(language: Interpreter, asked: CasesWanted, tell: Tell) -> StageResult:
    """Generate cases against a server, and write them.

    Args:
        language: What runs programs against the server.
        asked: What is asked for.
        tell: Is told each case.

    Raises:
        SglangCiError: It is no SGLang server, doesn't answer, or the programs can't be run.
    """
    server = await anyio.to_thread.run_sync(_discovered, language.url)
    versions: list[str] = []

    async def run(some: Sequence[GeneratedCase]) -> list[Tried]:
        version, tried = await language.run(some, server.page_size)
        versions.append(version)
        return tried

    source = candidates(asked.seed, asked.all_topics, asked.all_capabilities)
    sifted = await sift(source, asked.count, server.absent, run, record=asked.record)
    provenance = _provenance(asked, server, versions[0] if versions else "")
    folder.write(
        asked.out,
        CaseFile(provenance=provenance, cases=tuple(sifted.kept)),
        coverage(sifted, provenance),
    )
    for case in _cases(asked, sifted):
        tell(case)
    return StageResult(
        facts=_facts(language.url, asked, provenance), figures=tuple(_figures(sifted))
    )


def _discovered(url: str) -> Server:
    try:
        with open_client(url, 30.0) as client:
            return discover(client)
    except httpx.HTTPError as error:
        raise fault_of(url, error) from error


def _provenance(asked: CasesWanted, server: Server, language: str) -> Provenance:
    return Provenance(
        generator=GENERATOR,
        seed=asked.seed,
        count=asked.count,
        topics=asked.all_topics,
        capabilities=asked.all_capabilities,
        recorded=asked.record,
        model=Path(server.model).name,
        server=str(server.server_info.get("version", "unknown")),
        language=language,
    )


def _cases(asked: CasesWanted, sifted: Sifted) -> Iterator[Case]:
    """Yield one case a capability, and one on the number."""
    for capability in asked.all_capabilities:
        yield _covered(capability, sifted)
    kept = len(sifted.kept)
    enough = Outcome.PASSED if kept == asked.count else Outcome.INCONCLUSIVE
    message = "" if kept == asked.count else f"{kept} of {asked.count} cases could be made"
    yield Case(name="as many as asked for", outcome=enough, message=message)


def _covered(capability: str, sifted: Sifted) -> Case:
    name = f"covers {capability}"
    dropped = [one for one in sifted.dropped if one.case.capability == capability]
    broken = [one for one in dropped if one.why is Why.BROKEN]
    kept = sum(case.capability == capability for case in sifted.kept)
    if broken:
        message = f"{len(broken)} of {len(broken) + kept} programs fail: {broken[0].told}"
        details = "\n".join(f"{one.case.name}: {one.told}" for one in broken)
        return Case(name=name, outcome=Outcome.FAILED, message=message, details=details)
    if kept:
        return Case(name=name, outcome=Outcome.PASSED, details=f"{kept} cases")
    lacking = next((one.told for one in dropped if one.why is Why.LACKING), "")
    if lacking:
        return Case(name=name, outcome=Outcome.SKIPPED, message=lacking)
    told = f"{dropped[0].why}: {dropped[0].told}" if dropped else "none was composed"
    return Case(name=name, outcome=Outcome.INCONCLUSIVE, message=f"no case was kept: {told}")


def _facts(url: str, asked: CasesWanted, provenance: Provenance) -> dict[str, str]:
    return {
        "url": url,
        "folder": str(asked.out),
        "seed": str(asked.seed),
        "generator": provenance.generator,
        "sglang of the language": provenance.language,
        "run them": f"sglang-ci smoke {url} --smoke {asked.out}",
    }


def _figures(sifted: Sifted) -> Iterator[Figure]:
    yield Figure(name="cases kept", value=len(sifted.kept))
    for why in Why:
        yield Figure(name=f"dropped: {why}", value=sifted.count(why))


def _known(option: str, names: tuple[str, ...], known: Mapping[str, object]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{option} {name}: not known; there are {', '.join(known)}")

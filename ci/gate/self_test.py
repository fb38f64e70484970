"""Checks on a user's own machine whether the gate's verdicts are right.

One server, or two of the same image, seen through two proxies, stand for both sides. First
neither proxy slows anything: whatever is found there is the machine's noise, and FAILED would
be a false alarm. Then one is slower by a known share, which must be found. Two live
comparisons say that the gate works, and little about how often it errs; so the noise that the
first of them measured is run through the gate a thousand times by simulation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ci.gate.blocks import Block, BlockResult, columns
from ci.gate.compare import Comparison, compare
from ci.gate.measured import Options, Watcher
from ci.gate.noise import recorded
from ci.gate.power import Need, Rates, interval, need, rates
from ci.gate.result import facts_of, message_of
from ci.gate.slowed import slowed
from ci.gate.words import of_runs, rate
from ci.report.model import Case
from ci.stages import StageResult, Tell
from ci.verdict import Outcome, Verdict

RUNS = 1000
"""Simulated comparisons behind each rate."""


@dataclass(frozen=True)
class SelfTest:
    """What the self-test found.

    Args:
        share: By how much the slowed side was slower.
        equal: The comparison of the server with itself.
        slower: The comparison with itself, slowed.
        alarms: How comparisons of equal servers end on the noise that was measured; None
            where too little was measured.
        found: How those with a server slower by `share` do.
        need: Pairs that one run would need on this noise.
    """

    share: float
    equal: Comparison
    slower: Comparison
    alarms: Rates | None
    found: Rates | None
    need: Need | None


async def self_test(
    block: Block,
    url: str,
    options: Options,
    *,
    twin: str = "",
    share: float | None = None,
    watcher: Watcher | None = None,
) -> SelfTest:
    """Compare the server at `url` with itself or its twin, as it is and slowed.

    Args:
        block: Measures one block.
        url: The server.
        twin: Another one of the same image, up at the same time, which is nearer to what a
            real comparison sees: both sides then get the same prompts, and what tells two
            starts of one image apart is seen too.
        options: How comparisons are run; the one of equal servers takes all its pairs.
        share: By how much it is slowed; the rule's `slowdown` if None.
        watcher: Who is told.

    Raises:
        CheckBroken: A proxy doesn't start.
    """
    options = options.of_processes()
    by = options.rule.slowdown if share is None else share
    whole = replace(options.schedule, interim=False, repeat=False)
    measure = block if twin else _other_prompts(block)
    async with slowed(url, 0.0) as one, slowed(twin or url, 0.0) as other:
        equal = await compare(measure, one, other, replace(options, schedule=whole), watcher)
    later = replace(options, seed=options.seed + 1)
    async with slowed(url, 0.0) as one, slowed(twin or url, by) as other:
        slower = await compare(measure, one, other, later, watcher)
    return SelfTest(by, equal, slower, *_simulated(equal, options, by))


def _other_prompts(block: Block) -> Block:
    """Return a block that never sends a prompt twice, which one server would have in its cache."""
    seen: set[int] = set()

    async def measure(server: str, seed: int) -> BlockResult:
        fresh = seed ^ 1 if seed in seen else seed
        seen.add(seed)
        return replace(await block(server, fresh), answers=())

    return measure


def _simulated(
    equal: Comparison, options: Options, share: float
) -> tuple[Rates | None, Rates | None, Need | None]:
    if equal.cut or not equal.pairs:
        return None, None, None
    seen = columns(equal.pairs, options.rule.metrics)
    noise, looks = recorded(seen), options.schedule.looks(options.rule)
    alarms, found = (rates(noise, options.rule, looks, slower=by, runs=RUNS) for by in (0.0, share))
    return alarms, found, need(seen, options.rule)


def result_of(test: SelfTest, tell: Tell) -> StageResult:
    """Tell whether the gate can be trusted on this machine."""
    for case in (_equal(test), _slower(test), _power(test)):
        tell(case)
    return StageResult(facts=facts_of(test.equal) | _rates(test))


def _equal(test: SelfTest) -> Case:
    verdict = test.equal.verdict
    return Case(
        name="equal servers",
        outcome=Outcome(verdict.value),
        message=test.equal.cut or ("a false alarm" if verdict is Verdict.FAILED else ""),
        details=_lines(test.equal),
    )


def _slower(test: SelfTest) -> Case:
    """Judge the slowed comparison: FAILED is what it should say."""
    outcomes = {Verdict.FAILED: Outcome.PASSED, Verdict.PASSED: Outcome.FAILED}
    verdict = test.slower.verdict
    missed = "it got past the gate" if verdict is Verdict.PASSED else ""
    return Case(
        name=f"server slowed by {rate(test.share)}",
        outcome=outcomes.get(verdict, Outcome.INCONCLUSIVE),
        message=test.slower.cut or missed,
        details=_lines(test.slower),
    )


def _power(test: SelfTest) -> Case:
    """Judge the machine: a gate that seldom finds what it looks for is of little use there."""
    rule, found = test.equal.options.rule, test.found
    if found is None:
        return Case(name="power", outcome=Outcome.INCONCLUSIVE, message="no noise was measured")
    power = rate(found.failed / found.runs)
    needed = test.need.pairs if test.need else None
    enough = "more pairs than were tried" if needed is None else f"a run of {needed} pairs"
    message = f"{rate(test.share)} is found in {power} of {found.runs} simulated comparisons"
    if found.failed >= rule.power * found.runs:
        return Case(name="power", outcome=Outcome.PASSED, message=message)
    message += f"; power {rate(rule.power)} takes {enough}"
    return Case(name="power", outcome=Outcome.INCONCLUSIVE, message=message)


def _lines(comparison: Comparison) -> str:
    findings = comparison.decision.findings if comparison.decision else ()
    return "\n".join(
        f"{finding.metric}: {finding.verdict}: {message_of(finding, comparison)}"
        for finding in findings
    )


def _rates(test: SelfTest) -> dict[str, str]:
    simulated = {"simulated false alarms": test.alarms, "simulated power": test.found}
    return {
        name: of_runs(each.failed, each.runs, *interval(each.failed, each.runs))
        for name, each in simulated.items()
        if each
    }

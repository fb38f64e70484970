"""What the report tells of a comparison: one case for the blocks, one for each metric."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ci.gate.blocks import rounds_of
from ci.gate.compare import Comparison
from ci.gate.decide import Decision, MetricFinding
from ci.gate.outputs import Agreement, Divergence
from ci.gate.rounds import RoundDifferences
from ci.gate.rule import Rule
from ci.gate.words import between, percent, rate
from ci.report.model import Case, Figure, Plot, Series
from ci.stages import StageResult, Tell
from ci.verdict import Outcome, Verdict


def result_of(comparison: Comparison, tell: Tell) -> StageResult:
    """Tell the cases of a comparison, and return the rest of what it found."""
    for case in (_blocks(comparison), *_metrics(comparison), *_answers(comparison)):
        tell(case)
    return StageResult(
        facts=facts_of(comparison),
        figures=tuple(_figures(comparison)),
        plots=tuple(_plots(comparison)),
    )


def _figures(comparison: Comparison) -> Iterator[Figure]:
    """Yield each metric's ratio, candidate over baseline, with its bounds."""
    for one in comparison.decision.findings if comparison.decision else ():
        yield ratio_figure(f"{one.metric}, candidate / baseline", one)


def ratio_figure(name: str, found: MetricFinding) -> Figure:
    """Return a metric's ratio with its bounds; one that isn't known is left out."""
    high = None if math.isinf(found.high) else found.high
    return Figure(name=name, value=found.ratio, better="lower", low=found.low or None, high=high)


def _plots(comparison: Comparison) -> Iterator[Plot]:
    """Yield the pairs in their order: what the decision rests on."""
    if not comparison.pairs:
        return
    series = tuple(
        Series(
            name=metric,
            points=tuple(
                (pair.index + 1, 100 * math.expm1(pair.difference(metric)))
                for pair in comparison.pairs
            ),
        )
        for metric in comparison.options.rule.metrics
    )
    yield Plot(title="Candidate against baseline", x="pair", y="% of time more", series=series)


def facts_of(comparison: Comparison) -> dict[str, str]:
    """Return what is worth knowing beside the verdicts."""
    options, rule = comparison.options, comparison.options.rule
    facts = {
        "pairs of blocks": str(len(comparison.pairs)),
        "seed": str(options.seed),
        "must not pass": f"{rate(rule.slowdown)} slower, with power {rate(rule.power)}",
        "least effect": rate(rule.least),
        "false alarms": f"at most {rate(rule.false_alarm)}",
    }
    for finding in comparison.decision.findings if comparison.decision else ():
        facts[f"{finding.metric}, candidate / baseline"] = (
            f"{finding.ratio:.3f} ({between(finding.low, finding.high)})"
        )
    return facts | _started(comparison) | _outputs(comparison.agreement)


def _blocks(comparison: Comparison) -> Case:
    """Say whether the run was what it should have been."""
    anew = {
        "unusable pairs that were measured anew": comparison.broken,
        "pairs measured anew for other work on this machine": comparison.disturbed,
        "pairs that count in spite of it": comparison.counted,
    }
    told = [f"{name}: {len(pairs)}" for name, pairs in anew.items() if pairs]
    if comparison.waited >= 1:
        told.append(f"waited for a quiet machine: {comparison.waited:.0f} s")
    message = comparison.cut or "; ".join(told)
    return Case(
        name="blocks",
        outcome=Outcome.INCONCLUSIVE if comparison.cut else Outcome.PASSED,
        message=message,
        details="\n".join(line for lines in anew.values() for line in lines),
    )


def _metrics(comparison: Comparison) -> Iterator[Case]:
    for finding in comparison.decision.findings if comparison.decision else ():
        yield Case(
            name=finding.metric,
            outcome=Outcome(finding.verdict.value),
            message=message_of(finding, comparison),
        )


def _answers(comparison: Comparison) -> Iterator[Case]:
    least, share = comparison.options.identical, comparison.agreement.share
    if least is None:
        return
    name = "answers"
    if share is None:
        message = "no answers were kept, so none can be compared"
        yield Case(name=name, outcome=Outcome.INCONCLUSIVE, message=message)
        return
    facts = _outputs(comparison.agreement)
    yield Case(
        name=name,
        outcome=Outcome.PASSED if share >= least else Outcome.FAILED,
        message=f"{facts['identical answers']} are identical, {rate(least)} are asked for",
        details=facts.get("first divergence", ""),
    )


def message_of(finding: MetricFinding, comparison: Comparison) -> str:
    """Return one line on a metric: by how much, how sure, and what would make it surer."""
    rule = comparison.options.rule
    bounds = between(finding.low, finding.high)
    seen = f"{percent(finding.ratio - 1)} ({bounds}), {_measured(comparison)}"
    if finding.verdict is Verdict.FAILED:
        return f"slower: {seen}, p = {finding.p_slower:.2g}"
    if finding.verdict is Verdict.PASSED:
        said = "faster" if finding.faster else f"not slower by {rate(rule.slowdown)}"
        return f"{said}: {seen}"
    return f"unsure: {seen}; {_needed(finding, comparison, rule)}"


def _measured(comparison: Comparison) -> str:
    """Say how much was measured."""
    pairs, rounds = len(comparison.pairs), comparison.rounds
    return f"{pairs} pairs" + (f" in {rounds} starts of both sides" if rounds > 1 else "")


def _needed(finding: MetricFinding, comparison: Comparison, rule: Rule) -> str:
    effect = comparison.options.effect
    if comparison.counted:
        return f"other work on this machine: {comparison.counted[-1]}"
    if effect and finding.metric in _slower(comparison.processes):
        apart = rate(math.expm1(2 * effect.apart(finding.metric)))
        return (
            f"these two processes differ, but two starts of one image may differ by {apart} as "
            f"well: give settings files, so that both can be started anew"
        )
    if comparison.options.restarts and comparison.rounds == comparison.options.schedule.rounds:
        return "its starts lie too far apart, or it lies between both limits: see gate.rounds"
    return _more_pairs(comparison, rule)


def _more_pairs(comparison: Comparison, rule: Rule) -> str:
    need = comparison.need
    if need is None:
        return "the run ended before its last look"
    if need.pairs is None:
        return (
            f"on this noise even {need.tried} pairs don't find {rate(rule.slowdown)} with power "
            f"{rate(rule.power)}: longer blocks or a quieter machine would"
        )
    if need.pairs <= len(comparison.pairs):
        return (
            f"more pairs may not help: on this noise {need.pairs} tell an equal candidate from one "
            f"that is {rate(rule.slowdown)} slower, and this one seems to lie between"
        )
    return (
        f"on this noise a run of {need.pairs} pairs finds {rate(rule.slowdown)} with power "
        f"{rate(rule.power)} ({need.runs} simulated runs)"
    )


def _slower(processes: Decision | None) -> set[str]:
    """Return the metrics in which these two processes differ, whatever their images do."""
    found = processes.findings if processes else ()
    return {one.metric for one in found if one.verdict is Verdict.FAILED}


def _started(comparison: Comparison) -> dict[str, str]:
    """Say what the verdict is on, and what is known of starts."""
    options = comparison.options
    effect, metrics = options.effect, options.rule.metrics
    if effect is None:
        return {}
    sizes = [f"{metric} {rate(math.expm1(effect.spread[metric]))}" for metric in metrics]
    rounds = rounds_of(comparison.pairs, metrics)
    on = "both images, started anew where it is unclear"
    if not options.restarts:
        on = "these two processes, which were not started anew"
    facts = {"verdict on": on, "effect of a start": f"{', '.join(sizes)}; {effect.source}"}
    if not rounds:
        return facts
    alike = (RoundDifferences([one[metric] for one in rounds], 0.0, 1.0) for metric in metrics)
    told = (f"{name} {one.alike:.2f}" for name, one in zip(metrics, alike, strict=True))
    return facts | {"starts of both sides": str(len(rounds)), "neighbours alike": ", ".join(told)}


def _outputs(agreement: Agreement) -> dict[str, str]:
    facts = {}
    if agreement.share is not None:
        facts["identical answers"] = (
            f"{agreement.identical} of {agreement.compared} ({rate(agreement.share)})"
        )
    if agreement.first:
        facts["first divergence"] = _divergence(agreement.first)
    if agreement.unequal:
        facts["answers not compared"] = (
            f"{agreement.unequal} pairs: one side kept more than the other"
        )
    return facts


def _divergence(first: Divergence) -> str:
    return (
        f"{first.unit} {first.position + 1} of request {first.request + 1}, prompts of seed "
        f"{first.seed}: baseline {first.baseline}, candidate {first.candidate}"
    )

"""The verdicts on a bench: whether its figures may be believed.

A bench has no opinion on how fast a server should be. It is PASSED where everything that was
asked was measured, and INCONCLUSIVE, with the reason, where it wasn't. A server that answers no
request at all is FAILED.
"""

from __future__ import annotations

from collections.abc import Iterator

from ci.bench.agreement import Tolerance, agreement
from ci.bench.arrival import arrival_case
from ci.bench.hopeless import server_fault
from ci.bench.options import WarmUp
from ci.bench.ramp import RampResult
from ci.bench.records import RequestRecord
from ci.bench.session import Measured, Warmed
from ci.report.model import Case
from ci.verdict import Outcome

_DETAILS = 20
"""Most failed requests that a case lists."""


def warm_up_case(warmed: Warmed | None, at: WarmUp) -> Case:
    """Judge a warm-up; None where there was none."""
    name = "warm-up reaches a steady state"
    if warmed is None:
        return Case(name=name, outcome=Outcome.SKIPPED, message="no warm-up was asked for")
    told = ", ".join(f"{quantity} drifts by {drift}" for quantity, drift in warmed.drifts.items())
    bound = f"the bound is {at.drift:.0%}"
    count, seconds = len(warmed.run.records), warmed.run.seconds
    if warmed.steady:
        return _case(name, "", f"after {count} requests: {told}; {bound}", seconds)
    failed = sum(not record.complete for record in warmed.run.records)
    if failed:
        why = f"{failed} of {count} requests failed, as {_first_failure(warmed.run.records)}"
    else:
        why = f"not shown in {count} requests and {seconds:.0f} s: {told or 'too few answers'}"
        why += f"; {bound}"
    return _case(name, why, "", seconds)


def load_cases(measured: Measured, tolerance: Tolerance) -> Iterator[Case]:
    """Judge whether a load's figures may be believed."""
    summary, records = measured.summary, measured.run.records
    yield _succeeded(measured)
    limit = "the time limit ended the load" if measured.run.limited else ""
    few = f"{summary.sent} of {summary.asked} requests were sent"
    short = summary.sent < summary.asked or limit
    yield _case("as many requests as asked", f"{few}; {limit}".rstrip("; ") if short else "", few)
    yield _lengths(measured)
    yield _latencies(measured)
    effort = measured.run.effort
    yield arrival_case(records, effort)
    yield _case(
        "the client keeps up", "; ".join(measured.saturated), f"{effort.cpu_share:.0%} of a core"
    )
    names = measured.metrics
    unseen = measured.unseen or names.hint
    yield from agreement(measured.view, records, summary, tolerance, names, unseen)


def ramp_case(found: RampResult) -> Case:
    """Judge a search for the highest rate."""
    told = f"{found.best:g} requests/s meet the SLOs" if found.best else ""
    if found.missed and told:
        told += f", {found.missed:g} don't"
    return _case("the highest rate that meets the SLOs is found", found.problem, told)


def _succeeded(measured: Measured) -> Case:
    summary = measured.summary
    failed = [record for record in measured.run.records if not record.complete]
    lines = [f"request {one.index}: {one.error}: {one.detail}" for one in failed[:_DETAILS]]
    problem = f"{summary.failures} (of {summary.sent} requests)" if failed else ""
    problem += f"; the first: {failed[0].detail}" if failed else ""
    if not summary.completed and not problem:
        problem = "no request was sent"
    unsure = Outcome.INCONCLUSIVE if problem else Outcome.PASSED
    return Case(
        name="every request succeeds",
        outcome=Outcome.FAILED if server_fault(measured.run.records) else unsure,
        seconds=measured.run.seconds,
        message=problem or f"{summary.completed} requests",
        details="\n".join(lines),
    )


def _lengths(measured: Measured) -> Case:
    name = "answers have the length asked for"
    if not measured.lengths_asked:
        return Case(name=name, outcome=Outcome.SKIPPED, message="the model may end its answers")
    whole = [record for record in measured.run.records if record.complete]
    other = [record for record in whole if record.output_tokens != record.asked_tokens]
    if not whole:
        return _case(name, "there are no answers", "")
    first = next(iter(other), None)
    example = f", the first {first.output_tokens} for {first.asked_tokens}" if first else ""
    problem = f"{len(other)} of {len(whole)} haven't{example}" if other else ""
    return _case(name, problem, f"{len(whole)} answers")


def _latencies(measured: Measured) -> Case:
    """Judge whether every latency was measured; without counts there are none of tokens."""
    name, lacking = "every latency is measured", _lacking(measured)
    if measured.uncounted and not lacking:
        why = f"only TTFT and e2e: {measured.uncounted}"
        return Case(name=name, outcome=Outcome.SKIPPED, message=why)
    return _case(name, lacking, "TTFT, TPOT, ITL and e2e")


def _lacking(measured: Measured) -> str:
    """Return which latencies weren't measured; a single token has no gap to the next."""
    summary = measured.summary
    found = {"TTFT": summary.ttft, "e2e": summary.e2e}
    if not measured.uncounted and any(record.asked_tokens > 1 for record in measured.run.records):
        found |= {"TPOT": summary.tpot, "ITL": summary.itl}
    lacking = ", ".join(name for name, value in found.items() if value is None)
    return f"not measured: {lacking}" if lacking else ""


def _case(name: str, problem: str, otherwise: str, seconds: float = 0.0) -> Case:
    outcome = Outcome.INCONCLUSIVE if problem else Outcome.PASSED
    return Case(name=name, outcome=outcome, seconds=seconds, message=problem or otherwise)


def _first_failure(records: tuple[RequestRecord, ...]) -> str:
    return next(f"{one.error}: {one.detail}" for one in records if not one.complete)

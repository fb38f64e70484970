"""Alerts on a server as a process: gone, hung, restarted, idle, or another one than is said."""

from __future__ import annotations

from ci.monitoring.alert import WHO, Alert
from ci.monitoring.names import queue_limit, span
from ci.monitoring.recorded import summed
from ci.settings import Settings

PARTS = "category, forward_overlap"
"""Labels that tell parts of one scheduler's loop; all others tell whose loop it is, as far as a
server has them: `dp_rank` is there only with attention in data parallel."""
HERE = "on (job, instance)"


def alerts(settings: Settings) -> tuple[Alert, ...]:
    """Return them."""
    return (_gone(settings), *_hung(settings), *_full(settings), *_wrong(settings))


def _gone(settings: Settings) -> Alert:
    at = settings.observe
    return Alert(
        name="SglangServerGone",
        expr=f'up{{job="{at.job}"}} == 0 unless on (instance) sglang_ci_server_answers == 1',
        hold=at.hold,
        severity="page",
        summary=f"{WHO} doesn't answer",
        threshold="no scrape succeeds, and the exporter doesn't reach it either",
        runbook="Read the end of its log; `sglang-ci deploy resume` starts it again, `rollback` "
        "brings the release before.",
    )


def _hung(settings: Settings) -> tuple[Alert, Alert]:
    at = settings.observe
    stall = span(at.stall)
    beat = f"increase(sglang:scheduler_stage_seconds_total[{stall}])"
    answers = " or ".join(
        summed(f"increase(sglang:{name}[{stall}])", ("job", "instance")) + " > 0"
        for name in ("inter_token_latency_seconds_count", "time_to_first_token_seconds_count")
    )
    works = " or ".join(
        summed(f"increase(sglang:{name}[{stall}])", ("job", "instance")) + " > 0"
        for name in ('realtime_tokens_total{mode="decode"}', "scheduler_idle_seconds_total")
    )
    return (
        Alert(
            name="SglangSchedulerHung",
            expr=f'max without ({PARTS}) ({beat}) == 0 and {HERE} up{{job="{at.job}"}} == 1',
            hold=at.hold,
            severity="page",
            summary=f"a scheduler of {WHO} stands still, and its metrics are still there",
            threshold=f"its loop, which counts its time even when idle, counted none for {stall}",
            runbook="`py-spy dump` the process sglang::scheduler, then restart the server: "
            "no request ends, and /health says so only after 20 s.",
        ),
        Alert(
            name="SglangDetokenizerHung",
            expr=f"min_over_time(server:sglang_open:sum[{stall}]) > 0 "
            f"unless {HERE} ({answers}) and {HERE} ({works})",
            hold=at.hold,
            severity="page",
            summary=f"{WHO} computes and answers nobody",
            threshold=f"requests were open all of {stall} and none got a token, while the "
            "scheduler decoded, or had nothing to do",
            runbook="Restart the server, its process sglang::detokenizer hangs: /health stays 200 "
            "as long as anybody else asks.",
        ),
    )


def _full(settings: Settings) -> tuple[Alert, Alert]:
    at, limit = settings.observe, queue_limit(settings)
    stall, window = span(at.stall), span(at.window)
    shed = f"max_over_time(server:sglang_queue:sum[{stall}]) >= {limit}"
    waiting = f"min_over_time(server:sglang_queue:sum[{window}]) > 0"
    return (
        Alert(
            name="SglangQueueFull",
            expr=waiting if limit is None else shed,
            hold=at.hold,
            severity="page",
            summary=f"{WHO} has more requests than it can work on",
            threshold=f"its queue was never empty for {window}"
            if limit is None
            else f"{limit} requests wait, which is its limit: further ones are refused",
            runbook="Add a server, or send less: what waits is late, and what exceeds "
            "--max-queued-requests is aborted.",
        ),
        Alert(
            name="SglangKvCacheFull",
            expr=f"min_over_time(server:sglang_kv_usage:max[{stall}]) > {at.kv_full:g}",
            hold=at.hold,
            severity="ticket",
            summary=f"the KV cache of {WHO} is full",
            threshold=f"over {at.kv_full:.0%} of it in use all of {stall} (observe.kv_full)",
            runbook="Requests wait, or are retracted and computed again: allow fewer at once, "
            "shorter ones, or give it more memory.",
        ),
    )


def _wrong(settings: Settings) -> tuple[Alert, Alert, Alert]:
    at = settings.observe
    hour, window = span(12 * at.window), span(at.window)
    cpu = 'sglang:process_cpu_seconds_total{component="tokenizer"}'
    up = f'up{{job="{at.job}"'
    some = summed("server:sglang_requests:increase", ("job", "environment"))
    return (
        Alert(
            name="SglangRestarted",
            expr=f"{summed(f'resets({cpu}[{hour}])', how='max')} > 0",
            hold=0,
            severity="ticket",
            summary=f"{WHO} was restarted, with the same release",
            threshold=f"its process began to count anew within {hour}",
            runbook="Read the log of the server before: who ended it, or what it died of.",
        ),
        Alert(
            name="SglangSlotWithoutTraffic",
            expr=f'{up},slot!=""}} == 1 unless {HERE} server:sglang_requests:increase > 0 '
            f"and on (job, environment) {some} > 0",
            hold=at.window,
            severity="ticket",
            summary=f"{WHO} gets no request, and others of its environment do",
            threshold=f"none in {window}",
            runbook="`sglang-ci deploy status`: is it a slot that is on its way, or is it out of "
            "the router's rotation?",
        ),
        Alert(
            name="SglangWrongVersion",
            expr=f"sglang_ci_server_info unless on (instance, version) {up}}} "
            f'and on (instance) {up},version!=""}}',
            hold=at.hold,
            severity="page",
            summary="{{ $labels.instance }} runs SGLang {{ $labels.version }}, "
            "and its label says otherwise",
            threshold="the version that the server tells isn't the label's",
            runbook="`sglang-ci observe targets` writes the labels anew; if they were right, "
            "somebody started another server there.",
        ),
    )

"""The boards as data: what is drawn, by which queries, for Grafana and for our own page alike."""

from __future__ import annotations

from dataclasses import dataclass

from ci.monitoring.names import ASKED, one_of, slo, span
from ci.monitoring.recorded import late
from ci.settings import Settings

ENVIRONMENT = "$environment"
"""The variable of every board: a regular expression of environments."""
RATE = "$__rate_interval"
"""Grafana's window of a rate: four scrapes, or one step of the drawing."""
AT = f'environment=~"{ENVIRONMENT}"'
SERVER = "environment, slot, release, instance"
SLOT = "environment, slot, release"
HERE = "{{environment}} {{slot}} {{release}}"
ONE = "{{instance}} {{slot}}"


@dataclass(frozen=True)
class Query:
    """A line of a panel, or several: an expression, and how each of its series is called."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """A drawing.

    Args:
        title: Its title.
        unit: The unit, by Grafana's name: `s`, `percentunit`, `reqps`, `short`, `decgbytes`.
        about: What to read from it, in a sentence.
        queries: What is drawn.
    """

    title: str
    unit: str
    about: str
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Board:
    """A page of panels.

    Args:
        name: The file's name, and the identity by which Grafana knows it again.
        title: Its title.
        panels: In the order in which they are read.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]


def boards(settings: Settings) -> tuple[Board, ...]:
    """Return all boards."""
    return (
        Board("service", "SGLang: service", _service(settings)),
        Board("engine", "SGLang: engine", _engine()),
        Board("release", "SGLang: release", _release(settings)),
        Board("start-up", "SGLang: start-up", _start_up()),
    )


def filled(expr: str, environment: str, seconds: int) -> str:
    """Return an expression of a board with its variables filled in.

    Args:
        expr: The expression.
        environment: A regular expression of environments.
        seconds: What stands for Grafana's window of a rate.
    """
    return expr.replace(ENVIRONMENT, environment).replace(RATE, span(seconds))


def _one(title: str, unit: str, about: str, expr: str, legend: str = ONE) -> Panel:
    return Panel(title, unit, about, (Query(expr, legend),))


def _rate(name: str, matchers: str = "", by: str = SERVER) -> str:
    inside = f"{AT},{matchers}" if matchers else AT
    return f"sum by ({by}) (rate(sglang:{name}{{{inside}}}[{RATE}]))"


def _quantile(share: float, name: str, by: str = SLOT) -> str:
    return f"histogram_quantile({share:g}, {_rate(f'{name}_bucket', by=f'{by}, le')})"


def _quantiles(title: str, about: str, name: str, by: str = SLOT) -> Panel:
    queries = (Query(_quantile(one, name, by), f"p{one * 100:g} {HERE}") for one in (0.5, 0.95))
    return Panel(title, "s", about, tuple(queries))


def _share(what: str, by: str = SLOT) -> str:
    def whole(name: str) -> str:
        return f"sum by ({by}) (server:sglang_{name}:increase{{{AT}}})"

    return f"({whole(what)} or 0 * {whole('requests')}) / ({whole('requests')} > 0)"


def _service(settings: Settings) -> tuple[Panel, ...]:
    ttft, tpot = slo(settings)
    at = settings.observe
    asked = f'endpoint=~"{one_of(ASKED)}"'
    answered = _rate("http_responses_total", asked, f"{SLOT}, status_code")
    return (
        _one("Answers", "reqps", "By status; a stream that is cut counts as 200.", answered,
             "{{status_code}} {{slot}} {{release}}"),
        _quantiles("Time to first token", f"The promise: {ttft:g} s.",
                   "time_to_first_token_seconds"),
        _quantiles("Time per output token", f"The promise: {tpot:g} s.",
                   "request_time_per_output_token_seconds"),
        _quantiles("Whole answer", "From the request to its last token.",
                   "e2e_request_latency_seconds"),
        Panel("Late requests", "percentunit",
              f"Share over {span(at.window)}; {1 - at.objective:.0%} are allowed.",
              tuple(Query(f"{late(what, at.window)}{{{AT}}}", f"{what} {{{{environment}}}}")
                    for what in ("ttft", "tpot"))),
        Panel("Lost requests", "percentunit", f"Over {at.loss:.0%} an alert comes.",
              tuple(Query(_share(what), f"{what} {HERE}")
                    for what in ("errors", "refused", "aborted"))),
        Panel("Open requests", "short", "Under way, and waiting for a slot.",
              (Query(f"sum by ({SLOT}) (server:sglang_open:sum{{{AT}}})", f"open {HERE}"),
               Query(f"sum by ({SLOT}) (server:sglang_queue:sum{{{AT}}})", f"waiting {HERE}"))),
        Panel("Tokens", "short", "A second; answers count when they are whole.",
              (Query(_rate("generation_tokens_total", by=SLOT), f"out {HERE}"),
               Query(_rate("prompt_tokens_total", by=SLOT), f"in {HERE}"))),
        _one("Alerts", "short", "What fires now.",
             'count by (alertname, severity) (ALERTS{alertstate="firing",alertname=~"Sglang.+"})'
             " or vector(0)",
             "{{alertname}} {{severity}}"),
    )  # fmt: skip


def _engine() -> tuple[Panel, ...]:
    def gauge(name: str, how: str = "sum") -> str:
        return f"{how} by ({SERVER}) (sglang:{name}{{{AT}}})"

    return (
        Panel("Requests in the scheduler", "short", "Running, waiting, and held for a grammar.",
              tuple(Query(gauge(name), f"{word} {ONE}") for name, word in (
                  ("num_running_reqs", "running"), ("num_queue_reqs", "waiting"),
                  ("num_grammar_queue_reqs", "grammar")))),
        _quantiles("Time in the queue", "Of requests that have left it.", "queue_time_seconds"),
        Panel("KV cache", "percentunit", "In use; what is left may hold prompts for later.",
              (Query(gauge("token_usage", "max"), ONE),)),
        _one("Cached prompt tokens", "percentunit", "Share that needn't be computed.",
             f"server:sglang_cache_hits:ratio{{{AT}}}"),
        _one("Tokens by kind", "short", "A second: computed, from the cache, decoded.",
             _rate("realtime_tokens_total", by=f"{SERVER}, mode"), f"{{{{mode}}}} {ONE}"),
        Panel("Retracted and paused", "short", "Requests that lost their place in the cache.",
              (Query(gauge("num_retracted_reqs"), f"retracted {ONE}"),
               Query(gauge("num_paused_reqs"), f"paused {ONE}"))),
        _one("What the scheduler does", "percentunit",
             "Share of its time; all of them at 0: it hangs.",
             _rate("scheduler_stage_seconds_total", by=f"{SERVER}, category"),
             f"{{{{category}}}} {ONE}"),
        Panel("Processor", "short", "Cores in use, by process.",
              (Query(_rate("process_cpu_seconds_total", by=f"{SERVER}, component"),
                     f"{{{{component}}}} {ONE}"),
               Query(_rate("scheduler_process_cpu_seconds_total"), f"scheduler {ONE}"))),
        _one("Time between tokens, p95", "s", "Of streams, as the server sends them.",
             _quantile(0.95, "inter_token_latency_seconds"), HERE),
        Panel("Series", "short", "Scraped, and stored of these: a gap that grows is an attack.",
              (Query(f"scrape_samples_scraped{{{AT}}}", f"scraped {ONE}"),
               Query(f"scrape_samples_post_metric_relabeling{{{AT}}}", f"stored {ONE}"))),
    )  # fmt: skip


def _release(settings: Settings) -> tuple[Panel, ...]:
    job = f'job="{settings.observe.job}",{AT}'
    asked = f'endpoint=~"{one_of(ASKED)}"'
    return (
        _one("What runs", "short", "One line a slot, from its first to its last scrape.",
             f"count by ({SLOT}, version, image_digest) (up{{{job}}} == 1)",
             f"{HERE} {{{{version}}}} {{{{image_digest}}}}"),
        _one("Share of requests", "percentunit", "As the servers see it.",
             f"{_rate('http_requests_total', asked, SLOT)} / on (environment) group_left () "
             f"({_rate('http_requests_total', asked, 'environment')} > 0)", HERE),
        _one("Time to first token, p95", "s", "Stable and canary side by side.",
             _quantile(0.95, "time_to_first_token_seconds"), HERE),
        _one("Time per output token, p95", "s", "Likewise.",
             _quantile(0.95, "request_time_per_output_token_seconds"), HERE),
        _one("Errors", "percentunit", "Share of each slot's own requests.", _share("errors"), HERE),
        _one("Aborted", "percentunit", "Share of each slot's own requests.", _share("aborted"),
             HERE),
        _one("Waiting", "short", "Requests in the queue.",
             f"sum by ({SLOT}) (server:sglang_queue:sum{{{AT}}})", HERE),
        _one("Cached prompt tokens", "percentunit", "A new slot begins with none.",
             f"avg by ({SLOT}) (server:sglang_cache_hits:ratio{{{AT}}})", HERE),
        _one("Version that is told", "short", "By the server itself, not by a label.",
             "count by (instance, version) (sglang_ci_server_info)", "{{instance}} {{version}}"),
    )  # fmt: skip


def _start_up() -> tuple[Panel, ...]:
    def phases(name: str) -> str:
        return f"max by ({SERVER}, phase) (sglang:{name}{{{AT}}})"

    memory = tuple(
        Query(f"sum by ({SERVER}) (sglang:{name}_gb{{{AT}}})", f"{word} {ONE}")
        for name, word in (
            ("weight_memory_usage", "weights"),
            ("kv_cache_memory_usage", "KV cache"),
            ("graph_memory_usage", "graphs"),
            ("startup_available_gpu_memory", "left at the start"),
        )
    )
    return (
        _one("Phases of the start", "s", "Of the process that runs now.",
             phases("startup_time_seconds"), f"{{{{phase}}}} {ONE}"),
        _one("CUDA graphs", "s", "Time to capture them.",
             phases("startup_cuda_graph_time_seconds"), f"{{{{phase}}}} {ONE}"),
        Panel("Memory", "decgbytes", "What the start gave to what.", memory),
        _one("Places in the KV cache", "short", "Tokens that it holds.",
             f"max by ({SERVER}) (sglang:max_total_num_tokens{{{AT}}})"),
        _one("Up", "short", "1 where the last scrape succeeded.",
             f"max by ({SERVER}) (up{{{AT}}})"),
        _one("Restarts in a day", "short", "Of the same release.",
             f"max by ({SERVER}) (resets(sglang:process_cpu_seconds_total"
             f'{{component="tokenizer",{AT}}}[1d]))'),
        _one("Time of a scrape", "s", "Grows with series and load.",
             f"max by ({SERVER}) (scrape_duration_seconds{{{AT}}})"),
    )  # fmt: skip

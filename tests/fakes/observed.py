"""A server with metrics, and a Prometheus that scrapes it, as a check of boards sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.serving import JsonHandler, serving

AT_REST = """\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m",tp_rank="0"} 0
# TYPE sglang:queue gauge
sglang:queue{model_name="m"} 0
# TYPE sglang:ttft_seconds histogram
sglang:ttft_seconds_bucket{le="1.0",model_name="m"} 0
sglang:ttft_seconds_bucket{le="+Inf",model_name="m"} 0
sglang:ttft_seconds_sum{model_name="m"} 0
sglang:ttft_seconds_count{model_name="m"} 0
# TYPE sglang:workers gauge
sglang:workers{pid="17"} 1
"""
ON_ABORT = """\
# TYPE sglang:num_aborted_requests_total counter
sglang:num_aborted_requests_total{model_name="m"} 1
"""
ON_PATH = """\
# TYPE sglang:http_requests_total counter
sglang:http_requests_total{endpoint="%s",status_code="404"} 1
"""


@dataclass
class Observed:
    """How the server is, and what happened to it.

    Attributes:
        rest: Its page before any event.
        status: HTTP status of the page.
        key: Key that the page needs; none where empty.
        answers: Whether it answers requests; where it doesn't, it cuts them.
        generates: HTTP status of a good request.
        size: Bytes of comments on its page.
        cut: Whether its page ends in the middle.
        events: What was asked of it.
        accepts: Accept headers of all scrapes.
        models: Models that requests named; empty where they named none.
    """

    rest: str = AT_REST
    status: int = 200
    key: str = ""
    answers: bool = True
    generates: int = 200
    size: int = 0
    cut: bool = False
    events: set[str] = field(default_factory=set)
    accepts: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    def page(self, accept: str) -> str:
        """Return its page, as `prometheus_client` writes it for an Accept header."""
        text = self.rest
        if "aborted" in self.events:
            text += ON_ABORT
        if path := next((one for one in self.events if one.startswith("/")), ""):
            text += ON_PATH % path
        if "openmetrics" in accept and "allow-utf-8" not in accept:
            text = re.sub(r"^(\w+):", r"\1_", text, flags=re.MULTILINE)
        return text + "#" * self.size


@contextmanager
def observed(server: Observed | None = None) -> Iterator[str]:
    """Serve; yield the base URL."""
    at = server or Observed()

    class Handler(JsonHandler):
        def do_GET(self) -> None:  # noqa: N802 - the server calls it so
            if self.path == "/v1/models":
                self.answer(200, {"data": [{"id": "m"}]})
                return
            if self.path != "/metrics":
                at.events.add(self.path)
                self.answer(404, {"detail": "Not Found"})
                return
            at.accepts.append(self.headers.get("Accept", ""))
            if at.key and self.headers.get("Authorization") != f"Bearer {at.key}":
                self.answer(401, {"error": "Unauthorized"})
                return
            content = at.page(at.accepts[-1]).encode()
            if at.cut:
                self.send_response(200)
                self.send_header("content-length", str(len(content) + 9))
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = True
                return
            self.send(at.status, content)

        def do_POST(self) -> None:  # noqa: N802 - the server calls it so
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not at.answers:
                self.close_connection = True
                return
            parameters = body.get("sampling_params", {})
            if parameters.get("max_new_tokens", 0) > 1000:
                at.events.add("aborted")
            status = 400 if parameters.get("temperature") == -1 else at.generates
            self.answer(status, {"text": "a"})
            at.models.append(body.get("model", ""))

    with serving(Handler) as url:
        yield url


@dataclass
class FakePrometheus:
    """How the Prometheus is, and what it was asked.

    Attributes:
        server: Address of what it scrapes.
        version: What it says of its version.
        empty: Parts of queries that find nothing.
        refused: Parts of queries that it refuses.
        nan: Parts of queries of which only NaN comes.
        health: What it says of its target.
        error: Why it can't scrape it.
        dies_after: Queries after which it answers none.
        date: What it says of the time; the true one where empty.
        queries: All queries.
    """

    server: str = ""
    version: str = "2.42.0"
    empty: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    nan: tuple[str, ...] = ()
    health: str = "up"
    error: str = ""
    dies_after: int = 1000
    date: str = ""
    queries: list[str] = field(default_factory=list)

    def data(self, path: str, asked: dict[str, list[str]]) -> tuple[int, Any]:
        """Return HTTP status and answer."""
        if path.endswith("buildinfo"):
            return 200, {"version": self.version}
        if path.endswith("targets"):
            url = f"{self.server}/metrics"
            target = {"scrapeUrl": url, "health": self.health, "lastError": self.error}
            return 200, {"activeTargets": [{**target, "scrapeInterval": "0s"}]}
        text = (asked.get("query") or asked.get("match[]") or [path])[0]
        self.queries.append(text)
        if any(one in text for one in self.refused):
            return 400, None
        if any(one in text for one in self.empty):
            return 200, [] if "label" in path else {"resultType": "vector", "result": []}
        value = [0, "NaN" if any(one in text for one in self.nan) else "1"]
        found = {"resultType": "vector", "result": [{"metric": {}, "value": value}]}
        return 200, ["m"] if "label" in path else found


@contextmanager
def prometheus(at: FakePrometheus) -> Iterator[str]:
    """Serve the API of a Prometheus; yield the base URL."""

    class Handler(JsonHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return at.date or super().date_time_string(timestamp)

        def do_GET(self) -> None:  # noqa: N802 - the server calls it so
            url = urlsplit(self.path)
            if len(at.queries) >= at.dies_after:
                self.close_connection = True
                return
            if url.path == "/-/ready":
                self.answer(200, {})
                return
            status, data = at.data(url.path, parse_qs(url.query))
            told = {"status": "success", "data": data}
            self.answer(status, told if data is not None else {"status": "error", "error": "bad"})

    with serving(Handler) as url:
        yield url

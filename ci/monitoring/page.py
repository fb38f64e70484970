"""Our own page of the boards, where there is no Grafana: it asks Prometheus, by way of us."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import jinja2
from markupsafe import Markup

from ci.monitoring.panels import Board, boards, filled
from ci.settings import Settings

HERE = Path(__file__).parent
PASSED_ON = ("/api/v1/query_range", "/api/v1/alerts")
"""What the page may ask Prometheus, and nothing else."""
SHOWN, POINTS, EVERY = 900, 180, 5
"""Seconds that are drawn, points of a line, and seconds between two looks."""
PATIENCE = 10.0
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def page(settings: Settings, seconds: int = SHOWN) -> str:
    """Return the page, which needs nothing but its own server.

    Args:
        settings: The settings in force.
        seconds: How much of the past is drawn.
    """
    interval = settings.observe.interval
    step = max(seconds // POINTS, interval, 1)
    rate = max(4 * interval, step)
    told = {
        "boards": [_board(board, rate) for board in boards(settings)],
        "seconds": seconds,
        "step": step,
        "every": max(EVERY, interval),
    }
    text = json.dumps(told).replace("<", "\\u003c")
    loader = jinja2.FileSystemLoader(HERE)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html.j2")
    parts = {"style": _file("page.css"), "script": _file("page.js"), "told": Markup(text)}  # noqa: S704
    return template.render(parts)


def _file(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704 - our own


def _board(board: Board, seconds: int) -> dict[str, object]:
    told = asdict(board)
    for panel in told["panels"]:
        for query in panel["queries"]:
            query["expr"] = filled(query["expr"], ".*", seconds)
    return told


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, text: str, prometheus: str, *arguments: object) -> None:
        self._text, self._prometheus = text, prometheus
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send the page, or what Prometheus answers."""
        path = urlsplit(self.path).path
        if path == "/":
            self._send(200, "text/html; charset=utf-8", self._text.encode())
        elif path in PASSED_ON:
            self._pass_on()
        else:
            self._send(404, "text/plain", b"there is only /\n")

    def _pass_on(self) -> None:
        try:
            with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
                found = client.get(self._prometheus + self.path)
        except httpx.HTTPError as error:
            told = {"status": "error", "error": f"Prometheus: {error or type(error).__name__}"}
            self._send(502, "application/json", json.dumps(told).encode())
        else:
            self._send(found.status_code, "application/json", found.content)

    def _send(self, status: int, kind: str, body: bytes) -> None:
        with suppress(OSError):  # whoever asked has gone
            self.send_response(status)
            for name, value in {**_HEADERS, "content-type": kind}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


def serving(text: str, prometheus: str, port: int) -> ThreadingHTTPServer:
    """Return the server of a page on loopback, which listens and doesn't answer yet.

    Args:
        text: The page.
        prometheus: Base URL of Prometheus.
        port: Its port.

    Raises:
        OSError: Nothing can listen there.
    """
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, text, prometheus))

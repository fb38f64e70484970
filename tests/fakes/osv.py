"""A database of vulnerabilities in a thread, which answers OSV's queries as `api.osv.dev` does.

`with fake_osv({("jinja2", "3.1.2"): [advisory("CVE-2024-1")]}) as database: ...`. It knows of
Django's past as well, which everybody does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


def advisory(identifier: str, *aliases: str, fixed: str = "9.9") -> Json:
    """Return an advisory in OSV's format, without the affected package."""
    event = [{"introduced": "0"}, {"fixed": fixed}]
    return {
        "id": identifier,
        "aliases": list(aliases),
        "summary": "A flaw.",
        "schema_version": "1.6.0",
        "affected": [{"ranges": [{"type": "ECOSYSTEM", "events": event}]}],
    }


@dataclass
class FakeOsv:
    """Its address, what it knows, and what it was asked."""

    known: Mapping[tuple[str, str], list[Json]]
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, query: Json) -> Json:
        """Return the advisories on one version of one package; nothing where there are none."""
        name, version = query["package"]["name"], query["version"]
        assert query["package"]["ecosystem"] == "PyPI"
        self.asked.append((name, version))
        found = self.known.get((name, version), [])
        package = {"name": name, "ecosystem": "PyPI"}
        affected = [[one | {"package": package} for one in each["affected"]] for each in found]
        vulns = [each | {"affected": one} for each, one in zip(found, affected, strict=True)]
        return {"vulns": vulns} if vulns else {}


@contextmanager
def fake_osv(known: Mapping[tuple[str, str], list[Json]]) -> Iterator[FakeOsv]:
    """Yield a database that knows these advisories, by name and version."""
    database = FakeOsv({("django", "1.2"): [advisory("CVE-2010-3082")], **known})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = json.dumps(database.answer(query)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    database.url = f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield database
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

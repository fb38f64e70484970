"""A database of vulnerabilities in a thread, which answers OSV's queries as `api.osv.dev` does.

`with fake_osv({("jinja2", "3.1.2"): [advisory("CVE-2024-1")]}) as database: ...`. It knows of
Django's past as well, which everybody does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.serving import JsonHandler, serving

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

    class Handler(JsonHandler):
        def do_POST(self) -> None:  # noqa: N802 - http.server's own name
            query = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.answer(200, database.answer(query))

    with serving(Handler) as url:
        database.url = f"{url}/v1/query"
        yield database

"""What an smg is asked: its workers over HTTP, and what its metrics count of each.

The words are those of smg 1.13. A worker is a server's address, and has labels: one of ours names
the slot, so that nothing has to be remembered elsewhere. `load` is how many of its requests are
open. All changes are queued there: an answer of 202 says that one was taken, not that it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ci.deploy.world import Traffic
from ci.errors import AnswerFault, RouterFault
from ci.secrets.veil import beginning
from ci.server.exchange import Reply, exchanging
from ci.server.exposition import samples
from ci.server.key import key_of

LABEL = "sglang-ci-slot"
"""The label of a worker that names its slot."""
SECONDS = 10.0
"""Most seconds of one request."""
FOR_EVER = 10 * 365 * 24 * 3600
"""Seconds for which a removed worker drains. When they are over smg removes whatever has that
address by then, be it back in rotation: so they are never over."""
HEALTH: Mapping[str, int] = {
    "check_interval_secs": 1,
    "timeout_secs": 3,
    "failure_threshold": 3,
    "success_threshold": 1,
    "drain_settle_secs": FOR_EVER,
}
_DRAINS = "draining"
"""The one state that smg takes no worker out of by itself."""
_ATTEMPTS = 3
_AGREED = {HTTPStatus.OK, HTTPStatus.ACCEPTED}
_REQUESTS, _OUTCOMES = "smg_worker_requests_total", "smg_worker_cb_outcomes_total"
_SELECTED, POLICY = "smg_worker_selection_total", "round_robin"


class Worker(BaseModel):
    """One worker, as smg tells it.

    Attributes:
        id: Names it in requests.
        url: Where it listens.
        status: `pending`, `ready`, `not_ready`, `failed` or `draining`.
        load: Its open requests.
        labels: What it was given when it was added, beside what smg found out.
        model_id: The model that it serves.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    url: str
    status: str
    load: int = Field(0, ge=0)
    labels: dict[str, str] = Field(default_factory=dict)
    model_id: str | None = None

    @property
    def address(self) -> str:
        """Where it listens, `host:port`."""
        return self.url.removeprefix("http://")

    @property
    def slot(self) -> str:
        """The slot that it was added for; empty for a worker that isn't ours."""
        return self.labels.get(LABEL, "")

    @property
    def serves(self) -> bool:
        """Whether it gets new requests, or will as soon as it passes smg's check."""
        return self.status != _DRAINS


class _Workers(BaseModel):
    workers: tuple[Worker, ...]


@dataclass(frozen=True)
class SmgCounts:
    """What smg counted.

    Args:
        traffic: By a worker's URL, since it was added.
        policies: By which policies workers were chosen.
    """

    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    policies: frozenset[str] = frozenset()


class SmgApi:
    """Asks one smg.

    Args:
        url: Where it listens.
        metrics: Where its metrics are, without `/metrics`; empty where they aren't read.
    """

    def __init__(self, url: str, metrics: str = "") -> None:
        self._url, self._metrics = url, metrics

    async def workers(self) -> Sequence[Worker]:
        """Return all workers.

        Raises:
            RouterFault: It doesn't answer, or isn't smg.
        """
        answer = await self._ask("GET", "/workers")
        try:
            return _Workers.model_validate_json(answer.body).workers
        except ValidationError as error:
            said = beginning(answer.body, 200)
            raise RouterFault(f"{self._url}/workers: not smg's list, but: {said}") from error

    async def add(self, slot: str, address: str, known: Worker | None) -> None:
        """Give a server new requests, as soon as it answers.

        Args:
            slot: The slot that it is in.
            address: Where it listens.
            known: The worker of that address that smg has already.

        Raises:
            RouterFault: smg doesn't answer or refuses; or the server wants a key, which smg would
                add to requests of clients that have none.
        """
        url = f"http://{address}"
        body: dict[str, Any] = {
            "url": url,
            "labels": {LABEL: slot},
            "health": dict(HEALTH),
            "max_connection_attempts": _ATTEMPTS,
        }
        if key := key_of(url):
            await self._guarded()
            body["api_key"] = key
        if known is None:
            await self._ask("POST", "/workers", body)
        else:
            await self._ask("PUT", f"/workers/{known.id}", body)

    async def remove(self, worker: Worker) -> None:
        """Give a worker no new request; one that gets none already is forgotten."""
        await self._ask("DELETE", f"/workers/{worker.id}", gone=True)

    async def _guarded(self) -> None:
        """See that smg serves nobody without a key."""
        async with self._reached(), exchanging(self._url, seconds=SECONDS, keyed=False) as exchange:
            answer = await exchange.ask("POST", "/generate", {})
        if answer.status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise RouterFault(
                f"the server wants an API key, and smg at {self._url} would add it to the requests "
                "of clients that have none: start smg with the same --api-key"
            )

    async def counted(self) -> SmgCounts:
        """Return what it counted; nothing where its metrics aren't read.

        Raises:
            RouterFault: They don't answer.
        """
        if not self._metrics:
            return SmgCounts()
        try:
            async with exchanging(self._metrics, seconds=SECONDS, keyed=False) as exchange:
                answer = await exchange.ask("GET", "/metrics")
        except AnswerFault as error:
            raise RouterFault(f"smg's metrics: {error}: see deploy.metrics") from error
        if answer.status != HTTPStatus.OK:
            raise RouterFault(f"{self._metrics}/metrics: HTTP {answer.status}: see deploy.metrics")
        return counts_of(answer.body)

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        try:
            yield
        except AnswerFault as error:
            raise RouterFault(f"smg: {error}: start it, or see deploy.url") from error

    async def _ask(self, method: str, path: str, body: Any = None, *, gone: bool = False) -> Reply:
        """Return an answer that agrees; where it may be `gone`, 404 does too."""
        async with self._reached(), exchanging(self._url, seconds=SECONDS) as exchange:
            answer = exchange.permitted(path, await exchange.ask(method, path, body))
        if answer.status in _AGREED or (gone and answer.status == HTTPStatus.NOT_FOUND):
            return answer
        said = beginning(answer.body, 200)
        raise RouterFault(f"{method} {self._url}{path}: HTTP {answer.status}: {said}")


def counts_of(page: str) -> SmgCounts:
    """Return what a page of metrics counts.

    `failed` is what smg calls a failed outcome: 5xx, no answer, and a stream that was cut. It
    counts each attempt at a request, repeated ones too, but one outcome of them all; and a stream
    that is cut has two outcomes, as it began well. So `requests` is the smaller one of both.
    """
    attempts: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    policies = set()
    for sample in samples(page):
        worker, value = sample.labels.get("worker", ""), int(sample.value)
        if sample.name == _REQUESTS:
            attempts[worker] += value
        elif sample.name == _OUTCOMES:
            outcomes[worker] += value
            failed[worker] += value if sample.labels.get("outcome") == "failure" else 0
        elif sample.name == _SELECTED and value:
            policies.add(sample.labels.get("policy", ""))
    told = {
        worker: Traffic(min(sent, outcomes[worker]), failed[worker])
        for worker, sent in attempts.items()
    }
    return SmgCounts(told, frozenset(policies))

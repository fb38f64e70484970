"""Draws requests from an OpenAPI document: a program of its own.

    python -m ci.fuzz.draw SETTINGS <openapi.json

Of each operation and kind those come first that have one field at an edge (`ci.fuzz.edges`), and
then whole requests: Schemathesis knows what a schema allows and forbids, and Hypothesis draws from
that by a seed. Some schemas take minutes to draw from, which can be ended in a process only: this
one is told in JSON (`Wanted`) how many requests to draw of which operations, and how long it may
compute for each kind, and prints one line of JSON a request (`DrawnRequest`), or one that says why
there are none.
"""

from __future__ import annotations

import json
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any

from ci.fuzz.bodies import completed, limited, narrowed
from ci.fuzz.drawn import DrawingEnd, DrawnRequest, RequestKind, Wanted
from ci.fuzz.edges import Edges

BASE = "http://server"
"""Stands for the server's address in the commands that are printed."""
OURS = {"x-schemathesis-testcaseid", "user-agent", "content-length", "connection"}


AGAIN = 1.0
"""Seconds of computing after which a drawing that swallowed the end of its time is told again."""


class _Late(BaseException):
    """The time of a kind is over."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise _Late

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    """Draw what is wanted, in the order in which it is wanted."""
    import schemathesis
    from schemathesis.core.result import Ok

    wanted = Wanted(**json.loads(sys.argv[1]))
    warnings.simplefilter("ignore")
    document = json.load(sys.stdin)
    schema = schemathesis.openapi.from_dict(document)
    found = {one.ok().label: one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)}
    for label in wanted.operations:
        edges = Edges(document, label, wanted)
        for kind in RequestKind:
            if label in found:
                _draw(found[label], edges, kind, wanted)
            else:
                _print(DrawingEnd(label, kind, "its description can't be read"))


def _draw(operation: Any, edges: Edges, kind: RequestKind, wanted: Wanted) -> None:
    from hypothesis.errors import Unsatisfiable

    label, told, begin = operation.label, "", time.process_time()
    try:
        with _within(wanted.seconds):
            told = _at_edges(edges, kind)
            _drawn(operation, kind, wanted, partial(_tell, label, kind, wanted, count()))
    except Unsatisfiable:
        if kind is RequestKind.VALID:  # of the others there may be none
            told = told or "none can be drawn"
    except (Exception, _Late) as error:  # noqa: BLE001 - what can't be drawn from ends no other
        spent = time.process_time() - begin >= wanted.seconds  # which may look like any fault
        late = spent or isinstance(error, _Late)
        told = f"the {wanted.seconds:g} s for drawing were spent" if late else _first_line(error)
    _print(DrawingEnd(label, kind, told))


def _at_edges(edges: Edges, kind: RequestKind) -> str:
    """Print the requests with one field at its edge; return why there are none, if that is odd."""
    try:
        for one in edges.of(kind):
            _print(one)
    except Exception as error:  # noqa: BLE001 - whole requests may be drawn nevertheless
        return f"field by field: {_first_line(error)}"
    return ""


def _print(one: DrawnRequest | DrawingEnd) -> None:
    """Print a whole line, however late it is."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
    sys.stdout.write(f"{json.dumps(asdict(one))}\n")
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _drawn(operation: Any, kind: RequestKind, wanted: Wanted, tell: Callable[[Any], None]) -> None:
    """Call `tell` with each case of a kind."""
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from schemathesis import GenerationMode

    mode = GenerationMode.POSITIVE if kind is RequestKind.VALID else GenerationMode.NEGATIVE
    quiet = settings(
        max_examples=wanted.examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @seed(wanted.seed)
    @quiet
    @given(operation.as_strategy(generation_mode=mode))
    def draw(case: Any) -> None:
        tell(case)

    draw()


def _tell(label: str, kind: RequestKind, wanted: Wanted, turn: Iterator[int], case: Any) -> None:
    """Print a request: in turn as it was drawn, with what it can't do without, and one field."""
    import requests

    round_, form = divmod(next(turn), 3)
    if form == 1 and kind is RequestKind.VALID:
        case.body = completed(case.body, case.operation.path)
    elif form:
        case.body = narrowed(case.body, case.operation.path, round_)
    case.body = limited(case.body, wanted.output_tokens, case.operation.path)
    made = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
    body = made.body if made.body is not None else b""
    raw = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body)
    headers = {name: _text(value) for name, value in made.headers.items()}
    drawn = DrawnRequest(
        operation=label,
        kind=kind,
        method=str(made.method),
        target=str(made.url).removeprefix(BASE),
        headers={name: value for name, value in headers.items() if name.lower() not in OURS},
        body=raw.decode("latin-1"),
    )
    _print(drawn)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()

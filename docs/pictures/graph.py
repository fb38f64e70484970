"""The graph as a picture: from a source to a promoted release, and the questions in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

TOP, LEFT, ROW = 34, 448, 24
"""Upper left corner and height of a row of the box of questions, in units of the picture."""
NAMES, LETTER = 108, 7
"""Width that names take in that box, and that a letter of the questions takes at most."""
STYLE = """
text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2937; }
.small { font-size: 11px; fill: #4b5563; }
.name { font-weight: 600; font-size: 14px; }
.mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-weight: 600; fill: #1d4ed8; }
rect { fill: #fff; stroke: #94a3b8; }
.page { fill: #f8fafc; stroke: #e2e8f0; }
.asked { fill: #eff6ff; stroke: #60a5fa; }
.shipped { fill: #ecfdf5; stroke: #34d399; }
path { fill: none; stroke: #475569; stroke-width: 1.5; marker-end: url(#tip); }
.evidence { stroke-dasharray: 5 4; }
#tip path { fill: #475569; stroke: none; marker-end: none; }
"""
TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path d="M0 0 8 4 0 8Z"/></marker></defs>'
)


@dataclass(frozen=True)
class Box:
    """One noun of the graph, with what it is in a few words; `x`, `y` are its upper left corner."""

    name: str
    words: str
    x: int
    y: int
    width: int = 118
    kind: str = "noun"
    height: int = 48

    @property
    def right(self) -> tuple[int, int]:
        """Where an arrow leaves to the right."""
        return self.x + self.width, self.y + self.height // 2

    @property
    def left(self) -> tuple[int, int]:
        """Where an arrow comes in from the left."""
        return self.x, self.y + self.height // 2

    @property
    def below(self) -> tuple[int, int]:
        """Where an arrow leaves downwards."""
        return self.x + self.width // 2, self.y + self.height

    def drawn(self) -> Iterator[str]:
        """Yield its shapes."""
        middle = self.x + self.width // 2
        yield _rect(self.x, self.y, self.width, self.height, self.kind)
        yield _text(middle, self.y + 20, self.name, "name", middle=True)
        yield _text(middle, self.y + 37, self.words, "small", middle=True)


def draw(questions: Sequence[tuple[str, str]]) -> str:
    """Return the picture as SVG.

    Args:
        questions: Name and words of each, in their order.
    """
    right = LEFT + NAMES + 16 + LETTER * max(len(asks) for _, asks in questions)
    bottom = TOP + 40 + ROW * len(questions)
    upper, lower = (TOP + bottom) // 2 - 24, bottom + 62
    prove = _row(
        upper, ("source", "a commit"), ("Image", "by the Dockerfile"), ("Server", "any URL")
    )
    ship = [
        Box("Release", "the digest, signed", 254, lower, 148, "shipped"),
        Box("approve", "by people", 492, lower, 148, "shipped"),
        Box("promote", "to test, to prod", 730, lower, 148, "shipped"),
    ]
    report = Box("Report", "PASSED, or why not", right + 46, upper, 150)
    width = report.right[0] + 24
    shapes = [
        _rect(1, 1, width - 2, lower + 71, "page"),
        *(shape for box in (*prove, report, *ship) for shape in box.drawn()),
        *_asked(questions, right, bottom),
        *_arrows([*prove, report], ship, right, bottom),
    ]
    named = ", ".join(name for name, _ in questions)
    words = f"source, Image, Server; asked {named}; Report. Image, Release, approve, promote."
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {lower + 73}" role="img">'
    title = f"<title>The graph</title><desc>{escape(words)}</desc><style>{STYLE}</style>"
    return "\n".join([head, title, TIP, *shapes, "</svg>", ""])


def _row(y: int, *nouns: tuple[str, str]) -> list[Box]:
    return [Box(name, words, 22 + 140 * at, y) for at, (name, words) in enumerate(nouns)]


def _asked(questions: Sequence[tuple[str, str]], right: int, bottom: int) -> Iterator[str]:
    yield _rect(LEFT, TOP, right - LEFT, bottom - TOP, "asked")
    yield _text(LEFT + 16, TOP + 24, "asked in this order, each alone too", "small")
    for at, (name, asks) in enumerate(questions):
        y = TOP + 48 + ROW * at
        yield _text(LEFT + 16, y, name, "mono")
        yield _text(LEFT + NAMES, y, asks, "")


def _arrows(prove: Sequence[Box], ship: Sequence[Box], right: int, bottom: int) -> Iterator[str]:
    """Yield the arrows; `right` and `bottom` are edges of the box of questions."""
    _, image, server, report = prove
    release, lane = ship[0], bottom + 26
    for before, after in (*pairwise(prove[:3]), *pairwise(ship)):
        yield _path(before.right, after.left)
    yield _path(server.right, (LEFT, server.right[1]))
    yield _path((right, report.left[1]), report.left)
    yield _path(image.below, (image.below[0], release.left[1]), release.left)
    for words, kind, up in (("publish", "name", 24), ("that very image,", "small", 8),
                            ("only if it passed", "small", -7)):  # fmt: skip
        yield _text(image.below[0] - 10, release.y - up, words, kind, end=True)
    yield _path(
        report.below, (report.below[0], lane), (release.below[0], lane),
        (release.below[0], release.y), kind="evidence",
    )  # fmt: skip
    yield _text(right - 8, lane - 6, "signed evidence, beside the digest", "small", end=True)


def _path(*points: tuple[int, int], kind: str = "next") -> str:
    line = "L".join(f"{x} {y}" for x, y in points)
    return f'<path class="{kind}" d="M{line}"/>'


def _rect(x: int, y: int, width: int, height: int, kind: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'


def _text(x: int, y: int, words: str, kind: str, *, middle: bool = False, end: bool = False) -> str:
    anchor = ' text-anchor="middle"' if middle else ' text-anchor="end"' if end else ""
    return f'<text class="{kind}" x="{x}" y="{y}"{anchor}>{escape(words)}</text>'

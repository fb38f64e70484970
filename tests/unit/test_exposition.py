"""Prometheus' text: one reader, which gives what the scraper's own library gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.server.exposition import samples, types

pytestmark = pytest.mark.unit

PAGE = """\
# HELP sglang:a What it is.
# TYPE sglang:a gauge
sglang:a{model_name="/m",tp_rank="0"} 4.0
sglang:a{model_name="b \\"}{,\\\\ \\n=\\"x",tp_rank="1"} -2e-3 1700000000
# TYPE sglang:t histogram
sglang:t_bucket{le="+Inf"} 3
sglang:t_sum 0.5

sglang:n NaN
sglang:i{x="",} +Inf
"""


def read(page: str) -> list[tuple[str, dict[str, str], float]]:
    """Return name, labels and value of each sample."""
    return [(one.name, dict(one.labels), one.value) for one in samples(page)]


def reference(page: str) -> list[tuple[str, dict[str, str], float]]:
    """Return what prometheus_client reads."""
    client: Any = pytest.importorskip("prometheus_client.parser")
    families = client.text_string_to_metric_families(page)
    return [(one.name, one.labels, float(one.value)) for each in families for one in each.samples]


def test_a_page_is_read_as_prometheus_own_client_reads_it() -> None:
    """A label or value differs from what Prometheus stores."""
    found = read(PAGE)
    assert repr(found) == repr(reference(PAGE))
    assert found[1][1] == {"model_name": 'b "}{,\\ \n="x', "tp_rank": "1"}
    assert math.isnan(found[4][2])
    assert types(PAGE) == {"sglang:a": "gauge", "sglang:t": "histogram"}


NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,5}", fullmatch=True),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.floats(),
)
def test_any_sample_is_read(name: str, labels: dict[str, str], value: float) -> None:
    """A label's quote, brace, comma or line end ends the line."""
    escaped = {key: text.translate(_ESCAPES) for key, text in labels.items()}
    inside = ",".join(f'{key}="{text}"' for key, text in escaped.items())
    found = read(f"# x\n{name}{{{inside}}} {value!r}\r\nodd line{{\n")
    assert repr(found) == repr([(name, labels, value)])


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('a{b="c"} 3 # {trace_id="z"} 0.5 1.7e9', ("a", {"b": "c"}, 3)),
        ('{"odd.name",b="2"} 3', ("odd.name", {"b": "2"}, 3)),
        ('{"odd.name","http.status"="200"} 3', ("odd.name", {"http.status": "200"}, 3)),
        ('a{ b = "c" , d="e" , } 3', ("a", {"b": "c", "d": "e"}, 3)),
        ("a{} 3", ("a", {}, 3)),
        ('a{x="\u2028\x0b"} 3', ("a", {"x": "\u2028\x0b"}, 3)),
    ],
)
def test_what_newer_servers_write_is_read(
    line: str, found: tuple[str, dict[str, str], float]
) -> None:
    """An example after a value is taken for the value, or a quoted name is lost."""
    assert read(f"{line}\n# EOF\n") == [found]


@pytest.mark.parametrize(
    "line", ["a", "a{", 'a{b="c} 3', "a one", '{b="c"} 3', "3", "a{} ", "1a 2"]
)
def test_a_spoilt_line_hides_no_other(line: str) -> None:
    """One bad line of a server makes its whole page one without metrics."""
    assert [name for name, _, _ in read(f"{line}\nb 1\n")] == ["b"]


@pytest.mark.parametrize(
    "line", ['{"', 'a{"\\', "a", 'a{x="y",', "# TYPE ", "a ", 'a{"a"', "a{ ", "a 1 #"]
)
def test_no_line_takes_long(line: str) -> None:
    """A page of a hostile server takes the square of its length in time."""
    start, tail = line[:-1] if len(line) > 1 else "", line[-1]
    page = start + tail * 200_000 + "\nb 1"
    assert read(page)[-1] == ("b", {}, 1)
    assert isinstance(types(page), dict)


@given(st.text(max_size=200))
def test_no_page_breaks_the_reader(page: str) -> None:
    """An odd page ends a run."""
    assert isinstance(read(page), list)
    assert isinstance(types(f"# TYPE {page}"), dict)

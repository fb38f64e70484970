"""Blocks, pairs, their order and their file; and answers held against each other."""

from __future__ import annotations

import json
import math
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.errors import UsageError
from ci.gate.blocks import (
    Answer,
    Arm,
    BlockResult,
    Pair,
    columns,
    medians,
    plans,
    read_pairs,
    write_pairs,
)
from ci.gate.outputs import Agreement

pytestmark = pytest.mark.unit

GOOD = BlockResult({"ttft": (0.3, 0.1, 0.2), "tpot": (0.02, 0.04)})
PAIR = Pair(index=0, seed=5, first=Arm.CANDIDATE, baseline={"ttft": 0.1}, candidate={"ttft": 0.2})
answer = st.one_of(st.text(max_size=5), st.tuples(st.integers(0, 3), st.integers(0, 3)))


def test_a_block_is_its_medians() -> None:
    """Another figure than the median stands for a block."""
    assert medians(GOOD, ("ttft", "tpot")) == {"ttft": 0.2, "tpot": 0.03}


def test_a_single_zero_is_a_measurement() -> None:
    """A request whose tokens all came at once makes its block unusable."""
    assert medians(BlockResult({"tpot": (0.0, 0.2, 0.1)}), ("tpot",)) == {"tpot": 0.1}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (BlockResult({"ttft": (0.1,)}, problem="3 of 32 requests failed"), "3 of 32"),
        (BlockResult({}), "no ttft was measured"),
        (BlockResult({"ttft": ()}), "no ttft was measured"),
        (BlockResult({"ttft": (0.0, 0.0, 0.1)}), "the median ttft is 0"),
        (BlockResult({"ttft": (-0.1,)}), "not a number of seconds"),
        (BlockResult({"ttft": (math.nan,)}), "not a number of seconds"),
        (BlockResult({"ttft": (math.inf,)}), "not a number of seconds"),
    ],
)
def test_a_block_that_measured_nothing_is_refused(block: BlockResult, words: str) -> None:
    """What wasn't measured counts as zero seconds, which passes every gate."""
    with pytest.raises(ValueError, match=words):
        medians(block, ("ttft",))


def test_a_slower_candidate_has_a_positive_difference() -> None:
    """The sides of the ratio are swapped."""
    assert PAIR.difference("ttft") == pytest.approx(math.log(2))
    assert columns([PAIR, PAIR], ("ttft",)) == {"ttft": [PAIR.difference("ttft")] * 2}


def test_plans_are_repeatable_and_new_for_each_pair() -> None:
    """Prompts come again, so that a cache answers; or a run can't be repeated."""
    one, same, other = (list(islice(plans(seed), 200)) for seed in (1, 1, 2))
    assert one == same
    assert len({plan.seed for plan in (*one, *other)}) == 400
    assert {frozenset(plan.order) for plan in one} == {frozenset(Arm)}


def test_the_order_is_a_fair_coin() -> None:
    """One side mostly comes first, and gets whatever the first block of a pair gets."""
    first = [plan.order[0] is Arm.BASELINE for plan in islice(plans(3), 4000)]
    assert abs(sum(first) - 2000) < 4 * math.sqrt(1000)
    same = sum(one == other for one, other in pairwise(first))
    assert abs(same - 2000) < 4 * math.sqrt(1000)


def test_pairs_survive_their_file(tmp_path: Path) -> None:
    """A recorded run can't be simulated with."""
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [PAIR, PAIR])
    assert read_pairs(path) == (PAIR, PAIR)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no pairs"),
        (b"{", ":1: not a pair"),
        (b"[]", ":1: not a pair"),
        (b"{}", ":1: not a pair"),
        (b"\xff", "can't decode"),
        (PAIR.model_dump_json().encode() + b"\n\n", ":2: not a pair"),
        (PAIR.model_dump_json().replace("0.1", "0").encode(), ":1: not a pair"),
        (PAIR.model_dump_json().replace("0.1", "1e999").encode(), ":1: not a pair"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    """A wrong file ends in a traceback, or in rates of errors of nothing."""
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words) as refused:
        read_pairs(path)
    assert str(path) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A misspelt name ends in a traceback."""
    with pytest.raises(UsageError, match="No such file"):
        read_pairs(tmp_path / "none.jsonl")


def test_a_metric_that_a_record_lacks_is_an_error() -> None:
    """A pair without a metric is taken for one without a difference."""
    with pytest.raises(KeyError):
        columns([PAIR], ("tpot",))


def test_unknown_keys_of_later_versions_are_read_over() -> None:
    """A file of a newer version can't be read."""
    line = json.loads(PAIR.model_dump_json()) | {"device": "H100"}
    assert Pair.model_validate(line) == PAIR


@given(st.lists(st.tuples(answer, answer), max_size=6))
def test_agreement_counts_equal_answers(answers: list[tuple[Answer, Answer]]) -> None:
    """A different answer counts as identical, or the divergence is in another place."""
    found = Agreement().with_block(1, [a for a, _ in answers], [b for _, b in answers])
    assert found.compared == len(answers)
    assert found.identical == sum(a == b for a, b in answers)
    assert (found.first is None) == (found.identical == found.compared)
    if found.first:
        one, other = answers[found.first.request]
        at = found.first.position
        assert one[:at] == other[:at] or type(one) is not type(other)
        assert one[at : at + 1] != other[at : at + 1]


def test_nothing_compared_is_no_agreement() -> None:
    """Servers whose answers weren't kept are said to agree."""
    assert Agreement().share is None
    assert Agreement().with_block(1, (), ()).share is None


def test_the_earliest_divergence_of_all_blocks_is_shown() -> None:
    """A near tie late in a text hides one in the first word."""
    found = Agreement().with_block(1, ["same", "abcdef"], ["same", "abcxef"])
    found = found.with_block(2, ["x" * 40], ["x" * 40 + "y"]).with_block(3, [(7, 8)], [(9, 8)])
    assert (found.compared, found.identical, found.share) == (4, 1, 0.25)
    assert found.first is not None
    assert (found.first.seed, found.first.position, found.first.unit) == (3, 0, "token")
    assert (found.first.baseline, found.first.candidate) == ("7 8", "9 8")


def test_a_long_answer_is_shown_where_it_parts() -> None:
    """A report holds whole answers, or not the place where they part."""
    found = Agreement().with_block(1, ["a" * 500 + "left"], ["a" * 500 + "right"]).first
    assert found is not None
    assert found.position == 500
    assert "left" in found.baseline
    assert "right" in found.candidate
    assert len(found.baseline) < 40


def test_unequal_numbers_of_answers_are_told() -> None:
    """Answers to different prompts are held against each other."""
    found = Agreement().with_block(1, ["a", "b"], ["b"])
    assert (found.compared, found.unequal) == (0, 1)
    assert found.with_block(2, ["a"], ["a"]).unequal == 1

"""Prompts: repeatable, of the lengths that were asked for, and safe for every model."""

from __future__ import annotations

import json
import random
import statistics
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.lengths import LIMIT, Lengths
from ci.bench.prompt_files import FromFile
from ci.bench.prompts import Prefix, Prompt, Prompts, SyntheticPrompts, digest, word
from ci.errors import UsageError

pytestmark = pytest.mark.unit


def take(source: Prompts, count: int = 40, stream: str = "a") -> list[Prompt]:
    """Return the first prompts of a stream."""
    return list(islice(source.take(stream), count))


@pytest.mark.parametrize("text", ["1", "256", "128-512", "1-1", "lognormal:256,0.6"])
def test_a_length_is_read_as_it_is_written(text: str) -> None:
    """A report names another distribution than the one that was used."""
    assert str(Lengths.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "2-1", "a", "1.5", "lognormal:0,1", "lognormal:1", f"{LIMIT + 1}"]
)
def test_what_is_no_length_is_refused(text: str) -> None:
    """A mistyped length becomes another load."""
    with pytest.raises(UsageError, match="length"):
        Lengths.parse(text)


@given(st.integers(1, 500), st.integers(0, 500), st.integers(1, 600), st.randoms())
def test_lengths_stay_within_their_bounds(
    low: int, width: int, most: int, chance: random.Random
) -> None:
    """A prompt is empty, which kills SGLang 0.5.23, or longer than the context."""
    for lengths in (
        Lengths("uniform", low, low + width, most),
        Lengths("lognormal", low, 2.0, most),
        Lengths("fixed", low, most=most),
    ):
        assert 1 <= lengths.draw(chance) <= most
    assert low <= Lengths("uniform", low, low + width).draw(chance) <= low + width


def test_a_lognormal_has_its_median() -> None:
    """The median is taken for the mean, or sigma for a width in tokens."""
    chance = random.Random(5)  # noqa: S311 - repeatable
    drawn = [Lengths.parse("lognormal:200,0.5").draw(chance) for _ in range(4000)]
    assert statistics.median(drawn) == pytest.approx(200, rel=0.05)
    assert statistics.quantiles(drawn, n=100)[83] == pytest.approx(200 * 1.65, rel=0.1)


def test_the_same_seed_and_stream_give_the_same_prompts() -> None:
    """The two sides of a comparison get different prompts."""
    assert take(SyntheticPrompts(seed=3)) == take(SyntheticPrompts(seed=3))
    assert digest(take(SyntheticPrompts(seed=3))) == digest(take(SyntheticPrompts(seed=3)))


def test_no_two_streams_or_seeds_have_a_prompt_in_common() -> None:
    """Later blocks find their prompts in the cache."""
    made = [take(SyntheticPrompts(seed=seed), stream=stream) for seed in (1, 2) for stream in "ab"]
    heads = [prompt.input_ids[:4] for prompts in made for prompt in prompts]
    assert len(set(heads)) == len(heads)
    assert len({digest(prompts) for prompts in made}) == 4


def test_prompts_are_the_same_on_every_machine() -> None:
    """A workload can't be repeated elsewhere, or with another version."""
    assert digest(take(SyntheticPrompts(seed=1)))[:12] == "2dbe68bd2149"


def test_token_ids_stay_within_the_vocabulary() -> None:
    """An id that the model doesn't have kills SGLang 0.5.23."""
    ids = [
        one for prompt in take(SyntheticPrompts(vocabulary=(10, 20))) for one in prompt.input_ids
    ]
    assert (min(ids), max(ids)) == (10, 19)
    ids = [one for prompt in take(SyntheticPrompts()) for one in prompt.input_ids]
    assert min(ids) >= 3
    assert max(ids) < 512


@pytest.mark.parametrize("as_text", [False, True])
def test_prefixes_are_shared_at_their_rate(as_text: bool) -> None:  # noqa: FBT001
    """The cache is hit more or less often than was asked for."""
    made = take(
        SyntheticPrompts(
            input=Lengths("fixed", 30), prefix=Prefix(0.25, 20, groups=2), as_text=as_text
        ),
        2000,
    )
    heads = [prompt.text.split()[:20] if as_text else prompt.input_ids[:20] for prompt in made]
    counts = sorted((heads.count(head) for head in heads[:60]), reverse=True)
    shared = [head for head in heads if heads.count(head) > 1]
    assert len(shared) / len(made) == pytest.approx(0.25, abs=0.04)
    assert len({tuple(head) for head in shared}) == 2
    assert counts[-1] == 1
    lengths = {len(one.text.split()) if as_text else len(one.input_ids) for one in made}
    assert lengths == {30}


def test_prefixes_are_the_same_in_every_stream() -> None:
    """A warm-up doesn't warm the prefixes that the load shares."""
    source = SyntheticPrompts(prefix=Prefix(1.0, 64))
    heads = {one.input_ids[:64] for stream in "ab" for one in take(source, 5, stream)}
    assert len(heads) == 1


def test_a_prompt_is_longer_than_its_prefix() -> None:
    """A short prompt is nothing but its prefix, and costs the server nothing."""
    made = take(SyntheticPrompts(input=Lengths("fixed", 5), prefix=Prefix(1.0, 64)))
    assert {len(prompt.input_ids) for prompt in made} == {65}


def test_words_stand_for_one_token_id_each() -> None:
    """Two ids give the same word, so that prompts are alike by accident."""
    assert len({word(number) for number in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Prompt(1),
        lambda: Prompt(0, text="hi"),
        lambda: Prompt(1, text="hi", input_ids=(1,)),
        lambda: SyntheticPrompts(vocabulary=(5, 5)),
        lambda: SyntheticPrompts(vocabulary=(-1, 5)),
        lambda: Prefix(1.5, 10),
        lambda: Prefix(0.5, 0),
    ],
)
def test_what_can_not_be_asked_is_refused(wrong: Any) -> None:
    """An empty prompt is sent, or one that is two."""
    with pytest.raises(UsageError):
        wrong()


def write(path: Path, *entries: Any) -> Path:
    """Write JSONL."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_jsonl_holds_prompts_of_every_kind(tmp_path: Path) -> None:
    """A line's prompt or its length is ignored."""
    chat = [{"role": "user", "content": "hi"}]
    path = write(
        tmp_path / "a.jsonl",
        {"prompt": "one", "output_tokens": 3},
        {"text": "two", "max_tokens": 4},
        {"input_ids": [5, 6], "output_tokens": 5},
        {"messages": chat, "output_tokens": 6},
    )
    assert FromFile.read(path).prompts == (
        Prompt(3, text="one"),
        Prompt(4, text="two"),
        Prompt(5, input_ids=(5, 6)),
        Prompt(6, messages=tuple(chat)),
    )
    assert {one.output_tokens for one in FromFile.read(path, output_tokens=9).prompts} == {9}


def test_sharegpt_gives_first_turns_and_lengths(tmp_path: Path) -> None:
    """The field's own workload can't be used, or its answers are sent as prompts."""
    path = tmp_path / "sharegpt.json"
    turns = [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "x" * 40}]
    path.write_text(json.dumps([{"conversations": turns}, {"conversations": turns[:1]}]))
    assert FromFile.read(path).prompts == (Prompt(10, text="why?"),)
    assert FromFile.read(path, output_tokens=7).prompts == (Prompt(7, text="why?"),)


def test_a_file_s_order_is_given_by_the_seed(tmp_path: Path) -> None:
    """Every run sends the first lines of a file, or never the same ones again."""
    entries = ({"prompt": f"p{at}", "output_tokens": 1} for at in range(50))
    path = write(tmp_path / "a.jsonl", *entries)
    one, same, other = (take(FromFile.read(path, seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert len(set(one)) == 40


def test_a_file_ends_unless_its_prompts_may_be_repeated(tmp_path: Path) -> None:
    """The second half of a load hits the cache of the first, and nobody notices."""
    path = write(
        tmp_path / "a.jsonl", *({"prompt": f"{at}", "output_tokens": 1} for at in range(3))
    )
    assert len(take(FromFile.read(path))) == 3
    assert len(take(FromFile.read(path, repeat=True))) == 40


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no prompt"),
        ("[]", "holds no prompt"),
        ("{", "neither JSON nor JSONL"),
        ("[1]", "entry 0: no object"),
        ('{"prompt": "a"}', ":1: no output_tokens"),
        ('{"output_tokens": 1}', ":1: a prompt is a text"),
        ('{"prompt": "", "output_tokens": 1}', ":1: a prompt is a text"),
        ('{"input_ids": ["a"], "output_tokens": 1}', ":1: invalid literal"),
        ('{"messages": [1], "output_tokens": 1}', ":1: "),
        ('{"conversations": 5}', ":1: no conversation"),
        ('{"prompt": "a", "output_tokens": true}', ":1: no output_tokens"),
    ],
)
def test_a_file_of_something_else_is_named_with_its_line(
    text: str, words: str, tmp_path: Path
) -> None:
    """A broken file is a traceback, or an empty load."""
    path = tmp_path / "odd"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        FromFile.read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A mistyped name is a traceback."""
    with pytest.raises(UsageError, match="can't be read"):
        FromFile.read(tmp_path / "nothing")

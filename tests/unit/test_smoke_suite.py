"""The suite against a fake server: it passes a good one, and each fault fails the right cases."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import ci.smoke.session
from ci.smoke import ANSWERS, SUITE
from ci.verdict import Outcome
from tests.fakes.faults import FAULTS
from tests.fakes.sglang import FakeSglang, Settings
from tests.rare import rare
from tests.unit.smoke_sessions import failed, session

pytestmark = pytest.mark.unit

STREAMS = (
    *("concurrency::each stream is whole", "stream::*"),
    *("stop::stop string ends a stream", "choices::stream ends each choice"),
    "concurrency::each stream has its own text",
)
REFUSALS = ("bad_request::[!tu]*", "bad_request::too long a prompt")

FAILS: dict[str, tuple[str, ...]] = {
    "accepts_bad": REFUSALS,
    "bad_is_500": REFUSALS,
    "cut_stream": (*STREAMS, "bad_request::too long a prompt to stream"),
    "extra_choice": ("choices::*",),
    "ignores_grammar": (
        *("constraint::*", "stop::stop string *", "concurrency::each answer has its own text"),
        "concurrency::each stream has its own text",
    ),
    "ignores_limit": (
        *("generate::max new tokens is respected", "generate::sampling works"),
        *("openai::completion usage adds up", "openai::completion of several prompts"),
        *("openai::chat usage adds up", "choices::[!s]*", "logprobs::c*"),
    ),
    "ignores_stop": ("stop::*",),
    "mixed_answers": ("concurrency::each answer *",),
    "no_cache": ("prefix_cache::each turn finds the turns before",),
    "phantom_cache": ("prefix_cache::*",),
    "positive_logprobs": ("logprobs::[!e]*", "logprobs::each output token has one"),
    "stream_differs": ("stream::* equals the whole", "concurrency::each stream has its own text"),
    "stream_without_done": STREAMS,
    "small_bodies": ("bad_request::too long a prompt*",),
    "stream_without_finish": (
        *("concurrency::each stream is whole", "stream::* equals the whole"),
        *("stop::stop string ends a stream", "choices::stream ends each choice"),
    ),
    "unordered_logprobs": ("logprobs::top are ranked", "logprobs::chat"),
    "unrepeatable": ("generate::greedy is repeatable", "generate::text is what its tokens say"),
    "usage_off_by_one": (
        *("openai::*usage adds up", "openai::completion of several prompts"),
        *("stream::completion *", "stream::chat *"),
    ),
}
"""For each fault that leaves the server alive, patterns of exactly the cases that must fail."""

ALL_FAIL = {
    "malformed_json": "POST /generate: the answer is not JSON",
    "unavailable": "POST /generate: HTTP 503: {",
}
"""Faults of every answer to POST, and how the first failure is told."""

ENDS = {
    "endless_body": "the answer is over 16777216 bytes long",
    "hang": "GET /server_info: no answer within 1 s",
    "reset": "connection cut before an answer",
}
"""Faults after which the rest isn't tried, and how the first failure is told."""

EMBEDDING = {
    "constant_embedding": ("embedding::texts are told apart",),
    "accepts_bad": ("embedding::bad request is refused",),
    "bad_is_500": ("embedding::bad request is refused",),
}
"""The same for a server of embeddings."""

SLOW = {"held_stream": ("stream::comes while it is made*",)}
"""Faults that show only where a token takes its time, and patterns of the cases that fail."""

LATER = {
    "bad_kills": "bad_request::malformed json[/generate]",
    "leaks_clients": "disconnect::clients that leave do no harm",
}
"""Faults that show only after a certain case, and that case."""


@pytest.fixture(autouse=True)
def _short_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ci.smoke.session, "PULSE_TIMEOUT", 0.5)


def test_good_server_passes(tmp_path: Path) -> None:
    """A good server passes every case that it can; else every server would fail."""
    with FakeSglang() as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE))
    assert not failed(cases)
    skipped = {name for name, case in cases.items() if case.outcome is Outcome.SKIPPED}
    busy = "stream::comes while it is made"  # which a busy machine can't tell
    assert all(name.startswith(("embedding::", busy)) for name in skipped)
    assert len(cases) - len(skipped) > 60


def test_embedding_server_passes(tmp_path: Path) -> None:
    """A server of embeddings passes, with a reason for each case that it can't do."""
    with FakeSglang(Settings(embedding=True)) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE))
    assert not failed(cases)
    passed = {name for name, case in cases.items() if case.outcome is Outcome.PASSED}
    assert {name.partition("::")[0] for name in passed} == {"embedding", "openai"}
    skipped = [case for case in cases.values() if case.outcome is Outcome.SKIPPED]
    assert {case.message for case in skipped} == {"the model makes embeddings"}


@pytest.mark.parametrize("backend", ["none", "outlines"])
def test_missing_grammars_are_skipped(tmp_path: Path, backend: str) -> None:
    """What a server's grammar backend can't do is skipped; else such servers would fail."""
    with FakeSglang(Settings(grammar_backend=backend)) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE), "-kconstraint")
    skipped = {name for name, case in cases.items() if case.outcome is Outcome.SKIPPED}
    assert skipped == (set(cases) if backend == "none" else {"constraint::ebnf"})


@pytest.mark.parametrize("fault", rare(FAILS, 3))
def test_fault_fails_its_cases(tmp_path: Path, fault: str) -> None:
    """Each fault fails the cases that are about it, and no other."""
    with FakeSglang(faults=[fault]) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE))
    found = failed(cases)
    if fault == "unrepeatable":  # whether such an answer also misses another case is chance
        found &= matching(cases, FAILS[fault])
    assert found == matching(cases, FAILS[fault])


@pytest.mark.parametrize("fault", SLOW)
def test_fault_of_a_slow_server_fails_its_cases(tmp_path: Path, fault: str) -> None:
    """Each fault that shows in times alone fails the cases that are about it, and no other."""
    with FakeSglang(Settings(token_seconds=0.004), [fault]) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE), "-kstream")
    assert failed(cases) == matching(cases, SLOW[fault])
    messages = {case.message for case in cases.values() if case.outcome is Outcome.FAILED}
    assert all(": buffered: events come " in message for message in messages)


@pytest.mark.parametrize("fault", rare(EMBEDDING))
def test_fault_of_embeddings_fails_its_cases(tmp_path: Path, fault: str) -> None:
    """Each fault of embeddings fails the cases that are about it, and no other."""
    with FakeSglang(Settings(embedding=True), [fault]) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE))
    assert failed(cases) == matching(cases, EMBEDDING[fault])


@pytest.mark.parametrize("fault", rare(ALL_FAIL))
@pytest.mark.long
def test_fault_of_every_answer_fails_all(tmp_path: Path, fault: str) -> None:
    """Where every answer is bad, every case that needs one fails, and says so in one line."""
    with FakeSglang(faults=[fault]) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE))
    ran = {name for name, case in cases.items() if case.outcome is not Outcome.SKIPPED}
    assert failed(cases) == ran - {"openai::served model is listed"}
    assert next(iter(cases.values())).message.startswith(ALL_FAIL[fault])


@pytest.mark.parametrize("fault", ENDS)
def test_dead_server_ends_the_session(tmp_path: Path, fault: str) -> None:
    """A server that gives no whole answer ends the suite at its first case, not at its last."""
    with FakeSglang(faults=[fault]) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE))
    first, last = cases.values()
    assert ENDS[fault] in first.message
    assert (last.name, last.outcome) == (ANSWERS, Outcome.FAILED)
    assert last.message.startswith(f"server stopped answering after {first.name}: POST /generate")


@pytest.mark.parametrize("fault", rare(LATER))
def test_death_names_the_case_before(tmp_path: Path, fault: str) -> None:
    """A server that a case kills is noticed there, and the case is named."""
    with FakeSglang(Settings(token_seconds=0.001), [fault]) as fake:
        cases = session(fake.url, tmp_path / "cases", str(SUITE))
    assert failed(cases) == {LATER[fault], ANSWERS}
    assert f"after {LATER[fault]}: " in cases[ANSWERS].message


MEDDLER = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if "repeatable" in item.name:
            item.add_marker(pytest.mark.xfail(reason="known"))

def pytest_runtest_setup(item):
    if "repeatable" not in item.name:
        pytest.skip("not today")
"""


def test_a_case_that_something_else_skips_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that skips the suite's cases, or expects them to fail, makes a bad server pass."""
    (tmp_path / "meddler.py").write_text(MEDDLER)
    monkeypatch.syspath_prepend(tmp_path)
    with FakeSglang(faults=["unrepeatable"]) as fake:
        cases = session(
            fake.url, tmp_path / "cases", "-p", "meddler", "-ktest_generate.py", str(SUITE)
        )
    assert {case.outcome for case in cases.values()} == {Outcome.ERROR}
    start = "skipped, and not for what the server lacks: "
    messages = {case.message.removeprefix(start) for case in cases.values()}
    assert messages == {"not today", "expected to fail: known"}


def test_every_fault_is_proven() -> None:
    """Each fault that the fake server knows is tried; else it may be one that nobody notices."""
    assert {*FAILS, *SLOW, *EMBEDDING, *ALL_FAIL, *ENDS, *LATER} == set(FAULTS)


def matching(names: Iterable[str], patterns: tuple[str, ...]) -> set[str]:
    """Return the names that a pattern fits; each pattern must fit one."""
    fitting = [[name for name in names if fnmatchcase(name, pattern)] for pattern in patterns]
    assert all(fitting), "a pattern fits no case"
    return {name for some in fitting for name in some}


@pytest.mark.parametrize("dress", rare(["comment first", "several data lines", "CR", ""]))
def test_streams_in_any_dress_and_cut_pass(tmp_path: Path, dress: str) -> None:
    """A stream that the standard allows fails a good server, depending on the cut of packets."""
    select = "stream and (equals or whole or ends) or disconnect"
    with FakeSglang(Settings(dress=dress, piece=3)) as server:
        patient = ("--sglang-timeout=20", str(SUITE), "-k", select)
        cases = session(server.url, tmp_path / "cases", *patient)
    assert len(cases) >= 6
    assert {case.outcome for case in cases.values()} == {Outcome.PASSED}, cases

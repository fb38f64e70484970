"""Drawn requests: they find what a server gets wrong, and only that."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import httpx
import pytest

from ci.errors import CheckBroken, KeyRefused, ServerFault, UsageError
from ci.extras import install
from ci.fuzz.answers import Sender, Sent
from ci.fuzz.asked import OperationResult
from ci.fuzz.bodies import completed, limited, narrowed
from ci.fuzz.drawn import DrawingEnd, DrawnRequest, RequestKind
from ci.fuzz.known import KnownDefects, packaged
from ci.fuzz.operations import choose
from ci.fuzz.stage import ALIVE, NOT_ASKED, SENT, Fuzzing
from ci.report.model import Case, Check
from ci.report.write import load
from ci.server.exchange import exchanging
from ci.server.key import API_KEY, wanted_at
from ci.settings.fuzz import CHANGING, FuzzSettings, KnownDefect
from ci.stages import StageResult, Tell, checked
from ci.verdict import Outcome, Verdict
from tests.fakes.described import DOCUMENT, Described, described
from tests.fakes.keyed import guarded
from tests.rare import rare
from tests.unit.commands import Command

pytestmark = pytest.mark.unit

TOO_LARGE: dict[str, Any] = {
    "id": "large sizes",
    "operation": "POST /sizes",
    "answer": "too large",
    "until": date(2999, 1, 1),
    "reason": "nobody has time",
}


def fuzzed(server: Described, folder: Path, **told: Any) -> Check:
    """Return what a short run against a server found."""
    settings = FuzzSettings(**({"examples": 12, "timeout": 1.0, "packaged": False} | told))

    async def ask(tell: Tell) -> StageResult:
        return await Fuzzing(server.url, settings, tell, Mock()).run(folder)

    return anyio.run(checked, "fuzz", ask)


def sent(folder: Path) -> list[dict[str, Any]]:
    """Return what a run kept of each request."""
    return [json.loads(line) for line in (folder / SENT).read_text().splitlines()]


def failed(check: Check) -> dict[str, Case]:
    """Return the cases that failed, by name."""
    return {case.name: case for case in check.cases if case.outcome is Outcome.FAILED}


@pytest.mark.long
def test_a_good_server_passes(tmp_path: Path) -> None:
    """A server that refuses what it must refuse is blamed for that."""
    with described() as server:
        check = fuzzed(server, tmp_path)
    assert check.verdict is Verdict.PASSED, check.cause
    assert [case.name for case in check.cases] == ["POST /sizes", "GET /ready"]
    assert check.facts["operations left out"] == "POST /flush_cache"
    assert "drawn in part" not in check.facts  # GET /ready forbids nothing
    assert {line["status"] for line in sent(tmp_path)} == {200, 400}
    assert not [path for path, _ in server.asked if path == "/flush_cache"]


@pytest.mark.parametrize(
    ("fault", "told"),
    rare(
        [
            ("error", "HTTP 500: too large"),
            ("no JSON", "says that it is JSON, and isn't"),
            ("hang", "no complete answer within 1 s"),
        ],
        1,
    ),
)
def test_a_fault_is_found_with_a_command_that_shows_it(
    fault: str, told: str, tmp_path: Path
) -> None:
    """A fault that needs a value nobody wrote goes into production."""
    with described(fault) as server:
        check = fuzzed(server, tmp_path, examples=4)
        found = failed(check)["POST /sizes"]
    assert told in found.message
    assert found.details.startswith(f"curl -sS -X POST {server.url}/sizes")
    body = json.loads(found.details.partition("--data-binary '")[2].rstrip("'"))
    assert body["size"] > 0
    wrong = [line for line in sent(tmp_path) if "wrong" in line]
    assert wrong
    assert all(line["operation"] == "POST /sizes" and line["body"] for line in wrong)


def test_a_name_that_the_server_gave_stands_in_the_request_that_is_told() -> None:
    """A command that is copied asks for another name than the one that showed the defect."""
    paths = {"/v1/models": {"data": [{"id": "tiny"}]}, "/v1/models/tiny": "no"}

    def answer(request: httpx.Request) -> httpx.Response:
        status = 500 if request.url.path.endswith("tiny") else 200
        return httpx.Response(status, json=paths.get(request.url.path, {}))

    async def told() -> list[Sent]:
        async with exchanging("http://host", transport=httpx.MockTransport(answer)) as exchange:
            sender = Sender(exchange)
            named = DrawnRequest(
                "GET /v1/models/{model}", RequestKind.VALID, "GET", "/v1/models/a", {}, ""
            )
            listed = DrawnRequest("GET /v1/models", RequestKind.VALID, "GET", "/v1/models", {}, "")
            return [await sender.send(one) for one in (listed, named, named)]

    sent = anyio.run(told)
    assert [one.drawn.target for one in sent] == ["/v1/models", "/v1/models/a", "/v1/models/tiny"]
    assert [bool(one.wrong) for one in sent] == [False, False, True]
    assert "http://host/v1/models/tiny" in sent[2].drawn.curl("http://host")


def test_a_server_that_dies_ends_the_run(tmp_path: Path) -> None:
    """A run goes on for minutes against a dead server, and doesn't say what killed it."""
    with described("death") as server:
        check = fuzzed(server, tmp_path)
    assert check.cause.startswith(f"{ALIVE}: not after POST /sizes")
    case = failed(check)[ALIVE]
    assert json.loads(case.details.splitlines()[0].partition("--data-binary '")[2].rstrip("'"))
    assert "GET /ready" not in [case.name for case in check.cases]


@pytest.mark.long
def test_what_was_found_before_the_end_is_in_the_report(tmp_path: Path) -> None:
    """A server that dies takes along what was found, and hides what was never asked."""
    with described("decay") as server:
        check = fuzzed(server, tmp_path)
    found = failed(check)
    assert check.cases[0].name == ALIVE
    assert "HTTP 500: too large" in found["POST /sizes (size 1)"].message
    assert (
        "3 requests by size; not asked to its end: the server was dead"
        in found["POST /sizes (size 1)"].message
    )
    left = next(case for case in check.cases if case.name == NOT_ASKED)
    assert (left.outcome, left.message) == (
        Outcome.INCONCLUSIVE,
        "the server was dead before GET /ready",
    )


@pytest.mark.long
def test_a_known_defect_is_accepted_until_its_day(tmp_path: Path) -> None:
    """A defect that nobody here can mend stops every release, or is accepted for ever."""
    with described("error") as server:
        check = fuzzed(server, tmp_path, known=(KnownDefect(**TOO_LARGE),))
        assert check.verdict is Verdict.PASSED, check.cause
        assert check.facts["known defects"].startswith("large sizes ")
        over = KnownDefect(**(TOO_LARGE | {"until": date(2020, 1, 1)}))
        check = fuzzed(server, tmp_path, known=(over,))
    assert "accepted until 2020-01-01 only (large sizes)" in check.cause
    assert check.facts["accepted no longer"] == "large sizes (2020-01-01)"


@pytest.mark.long
def test_of_another_version_nothing_is_accepted(tmp_path: Path) -> None:
    """A defect that was mended comes back unseen."""
    older = KnownDefect(**(TOO_LARGE | {"versions": "<0.5.23"}))
    with described("error") as server:
        assert fuzzed(server, tmp_path, known=(older,)).verdict is Verdict.FAILED


@pytest.mark.long
def test_deadly_requests_are_not_sent(tmp_path: Path) -> None:
    """A known way to kill the server ends every run."""
    deadly = {"id": "deadly", "operation": "POST /sizes", "withheld": '"size": ?[1-9]'}
    entry = KnownDefect(**{**TOO_LARGE, "answer": "", **deadly})
    with described("death") as server:
        check = fuzzed(server, tmp_path, known=(entry,))
        assert check.verdict is Verdict.PASSED, check.cause
    assert "not sent" in check.cases[0].message


@pytest.mark.long
def test_an_entry_that_nothing_met_is_named(tmp_path: Path) -> None:
    """A list of excuses only ever grows."""
    with described() as server:
        check = fuzzed(server, tmp_path, known=(KnownDefect(**TOO_LARGE),))
    assert check.facts["known defects, not met"] == "large sizes"


@pytest.mark.long
def test_a_seed_repeats_a_run(tmp_path: Path) -> None:
    """What was found can't be found again."""
    asked = []
    for seed in (5, 5, 6):
        with described() as server:
            fuzzed(server, tmp_path, seed=seed)
            asked.append(server.asked)
    assert asked[0] == asked[1] != asked[2]


@pytest.mark.long
def test_a_budget_that_is_spent_proves_nothing(tmp_path: Path) -> None:
    """A run that was cut after one operation passes for all of them."""
    with described("hang") as server:
        check = fuzzed(server, tmp_path, budget=3.0, examples=30)
    cut = next(case for case in check.cases if case.name == "budget")
    assert cut.outcome is Outcome.INCONCLUSIVE
    assert "POST /sizes, GET /ready" in cut.message


@pytest.mark.parametrize("end", ["budget", "broken"])
def test_a_run_that_ends_early_loses_nothing(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before the budget was spent, or before a bug of ours, is in no report."""
    large = DrawnRequest(
        "POST /sizes", RequestKind.VALID, "POST", "/sizes", {}, '{"size": 5}', "size"
    )

    @asynccontextmanager
    async def drawing(*_: object) -> AsyncIterator[AsyncIterator[DrawnRequest]]:
        async def one() -> AsyncIterator[DrawnRequest]:
            yield large
            if end == "broken":
                raise CheckBroken("drawing requests broke")
            await anyio.sleep_forever()

        yield one()

    monkeypatch.setattr("ci.fuzz.stage.drawing", drawing)
    tell, settings = Mock(), FuzzSettings(budget=2.0, packaged=False)
    with described("error") as server, suppress(CheckBroken):
        anyio.run(Fuzzing(server.url, settings, tell, Mock()).run, tmp_path)
    found, left = (call.args[0] for call in tell.call_args_list)
    assert (found.name, found.outcome) == ("POST /sizes", Outcome.FAILED)
    assert "HTTP 500: too large: 5; 1 request by size; not asked to its end: the " in found.message
    assert "GET /ready" in left.message
    assert left.outcome is Outcome.INCONCLUSIVE


@pytest.mark.long
def test_a_kind_that_was_not_drawn_in_time_proves_nothing(tmp_path: Path) -> None:
    """An operation passes although there was no time to draw what its schema forbids."""
    with described() as server:
        check = fuzzed(server, tmp_path, drawing=0.000_001, edges=0)
    case = check.cases[0]
    assert (case.name, case.outcome) == ("POST /sizes", Outcome.INCONCLUSIVE)
    # what draws may swallow the end of its time, and be through before it is told again
    assert "request was drawn: the 1e-06 s for drawing were spent" in case.message


@pytest.mark.long
def test_a_kind_that_was_not_drawn_proves_nothing(tmp_path: Path) -> None:
    """An operation passes although no request of a kind was sent to it."""
    unreadable = {"requestBody": {"$ref": "#/components/requestBodies/Nowhere"}}
    paths = {"/sizes": {"post": unreadable}, "/ready": {"get": {"responses": {}}}}
    with described(document=DOCUMENT | {"paths": paths}) as server:
        check = fuzzed(server, tmp_path)
    case = check.cases[0]
    assert (case.name, case.outcome) == ("POST /sizes", Outcome.INCONCLUSIVE)
    assert "no valid request was drawn" in case.message
    assert check.verdict is Verdict.INCONCLUSIVE


def test_a_kind_that_was_drawn_in_part_is_told() -> None:
    """Fewer requests were drawn than wanted, and its case doesn't say so."""
    asked = OperationResult("POST /sizes")
    drawn = DrawnRequest("POST /sizes", RequestKind.INVALID, "POST", "/sizes", {}, "", "size")
    known = KnownDefects.of((), "0.5.23", date(2026, 11, 23))

    async def told() -> list[Case]:
        for kind in RequestKind:
            assert not asked.withholds(replace(drawn, kind=kind), known)
            asked.take(Sent(drawn, 0.1, 400, ""), known)
        asked.stop(
            DrawingEnd("POST /sizes", RequestKind.INVALID, "the 10 s for drawing were spent")
        )
        return list(asked.cases("http://host", ()))

    (case,) = anyio.run(told)
    assert (case.outcome, case.message) == (
        Outcome.PASSED,
        "400 2, invalid: the 10 s for drawing were spent",
    )


@pytest.mark.parametrize(("document", "error"), [(None, ServerFault), ({"a": 1}, ServerFault)])
def test_a_server_without_a_schema_is_told(
    document: dict[str, Any] | None, error: type[Exception], tmp_path: Path
) -> None:
    """A server that says nothing of itself passes."""
    with described(document=document) as server, pytest.raises(error, match="OpenAPI"):
        fuzzed(server, tmp_path)


def test_operations_that_are_not_there_are_told(tmp_path: Path) -> None:
    """A pattern with a typing error asks nothing, and passes."""
    with described() as server, pytest.raises(UsageError, match="operations is POST /size"):
        fuzzed(server, tmp_path, include=("POST /size",))


@pytest.mark.parametrize(
    "path",
    [
        *("/release_memory_occupation", "/update_weights_from_disk", "/load_lora_adapter"),
        *("/flush_cache", "/pause_generation", "/hicache/storage-backend", "/set_internal_state"),
        "/slow_down",
    ],
)
def test_what_changes_the_server_is_left_out(path: str) -> None:
    """A check ends what it checks."""
    document: dict[str, Any] = {"paths": {path: {"post": {}}, "/generate": {"post": {}}}}
    assert choose(document, [".*"], CHANGING).asked == ("POST /generate",)


@pytest.mark.parametrize(
    ("body", "held"),
    [
        ({"max_tokens": 10**9}, {"max_tokens": 8}),
        ({"prompt": "a", "n": 99}, {"prompt": "a", "n": 8, "max_tokens": 8}),
        ({"text": "a"}, {"text": "a", "sampling_params": {"max_new_tokens": 8}}),
        ({"sampling_params": {"n": 10**6}}, {"sampling_params": {"n": 8, "max_new_tokens": 8}}),
        (
            {"instances": [{}], "parameters": {"a": 1}},
            {"instances": [{}], "parameters": {"a": 1, "sampling_params": {"max_new_tokens": 8}}},
        ),
        ({"text": "a", "sampling_params": 3}, {"text": "a", "sampling_params": 3}),
        ([{"n": 9}], [{"n": 8}]),
        ({"max_tokens": "9", "n": True}, {"max_tokens": "9", "n": True}),
        ("text", "text"),
    ],
)
def test_no_request_asks_for_hours(body: Any, held: Any) -> None:
    """One drawn number keeps the server busy for the rest of the run."""
    assert limited(body, 8) == held


@pytest.mark.parametrize("options", [{}, {"options": None}, {"options": {"num_predict": 2048}}])
def test_no_request_to_ollamas_routes_asks_for_hours(options: dict[str, Any]) -> None:
    """A request without options asks for 2048 tokens, and a slow server is called hung."""
    held = {"prompt": "a", "max_tokens": 8, "options": {"num_predict": 8}}
    assert limited({"prompt": "a"} | options, 8, "/api/generate") == held


def test_what_a_request_needs_is_given() -> None:
    """Nearly all valid requests are refused for want of a prompt, and reach no model."""
    assert completed({"text": None, "n": 1}, "/generate") == {"text": "Hello", "n": 1}
    assert completed([1], "/generate") == [1]
    assert completed({"a": 1}, "/unknown") == {"a": 1}


def test_each_field_stands_alone_in_turn() -> None:
    """The first fault of a request hides all others."""
    body = {"text": "", "n": None, "rid": [1]}
    found = [narrowed(body, "/generate", turn) for turn in range(4)]
    alone = [{"text": "Hello", "n": None}, {"text": "Hello", "rid": [1]}, {"text": ""}]
    assert found == [*alone, alone[0]]
    assert narrowed({"a": 1}, "/unknown", 1) == {"a": 1}
    assert narrowed({}, "/generate", 1) == {}


@pytest.mark.parametrize("body", [b'{"a": "\'"}', b"\x00\x01\xff'\\", "ä€".encode(), b"a\nb"])
def test_a_command_sends_the_very_bytes(body: bytes) -> None:
    """A command that is copied shows nothing, because a shell changed what it sends."""
    drawn = DrawnRequest(
        "POST /x", RequestKind.VALID, "POST", "/x?a=%27", {}, body.decode("latin-1")
    )
    shell = "curl() { printf '%s' \"${@: -1}\"; }; " + drawn.curl("http://host")
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
    assert ran.stdout == body.partition(b"\x00")[0]


def test_a_command_names_the_key_and_does_not_tell_it() -> None:
    """A command that is copied is refused by a server with a key, or shows the key."""
    drawn = DrawnRequest("POST /x", RequestKind.VALID, "POST", "/x", {}, "{}")
    with wanted_at("http://host", "sk-own"):
        told = drawn.curl("http://host")
    shell = f"curl() {{ printf '%s|' \"$@\"; }}; {told}"
    ran = subprocess.run(
        ["bash", "-c", shell], capture_output=True, check=True, env={API_KEY: "sk-a b"}
    )
    assert "|-H|Authorization: Bearer sk-a b|" in ran.stdout.decode()
    assert "sk-own" not in told
    assert "Authorization" not in drawn.curl("http://other")


@pytest.mark.long
@pytest.mark.parametrize("key", rare(["", "sk-wrong"]))
@pytest.mark.parametrize("status", rare([401, 403]))
def test_an_operation_that_wants_another_key_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, status: int
) -> None:
    """A server, or a gateway before it, that lets nobody in at a route PASSED there."""
    monkeypatch.setenv(API_KEY, key)
    with (
        described() as server,
        guarded(server.url, "sk-right", paths="/sizes", status=status) as url,
    ):
        check = fuzzed(replace(server, url=url), tmp_path, examples=4)
    cases = {case.name: case for case in check.cases}
    assert cases["GET /ready"].outcome is Outcome.PASSED
    assert cases["POST /sizes"].outcome is Outcome.ERROR
    said = "the server refuses this API key" if key else "the server wants an API key"
    assert f"{url}/sizes: HTTP {status}: {said}: set {API_KEY}" in cases["POST /sizes"].message
    assert check.verdict is Verdict.ERROR


def test_a_missing_key_is_told_before_the_first_operation(tmp_path: Path) -> None:
    """A typing error in a key is told after thousands of requests that were refused."""
    with described() as server, guarded(server.url, "sk-right", paths="/(generate|sizes)") as url:
        with pytest.raises(KeyRefused):
            fuzzed(replace(server, url=url), tmp_path)
        assert not server.asked


def test_the_packaged_list_is_in_force() -> None:
    """A defect is excused with no reason, or for ever."""
    entries = packaged()
    assert len({one.id for one in entries}) == len(entries)
    assert all((one.answer or one.withheld) and one.versions for one in entries)
    known = KnownDefects.of(entries, "0.5.23", date(2026, 11, 23))
    assert known.valid
    assert not known.expired
    assert not KnownDefects.of(entries, "0.6.0", date(2026, 11, 23)).valid


@pytest.mark.parametrize(
    ("operation", "asked", "body", "accepted"),
    [
        ("GET /v1/loads", "/v1/loads?include=x", "", True),
        ("GET /v1/loads", "/v1/loads", "", False),
        ("PUT /generate", "/generate", '{"text": "a", "rid": ["b"]}', True),
        ("PUT /generate", "/generate", '{"text": "a", "session_params":{"b": 1}}', True),
        ("PUT /generate", "/generate", '{"text": "a", "sampling_params": {"n": null}}', True),
        ("PUT /generate", "/generate", '{"text": ["a"], "sampling_params": {"n": 1}}', False),
        ("POST /encode", "/encode", '{"input_ids": []}', True),
        ("POST /encode", "/encode", '{"text": "a"}', False),
        ("POST /parse_function_call", "/p", '{"tool_call_parser": "\\u0080"}', True),
        ("POST /parse_function_call", "/p", '{"text": "a"}', True),
        ("POST /parse_function_call", "/p", '{"text": "a", "tool_call_parser": "qwen3"}', False),
        ("POST /api/chat", "/api/chat", '{"messages": []}', True),
        ("POST /api/chat", "/api/chat", '{"messages": [{"role": "user"}]}', False),
        ("POST /v1/chat/completions", "/v1", '{"response_format": true}', True),
        ("POST /v1/chat/completions", "/v1", '{"response_format": {"type": "text"}}', False),
        ("POST /vertex_generate", "/v", '{"instances": [{"a": 1}]}', False),
        ("POST /vertex_generate", "/v", '{"instances": [{"text": "a"}], "parameters": {}}', False),
        ("POST /vertex_generate", "/v", '{"instances": [{}], "parameters": {"no_logs": 1}}', False),
        ("POST /vertex_generate", "/v", '{"instances": [{}], "parameters": {"a": 1}}', True),
        ("POST /vertex_generate", "/v", '{"instances": [{}], "parameters": {"text": "a"}}', True),
        ("POST /vertex_generate", "/v", '{"instances": [{}], "parameters": {"rid": []}}', True),
        ("PUT /generate", "/generate", '{"text": "a", "logprob_start_len": [1]}', False),
        ("PUT /generate", "/generate", '{"text": "a", "session_params": {"id": "b"}}', False),
        ("PUT /generate", "/generate", '{"sampling_params": {"stop_regex": "("}}', True),
        ("PUT /generate", "/generate", '{"sampling_params": {"stop_regex": ["a", "b["]}}', True),
        ("PUT /generate", "/generate", '{"sampling_params": {"stop_regex": "a"}}', False),
        ("GET /v1/loads", "/v1/loads?include=core%2Cspec", "", False),
        ("POST /vertex_generate", "/v", '{"instances": []}', False),
        ("POST /v1/score", "/v1/score", '{"rid": ["b"]}', False),
    ],
)
def test_only_requests_that_bring_a_defect_about_are_excused(
    operation: str, asked: str, body: str, *, accepted: bool
) -> None:
    """A server's every unexplained error is taken for the one that is known."""
    known = KnownDefects.of(packaged(), "0.5.23", date(2026, 11, 23))
    drawn = DrawnRequest(operation, RequestKind.VALID, operation.partition(" ")[0], asked, {}, body)
    assert bool(known.accepted(drawn, "HTTP 500: Internal Server Error")) is accepted


@pytest.mark.parametrize(
    ("operation", "body", "withheld"),
    [
        ("POST /generate", '{"return_logprob": true, "top_logprobs_num": 100000}', True),
        ("POST /generate", '{"return_logprob": true, "top_logprobs_num": [5]}', True),
        ("POST /generate", '{"return_logprob": true, "top_logprobs_num": 5}', False),
        ("POST /v1/chat/completions", '{"logprobs": true, "top_logprobs": 100000}', True),
        ("POST /v1/chat/completions", '{"logprobs": true, "top_logprobs": 20}', False),
        ("POST /generate", '{"positional_embed_overrides": "a"}', True),
        ("POST /generate", '{"positional_embed_overrides": null}', False),
        ("POST /generate", '{"input_ids": [5, 600]}', True),
        ("POST /generate", '{"input_ids": [-1]}', True),
        ("POST /generate", '{"input_ids": [1, 2, 511]}', False),
        ("POST /v1/detokenize", '{"tokens": [1, 2, 3]}', False),
        ("POST /vertex_generate", '{"parameters": {"session_id": 7}}', True),
        ("POST /vertex_generate", '{"parameters": {"sampling_params": {"ebnf": {}}}}', True),
        ("POST /vertex_generate", '{"parameters": {"return_logprob": 1}}', True),
        ("POST /vertex_generate", '{"parameters": {"sampling_params": {"n": 1}}}', False),
        ("POST /vertex_generate", '{"parameters": {"no_logs": true, "stop": ["a"]}}', False),
    ],
)
def test_only_deadly_requests_are_kept_back(operation: str, body: str, *, withheld: bool) -> None:
    """A known way to kill the server is sent, or a harmless request never is."""
    known = KnownDefects.of(packaged(), "0.5.23", date(2026, 11, 23))
    drawn = DrawnRequest(
        operation, RequestKind.VALID, "POST", operation.partition(" ")[2], {}, body
    )
    assert bool(known.withheld(drawn)) is withheld


@pytest.mark.parametrize(
    ("told", "problem"),
    [({"answer": "("}, "regular expression"), ({"versions": "newest"}, "names no versions")],
)
def test_an_entry_that_means_nothing_is_refused(told: dict[str, str], problem: str) -> None:
    """A typing error excuses everything or nothing."""
    with pytest.raises(ValueError, match=problem):
        KnownDefect(**(TOO_LARGE | told))


def test_without_schemathesis_the_command_says_what_to_install(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user gets a traceback in place of one line."""
    monkeypatch.setattr("ci.commands.fuzz.find_spec", Mock(return_value=None))
    assert command("fuzz", "http://localhost:1") == 2
    assert install("fuzz") in capsys.readouterr().err


@pytest.mark.long
def test_the_command_leaves_a_report(command: Command, tmp_path: Path) -> None:
    """The check can't be asked for."""
    few = ("--set", "fuzz.examples=3", "--operation", "POST /sizes")
    with described("error") as server:
        assert command("fuzz", server.url, *few) == 1
    (check,) = load(tmp_path / "report").checks
    assert [case.name for case in check.cases] == ["POST /sizes"]

"""The interpreter of cases' programs, and SGLang's frontend language as one that carries them out.

One walk through a program's steps serves both ways to run it: over plain HTTP (`replay.py`), and
by SGLang's language here. For the latter it is run by its path, `python -P interpreter.py`, in an
interpreter that has SGLang, with a request as JSON on standard input; it needs nothing but
SGLang, so that the interpreter need not have this package. It writes one JSON line for the
language's version, one a program, and nothing else to standard output. It is a process of its
own because importing SGLang is slow and warns, and because the language's threads can't be ended.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any, Protocol

API_KEY = "SGLANG_API_KEY"
"""Variable that holds the server's API key: what stands on standard input may be shown."""
NO_SGLANG = 3
"""Exit code where SGLang's language can't be imported."""

CHOICE = "#choice"
"""What the last choice is called in the language; no answer can have this name."""

Json = dict[str, Any]


class PromptState(Protocol):
    """A prompt that grows step by step, on one server."""

    def add(self, steps: Sequence[Json]) -> None:
        """Append texts and generations; what is generated need not be there yet."""

    def seen(self, name: str) -> Json:
        """Return what a generation showed, once it is there."""

    def choose(self, options: Sequence[str]) -> tuple[str, list[float], list[str]]:
        """Append the most probable option.

        Returns:
            The option, each one's mean log-probability, and the text that was scored for each.
        """

    def copy(self) -> PromptState:
        """Return the same prompt, to try something with."""

    def fork(self, branches: Sequence[Sequence[Json]]) -> Sequence[PromptState]:
        """Return the same prompt for each branch, when the server knows it."""


def interpret(program: Sequence[Json], state: PromptState) -> Json:
    """Run a program's steps; return what each answer showed, by its name."""
    found: Json = {}
    for step in program:
        if "select" in step:
            found[step["select"]] = _selected(state, step["options"])
            continue
        branches = step.get("fork", [[step]])
        states = state.fork(branches) if "fork" in step else [state]
        for one, branch in zip(states, branches, strict=True):
            one.add(branch)
        for one, branch in zip(states, branches, strict=True):
            found |= {part["gen"]: one.seen(part["gen"]) for part in branch if "gen" in part}
    return found


def _selected(state: PromptState, options: Sequence[str]) -> Json:
    """Select among all options; each is scored by itself before."""
    alone = [state.copy().choose([option])[1][0] for option in options]
    text, means, echoes = state.choose(options)
    told = zip(options, means, alone, echoes, strict=True)
    keys = ("option", "mean", "alone", "echo")
    return {"text": text, "scores": [dict(zip(keys, one, strict=True)) for one in told]}


def sampling(step: Json) -> Json:
    """Return how a generation is sampled, in words of `/generate`, but for its limit."""
    schema = step.get("json_schema")
    given = {
        "regex": step.get("regex"),
        "json_schema": None if schema is None else json.dumps(schema),
        "stop": step.get("stop"),
        "ignore_eos": step.get("ignore_eos") or None,
        "frequency_penalty": step.get("penalty") or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def shown(text: str, meta: Json) -> Json:
    """Return one answer as far as properties read it; `meta` is the server's `meta_info`."""
    reason = meta.get("finish_reason") or {}
    matched = reason.get("matched")
    counts = ("prompt_tokens", "completion_tokens", "cached_tokens")
    return {
        "text": text,
        "ending": reason.get("type", ""),
        "matched": matched if isinstance(matched, str) else "",
        **{key: meta.get(key) or 0 for key in counts},
    }


def echo(scored: Sequence[Sequence[Any]]) -> str:
    """Return the text of the tokens that a server says it scored."""
    return "".join(token[2] or "" for token in scored)


class _InLanguage:
    """A state of SGLang's frontend language.

    Read in SGLang 0.5.23: an error in a program's thread is but a warning there, and a later step
    then waits for ever. So programs run without a thread, what is appended to a branch is handed
    over in one piece, and a branch's error is looked for before its answers.
    """

    def __init__(self, sglang: Any, state: Any) -> None:
        self._sgl, self._state = sglang, state

    def add(self, steps: Sequence[Json]) -> None:
        whole = [self._expression(step) for step in steps]
        self._state += self._sgl.lang.ir.SglExprList(whole)

    def seen(self, name: str) -> Json:
        self._check()
        return shown(self._state[name], self._state.get_meta_info(name))

    def choose(self, options: Sequence[str]) -> tuple[str, list[float], list[str]]:
        self._state += self._sgl.select(CHOICE, choices=list(options), temperature=0)
        self._check()
        meta = self._state.get_meta_info(CHOICE)
        echoes = [echo(one) for one in meta["input_token_logprobs"]]
        return self._state[CHOICE], list(meta["normalized_prompt_logprobs"]), echoes

    def copy(self) -> _InLanguage:
        return _InLanguage(self._sgl, self._state.fork(1)[0])

    def fork(self, branches: Sequence[Sequence[Json]]) -> list[_InLanguage]:
        return [_InLanguage(self._sgl, state) for state in self._state.fork(len(branches))]

    def _check(self) -> None:
        if error := self._state.error():
            raise error

    def _expression(self, step: Json) -> Any:
        if "say" in step:
            return self._sgl.lang.ir.SglConstantText(step["say"])
        return self._sgl.gen(step["gen"], max_tokens=step["max_tokens"], **sampling(step))


def main() -> None:
    """Answer the request on standard input."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # whatever SGLang prints is no answer of ours
        request = json.load(sys.stdin)
        socket.setdefaulttimeout(request["timeout"])
        try:
            import sglang
            from sglang.lang.backend.runtime_endpoint import RuntimeEndpoint

            _tell(out, {"version": version("sglang")})
        except (ImportError, PackageNotFoundError) as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(NO_SGLANG)
        key = os.environ.get(API_KEY) or None
        endpoint = RuntimeEndpoint(request["url"], api_key=key)
        for program in request["programs"]:
            _tell(out, _answers(sglang, endpoint, program))


def _tell(out: IO[str], line: Json) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


def _answers(sglang: Any, endpoint: Any, program: list[Json]) -> Json:
    """Return what a program's run showed, or why it could not be run."""
    found: Json = {}

    def work(s: Any) -> None:
        found.update(interpret(program, _InLanguage(sglang, s)))

    try:
        sglang.function(work).run(backend=endpoint, use_thread=False, temperature=0)
    except Exception as error:  # noqa: BLE001 - the language raises whatever it meets
        return {"error": f"{type(error).__name__}: {error}"}
    return {"answers": found}


if __name__ == "__main__":
    main()

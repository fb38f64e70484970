"""Runs programs with SGLang's frontend language, in an interpreter that has SGLang.

Run by its path, `python -P worker.py`, with a request as JSON on standard input; needs nothing
but SGLang, so that the interpreter need not have this package. Writes one JSON line for the
language's version, one a program, and nothing else to standard output. It is a process of its
own because importing SGLang is slow and warns, and because the language's threads can't be ended.

Read in SGLang 0.5.23: an error in a program's thread is but a warning there, and a later step
then waits for ever; so programs run without a thread, and a branch is handed over in one piece.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any

API_KEY = "SGLANG_API_KEY"
"""Variable that holds the server's API key: a request on standard input may be shown."""
NO_SGLANG = 3
"""Exit code where SGLang's language can't be imported."""

Json = dict[str, Any]


def main() -> None:
    """Answer the request on standard input."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # whatever SGLang prints is no answer of ours
        request = json.load(sys.stdin)
        socket.setdefaulttimeout(request["timeout"])
        try:
            import sglang
            from sglang.lang.backend.runtime_endpoint import RuntimeEndpoint

            _tell(out, {"version": _version()})
        except (ImportError, PackageNotFoundError) as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(NO_SGLANG)
        key = os.environ.get(API_KEY) or None
        language = Language(sglang, RuntimeEndpoint(request["url"], api_key=key))
        for program in request["programs"]:
            _tell(out, language.answers(program))


def _version() -> str:
    return version("sglang")


def _tell(out: IO[str], line: Json) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


class Language:
    """Runs programs against one server."""

    def __init__(self, sglang: Any, endpoint: Any) -> None:
        """Keep the language and the server."""
        self._sgl, self._endpoint = sglang, endpoint

    def answers(self, program: list[Json]) -> Json:
        """Return what a program's run showed, or why it could not be run."""
        found: Json = {}

        def work(s: Any) -> None:
            for step in program:
                self._step(s, step, found)

        try:
            self._sgl.function(work).run(backend=self._endpoint, use_thread=False, temperature=0)
        except Exception as error:  # noqa: BLE001 - the language raises whatever it meets
            return {"error": f"{type(error).__name__}: {error}"}
        return {"answers": found}

    def _step(self, s: Any, step: Json, found: Json) -> None:
        if "fork" in step:
            found.update(self._branches(s, step["fork"]))
        elif "select" in step:
            found[step["select"]] = self._selected(s, step)
        else:
            s += self._expression(step)
            if "gen" in step:
                found[step["gen"]] = seen(s, step["gen"])

    def _branches(self, s: Any, branches: list[list[Json]]) -> Json:
        """Run branches at the same time."""
        states = s.fork(len(branches))
        for state, branch in zip(states, branches, strict=True):
            whole = self._sgl.lang.ir.SglExprList([self._expression(step) for step in branch])
            state += whole  # noqa: PLW2901 - the language's own way to append
        return {
            step["gen"]: seen(state, step["gen"])
            for state, branch in zip(states, branches, strict=True)
            for step in _whole(state, branch)
            if "gen" in step
        }

    def _selected(self, s: Any, step: Json) -> Json:
        """Select among all options, and score each by itself on a copy before."""
        name, options = step["select"], step["options"]
        alone = [self._alone(s, name, option) for option in options]
        s += self._sgl.select(name, choices=options, temperature=0)
        means, echoes = scored(s, name)
        told = zip(options, means, alone, echoes, strict=True)
        return {
            "text": s[name],
            "scores": [
                {"option": option, "mean": mean, "alone": one, "echo": echo}
                for option, mean, one, echo in told
            ],
        }

    def _alone(self, s: Any, name: str, option: str) -> float:
        branch = s.fork(1)[0]
        branch += self._sgl.select(name, choices=[option], temperature=0)
        _raise(branch)
        return scored(branch, name)[0][0]

    def _expression(self, step: Json) -> Any:
        if "say" in step:
            return self._sgl.lang.ir.SglConstantText(step["say"])
        schema = step.get("json_schema")
        return self._sgl.gen(
            step["gen"],
            max_tokens=step["max_tokens"],
            regex=step.get("regex"),
            json_schema=None if schema is None else json.dumps(schema),
            stop=step.get("stop"),
            ignore_eos=step.get("ignore_eos", False),
            frequency_penalty=step.get("penalty", 0.0),
        )


def _whole(state: Any, branch: list[Json]) -> Iterator[Json]:
    _raise(state)
    yield from branch


def _raise(state: Any) -> None:
    if error := state.error():
        raise error


def scored(state: Any, name: str) -> tuple[list[float], list[str]]:
    """Return each option's mean log-probability, and the end of the text that was scored."""
    meta = state.get_meta_info(name)
    echoes = ["".join(token[2] or "" for token in one) for one in meta["input_token_logprobs"]]
    return list(meta["normalized_prompt_logprobs"]), echoes


def seen(state: Any, name: str) -> Json:
    """Return one answer, as far as properties read it."""
    text, meta = state[name], state.get_meta_info(name)
    reason = meta.get("finish_reason") or {}
    matched = reason.get("matched")
    return {
        "text": text,
        "ending": reason.get("type", ""),
        "matched": matched if isinstance(matched, str) else "",
        **{key: meta.get(key, 0) for key in ("prompt_tokens", "completion_tokens")},
        "cached_tokens": meta.get("cached_tokens", 0),
    }


if __name__ == "__main__":
    main()

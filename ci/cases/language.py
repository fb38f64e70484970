"""Runs cases by SGLang's frontend language, in a process and, if need be, a Python of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from ci.cases import interpreter
from ci.cases.model import GeneratedCase
from ci.cases.observed import ObservedRun
from ci.cases.program import as_data
from ci.errors import CheckBroken, UsageError
from ci.server.key import variables

Tried = ObservedRun | str
"""A program's run, or why it could not be run."""


@dataclass(frozen=True)
class Language:
    """SGLang's frontend language in front of one server.

    Args:
        url: The server's base URL.
        python: Interpreter that has SGLang.
        timeout: Most seconds of one request.
        budget: Most seconds of all programs that are run at a time.
    """

    url: str
    python: str
    timeout: float
    budget: float

    async def run(self, cases: Sequence[GeneratedCase], page: int) -> tuple[str, list[Tried]]:
        """Run the cases' programs; return SGLang's version, and what each showed.

        Args:
            cases: What to run.
            page: Tokens of a page of the server's KV cache.

        Raises:
            UsageError: There is no such interpreter, or it has no SGLang.
            CheckBroken: It ended early, or took too long.
        """
        programs = [as_data(case.program) for case in cases]
        request = {"url": self.url, "timeout": self.timeout, "programs": programs}
        lines = await self._lines(json.dumps(request).encode())
        if len(lines) != len(cases) + 1:
            ran = max(0, len(lines) - 1)
            raise CheckBroken(f"{self.python}: {ran} of {len(cases)} programs ran")
        tried = (line.get("error") or ObservedRun.of(line["answers"], page) for line in lines[1:])
        return str(lines[0]["version"]), list(tried)

    async def _lines(self, request: bytes) -> list[dict[str, Any]]:
        command = [self.python, "-P", interpreter.__file__]
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
        clean |= variables(self.url)
        try:
            with anyio.fail_after(self.budget):
                done = await anyio.run_process(command, input=request, env=clean, check=False)
        except TimeoutError as error:
            raise CheckBroken(f"the programs took over {self.budget:g} s") from error
        except OSError as error:
            raise UsageError(f"{self.python}: no interpreter: {error.strerror}") from error
        self._check(done)
        try:
            return [json.loads(line) for line in done.stdout.splitlines()]
        except ValueError as error:
            raise CheckBroken(f"{self.python}: SGLang's language said no JSON: {error}") from error

    def _check(self, done: subprocess.CompletedProcess[bytes]) -> None:
        log = done.stderr.decode("utf-8", "replace").strip()
        last = log.rpartition("\n")[2]
        if done.returncode == interpreter.NO_SGLANG:
            raise UsageError(
                f"{self.python} has no SGLang, whose language runs the programs ({last}): "
                "name an interpreter that has it with --python"
            )
        if done.returncode:
            raise CheckBroken(f"SGLang's language broke: {last}", details=log)

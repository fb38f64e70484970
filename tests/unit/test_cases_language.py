"""The process that runs SGLang's language: without SGLang, broken, silent, and its answers."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from ci.cases.language import Language, Tried
from ci.cases.model import GeneratedCase
from ci.cases.observed import Observed, ObservedRun, Score
from ci.cases.properties import Matches
from ci.errors import CheckBroken, UsageError
from tests.unit.generated_cases import case

pytestmark = pytest.mark.unit

CASE = case(Matches(of="a", regex="x"))
HEAD = "import json, sys\nasked = json.load(sys.stdin)\nprint(json.dumps({'version': '9.9'}))\n"
ANSWERS = """
seen = {'text': 'x', 'ending': 'stop', 'matched': '', 'prompt_tokens': 3,
        'completion_tokens': 1, 'cached_tokens': 2}
score = {'option': ' red', 'mean': -1.0, 'alone': -1.1, 'echo': ': red'}
names = [next(iter(step)) for step in asked['programs'][0]]
assert names == ['say', 'gen', 'select', 'gen'], names
print(json.dumps({'answers': {'a': seen, 's': {'text': ' red', 'scores': [score]}}}))
print(json.dumps({'error': 'RuntimeError: HTTP 400'}))
"""


def python(folder: Path, program: str) -> str:
    """Return an interpreter that runs `program` whatever it is asked to run."""
    (folder / "program.py").write_text(program)
    fake = folder / "python"
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder / "program.py"}"\n')
    fake.chmod(0o755)
    return str(fake)


def run(
    interpreter: str, cases: list[GeneratedCase], budget: float = 30
) -> tuple[str, list[Tried]]:
    """Run cases by an interpreter."""
    language = Language("http://127.0.0.1:1", interpreter, 5, budget)
    return anyio.run(language.run, cases, 16)


def test_answers_are_read(tmp_path: Path) -> None:
    """What the language saw is lost or mixed up on its way, and properties judge something else."""
    version, tried = run(python(tmp_path, HEAD + ANSWERS), [CASE, CASE])
    score = Score(" red", -1.0, -1.1, ": red")
    answers = {"a": Observed("x", "stop", "", 3, 1, 2), "s": Observed(" red", scores=(score,))}
    assert version == "9.9"
    assert tried == [ObservedRun(answers, 16), "RuntimeError: HTTP 400"]


def test_interpreter_without_sglang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell what is missing, or the server is blamed."""
    package = tmp_path / "sglang"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('no sglang here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"has no SGLang.*no sglang here.*--python"):
        run(sys.executable, [CASE])
    with pytest.raises(UsageError, match="no interpreter"):
        run(str(tmp_path / "none"), [CASE])


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("raise SystemExit('out of luck')", "language broke: out of luck"),
        (HEAD, "0 of 1 programs ran"),
        ("", "0 of 1 programs ran"),
        (f"{HEAD}print('no json')", "said no JSON"),
    ],
    ids=["exit", "early", "silent", "noise"],
)
def test_broken_language_is_no_verdict(tmp_path: Path, program: str, told: str) -> None:
    """A crash of the language reads as a bad server, or as cases that hold."""
    with pytest.raises(CheckBroken, match=told):
        run(python(tmp_path, program), [CASE])


def test_hung_language_ends(tmp_path: Path) -> None:
    """A language that waits for ever holds the whole run."""
    with pytest.raises(CheckBroken, match=r"took over 0.5 s"):
        run(python(tmp_path, "import time\ntime.sleep(60)"), [CASE], budget=0.5)

"""No half of a secret is left where a text is shortened: it is veiled before it is cut."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ci.boot import log as logs
from ci.contract.check import _brief
from ci.report.text import shorten
from ci.secrets import veil
from ci.secrets.veil import VEIL, beginning, ending, learn
from ci.server.faults import brief
from ci.smoke.process import text_of
from tests.fakes.launched import Plan
from tests.fakes.serving import JsonHandler, serving
from tests.rare import rare
from tests.unit.commands import Command, proving

pytestmark = pytest.mark.unit

KEY = "sk-half-0123456789abcdefghijklmnopqrstuvwxyz"
HALF = 8
"""Characters of a secret that are too many to be shown."""
MANY = " ".join([KEY] * 3000)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGLANG_API_KEY", KEY)
    learn([KEY])


def halved(text: str) -> bool:
    """Return whether a text holds a part of the key."""
    return any(KEY[at : at + HALF] in text for at in range(len(KEY) - HALF + 1))


@pytest.mark.parametrize("pad", range(0, 120, 7))
def test_what_is_cut_is_veiled_before(pad: int) -> None:
    """The first half of a key stands at the end of a line that was shortened."""
    text = f"{'x' * pad}{KEY}{'y' * 20_000}{KEY}{'z' * pad}"
    for cut in (beginning(text, 60), ending(text, 60), brief(text, 60), shorten(text, 120)):
        assert not halved(cut), cut
        assert len(cut) <= 180
    assert not halved(brief(MANY))
    assert not halved(shorten(MANY, 1000))
    assert not halved(_brief(MANY))


def test_what_fits_stays_as_it_is() -> None:
    """A text that isn't cut is shortened, or loses what it says."""
    assert beginning("abc", 3) == ending("abc", 3) == "abc"
    assert (beginning("abcd", 3), ending("abcd", 3)) == ("abc", "bcd")
    assert beginning(MANY, 100).startswith(f"{VEIL} {VEIL} ")


def test_the_end_of_a_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    """The last bytes of a log begin in the middle of a secret."""
    path = tmp_path / "server.log"
    path.write_text(f"{KEY}\nlast\n")
    assert logs.last(path, len(KEY)).tail() == "last"
    assert logs.last(path).tail() == f"{KEY}\nlast"
    path.write_text(f"{KEY}{'y' * 65_530}\nlast\n")
    with path.open("rb") as output:
        assert text_of(output) == "last\n"


class Telling(JsonHandler):
    """A server that says its key all the time."""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Tell it, in a body without a name for it."""
        self.answer(200 if "info" in self.path else 500, {MANY: MANY, "version": "0.5.23"})

    do_POST = do_GET  # noqa: N815 - likewise


BRIEF = (
    *("--set", "health.calm=0.1", "--set", "health.load=0.3", "--set", "smoke.timeout=5"),
    *("--set", "readiness.serving=2", "--set", "readiness.first_token=2"),
    *("--set", "bench.requests=4", "--set", "bench.warm_up_requests=0", "--set", "bench.poll=0"),
)


@pytest.mark.parametrize(
    "asked",
    rare(
        [
            *("wait URL", "smoke URL", "bench URL", "versions URL", "traffic URL --seconds 1"),
            *("contract record URL --out contract.json", "exposure URL", "health URL"),
        ],
        2,
    ),
)
def test_no_question_leaves_half_a_secret(
    command: Command, capfd: pytest.CaptureFixture[str], tmp_path: Path, asked: str
) -> None:
    """Half a key that a server says stands in the report."""
    brief_settings = () if asked.startswith(("contract", "traffic", "exposure")) else BRIEF
    with serving(Telling) as url:
        command(*(url if word == "URL" else word for word in asked.split()), *brief_settings)
    left = capfd.readouterr()
    assert not halved(left.out + left.err)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
            assert not halved(text), path


@pytest.mark.long
def test_no_line_of_a_servers_log_leaves_half_a_secret(tmp_path: Path) -> None:
    """A line of a log that is too long ends in half a key."""
    plan = Plan(dies_after=0.5, last_words=f"RuntimeError: {MANY[: 600 * (len(KEY) + 1)]}")
    variable = f"server.environment={{ OWN_TOKEN = '{KEY}' }}"
    with proving(tmp_path, "--set", variable, plan=plan) as run:
        assert run.wait() == 1
    assert not halved(run.output())
    for path in (tmp_path / "report").rglob("*"):
        assert not halved(path.read_text()), path
    assert VEIL in run.report().cause


OWN = """
def test_own(ask):
    ask.post('/generate', {})
"""


@pytest.mark.long
def test_a_cases_own_process_knows_every_secret(
    command: Command, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The suite's process cuts a secret that only its parent knows."""
    veil.learn([other := KEY.replace("half", "flag")])
    (tmp_path / "own").mkdir()
    (tmp_path / "own/test_own.py").write_text(OWN)

    class Other(Telling):
        def do_GET(self) -> None:  # noqa: N802
            told = " ".join([other] * 3000)
            self.answer(200 if "info" in self.path else 500, {"model_path": "/m", told: told})

    with serving(Other) as url:
        command("smoke", url, "--smoke", str(tmp_path / "own"), *BRIEF)
    left = capfd.readouterr()
    assert "sk-flag" not in left.out + left.err
    for path in (tmp_path / "report").rglob("*"):
        assert not path.is_file() or "sk-flag" not in path.read_text(), path

"""Whether a server will drain as promised, told before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.platform import promise
from ci.platform.promise import (
    APP_PATH,
    ARGUMENTS,
    PARTS,
    SEAMS,
    SECONDS,
    SEVERAL,
    WORKER_APP,
    obstacle,
    seam,
)

pytestmark = pytest.mark.unit

ASKED = {SECONDS: "20"}


@pytest.fixture
def sglang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An SGLang that has all that the plugin attaches to."""
    package = tmp_path / "sglang"
    methods = "".join(f"    def {name}(self):\n" for name in SEAMS)
    for file, word in (*PARTS, *SEVERAL, (ARGUMENTS, methods)):
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text(word)
    monkeypatch.setattr(promise, "_package", lambda: package)
    monkeypatch.setattr(promise, "_version", lambda: "SGLang 0.5.17")
    return package


@pytest.mark.parametrize("flags", [[], ["--tokenizer-worker-num=2"]])
def test_a_server_that_drains_has_no_obstacle(sglang: Path, flags: list[str]) -> None:
    """A server that drains is said not to."""
    assert obstacle(ASKED, flags) == ""
    assert obstacle(ASKED | {"SGLANG_PLUGINS": "drain, other"}, flags) == ""
    assert obstacle(ASKED | {"SGLANG_RUST_SERVER": "0", APP_PATH: WORKER_APP}, flags) == ""


@pytest.mark.parametrize("file", [file for file, _ in PARTS])
def test_an_sglang_that_lacks_what_the_plugin_needs(sglang: Path, file: str) -> None:
    """With an SGLang that lacks one of them the promise doesn't hold, and nobody says so."""
    (sglang / file).write_text("nothing")
    assert obstacle(ASKED, []) == f"SGLang 0.5.17 has no {dict(PARTS)[file]}"
    (sglang / file).unlink()
    assert obstacle(ASKED, []) == f"SGLang 0.5.17 has no {dict(PARTS)[file]}"


def test_where_the_plugin_attaches(sglang: Path) -> None:
    """SGLang before 0.5.19 has no `resolve_once`: the plugin attaches at nothing, and so never."""
    assert seam() == "resolve_once"
    (sglang / ARGUMENTS).write_text("    def __post_init__(self):\n        self.resolve_once = 1\n")
    assert seam() == "__post_init__"
    assert obstacle(ASKED, []) == ""
    (sglang / ARGUMENTS).write_text("class ServerArgs:\n")
    assert obstacle(ASKED, []) == "SGLang 0.5.17 has no resolve_once"


@pytest.mark.parametrize(
    ("flags", "several"),
    [
        (["--tokenizer-worker-num", "2"], True),
        (["--tokenizer-worker-num=3", "--x"], True),
        (["--tokenizer-worker-num=3", "--tokenizer-worker-num", "1"], False),
        (["--tokenizer-worker-num", "many"], False),
        (["--tokenizer-worker-num"], False),
        (["--detokenizer-worker-num=2"], False),
    ],
)
def test_several_workers_need_more(sglang: Path, flags: list[str], *, several: bool) -> None:
    """Workers that load no plugin cut their streams, and nobody says so."""
    (sglang / SEVERAL[0][0]).write_text("nothing")
    assert obstacle(ASKED, flags) == (f"SGLang 0.5.17 has no {APP_PATH}" if several else "")


def test_workers_of_another_make(sglang: Path) -> None:
    """Workers import another application than ours, or are started in a way that skips it."""
    flags = ["--tokenizer-worker-num=2"]
    assert (
        obstacle(ASKED | {APP_PATH: "mine:app"}, flags) == f"{APP_PATH} names another application"
    )
    assert obstacle(ASKED | {APP_PATH: "mine:app"}, []) == ""
    assert obstacle(ASKED, [*flags, "--enable-http2"]).startswith("--enable-http2 starts several")

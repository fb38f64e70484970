"""Smoke behind a real nginx: what it changes is told, and standing there is no fault."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci.report.model import Case
from ci.smoke import SUITE
from ci.verdict import Outcome
from tests.fakes.faulty import answers, closed_port
from tests.fakes.sglang import FakeSglang, Settings
from tests.unit.smoke_sessions import failed, session

NGINX = shutil.which("nginx")

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(NGINX is None, reason="nginx isn't installed"),
]

HANG_LIMIT = 30.0
CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off; {temporary} {settings}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; }} }}
}}
"""
PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
GZIP = "gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 1;"


@contextmanager
def nginx(folder: Path, url: str, settings: str) -> Iterator[str]:
    """Yield the URL of an nginx in front of `url`, with its defaults but for `settings`."""
    port, file = closed_port(), folder / "nginx.conf"
    temporary = " ".join(f"{place}_temp_path {folder}/{place};" for place in PLACES)
    file.write_text(
        CONFIG.format(folder=folder, temporary=temporary, settings=settings, port=port, url=url)
    )
    with subprocess.Popen([str(NGINX), "-c", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + HANG_LIMIT
            while not answers(port):
                assert time.monotonic() < until, "nginx does not start"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def cases_behind(folder: Path, settings: str, select: str) -> dict[str, Case]:
    """Return the suite's cases on a good server behind nginx."""
    with (
        FakeSglang(Settings(token_seconds=0.004)) as fake,
        nginx(folder, fake.url, settings) as url,
    ):
        return session(url, folder / "cases", f"-k{select}", str(SUITE))


def test_a_server_behind_it_passes(tmp_path: Path) -> None:
    """A good server fails because it stands behind nginx."""
    cases = cases_behind(tmp_path, "proxy_buffering off;", "stream or prompt")
    assert not failed(cases)
    assert any(case.outcome is Outcome.PASSED for case in cases.values())


@pytest.mark.parametrize("settings", ["", GZIP], ids=["defaults", "gzip"])
def test_streams_that_it_holds_back_are_told(tmp_path: Path, settings: str) -> None:
    """Streams that nginx holds to their end pass: those without chunks, and compressed ones."""
    cases = cases_behind(tmp_path, settings, "comes")
    assert failed(cases) == set(cases)
    assert all(": buffered: events come" in case.message for case in cases.values())


def test_its_own_refusal_is_told(tmp_path: Path) -> None:
    """A prompt that nginx refused is taken for one that the server refused."""
    cases = cases_behind(tmp_path, "client_max_body_size 4k;", "too_long")
    assert failed(cases) == set(cases)
    assert all("refused by nginx" in case.message for case in cases.values())

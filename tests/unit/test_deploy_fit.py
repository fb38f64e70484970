"""What doesn't fit where a release is to go, known before anything is done."""

from __future__ import annotations

from typing import Any

import pytest

from ci.deploy.fit import gpus_needed, misfits
from ci.report.model import Check, Figure, Report, now
from ci.settings import Settings
from ci.settings.deploy import DeploySettings

pytestmark = pytest.mark.unit


def measured(check: str, **figures: float) -> Report:
    """Return a report in which a check measured these seconds; `__` stands for a blank."""
    found = tuple(
        Figure(name=name.replace("__", " "), value=value, unit="s")
        for name, value in figures.items()
    )
    return Report(
        started=now(),
        finished=now(),
        checks=(Check(name=check, started=now(), seconds=1, figures=found),),
    )


def found(
    report: Report | None = None,
    host: int | None = None,
    server: dict[str, Any] | None = None,
    **deploy: Any,
) -> list[str]:
    """Return the misfits."""
    settings = Settings.model_validate({"server": server or {}})
    return [*misfits(settings, DeploySettings.model_validate(deploy), report, host)]


def test_what_fits_is_let_pass() -> None:
    """A release that fits can't be planned."""
    assert not found()
    assert not found(measured("readiness", port__open=599, first__token=60), 1, strategy="replace")
    assert not found(measured("bench", e2e__p99=600, TTFT__p99=600), 8, strategy="replace")
    assert not found(None, 8, {"flags": ["--tp-size=8"]}, strategy="replace")


def test_a_start_that_took_longer_than_its_budget() -> None:
    """A deployment waits ten minutes for a server that never took less than eleven."""
    (told,) = found(measured("readiness", port__open=660.4))
    assert told == (
        "port open took 660 s where the release was proven, and readiness.port_open gives it "
        "600 s: raise it"
    )


@pytest.mark.parametrize("name", ["e2e__p99", "concurrency 8:__e2e__p90"])
def test_answers_that_take_longer_than_the_grace(name: str) -> None:
    """A drain cuts answers that were still on their way, each time."""
    (told,) = found(measured("bench", **{name: 45.0}), grace=30)
    assert "answers took up to 45 s" in told
    assert "deploy.grace = 30 s" in told


def test_first_tokens_that_come_too_late_for_the_router() -> None:
    """The router cuts every long prompt before its first token."""
    (told,) = found(measured("bench", TTFT__p99=700.0))
    assert "the router cuts a stream that is silent for 600 s" in told


@pytest.mark.parametrize(
    ("flags", "need"),
    [
        ((), 1),
        (("--tp", "4"), 4),
        (("--tensor-parallel-size=2", "--pp-size", "2"), 4),
        (("--tp-size=2", "--dp-size=2"), 4),
        (("--tp-size=2", "--dp-size=2", "--enable-dp-attention"), 2),
        (("--tp-size=many",), 1),
    ],
)
def test_gpus_that_flags_need(flags: tuple[str, ...], need: int) -> None:
    """Tensor, pipeline and data parallel ranks each take GPUs of their own."""
    assert gpus_needed(flags) == need


def test_too_few_gpus_on_the_host() -> None:
    """SGLang says so after its imports, half a minute into the deployment."""
    (told,) = found(None, 1, {"flags": ["--tp-size=2"]}, strategy="replace")
    assert told == "the flags need 2 GPUs, and this host has 1: lower --tp-size"
    assert not found(None, 1, {"flags": ["--tp-size=2"], "device": "cpu"})


def test_too_few_gpus_for_a_container() -> None:
    """A container sees fewer GPUs than its flags need, or one that isn't there."""
    few = {"strategy": "replace", "target": "container", "gpus": {"blue": [0], "green": [0, 1]}}
    (told,) = found(None, 8, {"flags": ["--tp-size=2"]}, **few)
    assert told.startswith("the flags need 2 GPUs, and deploy.gpus.blue names 1")
    (told,) = found(None, 2, target="container", gpus={"green": [2]})
    assert told == "deploy.gpus.green names GPU 2, and this host has 2"


@pytest.mark.parametrize(
    ("flags", "deploy", "told"),
    [
        (["--mem-fraction-static=0.9"], {}, "--mem-fraction-static 0.9 of the one that runs"),
        (["--mem-fraction-static", "0.5"], {}, "leaves 50% of it to the other: give each less"),
        ([], {}, "SGLang takes most of one by itself: give each less than 0.5"),
        (["--mem-fraction-static=0.4"], {}, ""),
        (["--max-total-tokens=65536"], {}, ""),
        (["--mem-fraction-static=much"], {}, ""),
        ([], {"strategy": "replace"}, ""),
        ([], {"target": "container", "gpus": {"blue": [0], "green": [1]}}, ""),
        ([], {"target": "container", "gpus": {"blue": [0], "green": [0]}}, "takes most of one"),
    ],
)
def test_two_servers_on_one_gpu(flags: list[str], deploy: dict[str, Any], told: str) -> None:
    """The second server starts with what the first left: a fraction of a fraction for its cache."""
    lines = found(None, 2, {"flags": flags}, **deploy)
    assert len(lines) == bool(told)
    assert all(told in line for line in lines)
    assert not found(None, None, {"flags": flags}, **deploy)
    assert not found(None, 2, {"flags": flags, "device": "cpu"}, **deploy)

"""What the Dagger engine says, brought into one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio
import dagger
import pytest
from dagger._exceptions import QueryErrorValue

from ci.errors import ImageUnavailable, InfrastructureFault
from ci.module.engine import NO_GPU, UNMADE, cause, explained, started

pytestmark = pytest.mark.unit

IDENTIFIER = "CpKeAgoVeHhoMzpkM2ZkYzZkMWNmNDIyMTgz" * 1000
GRAPH = (
    f"failed to load container from converted ID: load Container@{IDENTIFIER}: load xxh3:7be1f5f: "
    "inputs: load xxh3:d0f3f32aef680254: inputs: "
)
RAN = "'/bin/sh -c requirements/image.sh /opt' exited with 1"
TRACE = " [traceparent:88125e5fba69fd9552d93f10e9021cd9-4025234a0dcfa61f]"


def failed(message: str, **extensions: Any) -> dagger.QueryError:
    """Return the error of the engine's answer to a query."""
    value = QueryErrorValue(message, extensions=extensions)
    return dagger.QueryError([value], cast("Any", SimpleNamespace(document=None)))


def exec_failed(stderr: str, stdout: str = "") -> dagger.QueryError:
    """Return the error of a command in a build."""
    told = {"cmd": ["/bin/sh", "-c", "requirements/image.sh /opt"], "exitCode": 1}
    message = f"{GRAPH}failed to content hash dockerfile copy: exit code: 1{TRACE}"
    return failed(message, _type="EXEC_ERROR", stderr=stderr, stdout=stdout, **told)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            exec_failed(
                "warning: x\nerror: No solution\n  cause: no version of sglang==0.5.99\n\n"
            ),
            "'/bin/sh -c requirements/image.sh /opt' exited with 1: "
            "cause: no version of sglang==0.5.99",
        ),
        (
            exec_failed("", "only\nhere"),
            f"{RAN}: here",
        ),
        (
            exec_failed(" "),
            f"{RAN}: it printed nothing",
        ),
        (
            failed(f"{GRAPH}failed to resolve docker.io/x/y:v9: not found{TRACE}"),
            "failed to resolve docker.io/x/y:v9: not found",
        ),
        (failed(f"load Container@{IDENTIFIER}: broken"), "load Container@…: broken"),
        (failed("no such\nfile"), "no such file"),
        (
            failed(
                "input: container.experimentalWithAllGPUs.asService.start GPU support is not"
                f" enabled, set _EXPERIMENTAL_DAGGER_GPU_SUPPORT{TRACE}"
            ),
            f"it wants a GPU, and {NO_GPU}",
        ),
        (
            failed(
                f'{GRAPH}exit code: 1\ncleanup failed: "runc delete container": /usr/bin/runc did'
                f" not terminate successfully: exit status 1: container does not exist{TRACE}"
            ),
            UNMADE,
        ),
        (
            failed(
                f"{GRAPH}{'runc create failed: ' * 40}error running prestart hook #0: exit"
                " status 1, stdout: , stderr: nvidia-container-cli: requirement error: unsatisfied"
                f" condition: cuda>=13.0, please update your driver{TRACE}\nmore"
            ),
            "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0, please"
            " update your driver",
        ),
    ],
)
def test_the_cause_is_one_short_line(error: dagger.QueryError, line: str) -> None:
    """The cause of a failed build drowns in twenty thousand letters of identifiers."""
    assert cause(error) == line
    with pytest.raises(ImageUnavailable) as caught, explained("the image can't be built"):
        raise error
    assert str(caught.value) == f"the image can't be built: {line}"


def test_a_server_that_the_engine_cant_start() -> None:
    """On an engine without GPUs a server ends in a traceback, and names nothing to be done."""

    class Service:
        async def start(self) -> None:
            raise failed("start GPU support is not enabled, set _EXPERIMENTAL_DAGGER_GPU_SUPPORT")

    with pytest.raises(InfrastructureFault) as caught:
        anyio.run(started, cast("Any", Service()))
    assert not isinstance(caught.value, ImageUnavailable)
    assert str(caught.value) == (
        f"the server's container can't be started: it wants a GPU, and {NO_GPU}"
    )


def test_whatever_it_says_is_bounded() -> None:
    """A build that prints a file as one line hides its own name."""
    for error in (exec_failed("word " * 10_000), failed("word " * 10_000)):
        assert len(cause(error)) < 600
        assert cause(error).endswith("word…")

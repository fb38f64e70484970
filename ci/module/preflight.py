"""What can be known in seconds, asked by the module before it builds anything."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import dagger
from dagger import dag

from ci import SGLANG
from ci.errors import InfrastructureFault
from ci.image.bases import bases, remedy
from ci.module import build, prober, publisher
from ci.module.engine import NO_GPU
from ci.module.inputs import Inputs
from ci.module.report import Report
from ci.secrets.veil import beginning
from ci.settings import Settings
from ci.verdict import Outcome

STAGE = "preflight"
DOCKERFILE = "Dockerfile"
OURS = "PYTHON_IMAGE"
"""What names the base image of every container that asks."""
GIVEN = "/prober/given"
"""Where what the caller passed lies in the container that asks."""
SEEN = "/prober/seen.json"
LABEL = "org.opencontainers.image"
GPUS = "for gpu in /dev/nvidia[0-9]*; do test -e $gpu && exit 0; done; exit 1"
_LONGEST = 300
_TRACE = re.compile(r"\s*\[traceparent:[^\]]*\]")
"""What the engine adds to its errors for its own display."""

Seen = dict[str, str]
"""Name, outcome and message of a case."""


@dataclass(frozen=True)
class Wish:
    """What the caller wants to do.

    Args:
        publish_to: Where to publish; nothing is published where empty.
        revision: The commit that is released.
        baseline: The image to compare with; empty for that of the settings.
        gpu: Whether the image is the one for GPUs.
        container: The caller's own image; None for the Dockerfile's.
        whole: Whether all that the settings name is looked at, needed or not.
    """

    publish_to: str = ""
    revision: str = ""
    baseline: str = ""
    gpu: bool = False
    container: dagger.Container | None = None
    whole: bool = False


async def examined(inputs: Inputs, wish: Wish) -> Report:
    """Ask everything, with what only the engine can tell, and report it.

    Raises:
        InfrastructureFault: There is no image to run what asks.
    """
    seen = [one async for one in _seen(await inputs.right(), inputs, wish)]
    container = await _asking(inputs, wish)
    container = container.with_new_file(SEEN, json.dumps(seen))
    options = [*_given(inputs), *await _wished(wish), "--container", "--seen", SEEN]
    return await Report.of(await prober.answer(prober.ask(container, STAGE, *options), STAGE))


async def merged(first: Report, then: Report) -> Report:
    """Return both as one report, with the files that each has beside it."""
    container = build.prober()
    for number, part in enumerate((first, then)):
        container = container.with_mounted_directory(f"/parts/{number}", part.directory)
    asked = prober.ask(container, "report", "/parts/0", "/parts/1")
    both = await prober.answer(asked, "report")
    beside = first.directory.with_directory("/", then.directory)
    report = await Report.of(beside.with_directory("/", both))
    report.published = then.published
    return report


async def _asking(inputs: Inputs, wish: Wish) -> dagger.Container:
    """Return a container with what the caller passed, that reaches the registry where it must.

    The Dockerfile lies beside this package there, as it does where the package is developed.
    """
    lock = publisher.LOCK if wish.publish_to else build.LOCK
    dockerfile = dag.current_module().source().file(DOCKERFILE)
    container = await publisher.reaching(inputs, lock)
    container = container.with_mounted_file(f"{build.PACKAGE}/{DOCKERFILE}", dockerfile)
    if inputs.model is not None:
        container = container.with_mounted_directory(f"{GIVEN}/model", inputs.model)
    if inputs.smoke_cases is not None:
        container = container.with_mounted_directory(f"{GIVEN}/cases", inputs.smoke_cases)
    if inputs.prompts is not None:
        container = container.with_mounted_file(f"{GIVEN}/prompts", inputs.prompts)
    return container


def _given(inputs: Inputs) -> Iterator[str]:
    """Yield the options that stand for what the caller passed."""
    if inputs.model is not None:
        yield from ("--model", f"{GIVEN}/model")
    if inputs.smoke_cases is not None:
        yield from ("--smoke", f"{GIVEN}/cases")
    if inputs.prompts is not None:
        yield from ("--set", f"bench.prompts={GIVEN}/prompts")


async def _wished(wish: Wish) -> list[str]:
    """Return the options that say what the caller wants."""
    options = [] if wish.whole else ["--needed"]
    options += ["--gpu"] if wish.gpu else []
    if not wish.publish_to:
        return options
    options += ["--publish-to", wish.publish_to]
    if wish.container is None:
        return [*options, "--revision", wish.revision]
    labels = [await _label(wish.container, name) for name in ("version", "revision")]
    return [*options, "--label", labels[0], "--revision", labels[1]]


async def _label(image: dagger.Container, name: str) -> str:
    return await image.label(f"{LABEL}.{name}") or ""


async def _seen(settings: Settings, inputs: Inputs, wish: Wish) -> AsyncIterator[Seen]:
    """Yield what the engine says of the images that are needed, and of its GPUs."""
    if wish.container is not None:
        own = _own(settings, wish, wish.container)
    elif settings.engine.profile == SGLANG:
        own = _bases(settings.image.sglang_version, gpu=wish.gpu)
    else:
        own = _no_image(settings.engine.profile)
    async for one in own:
        yield one
    if reference := wish.baseline or settings.gate.baseline:
        ask = build.pulled(reference, inputs.credentials).image_ref
        yield await _answer(f"baseline {reference}", ask, "name an image that the engine can pull")
    if wish.gpu:
        ask = build.prober().experimental_with_all_gp_us().with_exec(["sh", "-c", GPUS]).stdout
        yield await _answer("GPU", ask, NO_GPU)


async def _bases(version: str, *, gpu: bool) -> AsyncIterator[Seen]:
    """Yield whether each base image of a build can be had."""
    dockerfile = await dag.current_module().source().file(DOCKERFILE).contents()
    named = bases(dockerfile, version)
    for name in named if gpu else (OURS,):
        ask = dag.container().from_(named[name]).image_ref
        answer = await _answer(f"base image {named[name]}", ask, remedy(name))
        if name == OURS and answer["outcome"] == Outcome.ERROR:
            raise InfrastructureFault(f"{answer['name']}: {answer['message']}")
        yield answer


async def _own(settings: Settings, wish: Wish, image: dagger.Container) -> AsyncIterator[Seen]:
    """Yield whether the caller's own image says of what a tag is made."""
    tagged = ":" in wish.publish_to.rpartition("/")[2]
    if not wish.publish_to or tagged or "{version}" not in settings.registry.tag:
        return
    if not await _label(image, "version"):
        problem = f"it has no {LABEL}.version, of which the tag is made: name the tag itself"
        yield _wrong("labels of the image", problem)


async def _no_image(engine: str) -> AsyncIterator[Seen]:
    """Yield that the image of another engine has to be brought."""
    yield _wrong("image", f"engine.profile is {engine!r}: bring its image by --container")


def _wrong(name: str, message: str) -> Seen:
    return {"name": name, "outcome": Outcome.ERROR, "message": message}


async def _answer(name: str, ask: Callable[[], Awaitable[str]], cure: str) -> Seen:
    """Return what came of a question to the engine."""
    try:
        told = (await ask()).strip()
    except dagger.QueryError as error:
        return _wrong(name, f"{_last(error)}; {cure}")
    return {"name": name, "outcome": Outcome.PASSED, "message": told}


def _last(error: dagger.QueryError) -> str:
    lines = _TRACE.sub("", str(error)).strip().splitlines()
    return beginning(lines[-1], _LONGEST) if lines else "no answer"

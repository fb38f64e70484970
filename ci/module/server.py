"""A running server."""

from typing import Annotated

import dagger
from dagger import Doc, field, function, object_type

from ci import engines
from ci.engines import only_sglang
from ci.module import faults, prober
from ci.module.build import LOCK, listed
from ci.module.inputs import Inputs
from ci.module.report import Report
from ci.server.key import api_key

VERSION_LABEL = "org.opencontainers.image.version"
LISTING = "ci/image/inventory.py"
INVENTORY = "/opt/inventory.json"
CASES, PROMPTS = "/prober/cases", "/prober/prompts"
PROOF = ("versions", "smoke")
TOLERANT = ("--set", "bench.tolerant=true")
"""A load beside other questions is short, and its machine may do other work."""


@object_type
class Server:
    """An image that runs as a service, and the questions that can be put to it.

    Each question is a function that returns a report. Called last it fails where the verdict
    isn't PASSED; its `directory` keeps what was found in any case.
    """

    service: Annotated[
        dagger.Service, Doc("The service, to be bound to other containers, or reached by its up")
    ] = field()
    mounted: dagger.Container
    arguments: list[str]
    image: dagger.Container
    engine: str
    model_path: str
    run: str
    inputs: Inputs
    reference: str = ""

    @function(cache="session")
    async def ready(self) -> Report:
        """Wait until the server has given its first token, phase by phase."""
        return await self._found(await self._ready(), "wait")

    @function(cache="session")
    async def versions(self) -> Report:
        """Hold what is installed and what runs against what is expected."""
        return await self._found(await self._versions(await self._ready()), "versions")

    @function(cache="session")
    async def smoke(self) -> Report:
        """Run the smoke suite and the user's own cases against the server."""
        return await self._found(await self._smoke(await self._ready()), "smoke")

    @function(cache="session")
    async def bench(self) -> Report:
        """Put the server under the load of the settings, and say how fast it answered."""
        return await self._found(await self._bench(await self._ready()), "bench")

    @function(cache="session")
    async def health(self) -> Report:
        """Hurt a server of its own, and hold what it says of its health against what is true."""
        return await self._hurt("health")

    @function(cache="session")
    async def drain(self) -> Report:
        """Send SIGTERM to a server of its own that works, and say what was lost."""
        return await self._hurt("drain")

    @function(cache="session")
    async def fuzz(self) -> Report:
        """Ask every operation of the server's own schema with requests that nobody wrote."""
        asked = await self._ready("requirements/fuzz.txt")
        return await self._found(prober.ask(asked, "fuzz", await prober.url(self.service)), "fuzz")

    @function(cache="session")
    async def prove(self) -> Report:
        """Ask every question, as far as the answers to the earlier ones make sense."""
        return await self.proven(None)

    @function(cache="session")
    async def report(self) -> dagger.Directory:
        """Ask every question, and keep the report whatever it says."""
        return (await self.prove()).directory

    async def proven(self, baseline: "Server | None") -> Report:
        """Ask every question, that of being slower than `baseline` too, and stop the servers."""
        asked, stages = await self._ready(), ["wait"]
        if (await self._found(asked, "wait")).passed:
            asked, stages = await self._smoke(await self._versions(asked)), [*stages, *PROOF]
            good = [(await self._found(asked, stage)).passed for stage in PROOF]
            if all(good) and (await self.inputs.settings()).bench.in_ci:
                asked, stages = await self._bench(asked, *TOLERANT), [*stages, "bench"]
            if all(good) and baseline is not None:
                asked, stages = await self._compare(asked, baseline), [*stages, "compare"]
        asked = prober.ask(asked, "report", *(f"/report/{stage}" for stage in stages))
        return await self._ended(await self._found(asked, "report"), baseline)

    async def compared(self, baseline: "Server") -> Report:
        """Say whether this server is slower than `baseline`, and stop both."""
        asked = await self._compare(await self._ready(), baseline)
        return await self._ended(await self._found(asked, "compare"), baseline)

    async def _ended(self, report: Report, baseline: "Server | None") -> Report:
        """Stop the servers; return `report`."""
        await self.service.stop()
        if baseline is not None:
            await baseline.service.stop()
        return report

    async def _found(self, asked: dagger.Container, stage: str) -> Report:
        return await Report.of(await prober.answer(asked, stage))

    async def _hurt(self, stage: str) -> Report:
        """Start a server that has a fault agent, ask `stage` of it once it is ready, stop it."""
        only_sglang(self.engine, stage)
        run = faults.run_of(self.run)
        container = prober.logged(self.mounted, await self.inputs.settings(), run)
        victim = await (await faults.service(container, self.arguments)).start()
        url, agent = await prober.url(victim), await faults.agent(victim)
        asked = await self._waiting(run, url)
        report = await self._found(asked, "wait")
        if report.passed:
            report = await self._found(prober.ask(asked, stage, url, "--agent", agent), stage)
        await victim.stop()
        return report

    async def _ready(self, lock: str = LOCK) -> dagger.Container:
        """Start the server; return a prober that waits for it, with the user's files in it."""
        await self.service.start()
        return await self._waiting(self.run, await prober.url(self.service), lock)

    async def _waiting(self, run: str, url: str, lock: str = LOCK) -> dagger.Container:
        environment = (await self.inputs.settings()).server.environment
        container = prober.with_config(prober.beside(run, lock), self.inputs.config)
        container = prober.with_key(container, api_key(self.arguments, environment), run)
        if self.inputs.smoke_cases is not None:
            container = container.with_mounted_directory(CASES, self.inputs.smoke_cases)
        log = ["--log", prober.LOG_FILE] if engines.profile(self.engine).native else []
        return prober.ask(container, "wait", url, *log)

    async def _versions(self, container: dagger.Container) -> dagger.Container:
        engine = engines.profile(self.engine)
        arguments = ["--model-path", self.model_path] if engine.tells_model else []
        if engine.native and (label := await self.image.label(VERSION_LABEL)):
            arguments += ["--label", label]
        if engine.native or engine.package:
            container = container.with_mounted_file(INVENTORY, listed(self.image, LISTING))
            arguments += ["--inventory", INVENTORY]
        return prober.ask(container, "versions", await prober.url(self.service), *arguments)

    async def _smoke(self, container: dagger.Container) -> dagger.Container:
        cases = ["--smoke", CASES] if self.inputs.smoke_cases is not None else []
        return prober.ask(container, "smoke", await prober.url(self.service), *cases)

    async def _bench(self, container: dagger.Container, *more: str) -> dagger.Container:
        arguments = list(more)
        if self.inputs.prompts is not None:
            container = container.with_mounted_file(PROMPTS, self.inputs.prompts)
            arguments += ["--prompts", PROMPTS]
        return prober.ask(container, "bench", await prober.url(self.service), *arguments)

    async def _compare(self, container: dagger.Container, baseline: "Server") -> dagger.Container:
        """Start `baseline` beside this server; one that doesn't get ready is told by the check."""
        await (await baseline._ready()).sync()  # noqa: SLF001 - of our own class
        urls = [await prober.url(server.service) for server in (baseline, self)]
        image = ["--baseline-image", baseline.reference] if baseline.reference else []
        return prober.ask(container, "compare", *urls, *image)

"""A running server."""

from typing import Annotated

import dagger
from dagger import Doc, field, function, object_type

from ci import engines
from ci.engines import only_sglang
from ci.gate.stage import NAME as COMPARE
from ci.graph.prove import UNWELL
from ci.module import faults, prober
from ci.module.build import LOCK, listed, printed
from ci.module.engine import started
from ci.module.inputs import Inputs
from ci.module.preflight import merged
from ci.module.report import Report
from ci.server.key import BASELINE_API_KEY, api_key

VERSION_LABEL = "org.opencontainers.image.version"
DEVICE = "ci/boot/device.py"
REVISION_LABEL = "org.opencontainers.image.revision"
SOURCE_LABEL = "org.opencontainers.image.source"
SGLANGS_OWN = "sgl-project/sglang"
"""In the label of the source of an image whose revision is SGLang's, and not a project's."""
INVENTORY = "/opt/inventory.json"
CASES, PROMPTS = "/prober/cases", "/prober/prompts"


@object_type
class Server:
    """An image that runs as a service, and the questions that can be put to it.

    Each question is a function that returns a report. Called last it fails where the verdict
    isn't PASSED; its `directory` keeps what was found in any case.
    """

    service: Annotated[
        dagger.Service, Doc("The service: bind it to other containers, or reach it with `up`")
    ] = field()
    mounted: dagger.Container
    arguments: list[str]
    model_flags: list[str]
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
        """Compare what is installed and what runs with what is expected."""
        asked, known = await self._known(await self._ready())
        asked = prober.ask(asked, "versions", await prober.url(self.service), *known)
        return await self._found(asked, "versions")

    @function(cache="session")
    async def smoke(self) -> Report:
        """Run the smoke suite and the user's own cases against the server."""
        asked, url = await self._ready(), await prober.url(self.service)
        cases = ["--smoke", CASES] if self.inputs.smoke_cases is not None else []
        return await self._found(prober.ask(asked, "smoke", url, *cases), "smoke")

    @function(cache="session")
    async def bench(self) -> Report:
        """Put the server under the load of the settings, and say how fast it answered."""
        asked, url = await self._ready(), await prober.url(self.service)
        prompts = ["--prompts", PROMPTS] if self.inputs.prompts is not None else []
        return await self._found(prober.ask(asked, "bench", url, *prompts), "bench")

    @function(cache="session")
    async def observe(self) -> Report:
        """Say whether every panel, rule and alert of `--boards` finds its metrics on the server."""
        asked = await self._ready()
        return await self._found(
            prober.ask(asked, "observe", "check", await prober.url(self.service)), "observe"
        )

    @function(cache="session")
    async def health(self) -> Report:
        """Hurt a server of its own, and compare what it says of its health with what is true."""
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
        if baseline is not None and self.startable and baseline.startable:
            return await self._proven_and_compared(baseline)
        against = await baseline.up() if baseline is not None else []
        await started(self.service)
        asked, known = await self._known(await self._beside(self.run))
        asked = await baseline.known_to(asked) if baseline is not None else asked
        arguments = [*self._log(), *known, *await self._facts(), *self._files(), *against]
        asked = prober.ask(asked, "prove", await prober.url(self.service), *arguments)
        return await self._ended(await self._found(asked, "prove"), baseline)

    async def _proven_and_compared(self, baseline: "Server") -> Report:
        """Ask every question, and once the server has ended compare fresh ones of both images."""
        report = await self.proven(None)
        if not report.passed:
            return await report.without(COMPARE, UNWELL)
        return await merged(report, await self.compared(baseline))

    async def compared(self, baseline: "Server") -> Report:
        """Say whether this image is slower than that of `baseline`, and stop all servers.

        Images whose servers can be started anew are judged; two servers where one can't.
        """
        if not (self.startable and baseline.startable):
            return await self._compared_as_they_run(baseline)
        container = await baseline.known_to(await self._beside(self.run))
        theirs, ours = await baseline.beside_agent(idle=True), await self.beside_agent(idle=True)
        urls = [await prober.url(service) for service in (theirs, ours)]
        agents = [
            "--baseline-agent",
            await faults.agent(theirs),
            "--agent",
            await faults.agent(ours),
        ]
        told = [*agents, *baseline.named]
        report = await self._found(prober.ask(container, COMPARE, *urls, *told), COMPARE)
        await theirs.stop()
        await ours.stop()
        return report

    @property
    def startable(self) -> bool:
        """Whether an agent can start its server anew."""
        return engines.profile(self.engine).native

    async def beside_agent(self, *, idle: bool = False) -> dagger.Service:
        """Start a container of the same image whose server is an agent's: it may hurt it.

        Args:
            idle: Whether the agent first starts the server when it is asked to.
        """
        settings = await self.inputs.settings()
        container = prober.logged(self.mounted, settings, faults.run_of(self.run))
        return await started(await faults.service(container, self.arguments, idle=idle))

    @property
    def named(self) -> list[str]:
        """The options that name its image as a baseline's; none where it isn't known."""
        return ["--baseline-image", self.reference] if self.reference else []

    async def _compared_as_they_run(self, baseline: "Server") -> Report:
        """Say whether this server is slower than `baseline`, and stop both."""
        _, url, *image = await baseline.up()
        asked = await baseline.known_to(await self._ready())
        asked = prober.ask(asked, COMPARE, url, await prober.url(self.service), *image)
        return await self._ended(await self._found(asked, COMPARE), baseline)

    async def up(self) -> list[str]:
        """Start this server as a baseline, wait for it, and return the options that name it."""
        await (await self._ready()).sync()
        return ["--baseline", await prober.url(self.service), *self.named]

    async def known_to(self, container: dagger.Container) -> dagger.Container:
        """Return a prober of another server, with the key of this one as its baseline."""
        return prober.with_key(container, await self._key(), self.run, BASELINE_API_KEY)

    async def _key(self) -> str:
        """Return the key that it wants; empty for none."""
        flags = [*self.model_flags, *self.arguments]
        return api_key(flags, (await self.inputs.settings()).server.environment)

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
        victim = await self.beside_agent()
        url, agent = await prober.url(victim), await faults.agent(victim)
        beside = await self._beside(faults.run_of(self.run))
        asked = prober.ask(beside, "wait", url, *self._log())
        report = await self._found(asked, "wait")
        if report.passed:
            report = await self._found(prober.ask(asked, stage, url, "--agent", agent), stage)
        await victim.stop()
        return report

    async def _ready(self, lock: str = LOCK) -> dagger.Container:
        """Start the server; return a prober that waited for it, with the user's files in it."""
        await started(self.service)
        url = await prober.url(self.service)
        return prober.ask(await self._beside(self.run, lock), "wait", url, *self._log())

    async def _beside(self, run: str, lock: str = LOCK) -> dagger.Container:
        """Return a prober of the server of `run`, with the user's files and the server's key."""
        container = prober.with_settings(prober.beside(run, lock), self.inputs)
        container = prober.with_key(container, await self._key(), run)
        if self.inputs.smoke_cases is not None:
            container = container.with_mounted_directory(CASES, self.inputs.smoke_cases)
        if self.inputs.prompts is not None:
            container = container.with_mounted_file(PROMPTS, self.inputs.prompts)
        return container

    def _log(self) -> list[str]:
        return ["--log", prober.LOG_FILE] if engines.profile(self.engine).native else []

    def _files(self) -> list[str]:
        cases = ["--smoke", CASES] if self.inputs.smoke_cases is not None else []
        return [*cases, *(["--prompts", PROMPTS] if self.inputs.prompts is not None else [])]

    async def _known(self, container: dagger.Container) -> tuple[dagger.Container, list[str]]:
        """Return a prober that has the image's listing, and the options that say what is known."""
        engine = engines.profile(self.engine)
        arguments = ["--model-path", self.model_path] if engine.tells_model else []
        if engine.native and (label := await self.image.label(VERSION_LABEL)):
            arguments += ["--label", label]
        if engine.native and SGLANGS_OWN in (await self.image.label(SOURCE_LABEL) or ""):
            arguments += ["--label-revision", await self.image.label(REVISION_LABEL) or ""]
        if engine.native or engine.package:
            container = container.with_mounted_file(INVENTORY, listed(self.image))
            arguments += ["--inventory", INVENTORY]
        return container, arguments

    async def _facts(self) -> list[str]:
        """Return the options that say for the head of the report what runs, and where."""
        told = {"engine": "containers", "image": self.reference, "project": self.inputs.revision}
        if engines.profile(self.engine).native:
            told["device"] = await printed(
                self.mounted.with_env_variable("RUN_ID", self.run), DEVICE
            )
        return [
            part for name, text in told.items() if text for part in ("--fact", f"{name}={text}")
        ]

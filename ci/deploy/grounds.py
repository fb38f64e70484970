"""What an environment stands on: who runs its digests, and who moves its traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from ci.concurrency import lock, lock_within
from ci.deploy.routers.haproxy_config import HaproxyOptions
from ci.deploy.routers.haproxy_process import router_of, start
from ci.deploy.routers.hook import HookRouter, programs
from ci.deploy.routers.none import NoRouter
from ci.deploy.routers.smg import SmgRouter
from ci.deploy.seams import Router, Target
from ci.deploy.targets.arguments import ContainerOptions
from ci.deploy.targets.container import ContainerTarget
from ci.deploy.targets.process import ProcessTarget
from ci.deploy.targets.program import Program
from ci.deploy.wanted import Stage, StrategyName
from ci.deploy.world import SLOTS, WHOLE, RouteSeen, World
from ci.errors import RouterFault, TargetFault, UsageError
from ci.registry.access import Access
from ci.settings import Settings
from ci.settings.deploy import DeploySettings

_AGAIN = 0.1
"""Seconds between two attempts at a lock that somebody else has."""
_INSTANT = 0.3
"""Seconds for which a lock is waited for in any case: whoever asks `busy` has it for an instant."""
LOCK = "deploy.lock"


class Glance(NamedTuple):
    """What is seen of an environment from outside.

    Args:
        busy: Whether somebody deploys there at the moment.
        world: What is there.
    """

    busy: bool
    world: World


@dataclass(frozen=True)
class Grounds:
    """An environment's target and router, as the settings have them.

    Args:
        environment: Its name.
        settings: The settings in force.
        target: Runs digests.
        router: Moves traffic; our own may not have been started yet.
    """

    environment: str
    settings: Settings
    target: Target
    router: Router

    @classmethod
    def of(cls, settings: Settings, environment: str, access: Access | None = None) -> Self:
        """Return those of an environment.

        Args:
            settings: The settings in force.
            environment: Its name.
            access: How containers' images are had from their registry.

        Raises:
            UsageError: There is no such environment, or its folder can't be used.
        """
        at = deploy_settings(settings, environment)
        folder = at.folder.absolute() / environment
        router = _router(at, settings, folder / "router")
        beside = StrategyName(at.strategy) is not StrategyName.REPLACE
        ports = dict.fromkeys(SLOTS, at.port) if at.router == "none" else {}
        slots = folder / "slots"
        if at.target == "container":
            program = Program(at.program, at.program)
            options = ContainerOptions(
                ports=ports,
                gpus={slot: getattr(at.gpus, slot) for slot in SLOTS},
                shared_memory=at.shared_memory,
                network=at.network,
                beside=beside,
            )
            target: Target = ContainerTarget(
                program, environment, slots, settings, access or Access(), options
            )
        else:
            target = ProcessTarget(slots, settings, ports, beside=beside, environment=environment)
        return cls(environment, settings, target, router)

    @property
    def at(self) -> DeploySettings:
        """How the environment is deployed to."""
        return deploy_settings(self.settings, self.environment)

    @property
    def folder(self) -> Path:
        """What it keeps on this host."""
        return self.at.folder.absolute() / self.environment

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of a shift of traffic, as the settings want them."""
        last = Stage(WHOLE, self.at.watch)
        if StrategyName(self.at.strategy) is not StrategyName.CANARY:
            return (last,)
        gates = set(self.at.gates)
        shares = (Stage(share, self.at.hold, share in gates) for share in self.at.shares)
        return (*shares, last)

    async def look(self) -> World:
        """Return what is there; the router has to run.

        Raises:
            TargetFault: The target doesn't answer.
            RouterFault: The router doesn't answer.
        """
        return World(await self.target.seen(), await self.router.seen())

    async def looked(self) -> World:
        """Return what is there; our own router that doesn't run yet gives nobody anything.

        Raises:
            TargetFault: The target doesn't answer.
            RouterFault: A router that isn't ours doesn't answer.
        """
        try:
            return await self.look()
        except RouterFault:
            if self.at.router != "haproxy":
                raise
            return World(await self.target.seen(), {slot: RouteSeen() for slot in SLOTS})

    async def glance(self) -> Glance:
        """Return whether somebody deploys here at the moment, and what is there.

        Raises:
            TargetFault: The target doesn't answer.
            RouterFault: A router that isn't ours doesn't answer.
        """
        file, busy = self.folder / LOCK, False
        if file.exists():
            with lock(file) as held:
                busy = held is None
        return Glance(busy, await self.looked())

    @asynccontextmanager
    async def held(self, wait: float) -> AsyncIterator[None]:
        """Let nobody else deploy here while the context lasts, and have the router run.

        The system gives back the lock of a deployment that died.

        Args:
            wait: Most seconds to wait for another deployment's end.

        Raises:
            TargetFault: Another deployment goes on, or the folder can't be written.
            RouterFault: The router can't be started.
        """
        async with AsyncExitStack() as stack:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                locking = lock_within(self.folder / LOCK, max(wait, _INSTANT), _AGAIN)
                held = await stack.enter_async_context(locking)
            except OSError as error:
                problem = f"{self.folder}: {error.strerror}: see deploy.folder"
                raise TargetFault(problem) from error
            if held is None:
                raise TargetFault(
                    f"another deployment to {self.environment} goes on: wait for its end by "
                    "--wait SECONDS, or look at sglang-ci deploy status"
                )
            if self.at.router == "haproxy":
                await start(self.folder / "router", _options(self.at))
            yield


def deploy_settings(settings: Settings, environment: str) -> DeploySettings:
    """Return how an environment is deployed to.

    Raises:
        UsageError: There is no such environment.
    """
    found = settings.environments.get(environment)
    if found is None:
        names = ", ".join(settings.environments) or "none"
        raise UsageError(f"no environment {environment} in the settings; there are: {names}")
    return found.deploy


def _router(at: DeploySettings, settings: Settings, folder: Path) -> Router:
    """Return an environment's router.

    Raises:
        UsageError: Its folder or its programs can't be used.
    """
    if at.router == "haproxy":
        return router_of(folder, _options(at))
    if at.router == "smg":
        return SmgRouter(url_of(at, settings), at.metrics)
    if at.hook is not None:
        programs(at.hook.absolute())
        return HookRouter(url_of(at, settings), at.hook.absolute())
    return NoRouter(url_of(at, settings), folder / "none.json")


def url_of(at: DeploySettings, settings: Settings) -> str:
    """Return where clients of an environment send their requests, as seen from its host."""
    if at.router == "haproxy":
        return _options(at).url
    if at.router in {"hook", "smg"}:
        return at.url or f"http://127.0.0.1:{at.port}"
    return f"http://{settings.server.host}:{at.port}"


def _options(at: DeploySettings) -> HaproxyOptions:
    return HaproxyOptions(bind=f"127.0.0.1:{at.port}")

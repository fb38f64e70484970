"""How a digest goes out to an environment, and how it is watched on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ci.settings.fields import Budget, Filled, HostPath, NoBool, Section, Unset

HOST = r"^$|^ssh://([^@\s/:]+@)?(\[[0-9a-fA-F:.]+\]|[^@\s/:\[\]]+)(:[0-9]{1,5})?$"
"""A user may stand in it, and no password."""

HALF = 50
"""Half of new requests: both slots get as many, and a router without weights can make nothing else
between none and all."""


Share = Annotated[int, Field(ge=1, le=99), NoBool]
Rate = Annotated[float, Field(gt=0, lt=1), NoBool]
Index = Annotated[int, Field(ge=0), NoBool]
Seconds = Annotated[float, Field(ge=0, le=86_400), NoBool]


class SlotGpus(Section):
    """[environments.NAME.deploy.gpus]: indices of the GPUs that a slot's container gets."""

    blue: tuple[Index, ...] = Field((), description="Such as [0, 1]; empty for none.")
    green: tuple[Index, ...] = Field((), description="Likewise; the same ones where both fit.")


class DeploySettings(Section):
    """[environments.NAME.deploy]: what runs the digest, what moves traffic, and how."""

    host: str = Field(
        "",
        pattern=HOST,
        description="Another host on which all of this is done, ssh://USER@HOST:PORT; empty: here.",
    )
    command: Filled = Field(
        "sglang-ci", description="The command by which the user's shell there runs sglang-ci."
    )
    target: Literal["process", "container"] = Field(
        "process", description="What runs a digest: processes or containers of the host."
    )
    program: Literal["podman", "docker"] = Field(
        "podman", description="The program that runs containers."
    )
    gpus: SlotGpus = Field(
        SlotGpus(), description="Indices of the GPUs that each slot's container gets."
    )
    shared_memory: Annotated[str, Field(pattern=r"^[1-9]\d*[kmg]$")] = Field(
        "8g", description="Size of a container's /dev/shm, which servers with several GPUs need."
    )
    network: Literal["published", "host"] = Field(
        "published",
        description="A container's port is published on server.host alone; or it shares the host's "
        "network.",
    )
    router: Literal["haproxy", "smg", "hook", "none"] = Field(
        "haproxy",
        description="What moves traffic: our own HAProxy; an smg of yours, SGLang's gateway; a "
        "router of yours, by programs in `hook`; nothing, for one server at a time (`replace`).",
    )
    hook: Annotated[Path | None, Unset, HostPath("folder", "host")] = Field(
        None,
        description="Folder of the programs look, point and shift; relative to this file.",
    )
    url: str = Field(
        "",
        pattern=r"^$|^https?://[^@\s]+$",
        description="Where clients reach the hook's router, or smg; empty: `port` of this host.",
    )
    metrics: str = Field(
        "",
        pattern=r"^$|^https?://[^@\s]+$",
        description="Where smg's metrics are, such as http://127.0.0.1:29000, without /metrics; "
        "empty: users' requests aren't counted, so that no watch passes.",
    )
    strategy: Literal["replace", "blue-green", "canary"] = Field(
        "blue-green",
        description="One copy at a time; all traffic at once; or by shares, each one watched.",
    )
    folder: Annotated[Path, HostPath("folder", "host")] = Field(
        Path(".sglang-ci"),
        description="Folder of the host that keeps slots and router; relative to this file, and on "
        "another host to the user's home folder.",
    )
    port: Annotated[int, Field(ge=1, le=65_535), NoBool] = Field(
        30000,
        description="Port of the router, or without one of the server: all that clients know.",
    )
    shares: tuple[Share, ...] = Field(
        (10, 50), description="A canary's shares of new requests before it gets all, of 100."
    )
    hold: Budget = Field(60.0, description="Seconds for which each of these shares is watched.")
    gates: tuple[Share, ...] = Field(
        (), description="Those of the shares after which a person has to agree, by --approved."
    )
    watch: Seconds = Field(
        0.0, description="Seconds for which a release is watched when it has all traffic; 0: none."
    )
    streams: Annotated[float, Field(ge=0, le=100), NoBool] = Field(
        2.0,
        description="Streams of our own that a watch sends to each slot every second, as [traffic] "
        "describes them; 0: none.",
    )
    allowed_loss: Rate = Field(
        0.005, description="Share of requests that may fail or be cut without a doubt."
    )
    bad_loss: Rate = Field(0.03, description="Share of requests that may not: it goes back.")
    slower: Annotated[float, Field(ge=0, le=10), NoBool] = Field(
        0.2,
        description="The slow-down that is allowed beside the other slot, in TTFT and in time per "
        "output token: a candidate that is shown to exceed it goes back; 0: speed isn't judged.",
    )
    speed_shown: bool = Field(
        default=False,
        description="Whether a watch at a share of 50 or more has to show that the candidate isn't "
        "slower than that; until it is shown, the watch counts as one of too little traffic.",
    )
    little_traffic: Literal["go back", "ask"] = Field(
        "go back", description="What a watch does that could not judge enough in its budget."
    )
    budget: Seconds = Field(
        1800.0, description="Most seconds for which a watch waits for enough requests."
    )
    grace: Budget = Field(
        600.0, description="Most seconds for which open requests of a drained slot are waited for."
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError(f"shares = {list(self.shares)} have to rise")
        if missing := set(self.gates) - set(self.shares):
            raise ValueError(f"gates = {sorted(missing)} aren't among the shares")
        if self.router == "none" and self.strategy != "replace":
            raise ValueError('router = "none" moves no traffic: it needs strategy = "replace"')
        if self.router == "none" and self.watch:
            raise ValueError('router = "none" counts no requests: it needs watch = 0')
        if self.router == "hook" and self.hook is None:
            raise ValueError('router = "hook" needs hook, the folder of its programs')
        if self.router == "smg" and self.strategy == "canary" and self.shares != (HALF,):
            raise ValueError(
                f'router = "smg" has one worker a slot, and can make the shares {HALF} and 100: '
                f"a canary needs shares = [{HALF}], not {list(self.shares)}"
            )
        if self.allowed_loss >= self.bad_loss:
            raise ValueError("allowed_loss has to be below bad_loss")
        if self.speed_shown and (why := self._speed_unseen()):
            raise ValueError(f"speed_shown needs {why}")
        return self

    def _speed_unseen(self) -> str:
        """Return what is missing for a proof of a candidate's speed; empty where nothing is."""
        if not self.slower:
            return "slower over 0, the slow-down that is allowed"
        if self.strategy == "replace":
            return 'two slots side by side: strategy = "canary" or "blue-green"'
        shares = self.shares if self.strategy == "canary" else ()
        fair = any(share >= HALF for share in shares)
        return "" if fair or self.watch else f"a watch: a share of {HALF} or more, or watch over 0"

"""What is run and how long: the sizes of each step, and the settings files made of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.gpu.processes import Deadline

GPU_FLAGS = (
    "--mem-fraction-static=0.7",
    "--max-total-tokens=65536",
    "--cuda-graph-max-bs-decode=64",
)
"""Two servers of an 8B model share 80 GB: each takes 16 GB of weights, 9 GB of KV cache and
what its graphs need. The fraction is of what is free when a server starts, and both pass."""

SLOWER_FLAGS = ("--cuda-graph-max-bs-decode=4",)
"""Batches above four run without CUDA graphs; of equal flags the last wins."""

LIMITS = {
    "boot": 420.0,
    "health": 330.0,
    "bench": 480.0,
    "gate": 520.0,
    "gpus": 540.0,
    "starts": 540.0,
    "shared": 540.0,
}
"""Most seconds of each step: a command on a lent machine may take ten minutes."""


@dataclass(frozen=True)
class Sizes:
    """How much load there is.

    Args:
        prompt: Tokens of a prompt of the bench.
        answer: Tokens of an answer of the bench.
        loads: Requests of each load of the bench, by its concurrency.
        warm_up: Most seconds of a warm-up.
        gate_prompt: Tokens of a prompt of the gate.
        gate_answer: Tokens of an answer of the gate.
        concurrency: Requests under way in a block.
        requests: Requests of a block.
        pairs: Pairs of blocks of a comparison.
        repeat: Whether a comparison that can't say anything is repeated once.
        budget: Most seconds of a comparison.
    """

    prompt: int = 512
    answer: int = 128
    loads: Mapping[int, int] = field(default_factory=lambda: {1: 16, 8: 96, 32: 256, 64: 512})
    warm_up: float = 45.0
    gate_prompt: int = 256
    gate_answer: int = 64
    concurrency: int = 8
    requests: int = 32
    pairs: int = 24
    repeat: bool = True
    budget: float = 150.0


QUICK = Sizes(
    prompt=64,
    answer=16,
    loads={1: 8, 8: 32},
    warm_up=5.0,
    gate_prompt=64,
    gate_answer=16,
    concurrency=4,
    requests=12,
    pairs=16,
    repeat=False,
)


@dataclass(frozen=True)
class Plan:
    """One run.

    Args:
        out: Where everything goes.
        model: The model's folder.
        device: `cuda` or `cpu`.
        flags: Flags of every server.
        slower: Further flags of the slower candidate.
        slowed: By which share a proxy slows it instead; 0 for none.
        sizes: How much load there is.
        port: The first of two ports.
        seconds: Most seconds of any step, below the step's own limit.
        home: Home of the servers' processes, and so where they keep what they compile; None: ours.
    """

    out: Path
    model: Path
    device: str
    flags: tuple[str, ...]
    slower: tuple[str, ...] = SLOWER_FLAGS
    slowed: float = 0.0
    sizes: Sizes = field(default_factory=Sizes)
    port: int = 31800
    seconds: float = math.inf
    home: Path | None = None

    def deadline(self, step: str) -> Deadline:
        """Return when a step that begins now has to be over."""
        return Deadline.after(min(LIMITS[step], self.seconds))

    def url(self, number: int) -> str:
        """Return the URL of a server."""
        return f"http://127.0.0.1:{self.port + number}"

    def settings(self, name: str, number: int = 0, *, slower: bool = False) -> Path:
        """Write the settings of server `number` to `name`, and return the file."""
        extra = self.slower if slower and not self.slowed else ()
        at, path = self.sizes, self.out / name
        text = toml(
            {
                "image": {"sglang_version": version("sglang")},
                "model": {"path": str(self.model.resolve())},
                "server": {
                    "device": self.device,
                    "port": self.port + number,
                    "flags": [*self.flags, *extra],
                },
                "server.environment": self._caches(),
                "readiness": {"process_started": 120.0, "port_open": 360.0, "serving": 180.0},
                "smoke": {"budget": 180.0},
                "bench": {
                    "in_ci": False,
                    "input": str(at.prompt),
                    "output": str(at.answer),
                    "warm_up_seconds": at.warm_up,
                },
                "gate": {
                    "concurrency": at.concurrency,
                    "requests": at.requests,
                    "pairs": at.pairs,
                    "repeat": at.repeat,
                    "budget": at.budget,
                },
            }
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def _caches(self) -> dict[str, str]:
        """Make `home`, and return the variables by which each compiler below SGLang uses it."""
        if self.home is None:
            return {}
        home = self.home.resolve()
        home.mkdir(parents=True, exist_ok=True)
        return {"HOME": str(home), "TORCHINDUCTOR_CACHE_DIR": str(home / "inductor")}

    def for_gate(self) -> Plan:
        """Return the plan whose settings have the gate's lengths."""
        at = self.sizes
        return replace(
            self, sizes=replace(at, prompt=at.gate_prompt, answer=at.gate_answer, warm_up=5.0)
        )


def toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return sections of plain values as TOML, in which JSON's values are written alike."""
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"

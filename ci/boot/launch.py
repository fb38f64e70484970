"""How a server is started: what `launch.sh` is given, or another engine's own command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ci.errors import CheckBroken

REFUSED = {65, 66, 67, 72}
"""Exit codes of `launch.sh` that blame what was to be served."""
BLOCKED = {64, 68, 69, 70, 71, 73}
"""Exit codes of `launch.sh` that blame this machine or the way it was called."""


MODULE, COMMAND = "sglang.launch_server", ("sglang", "serve")
"""What `launch.sh` becomes: a module, or where there is one the command and its first word."""


def is_sglang(words: Sequence[str]) -> bool:
    """Return whether a command line is that of SGLang's server.

    No path of this package looks like one.
    """
    pairs = ((Path(first).name, second) for first, second in pairwise(words))
    return MODULE in words or COMMAND in pairs


@dataclass(frozen=True)
class Launch:
    """How a server is started.

    Args:
        model: The model's folder.
        host: Address to listen on.
        port: Port to listen on.
        device: `auto`, `cuda` or `cpu`.
        log_level: SGLang's log level.
        log_format: `text`, or `json`: one record a line.
        start_method: How SGLang's processes begin: `auto`, `fork` or `spawn`.
        flags: Further flags of SGLang's own.
        expected_version: The SGLang version that must be installed; any where empty.
        environment: Further variables, which win over this process's own.
        python: The interpreter that has SGLang.
        argv: The command of another engine, which is run in place of `launch.sh`.
    """

    model: Path
    host: str
    port: int
    device: str = "auto"
    log_level: str = "info"
    log_format: str = "text"
    start_method: str = "auto"
    flags: tuple[str, ...] = ()
    expected_version: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    argv: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The server's base URL as seen from this host."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def environ(self) -> dict[str, str]:
        """Return the environment in which it runs."""
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        if self.argv:
            return inherited | {"PYTHONUNBUFFERED": "1", **self.environment}
        return inherited | {
            "MODEL_PATH": str(self.model),
            "HOST": self.host,
            "PORT": str(self.port),
            "DEVICE": self.device,
            "LOG_LEVEL": self.log_level,
            "LOG_FORMAT": self.log_format,
            "START_METHOD": self.start_method,
            "EXPECTED_SGLANG_VERSION": self.expected_version,
            "PYTHON": self.python,
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }


def launch_script() -> Path:
    """Return `launch.sh`: beside the package in a source tree, inside it when installed.

    Raises:
        CheckBroken: It is at neither place.
    """
    package = Path(__file__).parents[1]
    for path in (package / "launch.sh", package.parent / "launch.sh"):
        if path.is_file():
            return path
    raise CheckBroken(f"launch.sh is missing from {package}; install sglang-ci again")

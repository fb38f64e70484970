"""SGLang's plugin for a CPU: its processes begin as copies of the first, which has imported all.

SGLang spawns its scheduler and its detokenizer: each is a new interpreter that imports torch,
transformers and SGLang anew, which on a CPU is two thirds of all that a start computes. Where
`launch.sh` has set `SGLANG_CI_START_METHOD=fork`, they are forked instead, at a moment when the
first process has one thread and no accelerator's context; wherever that doesn't hold, and for
whatever is started later, SGLang's own way stays. Garbage is seldom looked for while all is
imported, and what was imported is left out of collections for good: copies share its memory.
Sources: `engine.py` and `hook_registry.py` of SGLang 0.5.23.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ci.platform.promise import lacks

METHOD = "SGLANG_CI_START_METHOD"
ENGINE = "sglang.srt.entrypoints.engine.Engine"
STARTS = ("_launch_scheduler_processes", "_launch_detokenizer_subprocesses")
"""Methods of `ENGINE` that start SGLang's processes."""
FORKED = "SGLang's processes were forked"
"""What the server's log says then; `ci/boot/log.py` looks for it."""
NUMA = "numa_node"
"""A flag for which SGLang starts processes by another program, as only spawning can."""
TASKS = Path("/proc/self/task")
"""A folder for each thread; what another one has locked stays locked in a copy."""
USUAL, IMPORTING = gc.get_threshold(), (200_000, 10, 10)
"""How often garbage is looked for: usually, and while imports make little of it."""
logger = logging.getLogger(__name__)


def activate() -> None:
    """Have processes forked as above, or step aside where nobody asked for it."""
    if os.environ.get(METHOD) != "fork" or multiprocessing.parent_process():
        return
    if missing := lacks("srt/entrypoints/engine.py", *STARTS):
        logger.warning("SGLang's processes are spawned: %s", missing)
        return
    import torch

    if torch.accelerator.is_available():
        return
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    gc.set_threshold(*IMPORTING)
    os.register_at_fork(after_in_child=_begin)
    for name in STARTS:
        HookRegistry.register(f"{ENGINE}.{name}", _forking, HookType.AROUND)


def _forking(original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call what starts processes, which fork meanwhile if that is safe."""
    if gc.get_threshold() == IMPORTING:  # not --gc-threshold's
        gc.set_threshold(*USUAL)
    if danger := _danger((*arguments, *named.values())):
        logger.warning("SGLang's processes are spawned: %s", danger)
        return original(*arguments, **named)
    gc.freeze()
    multiprocessing.set_start_method("fork", force=True)
    try:
        return original(*arguments, **named)
    finally:
        multiprocessing.set_start_method("spawn", force=True)
        logger.info(FORKED)


def _danger(arguments: tuple[Any, ...]) -> str:
    """Return why a copy of this process can't go on; empty where it can."""
    if any(getattr(one, NUMA, None) for one in arguments):
        return "--numa-node starts them by numactl"
    names = [path.joinpath("comm").read_text().strip() for path in TASKS.iterdir()]
    return f"this one has {len(names)} threads ({', '.join(names)})" if len(names) > 1 else ""


def _begin() -> None:
    """Be a process as if spawned: what it starts is spawned, and no signal is its parent's."""
    multiprocessing.set_start_method("spawn", force=True)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

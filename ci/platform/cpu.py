"""SGLang's platform plugin for a CPU without AMX kernels.

SGLang calls `activate` through the entry point group `sglang.srt.platforms` in each of
its processes, and uses the class it names instead of its built-in platforms. Source:
`sglang/srt/platforms/__init__.py` of SGLang 0.5.23.
"""

import os

_CLASS = "ci.platform.cpu_platform.PlainCpuPlatform"


def activate() -> str | None:
    """Name the plain CPU platform, or step aside.

    Returns:
        The qualified class name, or None where torch sees an accelerator or
        `SGLANG_USE_CPU_ENGINE=1` asks for SGLang's own CPU engine.
    """
    if os.environ.get("SGLANG_USE_CPU_ENGINE") == "1":
        return None
    import torch

    if torch.accelerator.is_available():
        return None
    return _CLASS

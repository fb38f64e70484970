"""Delete what only an NVIDIA GPU could use from the environment of a CPU server.

    PYTHON requirements/shrink.py

For an image, where files inside of wheels count; on a host they are links into the
installer's cache, and to delete them frees nothing. It imports the server, reads in the
process's own memory map which libraries that needed, and deletes, in the packages of CUDA
and its kernels, every other library with all that serves a compiler: nothing could load
them without a GPU. Then it imports the server again, and fails if that does.
"""

import importlib
import subprocess
import sys
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))
PACKAGES = ("nvidia", "sgl_kernel", "triton/backends")
SUFFIXES = (".a", ".bc", ".h", ".hpp", ".cuh")
SERVER = ("sglang.srt.entrypoints.http_server", "sglang.srt.models.registry")


def mapped() -> set[Path]:
    """Return the files that this process has mapped into its memory."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line.split(maxsplit=5)[5]) for line in lines if "/" in line}


def useless(package: Path, needed: set[Path]) -> list[Path]:
    """Return the files of `package` that are neither Python nor a library in `needed`."""
    files = [path for path in package.rglob("*") if path.is_file() and path.resolve() not in needed]
    return [
        path
        for path in files
        if path.suffix in SUFFIXES
        or ".so" in path.suffixes
        or "bin" in path.parts[len(SITE.parts) :]
    ]


def shrink() -> int:
    """Delete what importing the server doesn't need; return the bytes that this freed."""
    for module in SERVER:
        importlib.import_module(module)
    needed = {path.resolve() for path in mapped()}
    files = [path for package in PACKAGES for path in useless(SITE / package, needed)]
    freed = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    return freed


if __name__ == "__main__":
    sys.stdout.write(f"deleted {shrink() / 1e9:.2f} GB that only a GPU could use\n")
    subprocess.run([sys.executable, "-c", f"import {', '.join(SERVER)}"], check=True)

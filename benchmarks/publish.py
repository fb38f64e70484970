"""What publishing an image takes: gzip against zstd, side by side, and the evidence.

    python -m benchmarks.publish [--registry localhost:5000]

Asks an engine for the image's tar with each compression, which no earlier run may have made
(`dagger core engine local-cache prune`, then one `dagger call image`), and pushes each to a
repository of its own in a plain HTTP registry. The order is drawn by lot. Prints seconds and
bytes of each part.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from ci.image.layout import OciLayout
from ci.image.push import push
from ci.registry.access import Access
from ci.registry.client import Registry
from ci.registry.reference import Reference


def tar(compression: str, folder: Path) -> tuple[Path, float]:
    """Return the image's tar with one compression, and the seconds until it lay there."""
    path, begin = folder / f"{compression}.tar", time.monotonic()
    subprocess.run(
        ["dagger", "--progress=plain", "call", "image", "container", "as-tarball",
         f"--forced-compression={compression}", "export", f"--path={path}"],
        capture_output=True, check=True,
    )  # fmt: skip
    return path, time.monotonic() - begin


def pushed(path: Path, registry: str) -> tuple[float, int]:
    """Return the seconds and bytes that a push to a new repository took."""
    reference = Reference.parse(f"{registry}/bench/{uuid.uuid4().hex}:bench")
    with Registry(reference, Access(plain_http=True)) as repository:
        done = push(OciLayout.open(path), repository, reference)
    return done.seconds, done.bytes_sent


def main() -> None:
    """Measure both, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--registry", default="localhost:5000", help="a plain HTTP registry")
    registry = parser.parse_args().registry
    subprocess.run(["dagger", "call", "image", "gpu"], capture_output=True, check=True)
    compressions = random.sample(["Gzip", "Zstd"], 2)
    for compression in compressions:
        with tempfile.TemporaryDirectory() as folder:
            path, made = tar(compression, Path(folder))
            seconds, size = pushed(path, registry)
        print(f"{compression}: tar {made:.1f} s, push {seconds:.1f} s, {size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()

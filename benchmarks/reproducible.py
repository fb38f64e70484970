"""Build the image twice from nothing, and compare the digests of its layers.

    python -m benchmarks.reproducible record FIRST.json [--files] [--module PATH]
    dagger core engine local-cache prune        # or go to another machine
    python -m benchmarks.reproducible record SECOND.json [--files] [--module PATH]
    python -m benchmarks.reproducible compare FIRST.json SECOND.json

`record` builds the image as `dagger call image` does, exports it with the layers that a
publication sends, and notes digest, size and time of each. With `--files` (it needs the `zstd`
command) it notes every file, too, so that `compare` can name those that differ.

`compare` exits with 1 where one of our own layers differs, and with 3 where a layer has the same
time in both: then the second build took it from the cache, and nothing was compared. A build and
its export take some minutes and 2.4 GB of temporary files (TMPDIR).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

from ci.image.layout import OciLayout

ROOT = Path(__file__).parents[1]
OURS = ("account", "environment", "project", "launcher", "model")
"""The layers that the Dockerfile's target `cpu` puts on its base image, in order."""
SHOWN = 20
DIFFERENT, NOT_COMPARED = 1, 3

Record = dict[str, Any]


def build(module: Path, tar: Path) -> float:
    """Build the image of `module`, write it to `tar`, and return the seconds that took."""
    argv = ["dagger", "--progress=plain", "call", "image", "container", "export"]
    began = time.monotonic()
    subprocess.run(
        [*argv, f"--path={tar}", "--forced-compression=Zstd"],
        cwd=module,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - began


def files(layer: BinaryIO) -> dict[str, str]:
    """Return path to everything that a layer says of it: type, mode, owner, time and content."""
    with subprocess.Popen(["zstd", "-dc"], stdin=layer, stdout=subprocess.PIPE) as plain:
        stream = cast("BinaryIO", plain.stdout)
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            found = {it.name: _said(tar, it) for it in tar}
        stream.read()
    assert plain.returncode == 0
    return found


def _said(tar: tarfile.TarFile, it: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    content = tar.extractfile(it) if it.isreg() else None
    while content and (block := content.read(1 << 20)):
        digest.update(block)
    fields = (it.type.decode(), oct(it.mode), it.uid, it.gid, it.mtime, it.linkname)
    return " ".join(map(str, (*fields, digest.hexdigest())))


def record(tar: Path, *, with_files: bool) -> Record:
    """Return what the image in `tar` is made of."""
    layout = OciLayout.open(tar)
    with layout.open_blob(layout.manifest.config.digest) as stream:
        config = json.load(stream)
    times = [step["created"] for step in config["history"] if not step.get("empty_layer")]
    layers = [
        {"digest": layer.digest, "size": layer.size, "diff_id": diff_id, "created": created}
        for layer, diff_id, created in zip(
            layout.manifest.layers, config["rootfs"]["diff_ids"], times, strict=True
        )
    ]
    names = [*(f"base {i}" for i in range(len(layers) - len(OURS))), *OURS]
    if with_files:
        for layer in layers[-len(OURS) :]:
            layer["files"] = _files_of(layout, layer["digest"])
    return {
        "image": layout.image.digest,
        "layers": dict(zip(names, layers, strict=True)),
        "config": {key: config[key] for key in config if key not in {"history", "rootfs"}},
    }


def _files_of(layout: OciLayout, digest: str) -> dict[str, str]:
    with tempfile.TemporaryFile() as copy, layout.open_blob(digest) as stream:
        while block := stream.read(1 << 20):
            copy.write(block)
        copy.seek(0)
        return files(copy)


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Return a line for each file that differs, in the form of a diff."""
    paths = [path for path in sorted(first | second) if first.get(path) != second.get(path)]
    return [
        f"    {sign} {path}: {side[path]}"
        for path in paths
        for sign, side in (("-", first), ("+", second))
        if path in side
    ]


def compare(first: Record, second: Record) -> int:
    """Print how each layer and the configuration compare; return the exit code."""
    outcome = 0
    for name, one in first["layers"].items():
        other = second["layers"][name]
        same, twice = one["digest"] == other["digest"], one["created"] != other["created"]
        if name in OURS:
            outcome = outcome or (DIFFERENT if not same else 0 if twice else NOT_COMPARED)
        said = "the same" if same else "DIFFERENT"
        if not twice:
            said += ", not built twice"
        print(f"{name:12} {one['size'] / 1e6:8.1f} MB  {one['digest'][:19]}  {said}")
        for line in differences(one.get("files", {}), other.get("files", {}))[:SHOWN]:
            print(line)
    for key, value in first["config"].items():
        if value != second["config"].get(key):
            print(f"configuration: {key} differs: {value} {second['config'].get(key)}")
    print(f"image: {'the same' if first['image'] == second['image'] else 'different'}")
    return outcome


def main() -> int:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record", help="build, and write what came of it")
    recording.add_argument("record", type=Path)
    recording.add_argument("--files", action="store_true", help="note every file, too")
    recording.add_argument("--module", type=Path, default=ROOT, help="folder of the module")
    comparing = verbs.add_parser("compare", help="compare two records")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    options = parser.parse_args()
    if options.verb == "compare":
        return compare(*(json.loads(at.read_text()) for at in (options.first, options.second)))
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder, "image.tar")
        took = build(options.module, tar)
        found = record(tar, with_files=options.files)
    options.record.write_text(json.dumps(found | {"seconds": round(took)}, indent=1))
    print(f"{found['image']} in {took:.0f} s: {options.record}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

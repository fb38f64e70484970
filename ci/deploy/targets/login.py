"""A registry's credentials for podman and docker, for the time of one pull."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ci.deploy.targets.program import Program
from ci.registry.access import DOCKERS_NAMES, Access
from ci.registry.reference import Reference

_PREFIX = "login-"


@contextmanager
def logged_in(
    program: Program, reference: Reference, access: Access, folder: Path
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the flags of `pull`, and the program's variables, by which a registry is reached.

    The password lies in a file for the time of the context, which only its owner may read. One
    that a killed process left is removed the next time; only one pull at a time may use a folder.
    Docker reads no other file of its configuration meanwhile.
    """
    for left in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as made:
        flags: list[str] = []
        variables: dict[str, str] = {}
        if access.username:
            auth = _written(Path(made) / "config.json", reference, access)
            if program.kind == "docker":
                variables["DOCKER_CONFIG"] = made
            else:
                flags += ["--authfile", str(auth)]
        if program.kind == "podman" and access.plain_http:
            flags.append("--tls-verify=false")
        if program.kind == "podman" and access.ca_file is not None:
            (Path(made) / "ca.crt").symlink_to(access.ca_file.absolute())
            flags += ["--cert-dir", made]
        yield flags, variables


def _written(path: Path, reference: Reference, access: Access) -> Path:
    name = DOCKERS_NAMES.get(reference.registry, reference.registry)
    basic = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
    path.touch(mode=0o600)
    path.write_text(json.dumps({"auths": {name: {"auth": basic}}}), encoding="utf-8")
    return path

"""An image's way from a layout into a registry, under a tag that nobody else has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

from ci.errors import ConflictingWrite, TagTaken, UsageError
from ci.image.layout import OciLayout
from ci.registry.client import Registry
from ci.registry.manifests import UNCHECKED
from ci.registry.oci import Descriptor
from ci.registry.reference import Reference

_AT_ONCE = 3
"""Blobs that are uploaded at the same time."""


@dataclass(frozen=True)
class Pushed:
    """What a push did; times in seconds, sizes in bytes."""

    reference: Reference
    """The image by its digest."""
    bytes_sent: int
    blobs_sent: int
    blobs_there: int
    seconds: float


def push(
    layout: OciLayout,
    registry: Registry,
    reference: Reference,
    *,
    immutable: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> Pushed:
    """Push the image of `layout` under the tag that `reference` names.

    The tag is looked at before anything is uploaded, and again before it is written. It is
    written last, so nobody ever sees half an image.

    Args:
        layout: The image.
        registry: The repository of `reference`.
        reference: Where it goes to, with a tag.
        immutable: Whether a tag that names something else is left as it is.
        progress: Is told, in one line each, what was uploaded.

    Raises:
        UsageError: `reference` has no tag, or isn't in the registry's repository.
        TagTaken: The tag names another digest, and nothing was changed.
        RegistryFault: The registry did not do it.
        BrokenArtifact: The layout isn't what its digests say.
    """
    started = time.monotonic()
    if not reference.tag or reference.name != registry.reference.name:
        raise UsageError(f"{reference}: it has to be a tag in {registry.reference}")
    digest = layout.image.digest
    sent: list[Descriptor] = []
    blobs = layout.blobs()
    if not is_there(registry, reference, digest, immutable=immutable):
        sent = _upload(layout, registry, blobs, progress)
        _tag(layout, registry, reference, immutable=immutable)
    return Pushed(
        reference=registry.reference.at(digest),
        bytes_sent=sum(blob.size for blob in sent),
        blobs_sent=len(sent),
        blobs_there=len(blobs) - len(sent),
        seconds=time.monotonic() - started,
    )


def is_there(registry: Registry, reference: Reference, digest: str, *, immutable: bool) -> bool:
    """Return whether the tag names `digest` already.

    Raises:
        TagTaken: It names another one, and is immutable.
    """
    there = registry.resolve(reference.tag)
    if there is not None and there.digest != digest and immutable:
        raise TagTaken(str(reference), there.digest, digest)
    return there is not None and there.digest == digest


def _tag(layout: OciLayout, registry: Registry, reference: Reference, *, immutable: bool) -> None:
    image = layout.image
    expected = None if immutable else UNCHECKED
    try:
        registry.put_manifest(
            reference.tag, layout.manifest.content, image.media_type, expected=expected
        )
    except ConflictingWrite:
        if not is_there(registry, reference, image.digest, immutable=immutable):
            raise


def _upload(
    layout: OciLayout,
    registry: Registry,
    blobs: tuple[Descriptor, ...],
    progress: Callable[[str], None],
) -> list[Descriptor]:
    """Upload blobs, the largest first, and return those that weren't there.

    The first that fails, or an interrupt, ends the others.
    """
    cancelled, sent = threading.Event(), []

    def send(blob: Descriptor) -> tuple[Descriptor, bool, float]:
        started, opened = time.monotonic(), partial(layout.open_blob, blob.digest)
        uploaded = registry.put_blob(blob, opened, cancelled)
        return blob, uploaded, time.monotonic() - started

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ordered = sorted(blobs, key=lambda blob: blob.size, reverse=True)
        try:
            for done in as_completed([pool.submit(send, blob) for blob in ordered]):
                blob, uploaded, seconds = done.result()
                sent += [blob] * uploaded
                how = f"uploaded in {seconds:.1f} s" if uploaded else "is there"
                progress(f"{blob.digest} ({blob.size} bytes) {how}")
        except BaseException:
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sent

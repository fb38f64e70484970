"""Unpacks a body piece by piece, so that a few packed bytes can't take all memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

ASKED = "gzip"
"""What requests say they take."""
PIECE = 64 * 1024
"""Most bytes of one unpacked piece."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_PLAIN = {"", "identity"}
_PACKED = {"gzip", "x-gzip", "deflate"}


class Unpacker:
    """Unpacks one body.

    Args:
        coding: Its Content-Encoding.

    Raises:
        ValueError: The coding isn't known here.
    """

    def __init__(self, coding: str) -> None:
        coding = coding.strip().lower()
        if coding not in _PLAIN | _PACKED:
            raise ValueError(f"it is packed as {coding!r}, which wasn't asked for")
        self._inflate = None if coding in _PLAIN else zlib.decompressobj(_GZIP_OR_ZLIB)
        self._begun = False

    @property
    def unpacks(self) -> bool:
        """Whether there is anything to do."""
        return self._inflate is not None

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Yield what the next packed bytes hold, in pieces of at most `PIECE`.

        Raises:
            ValueError: They can't be unpacked.
        """
        if self._inflate is None:
            yield packed
            return
        self._begun = True
        while packed and not self._inflate.eof:
            try:
                piece = self._inflate.decompress(packed, PIECE)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            packed = self._inflate.unconsumed_tail
            yield piece

    def end(self) -> None:
        """Take in that nothing follows.

        Raises:
            ValueError: The packed bytes have no end.
        """
        if self._inflate is not None and self._begun and not self._inflate.eof:
            raise ValueError("its packed bytes were cut")

r"""Server-sent events, as the WHATWG's standard reads them, however their bytes are cut.

One reader for all: a line ends with CR, LF or both, a blank line ends an event, a byte order mark
may stand first, comments and unknown fields are passed over, one space after a field's colon is
none of its value, and several `data` lines are one value with LF between them. What no blank line
ended is no event; `cut` tells that to who asks for a whole stream. Source: HTML, section 9.2.6.
"""

from __future__ import annotations

DONE = b"[DONE]"
"""Data of the event by which a stream of the OpenAI API says that it is whole."""
MAX_EVENT = 16 * 1024 * 1024
"""Most bytes of an event that comes in several pieces."""

_MARK, _FIELD = b"\xef\xbb\xbf", b"data: "
_CR, _LF, _END = b"\r", b"\n", b"\n\n"
_SHORT = 4096


class Events:
    """Reads one stream."""

    __slots__ = ("_after_cr", "_begun", "_between", "_long", "_rest")

    def __init__(self) -> None:
        """Wait for the first byte."""
        self._rest, self._long = b"", bytearray()
        self._begun = self._after_cr = self._between = False

    @property
    def rest(self) -> bytes:
        """What came since the last event."""
        return bytes(self._long) or self._rest

    @property
    def cut(self) -> bool:
        """Whether the bytes so far end inside an event; comments are none."""
        lines = self.rest.removeprefix(_MARK).split(_LF)
        return any(line and not line.startswith(b":") for line in lines)

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of each event that the next piece of the stream completes.

        Raises:
            ValueError: An event is over `MAX_EVENT` bytes long.
        """
        if self._between and _is_plain(piece):
            return [piece[len(_FIELD) : -len(_END)]]
        if _CR in piece or self._after_cr:
            piece = self._with_lf(piece)
        if self._long:
            piece = self._joined(piece)
        elif self._rest:
            piece = self._rest + piece
        *blocks, rest = piece.split(_END)
        if not self._begun and blocks:
            self._begun, blocks[0] = True, blocks[0].removeprefix(_MARK)
        self._keep(rest)
        return [data for block in blocks if (data := _data(block)) is not None]

    def _keep(self, rest: bytes) -> None:
        """Keep the beginning of an event until its end comes."""
        if len(rest) > _SHORT:
            self._long, rest = bytearray(rest), b""
        self._rest = rest
        self._between = self._begun and not (rest or self._long or self._after_cr)

    def _joined(self, piece: bytes) -> bytes:
        """Return what came since the last event; nothing while no event is complete.

        A long event may come in a million pieces: its end is looked for where two of them meet.
        """
        seam = len(self._long) - 1
        self._long += piece
        if self._long.find(_END, seam) >= 0:
            whole, self._long = bytes(self._long), bytearray()
            return whole
        if len(self._long) > MAX_EVENT:
            self._long = bytearray()
            raise ValueError(f"an event is over {MAX_EVENT} bytes long")
        return b""

    def _with_lf(self, piece: bytes) -> bytes:
        """Return a piece whose lines end with LF, whether CR or CRLF or LF ended them."""
        if self._after_cr and piece:
            piece, self._after_cr = piece.removeprefix(_LF), False
        self._after_cr = self._after_cr or piece.endswith(_CR)
        return piece.replace(b"\r\n", _LF).replace(_CR, _LF)


def is_done(data: bytes) -> bool:
    """Return whether an event's data says that the stream is whole."""
    return data.strip() == DONE


def _is_plain(piece: bytes) -> bool:
    """Return whether a piece is one whole event of one line, as nearly every one is."""
    alone = piece.find(_LF) == len(piece) - len(_END)
    return alone and piece.startswith(_FIELD) and piece.endswith(_END) and _CR not in piece


def _data(block: bytes) -> bytes | None:
    """Return the data of an event; None where it has none."""
    if block.startswith(_FIELD) and _LF not in block:
        return block[len(_FIELD) :]
    values = [value for line in block.split(_LF) if (value := _value(line)) is not None]
    return _LF.join(values) if values else None


def _value(line: bytes) -> bytes | None:
    """Return what a `data` line holds; None for any other line."""
    name, _, value = line.partition(b":")
    return value.removeprefix(b" ") if name == b"data" else None

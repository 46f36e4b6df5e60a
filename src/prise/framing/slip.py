"""SLIP: messages over a serial line, each ended by the byte END (RFC 1055).

END and ESC inside a message are written as two bytes. As the RFC advises, a message is also begun with an END, which
flushes noise, and empty frames are skipped; so an empty message cannot be sent. Anything but the two escapes after ESC
is an error (the RFC leaves it open).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from prise.errors import FrameError, UsageError
from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of

_END, _ESC = b"\xc0", b"\xdb"
_ESC_END, _ESC_ESC = b"\xdb\xdc", b"\xdb\xdd"

_first_of_frame = re.compile(rb"[^\xc0]").search
_bad_escape = re.compile(rb"\xdb(?:[^\xdc\xdd]|\Z)", re.DOTALL).search


@dataclass(frozen=True)
class Slip(Framing):
    """Each message is a SLIP frame. It must not be empty."""

    def decoder(self, limit: int) -> SlipDecoder:
        return SlipDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        data = bytes_of(message)
        if not data:
            raise UsageError("SLIP cannot carry an empty message")
        return _END + _escape(data) + _END


def _escape(message: bytes) -> bytes:
    return message.replace(_ESC, _ESC_ESC).replace(_END, _ESC_END)


class SlipDecoder(StepwiseDecoder):
    """Holds a message as it arrived, so at the most twice the limit."""

    __slots__ = ("_escapes",)

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._escapes = 0  # how many ESC are in the bytes that were searched

    def _take(self) -> bytes | None:
        buffer = self._buffer
        if not self._searched:
            first = _first_of_frame(buffer, self._at)
            self._at = first.start() if first else len(buffer)
            self._escapes = 0
        at = self._at
        end = buffer.find(_END, at + self._searched)
        stop = end if end >= 0 else len(buffer)
        self._escapes += buffer.count(_ESC, at + self._searched, stop)
        # Without its escapes; but no more than half of a valid message is escapes, and a bad one has its bound too.
        if max(stop - at - self._escapes, (stop - at + 1) // 2) > self._limit:
            raise self._too_large(at)
        if end < 0:
            self._searched = stop - at
            return None
        self._body, self._at = at, end + 1
        self._searched = 0
        frame = bytes(buffer[at:end])
        if not self._escapes:
            return frame
        if bad := _bad_escape(frame):
            raise FrameError(
                "after the SLIP escape at byte {offset} comes neither of its two codes",
                offset=self._origin + at + bad.start(),
            )
        return frame.replace(_ESC_END, _END).replace(_ESC_ESC, _ESC)

    def _width(self, part: bytes) -> int:
        return len(_escape(part))

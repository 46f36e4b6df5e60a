"""COBS, consistent overhead byte stuffing: messages without a zero byte, each ended by one.

What serial links and microcontrollers use (Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2), 1999).
A message is cut where it has zeros; each piece, at most 254 bytes, follows a code byte that says how far it is to the
next code. Overhead: one byte in 254. Empty frames (zeros in a row) are skipped: they are sent to get back in step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from prise.errors import FrameError
from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of

_FULL = 254
"""Bytes of the longest piece; its code 255 means that no zero follows it."""

_first_of_frame = re.compile(rb"[^\x00]").search


@dataclass(frozen=True)
class Cobs(Framing):
    """Each message is a COBS frame, ended by a zero byte."""

    def decoder(self, limit: int) -> CobsDecoder:
        return CobsDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        return _stuff(bytes_of(message)) + b"\x00"


def _stuff(message: bytes) -> bytes:
    frame = bytearray()
    pieces = message.split(b"\x00")
    final = len(pieces) - 1
    for number, piece in enumerate(pieces):
        full = 0
        while len(piece) - full >= _FULL:
            frame.append(_FULL + 1)
            frame += piece[full : full + _FULL]
            full += _FULL
        # After full pieces at the very end nothing is left to say.
        if full < len(piece) or not full or number < final:
            frame.append(len(piece) - full + 1)
            frame += piece[full:]
    return bytes(frame)


class CobsDecoder(StepwiseDecoder):
    __slots__ = ()

    def _take(self) -> bytes | None:
        buffer = self._buffer
        if not self._searched:
            first = _first_of_frame(buffer, self._at)
            self._at = first.start() if first else len(buffer)
        at = self._at
        end = buffer.find(b"\x00", at + self._searched)
        size = (end if end >= 0 else len(buffer)) - at
        if size - size // (_FULL + 1) - 1 > self._limit:  # what remains of it without its codes, at the least
            raise self._too_large(at)
        if end < 0:
            self._searched = size
            return None
        message = self._unstuff(at, end)
        if len(message) > self._limit:
            raise self._too_large(at)
        self._body, self._at = at, end + 1
        self._searched = 0
        return message

    def _unstuff(self, at: int, end: int) -> bytes:
        buffer = self._buffer
        message = bytearray()
        while True:
            code = buffer[at]
            if at + code > end:
                raise FrameError(
                    "the COBS code at byte {offset} points {code} bytes ahead, beyond its frame",
                    offset=self._origin + at,
                    code=code,
                )
            message += buffer[at + 1 : at + code]
            at += code
            if at == end:
                return bytes(message)
            if code <= _FULL:
                message.append(0)

    def _width(self, part: bytes) -> int:
        return len(_stuff(part))

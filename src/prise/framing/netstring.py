"""Netstring: `5:hello,` - the length in decimal, a colon, the message, a comma (https://cr.yp.to/proto/netstrings.txt).

Used by SCGI and by many mail programs. Readable, and strict: no leading zeros, no spaces, the comma is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prise.errors import FrameError
from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of


@dataclass(frozen=True)
class Netstring(Framing):
    """Each message is a netstring."""

    def decoder(self, limit: int) -> NetstringDecoder:
        return NetstringDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        data = bytes_of(message)
        return b"%d:%b," % (len(data), data)


class NetstringDecoder(StepwiseDecoder):
    __slots__ = ("_digits",)

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._digits = len(str(limit))

    def _take(self) -> bytes | None:
        buffer, at = self._buffer, self._at
        colon = buffer.find(b":", at, at + self._digits + 1)
        header = buffer[at : colon if colon >= 0 else at + self._digits + 1]
        if not header.isdigit() or (header[0] == 0x30 and len(header) > 1) or int(header) > self._limit:
            self._refuse(header, colon >= 0)
        if colon < 0:
            return None
        body = colon + 1
        end = body + int(header)
        if end >= len(buffer):
            return None
        if buffer[end] != 0x2C:
            raise FrameError(
                "a comma must end the netstring at byte {offset}, not {byte!r}",
                offset=self._origin + end,
                byte=bytes(buffer[end : end + 1]),
            )
        self._body, self._at = body, end + 1
        return bytes(buffer[body:end])

    def _refuse(self, header: bytes | bytearray, ended: bool) -> None:
        """Raises the error for the first byte of the header that cannot be right; returns when all are, so far."""
        length = 0
        for index, byte in enumerate(header):
            if not 0x30 <= byte <= 0x39:
                break
            if index == 1 and header[0] == 0x30:
                raise FrameError(
                    "the length of a netstring must not begin with a zero (byte {offset})",
                    offset=self._origin + self._at,
                )
            length = 10 * length + byte - 0x30
            if length > self._limit:
                raise self._too_large(self._at)
        else:
            if header or not ended:
                return
            index = 0
        raise FrameError(
            "a netstring begins with its length in digits and a colon; byte {offset} is neither",
            offset=self._origin + self._at + index,
        )

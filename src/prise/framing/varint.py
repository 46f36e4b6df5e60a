"""Varint: as `Prefixed`, but the length takes as many bytes as it needs, seven bits in each (unsigned LEB128).

This is what Protocol Buffers call "delimited" messages (https://protobuf.dev/programming-guides/encoding/#varints).
As there, a length written with more bytes than it needs is accepted (some writers reserve a width), up to ten bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prise.errors import FrameError
from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of

MOST_BYTES = 10
"""Bytes of a 64-bit number, seven bits in each."""


@dataclass(frozen=True)
class Varint(Framing):
    """Each message follows its length in bytes as a varint."""

    def decoder(self, limit: int) -> VarintDecoder:
        return VarintDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        data = bytes_of(message)
        rest = len(data)
        header = bytearray()
        while rest > 0x7F:
            header.append(rest & 0x7F | 0x80)
            rest >>= 7
        header.append(rest)
        return bytes(header) + data


class VarintDecoder(StepwiseDecoder):
    __slots__ = ()

    def _take(self) -> bytes | None:
        buffer, at = self._buffer, self._at
        length = 0
        for index, byte in enumerate(buffer[at : at + MOST_BYTES]):
            length |= (byte & 0x7F) << (7 * index)
            if length > self._limit:
                raise self._too_large(at)
            if byte < 0x80:
                break
        else:
            if len(buffer) - at < MOST_BYTES:
                return None
            raise FrameError(
                "the length does not end at byte {offset}: a varint has at most {most} bytes",
                offset=self._origin + at + MOST_BYTES - 1,
                most=MOST_BYTES,
            )
        body = at + index + 1
        end = body + length
        if end > len(buffer):
            return None
        self._body, self._at = body, end
        return bytes(buffer[body:end])

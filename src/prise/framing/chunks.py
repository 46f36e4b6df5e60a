"""Chunks: no framing. Whatever arrived is a message; where it is cut depends on the network and means nothing.

For relays, terminals and files, where only the bytes in their order matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of


@dataclass(frozen=True)
class Chunks(Framing):
    """Each message is what one read gave, cut at the limit. Sending b"" sends nothing."""

    streaming = True

    def decoder(self, limit: int) -> ChunksDecoder:
        return ChunksDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        return bytes_of(message)


class ChunksDecoder(StepwiseDecoder):
    __slots__ = ()

    def _take(self) -> bytes | None:
        at = self._at
        chunk = bytes(self._buffer[at : at + self._limit])
        if not chunk:
            return None
        self._body, self._at = at, at + len(chunk)
        return chunk

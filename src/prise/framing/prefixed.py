"""Prefixed: the length of a message, as a number of 1, 2, 4 or 8 bytes, stands in front of it.

The commonest framing of binary protocols, and the one to choose for new ones: any bytes pass, and nothing is searched.
The header alone tells that a message is too large, so a peer that announces 2^64 bytes costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from prise.errors import UsageError
from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of


@dataclass(frozen=True)
class Prefixed(Framing):
    """Each message follows its length in bytes, the header not counted.

    size: bytes of the header, 1, 2, 4 (default) or 8; order: "big" (default, the network's order) or "little".
    """

    size: Literal[1, 2, 4, 8] = 4
    order: Literal["big", "little"] = "big"

    def __post_init__(self) -> None:
        if self.size not in (1, 2, 4, 8):
            raise UsageError("a length takes 1, 2, 4 or 8 bytes, not {value!r}", value=self.size)
        if self.order not in ("big", "little"):
            raise UsageError("the order of a length is 'big' or 'little', not {value!r}", value=self.order)

    def decoder(self, limit: int) -> PrefixedDecoder:
        return PrefixedDecoder(limit, self.size, self.order)

    def encode(self, message: Any, /) -> bytes:
        data = bytes_of(message)
        try:
            return len(data).to_bytes(self.size, self.order) + data
        except OverflowError:
            raise UsageError(
                "{length} bytes are too many for a length written in {size} bytes; use a wider one (prefixed:4)",
                length=len(data),
                size=self.size,
            ) from None


class PrefixedDecoder(StepwiseDecoder):
    __slots__ = ("_order", "_size")

    def __init__(self, limit: int, size: int, order: Literal["big", "little"]) -> None:
        super().__init__(limit)
        self._size = size
        self._order: Literal["big", "little"] = order

    def _take(self) -> bytes | None:
        buffer, at = self._buffer, self._at
        body = at + self._size
        if body > len(buffer):
            return None
        length = int.from_bytes(buffer[at:body], self._order)
        if length > self._limit:
            raise self._too_large(at)
        end = body + length
        if end > len(buffer):
            return None
        self._body, self._at = body, end
        return bytes(buffer[body:end])

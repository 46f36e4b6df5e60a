"""Fixed: every message has the same size. Sensors, records, old binary protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prise.errors import UsageError
from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of


@dataclass(frozen=True)
class Fixed(Framing):
    """Each message is exactly `size` bytes (at least 1)."""

    size: int

    def __post_init__(self) -> None:
        value: object = self.size
        if not isinstance(value, int) or value < 1:
            raise UsageError("the size of a message is a whole number of bytes above 0, not {value!r}", value=value)

    def decoder(self, limit: int) -> FixedDecoder:
        """Raises UsageError when the limit is below the size: no message could ever pass."""
        if limit < self.size:
            raise UsageError(
                "messages of {size} bytes cannot pass a limit of {limit}; raise Limits(message_size=...)",
                size=self.size,
                limit=limit,
            )
        return FixedDecoder(limit, self.size)

    def encode(self, message: Any, /) -> bytes:
        data = bytes_of(message)
        if len(data) != self.size:
            raise UsageError(
                "this framing carries messages of exactly {size} bytes, not {length}", size=self.size, length=len(data)
            )
        return data


class FixedDecoder(StepwiseDecoder):
    __slots__ = ("_size",)

    def __init__(self, limit: int, size: int) -> None:
        super().__init__(limit)
        self._size = size

    def _take(self) -> bytes | None:
        at = self._at
        end = at + self._size
        if end > len(self._buffer):
            return None
        self._body, self._at = at, end
        return bytes(self._buffer[at:end])

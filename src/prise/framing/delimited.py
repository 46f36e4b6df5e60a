"""Delimited: a message ends with a byte sequence of the user's choice. Many instruments and bots talk like this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prise.errors import UsageError
from prise.framing.base import Framing
from prise.framing.buffered import StepwiseDecoder, bytes_of


@dataclass(frozen=True)
class Delimited(Framing):
    r"""Each message ends with `delimiter` (bytes, at least one), which it must not hold.

    An unterminated message when the input ends is a FrameError (`Lines` is the framing that forgives it).
    """

    delimiter: bytes

    def __post_init__(self) -> None:
        value: object = self.delimiter
        if not isinstance(value, bytes) or not value:
            raise UsageError("a delimiter is one or more bytes, not {value!r}", value=value)

    def decoder(self, limit: int) -> DelimitedDecoder:
        return DelimitedDecoder(limit, self.delimiter)

    def encode(self, message: Any, /) -> bytes:
        data = bytes_of(message)
        frame = data + self.delimiter
        # In the whole frame: the end of the message and the delimiter may make an earlier one (b"a" + b"aa").
        if frame.find(self.delimiter) != len(data):
            raise UsageError(
                "the message holds the delimiter {delimiter!r}; use another framing (prefixed:4, say)",
                delimiter=self.delimiter,
            )
        return frame


class DelimitedDecoder(StepwiseDecoder):
    __slots__ = ("_delimiter",)

    def __init__(self, limit: int, delimiter: bytes) -> None:
        super().__init__(limit)
        self._delimiter = delimiter

    def _take(self) -> bytes | None:
        buffer, at, delimiter = self._buffer, self._at, self._delimiter
        # A delimiter may have begun in the last bytes that were searched.
        end = buffer.find(delimiter, at + max(0, self._searched - len(delimiter) + 1))
        if end < 0:
            self._searched = len(buffer) - at
            if self._searched >= self._limit + len(delimiter):
                raise self._too_large(at)
            return None
        if end - at > self._limit:
            raise self._too_large(at)
        self._body = at
        self._at = end + len(delimiter)
        self._searched = 0
        return bytes(buffer[at:end])

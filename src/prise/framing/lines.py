r"""Lines: a message ends with \n, or with \r\n; what is left when the input ends is a message too.

Most of what is sent over sockets by hand or by scripts looks like this, so it is the default, and the hot path of a
server: a read that holds whole lines only is split in one call. Anything else (a piece of a line, more than `most`
lines, a read longer than the limit) goes the way round by `_cut`, which looks for each \n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prise.errors import MessageTooLarge, UsageError
from prise.framing.base import MOST_MESSAGES, Codec, Framing
from prise.framing.buffered import BufferedDecoder, bytes_of

_CR, _LF = b"\r\n"
r"""As numbers: to look for `b"\n"` with `in`, Python first tries it as a number, which costs more than the search."""


@dataclass(frozen=True)
class Lines(Framing):
    r"""Each message is a line, as bytes without its \n or \r\n. A message must not hold \n nor end in \r.

    The limit counts the line without its end.
    """

    def decoder(self, limit: int) -> LinesDecoder:
        return LinesDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        data = message if isinstance(message, bytes) else bytes_of(message)
        if _LF in data or data[-1:] == b"\r":
            raise not_one_line(_LF in data)
        return data + b"\n"

    def __or__(self, codec: Codec) -> Framing:
        from prise.framing.textlines import UTF8, TextLines  # lazily: it needs prise.codecs, which needs us

        return TextLines() if codec == UTF8 else super().__or__(codec)


def not_one_line(newline: bool) -> UsageError:
    """The error for a message that would not come out of its line as it went in."""
    if newline:
        return UsageError("a line cannot hold a newline; send each line by itself, or use another framing (prefixed:4)")
    return UsageError("a line cannot end in a carriage return (\\r): it would be taken for a part of the line's end")


_LARGE = 4096
"""Bytes of a read that is kept by itself while its line goes on. Smaller ones would cost more memory than they hold."""


class LinesDecoder(BufferedDecoder):
    """`_room`: the longest read that may be split in one go; -1 when something is held, and the way round is needed.

    `_parts`: large reads in the middle of a line, behind the buffer. They are joined once, when the line is whole: a bytearray
    that grew by each would be copied several times over.
    """

    __slots__ = ("_parts", "_ready", "_room", "_waiting")

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._room = limit  # no line in a read of that length can be too long
        self._ready = 0  # complete lines in the buffer
        self._parts: list[bytes] = []  # bound: the limit
        self._waiting = 0  # bytes in them

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        end = data.find(b"\n")  # first: to look at the last byte before costs the usual read a tenth more (measured)
        if 0 <= end == len(data) - 1 <= self._room:  # one whole line, the usual read: cutting it off beats splitting
            self._origin += end + 1
            return [data[:end].removesuffix(b"\r")]
        if len(data) <= self._room and data[-1:] == b"\n":
            lines = data.split(b"\n", most)
            if not lines.pop():
                self._origin += len(data)
                return [line.removesuffix(b"\r") for line in lines] if _CR in data else lines
        return split_block(self._cut(data, most))

    def track(self) -> None:
        super().track()
        self._room = -1

    def _cut(self, data: bytes, most: int) -> bytes:
        """Takes the next complete lines off the buffer, at most `most`, in one piece."""
        ready = self._ready + data.count(b"\n")  # not in what is held: that was counted when it came
        if not ready and len(data) >= _LARGE and self._error is None:
            held = len(self._buffer) - self._at + self._waiting + len(data)
            if held <= self._limit:
                self._parts.append(data)
                self._waiting += len(data)
                self.more, self.pending, self._room = False, held, -1
                return b""
        if self._parts:
            data = self._joined(data)
        self._append(data)
        buffer = self._buffer
        start = end = self._at
        count = min(ready, most)
        error = None
        if len(buffer) - start > self._limit:
            end, error = self._measure(count, ready)
        elif ready > most:
            for _ in range(most):
                end = buffer.find(b"\n", end) + 1
        elif ready:
            end = buffer.rfind(b"\n") + 1
        self._ready = ready - count
        self.more = ready > count
        block = buffer[start:end] if isinstance(buffer, bytes) else bytes(memoryview(buffer)[start:end])
        if self.starts is not None:
            self._note_starts(block)
        if error is not None:
            self._room = -1
            return self._fail(error, block)
        self._at = end
        self._settle()
        self._room = self._limit if not self._buffer and self.starts is None else -1
        return block

    def _joined(self, data: bytes) -> bytes:
        """The parts that wait, and these bytes."""
        data = b"".join((*self._parts, data))
        self._parts, self._waiting = [], 0
        return data

    def held(self) -> bytes:
        return super().held() + b"".join(self._parts)

    def _measure(self, count: int, ready: int) -> tuple[int, MessageTooLarge | None]:
        """Where the next `count` lines end, and the error if one of them, or what follows them, is too long."""
        buffer, end, limit = self._buffer, self._at, self._limit
        for _ in range(count):
            newline = buffer.find(b"\n", end)
            if newline - end > limit and newline - end - (buffer[newline - 1] == 13) > limit:
                return end, self._too_large(end)
            end = newline + 1
        # One byte above the limit may still be the \r of the line's end.
        too_long = count == ready and len(buffer) - end > limit + 1
        return end, self._too_large(end) if too_long else None

    def _note_starts(self, block: bytes) -> None:
        self.starts = []
        place = self._origin + self._at
        for line in block.split(b"\n")[:-1]:
            self.starts.append(place)
            place += len(line) + 1

    def _last(self) -> list[Any]:
        line = bytes(self._buffer[self._at :])
        if not line:
            return []
        if self.starts is not None:
            self.starts.append(self._origin + self._at)
        line = line.removesuffix(b"\r")
        if len(line) > self._limit:
            raise self._too_large(self._at)
        self._at = len(self._buffer)
        self._settle()
        return [line]


def split_block(block: bytes) -> list[bytes]:
    """The lines of a block, which ends with one."""
    lines = block.split(b"\n")
    lines.pop()
    return [line.removesuffix(b"\r") for line in lines] if _CR in block else lines

"""What the decoders share: the bytes held, their place in the stream, and the order "messages first, then the error".

Most framings only say how to take one message off the buffer (`StepwiseDecoder._take`). The rest is here, once:

- What arrives while nothing is held is worked on in place; only an incomplete rest is copied, into a bytearray that
  grows as more comes. To delete its front costs nothing (CPython moves a pointer), so all of it is linear.
- `_searched` bytes after `_at` are known to hold no terminator: what comes is searched once, however small the pieces.
- After `most` messages one more is tried and put back, so that `more` is exact.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from typing import Any, TypeVar

from prise.errors import FrameError, MessageTooLarge, UsageError
from prise.framing.base import MOST_MESSAGES, Decoder

_Delivered = TypeVar("_Delivered", bytes, list[Any])


class BufferedDecoder(Decoder):
    """A decoder with what it holds.

    starts: None, or (after `track`) the places in the stream where the messages that the last `feed` returned begin,
    their headers not counted. A codec needs them to say where its error lies.
    pending: 0 while `more` is True: what follows the complete messages has not been looked at yet.
    """

    __slots__ = ("_at", "_body", "_buffer", "_error", "_limit", "_origin", "_searched", "starts")

    def __init__(self, limit: int) -> None:
        self.more = False
        self.pending = 0
        self.starts: list[int] | None = None
        self._limit = limit
        self._buffer: bytes | bytearray = b""  # bound: limit + one read + header; SLIP twice
        self._at = 0  # where in the buffer the next message begins
        self._origin = 0  # where in the stream the buffer begins
        self._searched = 0
        self._body = 0  # where in the buffer the message just taken began, behind its header
        self._error: FrameError | None = None

    def end(self) -> list[Any]:
        messages = self.feed(b"", sys.maxsize)  # none, if the caller kept to `more`
        try:
            return messages + self._last()
        except FrameError as error:
            return self._fail(error, messages)

    def held(self) -> bytes:
        return bytes(self._buffer[self._at :])

    def track(self) -> None:
        """From now on `starts` is kept."""
        self.starts = []

    def place(self, index: int, before: bytes) -> int:
        """Where in the stream the byte lies that follows `before` in the message `index` of the last `feed`."""
        assert self.starts is not None
        return self.starts[index] + self._width(before)

    def _width(self, part: bytes) -> int:
        """How many bytes of the stream the beginning of a message took."""
        return len(part)

    def _last(self) -> list[Any]:
        """What the end of the input completes: in most framings nothing, and then nothing may be held."""
        if self._at < len(self._buffer):
            raise FrameError(
                "the input ended inside the message that begins at byte {offset}, after {held} bytes of it",
                offset=self._origin + self._at,
                held=len(self._buffer) - self._at,
            )
        return []

    # -- the buffer ---------------------------------------------------------------------------------------------------

    def _append(self, data: bytes) -> None:
        if self._error is not None:
            self._fail(self._error, b"")
        if not data:
            return
        if self._buffer:
            self._trim()
            self._buffer += data
        else:
            self._buffer = bytes(data)

    def _trim(self) -> None:
        """Forgets what is in front of `_at`."""
        at = self._at
        if at == len(self._buffer):
            self._buffer = b""
        elif isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer[at:])
        elif at:
            del self._buffer[:at]
        self._origin += at
        self._at = 0

    def _settle(self) -> None:
        """After a feed: notes what is held, and keeps no more of it than needed."""
        if self.more:
            self.pending = self._searched = 0
        else:
            self._trim()
            self.pending = len(self._buffer)

    def _fail(self, error: FrameError, delivered: _Delivered) -> _Delivered:
        """Gives what came before the damage; the error is raised when nothing did, now and at every later call."""
        self._error = error
        self._buffer = b""
        self._at = self._searched = self.pending = 0
        self.more = bool(delivered)
        if not delivered:
            raise error.with_traceback(None)
        return delivered

    def _too_large(self, at: int) -> MessageTooLarge:
        return MessageTooLarge(
            "the message that begins at byte {offset} is longer than the limit of {limit} bytes",
            offset=self._origin + at,
            limit=self._limit,
        )


class StepwiseDecoder(BufferedDecoder):
    """A decoder that takes one message after the other."""

    __slots__ = ()

    @abstractmethod
    def _take(self) -> bytes | None:
        """The next message, with `_at` moved behind it, `_body` set, `_searched` 0; None while it is not complete."""

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        self._append(data)
        starts = self.starts
        if starts is not None:
            starts.clear()
        take = self._take
        messages: list[Any] = []
        try:
            while len(messages) < most and (message := take()) is not None:
                messages.append(message)
                if starts is not None:
                    starts.append(self._origin + self._body)
            at = self._at
            self.more = len(messages) == most and take() is not None
            if self.more:
                self._at = at
        except FrameError as error:
            return self._fail(error, messages)
        self._settle()
        return messages


def bytes_of(message: Any) -> bytes:
    """The message as bytes. Raises UsageError for what is not bytes."""
    if isinstance(message, bytes):
        return message
    if isinstance(message, (bytearray, memoryview)):
        return bytes(message)
    raise UsageError(
        "this framing carries bytes, not {kind}; add a codec, for example: framing | text()",
        kind=type(message).__name__,
    )

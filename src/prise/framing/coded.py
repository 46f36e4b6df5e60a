"""A framing with a codec: `Coded` joins the two, and is a framing again whose messages are values.

Its decoder gives the values in front of a bad message first, and tells where in the stream the bad byte is: the framing's
decoder remembers where the messages of the last read begin. A codec that can carry state from chunk to chunk has a method
`streamed(decoder) -> Decoder`, which is used over a framing without boundaries; text has one.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from prise.errors import FrameError, MessageTooLarge, UsageError
from prise.framing.base import MOST_MESSAGES, Codec, Decoder, Framing
from prise.framing.buffered import BufferedDecoder

Decode = Callable[[bytes], Any]

MOST_HELD = 4096
"""Bytes of streamed text that may wait for the rest of a character. Most encodings need a few; in UTF-7, and where characters
are written as names (`unicode_escape`), a peer could go on for ever, and all of it is looked at again each time."""


class Coded(Framing):
    """`framing | codec`. Raises UsageError when the two cannot work together."""

    def __init__(self, framing: Framing, codec: Codec) -> None:
        if isinstance(framing, Coded):
            raise UsageError("{framing!r} has a codec already", framing=framing)
        codec.check(framing)
        self.framing = framing
        self.codec = codec
        self.streaming = framing.streaming

    def __repr__(self) -> str:
        return f"{self.framing!r} | {self.codec!r}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coded) and (self.framing, self.codec) == (other.framing, other.codec)

    def __hash__(self) -> int:
        return hash((self.framing, self.codec))

    def decoder(self, limit: int) -> Decoder:
        inner = self.framing.decoder(limit)
        streamed = getattr(self.codec, "streamed", None) if self.streaming else None
        if streamed is not None:
            decoder: Decoder = streamed(inner)
            return decoder
        return CodedDecoder(inner, self.codec.decoder(self.framing))

    def encode(self, message: Any, /) -> bytes:
        return self.framing.encode(self.codec.encode(message))


class CodedDecoder(Decoder):
    """The framing's decoder, and what its messages mean. As there: values first, then the error, which is final."""

    __slots__ = ("_decode", "_error", "_inner")

    def __init__(self, inner: Decoder, decode: Decode) -> None:
        self._inner = inner
        self._decode = decode
        self._error: FrameError | None = None
        self.more = False
        self.pending = 0
        if isinstance(inner, BufferedDecoder):
            inner.track()

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        if self._error is not None:
            return self._fail(self._error, [])
        try:
            messages = self._inner.feed(data, most)
        except FrameError as error:
            return self._fail(error, [])
        return self._values(messages)

    def end(self) -> list[Any]:
        if self._error is not None:
            return self._fail(self._error, [])
        try:
            messages = self._inner.end()
        except FrameError as error:
            return self._fail(error, [])
        return self._values(messages)

    def held(self) -> bytes:
        return self._inner.held()

    def _values(self, messages: list[bytes]) -> list[Any]:
        decode = self._decode
        values: list[Any] = []
        try:
            for message in messages:
                values.append(decode(message))  # no comprehension: the values in front of an error are delivered
        except FrameError as error:
            return self._fail(self._located(error, len(values), messages[len(values)]), values)
        self.more = self._inner.more
        self.pending = self._inner.pending
        return values

    def _fail(self, error: FrameError, values: list[Any]) -> list[Any]:
        self._error = error
        self.more = bool(values)
        self.pending = 0
        if not values:
            raise error.with_traceback(None)
        return values

    def _located(self, error: FrameError, index: int, message: bytes) -> FrameError:
        """The error with its place in the stream instead of its place in the message."""
        if isinstance(self._inner, BufferedDecoder):
            error.offset = self._inner.place(index, message[: error.offset or 0])
            error.details["offset"] = error.offset
        else:  # someone else's decoder, which does not tell
            error.offset = None
            error.details["offset"] = "?"
        return error


class StreamedTextDecoder(CodedDecoder):
    """Text over raw chunks: a character cut by the network waits for its other half (`pending`)."""

    __slots__ = ("_encoding", "_incremental", "_seen")

    def __init__(self, inner: Decoder, encoding: str, errors: str) -> None:
        self._encoding = encoding
        self._incremental = codecs.getincrementaldecoder(encoding)(errors)
        self._seen = 0  # bytes of the stream that were decoded
        super().__init__(inner, self._incremental.decode)

    def end(self) -> list[Any]:
        texts = super().end()
        if self._error is not None:
            return texts
        try:
            tail = self._incremental.decode(b"", True)
        except UnicodeError as error:
            return self._fail(self._bad(error, b""), texts)
        self.pending = 0
        return [*texts, tail] if tail else texts

    def held(self) -> bytes:
        return self._incremental.getstate()[0] + super().held()

    def _values(self, messages: list[bytes]) -> list[Any]:
        incremental = self._incremental
        texts: list[Any] = []
        for chunk in messages:
            before = incremental.getstate()
            try:
                part = incremental.decode(chunk)
            except UnicodeError as error:
                bad = self._bad(error, chunk)
                incremental.setstate(before)
                good = incremental.decode(chunk[: max(0, (bad.offset or 0) - self._seen)])
                return self._fail(bad, [*texts, good] if good else texts)
            self._seen += len(chunk)
            if part:
                texts.append(part)
            if (held := len(incremental.getstate()[0])) > MOST_HELD:
                return self._fail(_too_long(self._seen - held, self._encoding), texts)
        self.more = self._inner.more
        self.pending = 0 if self.more else len(incremental.getstate()[0])
        return texts

    def _bad(self, error: UnicodeError, chunk: bytes) -> FrameError:
        # What failed is what was held, if anything, and the chunk: its place is counted from the end.
        start = getattr(error, "start", 0) - len(getattr(error, "object", chunk)) + len(chunk)
        return bad_text(error, self._seen + start, self._encoding)


def _too_long(offset: int, encoding: str) -> MessageTooLarge:
    return MessageTooLarge(
        "the {encoding} character at byte {offset} does not end within {limit} bytes",
        encoding=encoding,
        offset=offset,
        limit=MOST_HELD,
    )


def bad_text(error: UnicodeError, offset: int, encoding: str = "utf-8") -> FrameError:
    """The error for the byte of the stream at `offset`."""
    if isinstance(error, UnicodeDecodeError) and error.reason == "unexpected end of data":
        return FrameError("the {encoding} character at byte {offset} is incomplete", encoding=encoding, offset=offset)
    return FrameError("byte {offset} is not valid {encoding} text", encoding=encoding, offset=offset)

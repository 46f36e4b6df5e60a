"""What a framing is: where one message ends and the next begins, without any I/O.

A `Framing` is a description (immutable, shared by every connection of a server); its `decoder()` is the state of one
incoming stream. Bytes go in as they arrive, messages come out:

    decoder = framing.decoder(limit=1_048_576)
    messages = decoder.feed(data)          # at most 64 of them
    while decoder.more:                    # what is decoded ahead of the conversation is bounded
        messages += decoder.feed(b"")
    messages += decoder.end()              # the input ended: the last unterminated line, or FrameError

Rules that every framing keeps (the property tests check each of them for all framings):

1. Any split of a stream gives the same messages, in time linear in its length: a decoder remembers how far it has searched.
2. `decode(encode(m)) == [m]`; a message that the framing cannot carry is refused by `encode` with UsageError.
3. The size limit is mandatory; nothing longer than limit + one read + the header is ever held.
4. Any bytes at all give messages or FrameError, nothing else. Messages before the damage are delivered first; the error is
   raised when its place is reached, says what is wrong and at which byte of the stream, and is final for that decoder.

`framing | codec` makes the messages values instead of bytes (see `prise.codecs`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

MOST_MESSAGES = 64
"""How many messages one `feed` returns at the most, so that one pipelining peer starves nobody (DESIGN: batching)."""


class Decoder(ABC):
    """The state of one incoming stream.

    more: True when `feed(b"")` could give another message or an error right now.
    pending: how many bytes are held for a message that is not complete yet; 0 between messages. Deadlines look at it.
    """

    __slots__ = ("more", "pending")

    more: bool
    pending: int

    @abstractmethod
    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        """Takes the bytes that arrived and returns the messages that are complete, at most `most`. Raises FrameError."""

    @abstractmethod
    def end(self) -> list[Any]:
        """The input has ended: returns what its end completes. Raises FrameError for an incomplete message."""

    def held(self) -> bytes:
        """The bytes that were fed and are in no message so far: with them another decoder, or another program, can go on."""
        return b""


class Framing(ABC):
    """How bytes become messages, and back."""

    streaming = False
    """True when the framing keeps no boundaries (raw chunks), so that a codec must carry state from chunk to chunk."""

    @abstractmethod
    def decoder(self, limit: int) -> Decoder:
        """A fresh decoder. limit: the longest message in bytes, without header or terminator."""

    @abstractmethod
    def encode(self, message: Any, /) -> bytes:
        """The bytes of one message. Raises UsageError for what this framing cannot carry."""

    def __or__(self, codec: Codec) -> Framing:
        from prise.codecs import Coded

        return Coded(self, codec)


class Codec(Protocol):
    """What a framed message means: bytes to value and back. Built by the factories in `prise.codecs`."""

    def check(self, framing: Framing) -> None:
        """Raises UsageError when the codec cannot work on this framing (UTF-16 text in lines, say)."""

    def decoder(self, framing: Framing) -> Any:
        """A callable bytes -> value for one stream (stateful when the framing is streaming); FrameError for bad bytes."""

    def encode(self, value: Any, /) -> bytes:
        """The bytes of one value. Raises UsageError for a value that the codec cannot carry."""

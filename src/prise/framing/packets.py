r"""The packet form of a framing, for carriers that keep the boundaries of messages: UDP, Unix datagrams, WebSocket.

The header or delimiter of the framing would say twice where a message ends, so it is left out: the packet is the message.

    lines                 a packet is a line; one \n or \r\n at its end is no part of it
    fixed:8               a packet of any other size is refused
    any other of ours     the packet's bytes
    one of the user's     each packet must hold exactly one message in that framing: its messages need not be bytes
    framing | codec       the codec, of the packet

A decoder keeps the contract of framing/base.py, but `feed(packet)` is one packet and gives one message, an empty packet
too, and an error is not final: the next packet is as good as any.
"""

from __future__ import annotations

import functools
from typing import Any

from prise.codecs import Json, Text, Typed
from prise.errors import FrameError, MessageTooLarge
from prise.framing.base import MOST_MESSAGES, Codec, Decoder, Framing
from prise.framing.buffered import bytes_of
from prise.framing.chunks import Chunks
from prise.framing.cobs import Cobs
from prise.framing.coded import Coded, Decode, bad_text
from prise.framing.delimited import Delimited
from prise.framing.fixed import Fixed
from prise.framing.lines import Lines
from prise.framing.netstring import Netstring
from prise.framing.prefixed import Prefixed
from prise.framing.slip import Slip
from prise.framing.textlines import UTF8, TextLines
from prise.framing.varint import Varint

_CR, _LF = b"\r\n"

LONGEST_PACKET = 256 * 1024
"""Bytes of a message, whatever the limit: no carrier of packets has longer ones, by default."""

_OURS = (Chunks, Cobs, Delimited, Fixed, Netstring, Prefixed, Slip, Varint)
"""The framings whose messages are any bytes."""


def packets(framing: Framing, *, terminated: bool) -> Framing:
    r"""The packet form of a framing; of a packet form, itself.

    terminated: lines are sent with their \n, so that who reads datagrams with netcat sees lines. Equal framings give the same
    object (of those used last), so that connections share what a broadcast has encoded.
    """
    try:
        return _shared(framing, terminated)
    except TypeError:  # one of the user's that has no hash
        return _packets(framing, terminated)


def is_text(framing: Framing) -> bool:
    """True when messages go out as valid UTF-8, whatever they are: text or JSON (in WebSocket, text frames)."""
    codec = getattr(framing, "codec", None)
    if isinstance(codec, Text):
        return codec.encoding in ("utf-8", "ascii") and codec.errors not in ("surrogateescape", "surrogatepass")
    return isinstance(codec, Json) or (isinstance(codec, Typed) and codec._form == "json")


def _packets(framing: Framing, terminated: bool) -> Framing:
    if isinstance(framing, PacketFraming):
        return framing
    if isinstance(framing, TextLines):
        return TextLinePackets(terminated)
    if isinstance(framing, Coded):
        return CodedPackets(_packets(framing.framing, terminated), framing.codec)
    if isinstance(framing, Lines):
        return LinePackets(terminated)
    if isinstance(framing, _OURS):
        return Packets(framing.size if isinstance(framing, Fixed) else None)
    return FramedPackets(framing)


_shared = functools.lru_cache(maxsize=64)(_packets)


def _too_large(limit: int) -> MessageTooLarge:
    return MessageTooLarge("the message is longer than the limit of {limit} bytes", limit=limit)


class PacketFraming(Framing):
    """What all packet forms are."""


class PacketDecoder(Decoder):
    """Between packets nothing is held, so there is no more to come and nothing to end."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        self.more = False
        self.pending = 0
        self._limit = limit

    def end(self) -> list[Any]:
        return []


# -- bytes --------------------------------------------------------------------------------------------------------------


class Packets(PacketFraming):
    """The packet is the message. size: of every packet, in bytes; None: any."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size

    def decoder(self, limit: int) -> BytesDecoder:
        if self.size is not None:
            Fixed(self.size).decoder(limit)  # which refuses a limit that no message could pass
        return BytesDecoder(limit, self.size)

    def encode(self, message: Any, /) -> bytes:
        return bytes_of(message) if self.size is None else Fixed(self.size).encode(message)


class BytesDecoder(PacketDecoder):
    __slots__ = ("_size",)

    def __init__(self, limit: int, size: int | None) -> None:
        super().__init__(limit)
        self._size = size

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        if len(data) > self._limit:
            raise _too_large(self._limit)
        if self._size is not None and len(data) != self._size:
            raise FrameError("a message has {size} bytes, and this one {length}", size=self._size, length=len(data))
        return [bytes(data)]


# -- lines --------------------------------------------------------------------------------------------------------------


class LinePackets(PacketFraming):
    r"""Each packet is a line, as bytes.

    Since the packet is the boundary, a message may hold \n (it comes in so from peers, and must go out again); what could be
    taken for the line's end gets one behind it.
    """

    def __init__(self, terminated: bool) -> None:
        self.terminated = terminated

    def decoder(self, limit: int) -> LinePacketsDecoder:
        return LinePacketsDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        data = bytes_of(message)
        last = data[-1:]
        if self.terminated:
            return data + (b"\r\n" if last == b"\r" else b"\n")
        return data + b"\n" if last == b"\n" else data


class LinePacketsDecoder(PacketDecoder):
    __slots__ = ()

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        if data[-1:] == b"\n":
            data = data[:-2] if data[-2:-1] == b"\r" else data[:-1]
        if len(data) > self._limit:
            raise _too_large(self._limit)
        return [bytes(data)]


class TextLinePackets(PacketFraming):
    """`LinePackets | text()` taken together: the default, so the hot path of every datagram server."""

    codec = UTF8

    def __init__(self, terminated: bool) -> None:
        self.terminated = terminated

    def decoder(self, limit: int) -> TextLinePacketsDecoder:
        return TextLinePacketsDecoder(limit)

    def encode(self, message: Any, /) -> bytes:
        if not isinstance(message, str):
            return UTF8.encode(message)  # which refuses it
        try:
            data = message.encode()
        except UnicodeEncodeError:
            return UTF8.encode(message)  # the same
        if self.terminated:
            return data + (b"\r\n" if data and data[-1] == _CR else b"\n")
        return data + b"\n" if data[-1:] == b"\n" else data


class TextLinePacketsDecoder(PacketDecoder):
    __slots__ = ()

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        size = len(data)
        if size and data[-1] == _LF:
            size -= 2 if size > 1 and data[-2] == _CR else 1
        if size > self._limit:
            raise _too_large(self._limit)
        try:
            return [data[:size].decode()]
        except UnicodeDecodeError as error:
            raise bad_text(error, error.start) from None


# -- values, and the framings of others -----------------------------------------------------------------------------------


class CodedPackets(PacketFraming):
    """A packet form with a codec."""

    def __init__(self, framing: Framing, codec: Codec) -> None:
        self.framing = framing
        self.codec = codec

    def decoder(self, limit: int) -> CodedPacketsDecoder:
        return CodedPacketsDecoder(self.framing.decoder(limit), self.codec.decoder(self.framing))

    def encode(self, message: Any, /) -> bytes:
        return self.framing.encode(self.codec.encode(message))


class CodedPacketsDecoder(PacketDecoder):
    __slots__ = ("_decode", "_inner")

    def __init__(self, inner: Decoder, decode: Decode) -> None:
        super().__init__(0)
        self._inner = inner
        self._decode = decode

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        (message,) = self._inner.feed(data)
        return [self._decode(message)]


class FramedPackets(PacketFraming):
    """Each packet holds one message in a framing of the user's, whole."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing

    def decoder(self, limit: int) -> FramedPacketsDecoder:
        return FramedPacketsDecoder(self.framing, limit)

    def encode(self, message: Any, /) -> bytes:
        return self.framing.encode(message)


class FramedPacketsDecoder(PacketDecoder):
    __slots__ = ("_framing",)

    def __init__(self, framing: Framing, limit: int) -> None:
        super().__init__(limit)
        self._framing = framing
        framing.decoder(limit)  # which may refuse the limit

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        decoder = self._framing.decoder(self._limit)
        messages = decoder.feed(data, 2) if data else []
        if not decoder.more:
            messages = messages + decoder.end()
        if len(messages) != 1:
            raise FrameError("the packet holds {count} messages where one is expected", count=len(messages))
        return messages

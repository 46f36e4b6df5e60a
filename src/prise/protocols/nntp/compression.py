"""COMPRESS DEFLATE (RFC 8054): from then on all that is said, either way, is one stream of deflate.

What a server sends is inflated piece by piece, so that a little that would become a lot takes no memory.
"""

from __future__ import annotations

import zlib

from prise.errors import ProtocolError
from prise.protocols.reader import Reader
from prise.protocols.steps import Steps

PIECE = 256 * 1024
"""Bytes that are inflated at once, at most."""

RAW = -15
"""zlib's word for deflate (RFC 1951) without a header."""


class InflatingReader(Reader):
    """A reader of what is deflated."""

    __slots__ = ("_full", "_inflate", "_packed", "unpacked")

    def __init__(self) -> None:
        super().__init__()
        self.unpacked = 0
        self._inflate = zlib.decompressobj(RAW)
        self._packed = b""
        self._full = False  # there may be more in it than the last piece

    def receive(self) -> Steps[bytes]:
        while not self._inflate.eof:
            if not self._packed and not self._full:
                self._packed = yield from super().receive()
                if not self._packed:
                    break
            try:
                data = self._inflate.decompress(self._packed, PIECE)
            except zlib.error:
                raise ProtocolError("what the server sent is not compressed as agreed", operation="receive") from None
            self._packed = self._inflate.unconsumed_tail
            self._full = len(data) == PIECE
            if data:
                self.unpacked += len(data)
                return data
        return b""


class Deflate:
    """Compresses what is sent."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=RAW)

    def __call__(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

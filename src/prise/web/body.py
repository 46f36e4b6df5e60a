"""The body of one request as it arrives, and what the client is answered when it does not arrive as it should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from prise import Address, ConnectionLost, FrameError, MessageTooLarge, PeerError, TooSlow
from prise.web.framing import BodyPiece
from prise.web.request import HttpError, Request
from prise.web.response import Response, plain

MOST_DISCARDED = 256 * 1024
"""Bytes of a body that its handler did not want, which are read away so that the connection can go on."""


class ArrivingBody:
    """See `request.Body`. error: what it has raised, so that what a handler lets pass is known for what it is."""

    def __init__(self, connection: Any, request: Request) -> None:
        self._connection = connection
        self.length = request.length
        self.error: Exception | None = None
        self._waits = request.expects  # for "100 Continue"
        self._received = 0
        self._over = request.length == 0
        self._broken = False

    @property
    def peer(self) -> Address:
        peer: Address = self._connection.peer
        return peer

    @property
    def secure(self) -> bool:
        return self._connection.tls is not None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._over:
            if self._broken and self.error is not None:
                raise self.error
            try:
                if self._waits:
                    self._waits = False
                    await self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                piece: BodyPiece | None = await self._connection.receive()
                if piece is None:
                    raise self._connection.lost or ConnectionLost("the connection was closed inside a body")
            except PeerError as error:
                self._broken = True
                self.error = error
                raise
            self._over = piece.last
            self._received += len(piece.data)
            if piece.data:
                return piece.data
        raise StopAsyncIteration

    async def read(self, most: int) -> bytes:
        pieces: list[bytes] = []
        if self.length is None or self.length <= most:
            async for piece in self:
                pieces.append(piece)
                if self._received > most:
                    break
            else:
                return b"".join(pieces)
        self.error = MessageTooLarge("the body is longer than {limit} bytes", limit=most)
        raise self.error

    def can_be_discarded(self) -> bool:
        """Asked when the answer begins. From then on it is too late for "100 Continue"."""
        if self._over:
            return True
        waits, self._waits = self._waits, False
        left = 0 if self.length is None else self.length - self._received
        return not (waits or self._broken) and left <= MOST_DISCARDED

    async def discard(self) -> bool:
        """Reads away what is left, up to a bound. True when the next request comes now."""
        most = self._received + MOST_DISCARDED
        try:
            while not self._over and self._received <= most:
                await anext(self, b"")
        except PeerError:
            return False  # the answer is out already
        return self._over


def answer_to(error: Exception) -> Response:
    """The answer to a request that was refused for this reason."""
    if isinstance(error, HttpError):
        status = error.status
    elif isinstance(error, MessageTooLarge):
        status = 413
    else:
        status = 408 if isinstance(error, TooSlow) else 400
    reason = ""
    if isinstance(error, FrameError):
        reason = error.reason.format(**error.details) if error.details else error.reason
    return plain(status, reason)

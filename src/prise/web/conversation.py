"""Requests to answers, on one connection: what HTTP/1.1 itself wants, around a handler that knows what is served.

    serve(*http_branch(handler)), or Multiplex(http=http_branch(handler), ...)

The conversation awaits nothing but its connection, so every model can run it; a handler may await whatever its model runs.
Answers go out in the order of the requests, one after the other.

After an answer the connection goes on if the next request can be found: what a handler left of a body is read away, up to
256 KiB; a client that waits for "100 Continue" and was never told to go on might send its body or not, so there it ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from typing import Any, NamedTuple, TypeAlias

from prise import Address, ConnectionLost, Limits, PeerError, TooSlow, UsageError
from prise.web.body import ArrivingBody, answer_to
from prise.web.framing import HttpRequests
from prise.web.request import Body, HttpError, Request
from prise.web.response import BODILESS, Ready, Response, fields_of, length_of, plain, status_line

__all__ = ["LIMITS", "Body", "Conversation", "Exchange", "Handler", "Quick", "http_branch"]

log = logging.getLogger("prise.web")

Handler: TypeAlias = Callable[[Request, Body], Awaitable[Response]]
"""Answers a request. It may raise `HttpError` instead; any other exception is a 500, and logged."""

Quick: TypeAlias = Callable[[Request], Ready | None]
"""Answers a request without a body at once, or returns None and the handler is asked. It must not block. It is asked only where
the connection goes on, and HTTP/1.1 is spoken."""

LIMITS = Limits(idle_time=60.0, message_time=30.0, write_time=30.0, linger_time=2.0)
"""What clients of a web server may take. idle_time: between requests. message_time: for a head, and for each 16 KiB of a body."""

_JOINED = 64 * 1024  # a longer body is not copied behind its head
_IDLE = "nothing arrived for {seconds:g} s"  # the reason of a TooSlow that is no request's fault


class Exchange(NamedTuple):
    """One answer, for a log. request: None when it could not be read. sent: bytes of the body. seconds: from the head's arrival
    until the answer was handed to the kernel, or to the outbox of a peer that is a little behind; 0 for what `Quick` gave."""

    peer: Address
    request: Request | None
    status: int
    sent: int
    seconds: float


class Conversation:
    """A coroutine conversation for `HttpRequests`.

    handler: see `Handler`. quick: see `Quick`. server: the Server field; None or "" for none. log: called with each `Exchange`.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        quick: Quick | None = None,
        server: str | None = "prise",
        log: Callable[[Exchange], object] | None = None,
    ) -> None:
        self._handler = handler
        self._quick = quick
        self._log = log
        self._server = f"Server: {server}\r\n" if server else ""
        self._second = -1
        self._moment = b""

    async def __call__(self, connection: Any) -> None:
        quick = self._quick
        try:
            async for request in connection:
                if quick is not None and request.length == 0 and request.keep_alive and request.minor:
                    ready = self._ask_quick(quick, request)
                    if ready is not None:
                        # The way of small hot files: no other coroutine, no body, one join.
                        await connection.send(b"".join((ready.first, self._fields_of_now(), ready.rest)))
                        if self._log is not None:
                            self._log(Exchange(connection.peer, request, ready.status, ready.length, 0.0))
                        continue
                if not await _Answer(self, connection, request).give():
                    return
        except PeerError as error:
            await self._refuse(connection, error)

    def _ask_quick(self, quick: Quick, request: Request) -> Ready | None:
        try:
            return quick(request)
        except Exception:
            log.exception(
                "the quick answer to %(method)s %(target)s failed",
                {"method": request.method, "target": ascii(request.target)},
            )
            return None

    def _fields_of_now(self) -> bytes:
        """Date and Server; made once a second."""
        second = int(time.time())
        if second != self._second:
            self._second, self._moment = second, f"Date: {formatdate(second, usegmt=True)}\r\n{self._server}".encode()
        return self._moment

    async def _refuse(self, connection: Any, error: PeerError) -> None:
        """The last word to a client that broke the rules, or was too slow with a request that it had begun."""
        if isinstance(error, ConnectionLost) or (isinstance(error, TooSlow) and error.reason == _IDLE):
            return
        response = answer_to(error)
        assert isinstance(response.body, bytes)
        added = (("Content-Length", str(len(response.body))), ("Connection", "close"))
        fields = fields_of(response, added)
        try:
            await connection.send(
                b"".join((status_line(response.status), self._fields_of_now(), fields, b"\r\n", response.body))
            )
        except PeerError:
            return  # it does not listen any more
        if self._log is not None:
            self._log(Exchange(connection.peer, None, response.status, len(response.body), 0.0))


class _Answer:
    """One request on its way to its answer. status, sent: so far; for the log."""

    def __init__(self, conversation: Conversation, connection: Any, request: Request) -> None:
        self._conversation = conversation
        self._connection = connection
        self._request = request
        self._body = ArrivingBody(connection, request)
        self._keep = request.keep_alive
        self.status = 0
        self.sent = 0

    async def give(self) -> bool:
        """Answers. True when the connection goes on."""
        began = time.monotonic()
        response = await self._ask()
        if response is None:
            return False
        try:
            await self._send(response)
        except PeerError:
            self._keep = False  # it has gone, or takes nothing any more
        finally:
            await self._dispose(response)
        if self._conversation._log is not None:
            seconds = time.monotonic() - began
            self._conversation._log(Exchange(self._body.peer, self._request, self.status, self.sent, seconds))
        return self._keep and await self._body.discard()

    async def _ask(self) -> Response | None:
        """The handler's answer, or the one to what it raised; None when nobody is there to hear it."""
        request, body = self._request, self._body
        if request.method == "CONNECT":  # whatever its target says: nothing here can become a tunnel
            self._keep = False
            return plain(501)
        try:
            response = await self._conversation._handler(request, body)
            if not isinstance(response, Response):
                raise UsageError("a handler returns a Response, not {kind}", kind=type(response).__name__)
            return response
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Response | None:
        """The answer in place of the one that could not be made; None when nobody is there to hear it."""
        if error is self._body.error:  # the client's doing, not the handler's
            return None if isinstance(error, ConnectionLost) else answer_to(error)
        if isinstance(error, HttpError):
            return answer_to(error)
        self._log_failure(error)
        return plain(500)

    async def _send(self, response: Response) -> None:
        first: bytes | None = None
        try:
            if isinstance(response.body, AsyncIterator) and not self._ends_with_head(response):
                # Before the head: what fails at once is a clean 500, and one that reads the request's body has it come.
                first = await _next(response.body)
            head, length = self._head(response)
        except Exception as error:
            failed = self._failed(error)
            if failed is None:
                self._keep = False
                return
            response = failed
            head, length = self._head(response)
        self.status = response.status
        body, connection = response.body, self._connection
        if self._ends_with_head(response) or length == 0:
            await connection.send(head)
        elif isinstance(body, bytes):
            self.sent = len(body)
            if len(body) <= _JOINED:
                await connection.send(head + body)
            else:
                await connection.send(head)
                await connection.send(body)
        elif isinstance(body, AsyncIterator):
            await self._send_pieces(head, first, body)
        else:
            await self._send_parts(head, body)

    def _ends_with_head(self, response: Response) -> bool:
        return self._request.method == "HEAD" or response.status in BODILESS

    def _head(self, response: Response) -> tuple[bytes, int | None]:
        """The bytes up to the body, and the body's length. Raises UsageError for what cannot be sent."""
        new = self._request.minor == 1
        length = length_of(response.body)
        added: list[tuple[str, str]] = []
        if response.status in BODILESS:
            pass
        elif length is not None:
            added.append(("Content-Length", str(length)))
        elif new:
            added.append(("Transfer-Encoding", "chunked"))
        else:
            self._keep = False  # HTTP/1.0: the end of the connection is the end of the body
        self._keep = self._keep and self._body.can_be_discarded()
        if not self._keep:
            added.append(("Connection", "close"))
        elif not new:
            added.append(("Connection", "keep-alive"))
        first, fields = status_line(response.status), fields_of(response, added)
        return b"".join((first, self._conversation._fields_of_now(), fields, b"\r\n")), length

    async def _send_parts(self, head: bytes, parts: Any) -> None:
        connection, waiting = self._connection, head
        for part in parts:
            if isinstance(part, bytes):
                self.sent += len(part)
                waiting += part
                if len(waiting) > _JOINED:
                    await connection.send(waiting)
                    waiting = b""
                continue
            if waiting:
                await connection.send(waiting)
                waiting = b""
            if not part.count:
                continue
            try:
                sent = await connection.send_file(part.descriptor, part.offset, part.count)
                self.sent += sent
                if sent != part.count:
                    raise UsageError("the file became shorter while it was sent")
            except PeerError:
                raise
            except Exception as error:
                self._log_failure(error)
                self._cut()  # the length was announced: only a broken connection says that it is not true
                return
        if waiting:
            await connection.send(waiting)

    async def _send_pieces(self, head: bytes, piece: bytes | None, pieces: AsyncIterator[bytes]) -> None:
        connection, chunked = self._connection, self._request.minor == 1
        await connection.send(head)
        while piece is not None:
            if piece:  # an empty chunk would be the last
                self.sent += len(piece)
                await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            try:
                piece = await _next(pieces)
            except Exception as error:
                if error is not self._body.error:
                    self._log_failure(error)
                self._cut()  # the last chunk is missing: noticeable
                return
        if chunked:
            await connection.send(b"0\r\n\r\n")

    def _cut(self) -> None:
        self._keep = False
        self._connection.abort()

    async def _dispose(self, response: Response) -> None:
        """What the answer holds is given back."""
        try:
            if (aclose := getattr(response.body, "aclose", None)) is not None:
                await aclose()
        except Exception as error:
            self._log_failure(error)
        finally:
            if response.close is not None:
                try:
                    response.close()
                except Exception as error:
                    self._log_failure(error)

    def _log_failure(self, error: Exception) -> None:
        request = self._request
        log.error(
            "the answer to %(method)s %(target)s from %(peer)s failed",
            {"method": request.method, "target": ascii(request.target), "peer": self._body.peer},
            exc_info=error,
        )


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    """The next piece, None behind the last. Raises what the iterator raises, UsageError for what is not bytes."""
    piece = await anext(pieces, None)
    if piece is not None and not isinstance(piece, bytes):
        raise UsageError("a piece of a body is bytes, not {kind}", kind=type(piece).__name__)
    return piece


def http_branch(
    handler: Handler,
    *,
    quick: Quick | None = None,
    server: str | None = "prise",
    log: Callable[[Exchange], object] | None = None,
    longest_body: int | None = None,
) -> tuple[Conversation, HttpRequests]:
    """Conversation and framing for `serve(conversation, address, framing=framing, limits=LIMITS)`, or for
    `Multiplex(http=http_branch(handler))`. longest_body: see `HttpRequests`; the rest: see `Conversation`.
    """
    return Conversation(handler, quick=quick, server=server, log=log), HttpRequests(longest_body)

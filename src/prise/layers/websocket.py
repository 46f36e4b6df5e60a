"""WebSocket (RFC 6455) as a layer: messages in frames, behind an HTTP handshake.

The rules of the handshake and of the frames are those of the package `websockets`, whose part without I/O is used here. Ours
is what makes a WebSocket look like every other connection:

- A message is a message: fragments are put together up to the limit, text must be UTF-8.
- Frames that are whole, short and not compressed are taken apart and made here (`_take_plain`, `send`): the package's way,
  which is that of all others, costs several times as much.
- The peer's Close is the end of its input. Our own Close answers it when the conversation has nothing more to say, not at
  once (§5.5.1 allows it), so that a late answer still reaches those who wait for it, as prise does.

The two sides' handshakes are in `websocketserver` and `websocketclient`.
"""

from __future__ import annotations

import logging
from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from prise.core.ending import Ending
from prise.errors import (
    ConnectionLost,
    FrameError,
    HandoverError,
    HandshakeError,
    MessageTooLarge,
    MissingExtra,
    UsageError,
)
from prise.layers.base import Ends, Layer

try:
    from websockets.exceptions import InvalidMessage, PayloadTooBig
    from websockets.frames import Close, CloseCode, Frame, Opcode, apply_mask  # type: ignore[attr-defined]
    from websockets.http11 import Request, Response
    from websockets.protocol import OPEN, Protocol, Side
except ImportError:
    raise MissingExtra(
        "the package {package} is not installed; get it with: pip install 'prise[{extra}]'",
        package="websockets",
        extra="ws",
    ) from None

LONGEST_HEAD = 16 * 1024
"""Bytes of the other side's HTTP head."""

MOST_KEPT = 1024 * 1024
"""Bytes that may be given to `send` before the handshake is over."""

MOST_PONGS = 16 * 1024
"""Bytes of answers to pings that may wait; then only the newest is kept (§5.5.3)."""

FIRST_BYTES = 40
"""Bytes shown of what came in place of HTTP."""

_ENDINGS = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD)
"""How a peer ends in peace (§7.4.1); codes from 3000 on are the application's, and left to it."""

_CODES = {
    Ending.DONE: CloseCode.NORMAL_CLOSURE,
    Ending.LEAVING: CloseCode.GOING_AWAY,
    Ending.FAILED: CloseCode.INTERNAL_ERROR,
    Ending.BAD_DATA: CloseCode.INVALID_DATA,
    Ending.TOO_LARGE: CloseCode.MESSAGE_TOO_BIG,
    Ending.TOO_SLOW: CloseCode.POLICY_VIOLATION,
}
"""What we say when it is us who ends (§7.4.1)."""

_UTF8 = getincrementaldecoder("utf-8")

# What goes wrong is raised as an error; the package's own log would say it a second time.
SILENT = logging.getLogger("prise.websocket")
SILENT.disabled = True


@dataclass(slots=True)
class WebSocketInfo:
    """What the handshake said.

    path: asked for, with its query. host: as the client calls us (`example.org:8088`). origin: of the web page that the client
    is on, None outside of a browser. subprotocol: agreed on, None if none was. headers: all those of the other side, in their
    order; names as they were written. close_code, close_reason: why the peer closed (§7.4), None until it has.
    """

    path: str
    host: str
    origin: str | None = None
    subprotocol: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    close_code: int | None = None
    close_reason: str = ""

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case; None without one."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)


class WebSocketLayer(Layer):
    """What both sides have in common. Raises HandshakeError, FrameError, MessageTooLarge. info: a `WebSocketInfo`."""

    name: ClassVar[str] = "websocket"
    keeps_messages = True
    answers_end = True
    _client: ClassVar[bool]
    _protocol: (
        Any  # ServerProtocol or ClientProtocol; its buffer is bound by a frame of the longest message and one read
    )

    def __init__(self) -> None:
        self.ready = False
        self._opcode = Opcode.BINARY
        self._head_size = 0
        self._first = b""  # bytes, of FIRST_BYTES
        self._tail = b""  # the last bytes of a head in part
        self._kept = bytearray()  # frames from before we were ready; bound: MOST_KEPT
        self._out = bytearray()  # what we say by ourselves; bound: the handshake, MOST_PONGS and answers to one read
        self._message = bytearray()  # of fragments; bound: the longest message
        self._check: Callable[..., str] | None = None  # of fragments: decodes them, if they are text
        self._fragmented = False
        self._plain = False  # nothing was agreed on that changes the frames
        self._longest = 0
        self._rest = bytearray()  # the beginning of a frame, as it came; bound: a frame of the longest message
        self._answer: bytes = b""  # our half of the closing handshake, until the conversation is over
        self._ending = False
        self._failure: FrameError | None = None

    def begin(self, ends: Ends) -> None:
        self._opcode = Opcode.TEXT if ends.text else Opcode.BINARY
        self._longest = ends.limit
        self._protocol = self._make(ends.limit)

    def _make(self, limit: int) -> Protocol:
        raise NotImplementedError

    def _open(self, event: Request | Response) -> None:
        """The other side's head is here: says what is to be said, sets `info` and `ready`."""
        raise NotImplementedError

    def _refuse(self, cause: Exception) -> HandshakeError:
        """What the other side sent is no such head: the error that says so."""
        raise NotImplementedError

    # -- Changing hands ------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        known = asdict(self.info)
        return {name: known[name] for name in ("path", "host", "origin", "subprotocol", "headers")}

    def resume(self, ends: Ends, facts: dict[str, Any]) -> None:
        """Goes on behind the handshake of another process. Raises TypeError, ValueError, KeyError for facts of another shape."""
        headers = tuple((str(name), str(value)) for name, value in facts["headers"])
        self._opcode = Opcode.TEXT if ends.text else Opcode.BINARY
        self._longest = ends.limit
        side = Side.CLIENT if self._client else Side.SERVER
        self._protocol = Protocol(side, state=OPEN, max_size=ends.limit, logger=SILENT)
        self._set_up(WebSocketInfo(**{**facts, "headers": headers}))

    def unread(self, data: list[bytes]) -> bytes:
        if self._protocol.extensions or self.ended or self._ending or self._failure is not None:
            raise HandoverError("a WebSocket that is compressed or being closed cannot change hands")
        frames = [Frame(self._opcode, each) for each in data]
        if self._fragmented:
            opcode = Opcode.BINARY if self._check is None else Opcode.TEXT
            frames.append(Frame(opcode, bytes(self._message), fin=False))
        return b"".join(frame.serialize(mask=not self._client) for frame in frames) + bytes(self._rest)

    # -- In ------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[bytes]:
        if self._failure is not None:
            raise self._failure
        if self.ended:
            return []  # after a Close, what a peer sends means nothing (§5.5.1)
        if not self.ready:
            data = self._shake_hands(data)
            if not data:
                return []
        protocol = self._protocol
        messages: list[bytes] = []
        if self._plain and not (self._rest or self._fragmented) and protocol.state is OPEN:
            taken = self._take_plain(data, messages)
            if taken == len(data):
                return messages
            data = data[taken:]
        protocol.receive_data(data)
        self._rest += data
        try:
            for frame in protocol.events_received():
                self._take(frame, messages)
        except UnicodeDecodeError as error:
            # The package may have gone on, and answered a Close or another fault behind this one: the first fault counts.
            close = Close(CloseCode.INVALID_DATA, "not UTF-8").serialize()
            self._answer = Frame(Opcode.CLOSE, close).serialize(mask=self._client)
            protocol.fail(CloseCode.INVALID_DATA)
            self._fail(FrameError("a text message of the WebSocket is not UTF-8 ({cause})", cause=error.reason))
        if self._failure is None and protocol.parser_exc is not None:
            self._fail(self._explain(protocol.parser_exc))
        if whole := _whole_frames(self._rest):
            del self._rest[:whole]
        self._say()
        self.pending = not self.ended and (self._fragmented or bool(protocol.reader.buffer))
        if self._failure is not None:
            self.pending = False
            if not messages:
                raise self._failure
            self.error = self._failure
        return messages

    def _take_plain(self, data: bytes, messages: list[bytes]) -> int:
        """Takes the messages of one frame each at the beginning of this; returns how many bytes they were.

        It stops, between two frames, before anything else: control frames, fragments, frames of 64 KiB or that are not whole,
        faults. The package, which also stands between two frames, goes on from there.
        """
        at, end = 0, len(data)
        while end - at > 1:
            opcode, length = data[at], data[at + 1]
            if not self._client:
                length -= 128  # §5.1: a client masks
            body = at + 2
            if length == 126 and end - at > 3:
                length = data[at + 2] << 8 | data[at + 3]
                body += 2
            elif not 0 <= length < 126:
                break
            if not self._client:
                body += 4
            stop = body + length
            if stop > end or length > self._longest or not 0x81 <= opcode <= 0x82:
                break
            message = data[body:stop]
            if not self._client:
                message = apply_mask(message, data[body - 4 : body])
            if opcode == 0x81:
                try:
                    str(message, "utf-8")
                except UnicodeDecodeError:
                    break
            messages.append(message)
            at = stop
        return at

    def _take(self, frame: Frame, messages: list[bytes]) -> None:
        """One whole frame. Raises UnicodeDecodeError."""
        opcode, data = frame.opcode, frame.data
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                if opcode is Opcode.TEXT:
                    str(data, "utf-8")
                messages.append(bytes(data))
                return
            self._fragmented = True
            self._check = _UTF8().decode if opcode is Opcode.TEXT else None
        elif opcode is Opcode.CLOSE:
            self._closed(self._protocol.close_rcvd)
            return
        elif opcode is not Opcode.CONT:
            return  # pings are answered by the package, and pongs only show that the peer is there
        if self._check is not None:
            self._check(data, frame.fin)
        self._message += data
        if frame.fin:
            messages.append(bytes(self._message))
            self._message.clear()
            self._fragmented = False

    def _closed(self, close: Close) -> None:
        self.info.close_code, self.info.close_reason = int(close.code), close.reason
        if close.code in _ENDINGS or close.code >= 3000:
            self.ended = True
        else:
            self._fail(
                FrameError(
                    "the peer closed the WebSocket: {code} {reason}", code=int(close.code), reason=plain(close.reason)
                )
            )

    def _say(self) -> None:
        """Takes what the package has to say. Our Close, in answer to the peer's or to its mistake, waits for `end`: there may be
        messages before it that the conversation has not answered yet."""
        said = [each for each in self._protocol.data_to_send() if each]  # it marks with b"" where it would close
        if said and (self.ended or self._failure is not None) and self.ready and not self._ending:
            last = said.pop()
            self._answer = self._answer or last
        if self.ready and len(self._out) > MOST_PONGS:
            self._out.clear()
        for each in said:
            self._out += each

    def receive_end(self) -> None:
        if self.ended or self._failure is not None:
            return
        if not self.ready:
            raise self._fail(
                HandshakeError(
                    "the server hung up during the WebSocket handshake"
                    if self._client
                    else "the client hung up during the WebSocket handshake"
                )
            )
        if not self._ending:
            raise ConnectionLost("cut short: the connection ended without WebSocket's own end")

    # -- The handshake -------------------------------------------------------------------------------------------------

    def _shake_hands(self, data: bytes) -> bytes:
        """Takes the other side's head; returns what follows it. What follows is not for the package before we have answered."""
        seen = self._tail + data
        end = seen.find(b"\r\n\r\n")
        length = len(data) if end < 0 else end + 4 - len(self._tail)
        self._tail = seen[-3:]
        if not self._client:
            self._head_size += length
            if self._head_size > LONGEST_HEAD:
                self._reject(431, "The head of the request is too long.\n")
                raise self._fail(
                    HandshakeError("the head of the request is longer than {limit} bytes", limit=LONGEST_HEAD)
                )
        self._first += data[: FIRST_BYTES - len(self._first)]
        for part in (data[:length], data[length:]):
            if self.ready:
                return part
            if not part:
                continue
            self._protocol.receive_data(part)
            for event in self._protocol.events_received():
                if self._protocol.handshake_exc is None:
                    self._open(event)
            if self._protocol.handshake_exc is not None:
                self._say()
                raise self._fail(self._refuse(self._protocol.handshake_exc))
        self.pending = not self.ready
        return b""

    def _set_up(self, info: WebSocketInfo) -> None:
        self.info = info
        self.ready = True
        self._plain = not self._protocol.extensions
        self.pending = False
        self._say()
        self._out += self._kept
        self._kept.clear()
        if self._ending:
            self._close_our_half()

    def _reject(self, status: int, text: str) -> None:
        self._protocol.send_response(self._protocol.reject(status, text))
        self._say()

    # -- Out -----------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> bytes:
        if self._ending or (self._failure is not None and not self.ready):
            return b""  # our Close is on its way, and nothing may follow it
        size = len(data)
        if self._plain and size < 1 << 16 and not self._client:
            opcode = 0x80 | self._opcode
            return (bytes((opcode, size)) if size < 126 else bytes((opcode, 126, size >> 8, size & 255))) + data
        frame = Frame(self._opcode, data).serialize(mask=self._client, extensions=self._protocol.extensions)
        if self.ready:
            return frame
        if len(self._kept) + len(frame) > MOST_KEPT:
            raise UsageError("more than {limit} bytes were sent before the WebSocket was set up", limit=MOST_KEPT)
        self._kept += frame
        return b""

    def output(self) -> bytes:
        if not self._out:
            return b""
        out = bytes(self._out)
        self._out.clear()
        return out

    def keepalive(self) -> None:
        if self.ready and self._protocol.state is OPEN and not self._ending:
            self._protocol.send_ping(b"")
            self._say()

    def end(self) -> bytes:
        if not self._ending:
            self._ending = True
            if self.ready:
                self._close_our_half()
        return self.output()

    def _close_our_half(self) -> None:
        if self._answer:
            self._out += self._answer
            self._answer = b""
        elif self._protocol.state is OPEN:
            self._protocol.send_close(_CODES[self.ending])
            self._say()

    # -- What went wrong -----------------------------------------------------------------------------------------------

    def _fail(self, failure: FrameError) -> FrameError:
        if self._failure is None:
            self._failure = failure
        self.pending = False
        return self._failure

    def _explain(self, error: Exception) -> FrameError:
        if isinstance(error, PayloadTooBig):
            limit = self._protocol.max_message_size
            return MessageTooLarge("the message is longer than the limit of {limit} bytes", limit=limit)
        return FrameError("the peer breaks the rules of WebSocket: {cause}", cause=plain(str(error)))


def _whole_frames(data: bytearray) -> int:
    """Bytes of the frames that are complete at the beginning of this (§5.2). Their lengths may be in a longer form than need
    be: what the package reports does not tell, so it is read here.
    """
    at, end = 0, len(data)
    while end - at >= 2:
        length, head = data[at + 1] & 127, 6 if data[at + 1] & 128 else 2
        if length > 125:
            digits = 2 if length == 126 else 8
            if end - at < 2 + digits:
                break
            length = int.from_bytes(data[at + 2 : at + 2 + digits])
            head += digits
        if end - at < head + length:
            break
        at += head + length
    return at


def plain(text: str) -> str:
    """Foreign text, fit for an error message."""
    return "".join(each for each in text[:150] if each.isprintable()) or "-"


def why(error: BaseException) -> str:
    """The package says "did not receive a valid HTTP request", and why in the cause."""
    while isinstance(error, InvalidMessage) and error.__cause__ is not None:
        error = error.__cause__
    return str(error)

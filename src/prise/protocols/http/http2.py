"""HTTP/2 over one link (RFC 9113), one request at a time. The frames are the package `h2`'s, which does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prise.errors import ConnectionLost, MessageTooLarge, MissingExtra, ProtocolError
from prise.protocols.http.body import Body
from prise.protocols.http.http1 import MOST_INTERIM, SECRETS
from prise.protocols.http.message import Head, Headers, Request
from prise.protocols.reader import Reader
from prise.protocols.steps import Receive, Steps
from prise.protocols.talk import HIDDEN, Talk

WINDOW = 4 * 1024 * 1024
"""Bytes that a server may send before we say that we have taken them; none are held but what one read brings."""

MOST_IDLE_FRAMES = 10_000
"""Frames in a row that bring an answer no further: pings, settings, empty data."""

MOST_HEAD = 64 * 1024  # bytes of all headers, as h2 counts them

MOST_FRAME = 16 * 1024  # bytes, as long as we allow no more
FRAME_HEAD = 9
GOAWAY = 7

_NO_CONNECTION_HEADERS = ("connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te")


def check_installed() -> None:
    """Raises MissingExtra where the package is missing."""
    try:
        import h2.connection  # noqa: F401
    except ImportError:
        raise MissingExtra(
            "HTTP/2 needs the package h2; install it by {command}", command="pip install 'prise[http]'"
        ) from None


@contextmanager
def _named_errors() -> Iterator[None]:
    """The errors of h2, as ours."""
    from h2 import exceptions

    try:
        yield
    except exceptions.DenialOfServiceError:
        raise MessageTooLarge("the answer's headers are too large", operation="receive") from None
    except exceptions.TooManyStreamsError:
        raise ConnectionLost("the server takes no request on this connection (HTTP/2)", operation="request") from None
    except exceptions.H2Error as error:
        raise ProtocolError("this is not HTTP/2 as it should be ({reason})", reason=type(error).__name__) from None


class HTTP2:
    """The same as `HTTP1`."""

    version = "2"

    def __init__(self, talk: Talk) -> None:
        import h2.config
        import h2.connection

        self._talk = talk
        talk.reader = Reader()
        # Headers as bytes: h2 would refuse what is not UTF-8.
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._h2 = h2.connection.H2Connection(config)
        self._stream = 0
        self._held = b""  # the beginning of a frame
        self._head: Head | None = None
        self._interim = 0
        self._pieces: list[bytes] = []
        self._taken = 0  # bytes of the window, with the padding, that are still to be given back
        self._idle_frames = 0
        self._gone = False  # the server takes no further request on this link
        self._ended = True  # the answer
        self.answered = False

    @property
    def idle(self) -> bool:
        room = self._h2.remote_settings.max_concurrent_streams > 0  # servers may take that back
        return self._ended and not self._gone and not self._pieces and room

    def start(self) -> Steps[None]:
        from h2.settings import SettingCodes, Settings

        settings = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: MOST_HEAD,
        }
        self._h2.local_settings = Settings(client=True, initial_values=settings)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW)
        yield self._h2.data_to_send()

    def usable(self) -> Steps[bool]:
        while self.idle and (data := (yield Receive(0.0))) is not None:
            if not data:
                return False
            yield from self._take(data)
        return self.idle

    def ask(self, request: Request) -> Steps[Head]:
        """Sends a request, and gives the head of its answer."""
        self._stream = self._h2.get_next_available_stream_id()
        self._ended = self.answered = False
        self._taken = self._interim = self._idle_frames = 0
        self._head = None
        self._pieces.clear()
        body = request.body
        headers = [
            (":method", request.method),
            (":scheme", request.target.scheme),
            (":authority", request.host),
            (":path", request.path),
        ]
        plain = ((name.lower(), value) for name, value in request.headers.items())
        headers += [(name, value) for name, value in plain if name not in _NO_CONNECTION_HEADERS]
        if body is not None and body.size is not None:
            headers.append(("content-length", str(body.size)))
        self._trace(">", f"{request.method} {request.path} HTTP/2", headers[2:3] + headers[4:])
        encoded = [(name.encode(), value.encode(errors="surrogateescape")) for name, value in headers]
        with _named_errors():
            self._h2.send_headers(self._stream, encoded, end_stream=body is None)
        yield self._h2.data_to_send()
        if body is not None:
            yield from self._send_body(body)
        while self._head is None:
            if self._ended:
                raise ProtocolError("the server ended its answer before it began")
            yield from self._more()
        return self._head

    def _send_body(self, body: Body) -> Steps[None]:
        for piece in body:
            if not (yield from self._send(piece)):
                self._gone = True  # whether the server still waits for the body, it alone knows
                return
        if not self._ended:
            with _named_errors():
                self._h2.end_stream(self._stream)
            yield self._h2.data_to_send()

    def _send(self, piece: bytes) -> Steps[bool]:
        """False: the answer has begun already, and no more is wanted."""
        at = 0
        while at < len(piece):
            if self._head is not None or self._ended:
                return False
            with _named_errors():
                room = min(self._h2.local_flow_control_window(self._stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                yield self._h2.data_to_send()
                yield from self._more()
                continue
            with _named_errors():
                self._h2.send_data(self._stream, piece[at : at + room])
            self._idle_frames = 0
            at += room
        yield self._h2.data_to_send()
        return True

    def piece(self) -> Steps[bytes]:
        """The next bytes of the body; b"" behind its end."""
        while not self._pieces:
            if self._ended:
                return b""
            yield from self._more()
        self._idle_frames = 0
        data = b"".join(self._pieces)
        self._pieces.clear()
        taken, self._taken = self._taken, 0
        with _named_errors():
            self._h2.acknowledge_received_data(taken, self._stream)
        if update := self._h2.data_to_send():
            yield update
        return data

    def comes(self, seconds: float) -> Steps[bool]:
        """Whether more of the body, or its end, is here within these seconds."""
        if self._pieces or self._ended:
            return True
        data = yield Receive(seconds)
        if data is None:
            return False
        yield from self._take(data)
        return True

    # -- frames --------------------------------------------------------------------------------------------------------

    def _more(self) -> Steps[None]:
        data: bytes = yield None
        yield from self._take(data)

    def _take(self, data: bytes) -> Steps[None]:
        """What these bytes mean, and what is to be said to them at once."""
        from h2 import events

        if not data:
            raise ConnectionLost("the server closed the connection in the middle of an answer", operation="receive")
        frames = self._frames(data)
        with _named_errors():
            for event in self._h2.receive_data(frames):
                self._idle_frames += 1
                if isinstance(event, events.DataReceived) and event.stream_id == self._stream:
                    self._taken += event.flow_controlled_length or 0
                    if event.data:
                        self._pieces.append(event.data)
                        self._idle_frames = 0
                elif isinstance(event, events.ResponseReceived) and event.stream_id == self._stream:
                    self._head, self.answered = self._read_head(event.headers or []), True
                elif isinstance(event, events.InformationalResponseReceived) and event.stream_id == self._stream:
                    self._read_head(event.headers or [])
                    self._interim += 1
                    if self._interim > MOST_INTERIM:
                        raise ProtocolError("the server goes on saying that an answer will come")
                elif isinstance(event, events.StreamEnded) and event.stream_id == self._stream:
                    self._ended = True
                elif isinstance(event, events.StreamReset) and event.stream_id == self._stream:
                    if self._ended:
                        continue  # it only says that it wants no more of our body
                    self._gone = True
                    raise ConnectionLost(
                        "the server broke its answer off (HTTP/2 error {code})",
                        operation="receive",
                        code=int(event.error_code or 0),
                    )
                if self._idle_frames > MOST_IDLE_FRAMES:
                    raise ProtocolError("the server sends frames without an answer in them", operation="receive")
        if answer := self._h2.data_to_send():
            yield answer

    def _frames(self, data: bytes) -> bytes:
        """What of it is for h2: whole frames, without GOAWAY, behind which h2 takes nothing any more. But a server says so
        when it wants to close, and then goes on with the answer that is under way (RFC 9113 §6.8)."""
        data = self._held + data
        wanted: list[bytes] = []
        start = at = 0
        while len(data) - at >= FRAME_HEAD:
            size = int.from_bytes(data[at : at + 3])
            if size > MOST_FRAME:
                raise ProtocolError("the server sent a frame of {size} bytes", operation="receive", size=size)
            end = at + FRAME_HEAD + size
            if end > len(data):
                break
            if data[at + 3] == GOAWAY:
                wanted.append(data[start:at])
                start = end
                self._leave_taken(data[at + FRAME_HEAD : end])
            at = end
        self._held = data[at:]
        return b"".join([*wanted, data[start:at]])

    def _leave_taken(self, payload: bytes) -> None:
        """The server takes no further request here, and does not answer those behind the last that it names."""
        self._gone = True
        last, code = int.from_bytes(payload[:4]) & 0x7FFFFFFF, int.from_bytes(payload[4:8])
        if not self._ended and (code or last < self._stream):
            raise ConnectionLost(
                "the server broke its answer off (HTTP/2 error {code})", operation="receive", code=code
            )

    def _read_head(self, encoded: Iterable[Any]) -> Head:
        headers = [
            (name.decode(errors="surrogateescape"), value.decode(errors="surrogateescape")) for name, value in encoded
        ]
        status = next((value for name, value in headers if name == ":status"), "")
        if not (status.isdecimal() and len(status) == 3):
            raise ProtocolError("the answer has no status", operation="receive")
        plain = [(name, value) for name, value in headers if not name.startswith(":")]
        self._trace("<", f"HTTP/2 {status}", plain)
        return Head("2", int(status), "", Headers(plain))

    def _trace(self, direction: str, line: str, headers: list[tuple[str, str]]) -> None:
        if self._talk.options.trace is not None:
            self._talk.trace(direction, line)
            for name, value in headers:
                self._talk.trace(direction, f"{name}: {HIDDEN if name in SECRETS else value}")

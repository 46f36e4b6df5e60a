"""What arrives at the other end: a socket that is checked, what had been read from it, and what the sender wanted us to know."""

from __future__ import annotations

import os
import socket
import stat
from reprlib import repr as shortened
from typing import Any

from prise.connection.blocking import Connection
from prise.connection.credentials import Credentials
from prise.connection.packets import PacketConnection
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import HandoverProtocolError, UsageError
from prise.framing import Framing, framing_of
from prise.handover.parcel import kind_of
from prise.handover.wire import Frame, close_all
from prise.transports import keeps_messages


class Received:
    """A socket that changed hands; use it in a `with` statement, or `close()` it, unless `connection()` has taken it.

    socket: ours, blocking, not inherited by programs that are started. kind: "stream", "listener" or "datagram". pending: the
    bytes that were read from it already; they come first. state: what the sender said, as JSON. peer, local: addresses as
    the sender knew them; "" without one. credentials: (pid, uid, gid) of the process at the channel's other end. header:
    all that was said. What the sender said is data, not truth: the kernel knows better (`socket.getpeername()`).
    """

    def __init__(
        self, sock: socket.socket, header: dict[str, Any], pending: bytes, credentials: Credentials | None
    ) -> None:
        self.socket = sock
        self.header = header
        self.pending = pending
        self.credentials = credentials
        self.kind = kind_of(sock)
        self.state = header.get("state")
        self.peer = _text(header.get("peer"))
        self.local = _text(header.get("local"))

    def __repr__(self) -> str:
        return f"<Received {self.kind} {self.peer or self.local} {len(self.pending)} bytes pending>"

    def connection(self, framing: str | Framing = "lines", limits: Limits | None = None) -> Connection:
        """The blocking connection, in which the pending bytes come first. Raises UsageError for a listener.

        On asyncio: `await prise.connect(f"fd:{received.socket.fileno()}")` where nothing is pending; a server takes it with
        `Server.adopt`.
        """
        if self.kind == "listener":
            raise UsageError("this socket listens; accept() from it, or serve it with the address fd:N")
        limits = limits or Limits()
        packets = keeps_messages(self.socket)
        pipeline = Pipeline(framing_of(framing), limits.message_size, packets=packets)
        kind: type[Connection] = PacketConnection if packets else Connection
        connection = kind(self.socket, pipeline, limits)
        connection._shared = self.header.get("shared") is True
        connection.preload(self.pending)
        self.pending = b""
        return connection

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Received:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _text(value: Any) -> str:
    return value[:300] if isinstance(value, str) else ""


def check(frame: Frame) -> None:
    """That a frame brought one socket. Raises HandoverProtocolError, and then everything that it brought is closed."""
    header, descriptors, _ = frame
    try:
        if header["type"] != "handover":
            raise HandoverProtocolError("a handover was due, and {type} came", type=shortened(header["type"]))
        if len(descriptors) != 1:
            raise HandoverProtocolError("expected exactly one socket, got {count} descriptors", count=len(descriptors))
        if not stat.S_ISSOCK(os.fstat(descriptors[0]).st_mode):
            raise HandoverProtocolError(
                "what came is no socket but {what} (PHP sends its standard input in place of a Socket object: give it the "
                "stream of socket_export_stream)",
                what=_what(descriptors[0]),
            )
    except BaseException:
        close_all(descriptors)
        raise


def unpacked(frame: Frame, credentials: Credentials | None, as_is: bool = False) -> Received:
    """What a frame brought that was checked. as_is: the socket's mode, which is shared with the sender, is not touched."""
    try:
        sock = socket.socket(fileno=frame.descriptors[0])
    except BaseException:
        close_all(frame.descriptors)
        raise
    if not as_is:
        sock.settimeout(None)
    return Received(sock, frame.header, frame.pending, credentials)


def _what(descriptor: int) -> str:
    mode = os.fstat(descriptor).st_mode
    kinds = (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")

"""Sockets whose reads are whole messages: connected datagram sockets, and SOCK_SEQPACKET.

`recv` gives one message, whatever its length, or b"" at the end; `send` sends one. That is what a connection expects of a
stream, so one code moves both. Three things differ from a plain socket:

- A message may be empty, and an empty read of a stream means the end. So an empty message is EMPTY, which is *true*.
- A datagram socket that was shut down gives "nothing there" for ever (Linux, udp(7)); here it gives b"", the end.
- A message longer than the buffer is cut. So the buffer is longer than any message that decoders let through: a Unix packet
  that fills it may have been cut, and counts as too large (UDP has none so long).
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Any, Self

from prise.framing.packets import LONGEST_PACKET

LARGEST = LONGEST_PACKET + 3
"""Bytes read at once from Unix sockets, whose packets can be as large as the sender's buffer (212,992 on Linux). The longest
message may have a line's end behind it, and there is one byte more for what is cut."""


class Empty(bytes):
    """An empty message: unlike b"", which is the end, it is true."""

    def __bool__(self) -> bool:
        return True


EMPTY = Empty()


class PacketSocket(socket.socket):
    """A connected socket that keeps the boundaries of messages."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._ended = False
        self._large = self.family == getattr(socket, "AF_UNIX", None)
        self._empty = b"" if self.type == socket.SOCK_SEQPACKET else EMPTY  # what an empty read means

    @classmethod
    def of(cls, sock: socket.socket) -> Self:
        """Takes a socket over; the other object is left without it."""
        blocking = sock.gettimeout()
        self = cls(fileno=sock.detach())
        self.settimeout(blocking)
        return self

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """One message; EMPTY for one without bytes, b"" at the end."""
        try:
            # Whatever was asked for: more than the longest UDP datagram.
            data = _recv_large(self, flags) if self._large else super().recv(65536, flags)
        except BlockingIOError:
            if self._ended:
                return b""
            raise
        return data if data or self._ended else self._empty

    def shutdown(self, how: int, /) -> None:
        if how != socket.SHUT_WR:
            self._ended = True
        super().shutdown(how)


class _Room(threading.local):
    """One buffer for each thread, since it is large."""

    def __init__(self) -> None:
        self.buffer = bytearray(LARGEST)
        self.view = memoryview(self.buffer)


_room = _Room()


def _recv_large(sock: socket.socket, flags: int) -> bytes:
    size = sock.recv_into(_room.buffer, 0, flags)
    return bytes(_room.view[:size])


def recv_large_from(sock: socket.socket) -> tuple[bytes, Any]:
    """A datagram of a Unix socket, with its sender."""
    size, sockaddr = sock.recvfrom_into(_room.buffer)
    return bytes(_room.view[:size]), sockaddr


class OpenSocket(PacketSocket):
    """A datagram socket that sends to one address, and hears answers from any: for broadcast and multicast.

    Nobody answers from such an address, and a connected socket would hear nobody else.
    """

    target: Any = None

    def send(self, data: Any, flags: int = 0, /) -> int:
        return self.sendto(data, flags, self.target)

    def getpeername(self) -> Any:
        if self.target is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self.target

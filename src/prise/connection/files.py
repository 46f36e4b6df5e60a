"""Sending a file, or a part of one, as raw bytes: what all connections share, and the blocking one's way of doing it.

    small (64 KiB)             read, and sent like a message: it goes out together with what was said just before it
    larger, on a bare stream   the kernel copies it to the socket by itself (sendfile)
    larger, over layers        read, wrapped and written piece by piece

The file is read by position, so several connections may send one descriptor at once, and nobody's offset moves. Where the
kernel cannot do its part (an odd file system) the file is read like for layers.

A connection of which a part of the file is missing is worth nothing: whoever counts on the rest would take for it whatever
comes next. So it is cut, whether the file became shorter or the task that sent it was cancelled.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Any

from prise.connection.base import BaseConnection, timeval
from prise.errors import TooSlow, UsageError

if TYPE_CHECKING:
    from prise.connection.blocking import Connection

PIECE = 64 * 1024
"""Bytes read at once. More would make glibc map and unmap memory each time, see READ_SIZE. Also the least that a peer must take
within `Limits.write_time`, so that a few bytes now and then do not hold a file open for ever."""

TURN = 1024 * 1024
"""Bytes that a loop sends of one file before the others have their turn."""

_GONE = (ConnectionError, TimeoutError)


class FilePart:
    """What is to be sent of a file. left: bytes that have not been given to the connection yet. by_kernel: sendfile may do it.

    file: a descriptor, or an object with fileno(). offset, count: bytes; count None: up to the end as it is now. Raises
    UsageError for what is no regular file, or does not hold so much.
    """

    __slots__ = ("_descriptor", "_offset", "by_kernel", "count", "left")

    def __init__(self, file: Any, offset: int, count: int | None) -> None:
        try:
            self._descriptor = file if isinstance(file, int) else int(file.fileno())
            status = os.fstat(self._descriptor)
        except (AttributeError, OSError) as error:
            raise UsageError("only an open file can be sent: a descriptor, or an object with fileno()") from error
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("only a regular file can be sent; read from anything else, and send what was read")
        self.count = max(status.st_size - offset, 0) if count is None else count
        if offset < 0 or self.count < 0 or offset + self.count > max(status.st_size, offset):
            raise UsageError(
                "the file holds {size} bytes, so {count} bytes from {offset} on cannot be sent",
                size=status.st_size,
                count=self.count,
                offset=offset,
            )
        self._offset = offset
        self.left = self.count
        self.by_kernel = hasattr(os, "sendfile")

    def read(self, most: int = PIECE) -> bytes:
        """The next bytes. Raises UsageError when they are not there any more."""
        try:
            data = os.pread(self._descriptor, min(self.left, most), self._offset)
        except OSError as error:
            raise self._failure(
                "the file cannot be read ({cause}): {sent} of {count} bytes were sent", error
            ) from error
        if not data:
            raise self._shorter()
        self._offset += len(data)
        self.left -= len(data)
        return data

    def read_all(self) -> bytes:
        """All that is left: for small ones."""
        data = b""
        while self.left:  # once, except on odd file systems
            data += self.read()
        return data

    def send(self, descriptor: int, most: int) -> int:
        """Has the kernel copy at most so many bytes to a socket; returns how many it took.

        0: it cannot do that, `by_kernel` is False from now on. Raises BlockingIOError; ConnectionError or TimeoutError when
        the peer is gone, UsageError when the bytes are not there any more.
        """
        try:
            sent = os.sendfile(descriptor, self._descriptor, self._offset, min(self.left, most))
        except (BlockingIOError, *_GONE):
            raise
        except OSError:
            # The file's fault or the socket's, that cannot be told: reading and sending by ourselves shows it.
            self.by_kernel = False
            return 0
        if not sent:
            raise self._shorter()
        self._offset += sent
        self.left -= sent
        return sent

    def _shorter(self) -> UsageError:
        return self._failure("the file became shorter meanwhile: {sent} of {count} bytes were sent", None)

    def _failure(self, reason: str, cause: OSError | None) -> UsageError:
        sent = self.count - self.left
        details: dict[str, Any] = {} if cause is None else {"cause": cause.strerror or cause}
        return UsageError(reason, operation="send_file", sent=sent, count=self.count, **details)


def refuse_messages(connection: BaseConnection) -> None:
    """A file is bytes without boundaries. Raises UsageError where every message stands for itself."""
    if connection._pipeline.keeps_messages:
        raise UsageError(
            "a file cannot be sent over {scheme}, which carries messages; send what is read from it as messages",
            operation="send_file",
            scheme=connection.local.scheme if connection.websocket is None else "WebSocket",
        )


def send_file(connection: Connection, file: Any, offset: int, count: int | None) -> int:
    """`Connection.send_file`. What other threads post meanwhile is sent behind the file: the write lock is held."""
    connection._refuse_if_closed("send_file")
    if not connection._ready:
        connection.handshake()
    refuse_messages(connection)
    part = FilePart(file, offset, count)
    if connection._sent_eof:
        raise UsageError("the sending side is closed already", operation="send_file", **connection._ends)
    with connection._write_lock:
        try:
            _send(connection, part)
        except BaseException:
            connection.abort()
            raise
    connection._silent_for = 0.0
    if connection._posted or connection._layers_wait:
        connection._flush_posted()
    return part.count


def _send(connection: Connection, part: FilePart) -> None:
    """What was posted before, then the file. The write lock is held."""
    small = [part.read_all()] if part.count <= PIECE else []
    data = connection._unsent + connection._wire([*connection._take_posted(), *small])
    connection._unsent = b""
    if data:
        connection._write(data)
    if part.left and not connection._pipeline.layered:
        _send_by_kernel(connection, part)
    while part.left:
        connection._write(connection._wire([part.read()]))


def _send_by_kernel(connection: Connection, part: FilePart) -> None:
    """Without copying, until all is sent or the kernel says that it cannot do that.

    The socket blocks (for reading, which the kernel times), so the kernel times this as well: SO_SNDTIMEO, socket(7), is for each
    64 KiB of a sendfile, and `abort` interrupts it.
    """
    sock, counters, patience = connection._sock, connection._counters, connection._limits.write_time
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval(patience))
    while part.left and part.by_kernel:
        try:
            counters.bytes_sent += part.send(sock.fileno(), TURN)
        except BlockingIOError:
            # The kernel wakes a sender only when a third of its buffer is free: a slow peer may have taken a lot meanwhile.
            _send_now(connection, part.read())
        except OSError as error:
            raise connection._cannot_send(error) from error


def _send_now(connection: Connection, data: bytes) -> None:
    """The peer's time is over, unless it turns out now that it takes something."""
    try:
        sent = connection._sock.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        seconds = connection._limits.write_time
        late = TooSlow(
            "the peer took nothing for {seconds:g} s", operation="send_file", seconds=seconds, **connection._ends
        )
        connection._give_up(late)
        raise late from None
    except OSError as error:
        raise connection._cannot_send(error) from error
    connection._counters.bytes_sent += sent
    if sent < len(data):
        connection._write(data[sent:])

"""What both colours of `ipc.Connection` share: who talks with whom, what a message becomes, and what was received.

A message above a threshold travels in sealed shared memory (memory.py), whose descriptor rides on the first byte of its frame
(SCM_RIGHTS, unix(7)). The kernel never glues what follows to bytes that carry a descriptor, so a read brings one at most, and
it belongs to the last frame of that read.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from typing import Any, Final, NamedTuple

from prise.address import Address
from prise.connection.base import disconnect, peer_gone, reset
from prise.connection.credentials import Credentials, peer_credentials
from prise.core.limits import Limits
from prise.errors import ConnectionLost, FrameError, TooSlow, UsageError
from prise.ipc import memory
from prise.ipc.frame import PLAIN, Announced, Decoder, Shape, head, shape_of, shaped
from prise.ipc.memory import Buffer
from prise.ipc.sharing import LOCAL_LIMITS, Sharing

READ_SIZE: Final = 65 * 1024
"""A message of 64 KiB fits, with its head."""
DESCRIPTOR_ROOM: Final = socket.CMSG_LEN(4) if hasattr(socket, "CMSG_LEN") else 0
"""For exactly one: with CMSG_SPACE, which is rounded up, there would be room for two."""
# Plain numbers: `&` and `|` of an enumeration's members take longer than a system call.
CLOEXEC: Final = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
TRY_ONLY: Final = CLOEXEC | int(socket.MSG_DONTWAIT)
WAIT_ALL: Final = int(socket.MSG_WAITALL)
CTRUNC: Final = int(socket.MSG_CTRUNC)
JOINED: Final = 16 * 1024
"""Bytes of a message up to which it is cheaper to copy it behind its head than to have the kernel gather both."""


class Outgoing(NamedTuple):
    """A message to be sent. body: empty when the bytes are in shared memory. source: what is to be copied there first."""

    shape: Shape
    size: int
    body: memoryview | bytes = b""
    buffer: Buffer | None = None
    source: memoryview | None = None


class Link:
    """The state of one connection; nothing here waits. lost: why it broke, None while it is there or simply ended."""

    def __init__(self, sock: socket.socket, limits: Limits = LOCAL_LIMITS, sharing: Sharing | None = None) -> None:
        """sock: a connected stream socket, which is taken over. Shared memory needs a Unix socket."""
        if sock.type != socket.SOCK_STREAM:
            raise UsageError("prise.ipc needs a stream of bytes, such as unix: without the option `type`")
        self._sock = sock
        self._limits = limits
        self._sharing = sharing if sharing is not None else Sharing()
        self._unix = sock.family == getattr(socket, "AF_UNIX", None)
        self._shares = self._unix and memory.SUPPORTED
        threshold = self._sharing.threshold
        self._threshold = threshold if self._shares and threshold is not None else sys.maxsize
        self._small = min(JOINED, self._threshold - 1, limits.message_size)  # -1 once nothing can be sent: see `send`
        self._decoder = Decoder(limits.message_size, self._sharing.largest)
        self._inbox: deque[memoryview] = deque()
        self._descriptor = -1  # it came, and its frame is not complete
        self._eof = False
        self._sent_eof = False
        self._error: BaseException | None = None  # there is no way on
        self.lost: ConnectionLost | None = None
        self._flying = self._flying_size = self._last_size = 0  # sent since we last knew that the peer had taken it

    def __repr__(self) -> str:
        return f"<prise.ipc.{type(self).__name__} {self.peer}{' closed' if self.closed else ''}>"

    # -- identity ----------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> Address:
        """The address of the other side; `unix:` where it has no name, as in a pair."""
        return self._address("getpeername")

    @property
    def local(self) -> Address:
        """The address of this side."""
        return self._address("getsockname")

    def _address(self, which: str) -> Address:
        from prise.transports import describe

        try:
            sockaddr = getattr(self._sock, which)()
        except OSError:  # it is gone already
            sockaddr = ""
        return describe(self._sock.family, sockaddr, self._sock.type) if sockaddr or self._unix else Address("tcp")

    @property
    def credentials(self) -> Credentials | None:
        """The process of the peer on a Unix socket, (pid, uid, gid), as the kernel knows it."""
        return None if self.closed else peer_credentials(self._sock)

    @property
    def closed(self) -> bool:
        """True once it is closed on this side."""
        return self._sock.fileno() < 0

    def fileno(self) -> int:
        """The descriptor, for `select` and the like; -1 when closed."""
        return self._sock.fileno()

    @staticmethod
    def allocate(shape: int | tuple[int, ...], format: str = "B") -> Buffer:
        """Memory to make a message in, which `send` then sends without a copy; see `Buffer`."""
        return Buffer(shape, format)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _outgoing(self, message: Any) -> Outgoing:
        """What becomes of a message. Raises UsageError for what is no buffer, or too large."""
        self._refuse_if_ended()
        if isinstance(message, Buffer):
            size, shape = message.nbytes, message.shape
            if self._shares and self._sharing.threshold is not None:
                self._check(size, self._sharing.largest)
                message.seal()  # now: what is wrong with it is the caller's to hear before anything waits
                return Outgoing(shape, size, buffer=message)
            self._check(size, self._limits.message_size)
            return Outgoing(shape, size, message.contents())
        if type(message) is bytes:
            view, shape = memoryview(message), PLAIN
        else:
            try:
                view = memoryview(message)
            except (TypeError, ValueError) as error:
                raise UsageError(
                    "a message is bytes or another buffer (an array), not {type}; encode text first",
                    operation="send",
                    type=type(message).__name__,
                ) from error
            shape = shape_of(view)
            if not view.c_contiguous:
                view = memoryview(view.tobytes())
            elif shape is not PLAIN:
                view = view.cast("B") if view.nbytes else memoryview(b"")
        size = view.nbytes
        if size >= self._threshold:
            self._check(size, self._sharing.largest)
            return Outgoing(shape, size, source=view)
        self._check(size, self._limits.message_size)
        return Outgoing(shape, size, view)

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            raise UsageError(
                "a message of {size} bytes is more than the limit of {limit} allows",
                operation="send",
                size=size,
                limit=limit,
            )

    def _refuse_if_ended(self) -> None:
        if self.closed:
            raise UsageError("the connection is closed", operation="send")
        if self._sent_eof:
            raise UsageError("the sending side is closed already", operation="send")
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _crowded(self, size: int) -> bool:
        """Whether so many more bytes in shared memory may have to wait."""
        sharing = self._sharing
        return self._flying > 0 and (
            self._flying >= sharing.in_flight or self._flying_size + size > sharing.in_flight_size
        )

    def _narrow(self) -> int:
        """From here on the socket is writable when the peer has taken all but one small frame. Returns how it was.

        The kernel counts descriptors that are on their way as next to nothing, so its own bound would let hundreds of
        messages of a gigabyte wait. A socket is writable when its queue is a quarter of the buffer at the most.
        """
        before = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # it becomes the least that there is
        return before

    def _widen(self, before: int) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, before // 2)  # the kernel doubles it, socket(7)

    def _uncrowded(self) -> None:
        """The peer has taken all but perhaps the last."""
        self._flying, self._flying_size = 1, self._last_size

    def _send_descriptor(self, descriptor: int, message: Outgoing) -> bytes:
        """One try, with the first bytes. Returns what is left of the frame. Raises OSError."""
        frame = head(message.size, message.shape, descriptor=True)
        right = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))]
        sent = self._sock.sendmsg([frame], right)
        self._flying += 1
        self._flying_size += message.size
        self._last_size = message.size
        return frame[sent:]

    def _cannot_send(self, error: OSError) -> ConnectionLost:
        lost = self._broke(error)
        lost.operation = "send"
        return lost

    def _too_slow(self, *, within: bool) -> TooSlow:
        """within: half a message is out, so nothing can follow it."""
        late = TooSlow(
            "the peer took nothing for {seconds:g} s", operation="send", peer=self.peer, seconds=self._limits.write_time
        )
        if within:
            self._doom(late)
            self.abort()
        return late

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, ancillary: list[tuple[int, int, bytes]], flags: int) -> None:
        """What one read has brought: fills the inbox, or notes what is wrong."""
        if ancillary or flags & CTRUNC:
            wrong = self._take_descriptor(ancillary, flags)
        elif (message := self._decoder.single(data)) is not None:
            self._inbox.append(message)
            return
        else:
            wrong = None
        if data:
            self._sort(self._decoder.feed(data), wrong)
        else:
            self._ended()

    def _take_filled(self, count: int, ancillary: list[tuple[int, int, bytes]], flags: int) -> None:
        """The same for bytes that went where they belong, `Decoder.rest`."""
        wrong = self._take_descriptor(ancillary, flags) if ancillary or flags & CTRUNC else None
        if count:
            message = self._decoder.filled(count)
            self._sort([] if message is None else [message], wrong)
        else:
            self._ended()

    def _take_descriptor(
        self, ancillary: list[tuple[int, int, bytes]], flags: int
    ) -> FrameError | ConnectionLost | None:
        """Keeps the one descriptor that came; or returns what is wrong, and has closed all."""
        came = [
            int.from_bytes(data[at : at + 4], sys.byteorder)
            for level, kind, data in ancillary
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for at in range(0, len(data) - 3, 4)
        ]
        if len(came) == 1 and self._descriptor < 0 and not flags & CTRUNC:
            (self._descriptor,) = came
            return None
        for each in came:
            os.close(each)
        if came or self._descriptor >= 0:
            return FrameError("more than one descriptor came with a message")
        return ConnectionLost(
            "a message in shared memory is lost: this process has no descriptor left; allow more (ulimit -n), "
            "or keep fewer messages"
        )

    def _sort(self, found: list[memoryview | Announced], wrong: FrameError | ConnectionLost | None) -> None:
        """wrong: with the descriptor of this read, so with the last of its frames."""
        for each in found:
            if not isinstance(each, Announced):
                self._inbox.append(each)
            elif wrong is not None:
                break
            elif not self._map(each):
                return
        wrong = wrong or self._decoder.error
        if wrong is None and self._descriptor >= 0 and (self._decoder.rest is not None or not self._decoder.pending):
            wrong = FrameError("a descriptor came with a message that is not in shared memory")
        if wrong is not None:
            self._fail(wrong)

    def _map(self, announced: Announced) -> bool:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            self._fail(FrameError("a message in shared memory came without its descriptor"))
            return False
        try:
            view = memory.view_of(descriptor, announced.size)
        except FrameError as error:
            self._fail(error)
        except OSError as error:
            reason = "a message of {size} bytes in shared memory is lost: it could not be mapped ({error})"
            self._fail(ConnectionLost(reason, size=announced.size, error=error.strerror or error))
        else:
            self._inbox.append(shaped(view, announced.shape))
        finally:
            os.close(descriptor)
        return self._error is None

    def _ended(self) -> None:
        self._eof = True
        if self._decoder.pending and self.lost is None:
            self._broke(ConnectionLost("the peer ended in the middle of a message"))
        self._drop_descriptor()

    def _fail(self, error: FrameError | ConnectionLost) -> None:
        """There is no way on; what was complete before is still received."""
        error.operation, error.peer = "receive", self.peer
        if isinstance(error, ConnectionLost):
            self.lost = error
        self._doom(error)
        self._drop_descriptor()
        reset(self._sock)  # the peer is to hear it, and nothing more is read

    def _doom(self, error: BaseException) -> None:
        """From here on every `receive` and `send` raises this, once what was received is taken."""
        self._error = self._error or error
        self._small = -1

    def _broke(self, cause: OSError | ConnectionLost) -> ConnectionLost:
        lost = cause if isinstance(cause, ConnectionLost) else peer_gone(cause, "receive")
        lost.peer = self.peer
        self.lost = self.lost or lost
        return lost

    def _drop_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    # -- ending ------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Breaks the connection off. From any thread."""
        self._eof = True
        reset(self._sock)

    def _close(self) -> None:
        self._eof, self._small = True, -1
        self._drop_descriptor()
        disconnect(self._sock)  # `close` alone would do nothing where a forked process has a copy
        self._sock.close()

"""The blocking `ipc.Connection`. A small message costs one system call on each side: the kernel waits, and keeps the time too.

One thread owns it, or one receives while another sends.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from prise.closing import Closing
from prise.connection.base import LONGEST_WAIT, disconnect, timeval
from prise.core.limits import Limits
from prise.errors import ConnectionLost, TooSlow
from prise.ipc.base import CLOEXEC, DESCRIPTOR_ROOM, JOINED, READ_SIZE, TRY_ONLY, WAIT_ALL, Link, Outgoing
from prise.ipc.frame import HEAD, head
from prise.ipc.memory import no_memory, sealed_copy
from prise.ipc.sharing import LOCAL_LIMITS, Sharing


class Connection(Link, Closing):
    """Messages between two processes of one machine; large ones in shared memory.

    A message is any buffer: bytes, an array. It arrives as a read-only memoryview of the same shape, whichever way it came:
    `bytes(message)` copies it, `numpy.asarray(message)` does not. It may be kept longer than the connection. Iterate for the
    messages. Use it in a `with` statement, or `close` it.
    """

    def __init__(self, sock: socket.socket, limits: Limits = LOCAL_LIMITS, sharing: Sharing | None = None) -> None:
        super().__init__(sock, limits, sharing)
        self._idles = limits.idle_time is None  # the peer may be silent as long as it likes
        sock.setblocking(True)
        bounds = [each for each in (limits.idle_time, limits.message_time) if each is not None]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval(min(bounds, default=None)))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval(limits.write_time))

    # -- receiving ---------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> memoryview | None:
        """The next message, or None when the peer has ended its side.

        timeout: seconds; 0: only what is there already; None: as long as the limits allow. Raises TooSlow, FrameError for what
        is no message or no sealed memory, ConnectionLost for a message that broke off.
        """
        if self._inbox:
            return self._inbox.popleft()
        if timeout is None and self._idles and not (self._eof or self._error or self._decoder.pending):
            # The usual case: one call that waits, and one small message. Whatever else comes is for the general one.
            try:
                data, ancillary, told, _ = self._sock.recvmsg(READ_SIZE, DESCRIPTOR_ROOM, CLOEXEC)
            except BlockingIOError:
                return self._next(None)
            except OSError as error:
                self._broke(error)
                self._ended()
                return None
            if not ancillary and (message := self._decoder.single(data)) is not None:
                return message
            self._take(data, ancillary, told)
        return self._next(timeout)

    def _next(self, timeout: float | None) -> memoryview | None:
        inbox, decoder = self._inbox, self._decoder
        if inbox:
            return inbox.popleft()
        started = time.monotonic()
        until = None if timeout is None else started + timeout
        begun: float | None = None
        while True:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self._eof:
                if self.lost is not None and decoder.pending:
                    raise self.lost.with_traceback(None)
                return None
            if begun is None:
                begun = time.monotonic() if decoder.pending else None
            else:
                self._left(until, begun, started)  # a trickle does not prolong it
            self._read(until, begun, started)
            if inbox:
                return inbox.popleft()

    def __iter__(self) -> Iterator[memoryview]:
        while (message := self.receive()) is not None:
            yield message

    def ask(self, message: Any, timeout: float | None = None) -> memoryview:
        """Sends a message and returns the next one received; ConnectionLost if the peer ends without an answer."""
        self.send(message)
        answer = self.receive(timeout)
        if answer is None:
            raise self.lost or ConnectionLost("the peer closed without an answer", operation="ask", peer=self.peer)
        return answer

    def _read(self, until: float | None, begun: float | None, started: float) -> None:
        """One read. Raises TooSlow."""
        flags = CLOEXEC if until is None else TRY_ONLY
        rest = self._decoder.rest
        try:
            if rest is None:
                data, ancillary, told, _ = self._sock.recvmsg(READ_SIZE, DESCRIPTOR_ROOM, flags)
                self._take(data, ancillary, told)
            else:
                count, ancillary, told, _ = self._sock.recvmsg_into([rest], DESCRIPTOR_ROOM, flags | WAIT_ALL)
                self._take_filled(count, ancillary, told)
        except BlockingIOError:
            left = self._left(until, begun, started)
            if until is not None:
                _ready(self._sock, select.POLLIN, left)
        except OSError as error:
            self._broke(error)
            self._ended()

    def _left(self, until: float | None, begun: float | None, started: float) -> float | None:
        """Seconds until the first deadline, None where there is none. Raises TooSlow when it has come.

        begun: when we began to wait for the rest of a message; started: for anything.
        """
        now, limits, left = time.monotonic(), self._limits, None
        since, bound, reason = started, limits.idle_time, "nothing arrived for {seconds:g} s"
        if begun is not None and limits.message_time is not None:
            since, bound, reason = begun, limits.message_time, "a message was not complete after {seconds:g} s"
        if bound is not None:
            left = since + bound - now
        own = until is None or (left is not None and left < until - now)
        if until is not None and not own:
            left, reason = until - now, "no message in the time given"
        if left is None or left > 0:
            return left
        late = TooSlow(reason, operation="receive", peer=self.peer, seconds=bound)
        if own:
            self._doom(late)  # the caller's own patience may start again
        raise late

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Sends one message, whole. Waits while the peer does not take it, for `Limits.write_time` at the most.

        message: bytes, any other buffer, or a `Buffer`, which is not copied. Raises TooSlow, ConnectionLost; UsageError for
        what is no buffer or too large, and when there is no shared memory for it: then nothing was sent.
        """
        outgoing = None
        if type(message) is not bytes or len(message) > self._small:
            outgoing = self._outgoing(message)
        try:
            if outgoing is None:
                self._send_joined(HEAD.pack(len(message)) + message)
            elif outgoing.source is not None or outgoing.buffer is not None:
                self._send_shared(outgoing)
            elif outgoing.size <= JOINED:
                self._send_joined(head(outgoing.size, outgoing.shape) + outgoing.body)
            else:
                self._send_apart(outgoing)
        except BlockingIOError:
            raise self._too_slow(within=True) from None
        except ConnectionError as error:
            if isinstance(error, ConnectionLost):
                raise
            raise self._cannot_send(error) from error

    def _send_joined(self, frame: bytes) -> None:
        sent = self._sock.send(frame)
        if sent < len(frame):
            self._send_rest(memoryview(frame)[sent:])

    def _send_apart(self, outgoing: Outgoing) -> None:
        first = head(outgoing.size, outgoing.shape)
        sent = self._sock.sendmsg([first, outgoing.body])
        if sent < len(first):
            self._send_rest(memoryview(first)[sent:])
            sent = len(first)
        self._send_rest(memoryview(outgoing.body)[sent - len(first) :])

    def _send_rest(self, rest: memoryview) -> None:
        while rest:
            rest = rest[self._sock.send(rest) :]

    def _send_shared(self, outgoing: Outgoing) -> None:
        if self._crowded(outgoing.size):
            self._wait_for_room()
        if outgoing.buffer is not None:
            self._send_memory(outgoing.buffer.seal(), outgoing)
            return
        assert outgoing.source is not None
        descriptor = sealed_copy(outgoing.source)
        try:
            self._send_memory(descriptor, outgoing)
        finally:
            os.close(descriptor)

    def _send_memory(self, descriptor: int, outgoing: Outgoing) -> None:
        try:
            rest = self._send_descriptor(descriptor, outgoing)
        except (BlockingIOError, ConnectionError):
            raise
        except OSError as error:  # ETOOMANYREFS: as many descriptors are on their way as this user may have open
            raise no_memory(outgoing.size, error) from error
        self._send_rest(memoryview(rest))

    def _wait_for_room(self) -> None:
        """Until the peer has taken all messages in shared memory but the last. Raises TooSlow."""
        before = self._narrow()
        try:
            if not _ready(self._sock, select.POLLOUT, self._limits.write_time):
                raise self._too_slow(within=False)
        finally:
            self._widen(before)
        self._uncrowded()

    # -- ending ------------------------------------------------------------------------------------------------------

    def send_eof(self) -> None:
        """Ends our side and keeps listening: the peer's input ends (half-close)."""
        self._sent_eof, self._small = True, -1
        disconnect(self._sock, socket.SHUT_WR)

    def close(self) -> None:
        """Closes both directions; what was sent still arrives. Messages that were received stay. Closing twice is harmless."""
        self._close()


def _ready(sock: socket.socket, event: int, seconds: float | None) -> bool:
    """Waits until the socket is ready or down; False when the time is over. Signals do not prolong it (PEP 475)."""
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(None if seconds is None else min(seconds, LONGEST_WAIT) * 1000))

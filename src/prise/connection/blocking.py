"""A connection that blocks: for clients in plain Python, and for conversations in the models threads and processes.

Waiting is done by the kernel: the socket stays in blocking mode and SO_RCVTIMEO / SO_SNDTIMEO carry the deadline that comes
first. They are set only when they change, so a message costs one system call, not three (Python's own `settimeout` polls
before each call). A blocked conversation is woken from another thread by shutting its socket down, never by a signal.

One thread owns the connection. `post` and `abort` alone may be called from any other: a post joins a queue, and whoever
holds the write lock empties that queue, so a post never waits for a slow peer; what is left over goes to the flusher.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from prise.connection.base import END, READ_SIZE, BaseConnection, End, disconnect
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import ConnectionLost, FrameError, PeerError, TooSlow, UsageError

NO_MESSAGE = "no message in the time given"
_LINGER_BYTES = 1024 * 1024


class Connection(BaseConnection):
    """A blocking connection. Iterate over it for its messages; the iteration ends when the peer ends.

    Use it in a `with` statement, or `close()` it. One thread owns it; `post` and `abort` may be called from any.
    """

    __slots__ = (
        "_counters",
        "_error",
        "_eof",
        "_flusher_has_it",
        "_inbox",
        "_limits",
        "_partial_since",
        "_pipeline",
        "_posted",
        "_posted_lock",
        "_posted_size",
        "_receive_timeout",
        "_send_timeout",
        "_sent_eof",
        "_write_lock",
    )

    def __init__(
        self,
        sock: socket.socket,
        pipeline: Pipeline,
        limits: Limits,
        counters: Counters | None = None,
        sockaddr: Any = None,
    ) -> None:
        super().__init__(sock, sockaddr)
        sock.setblocking(True)
        self._pipeline = pipeline
        self._limits = limits
        self._counters = counters if counters is not None else Counters()
        self._inbox: deque[Any] = deque()
        self._eof = False
        self._error: BaseException | None = None  # what ended the input, raised when the inbox is empty
        self._partial_since = 0.0
        self._receive_timeout: float | None = None  # what the kernel has been told
        self._send_timeout: float | None = None
        self._sent_eof = False
        self._write_lock = threading.Lock()
        self._posted: list[bytes] = []
        self._posted_size = 0
        self._posted_lock = threading.Lock()  # held for a few lines at a time, unlike the write lock
        self._flusher_has_it = False

    # -- receiving ---------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> Any:
        """The next message, or None when the peer has ended its side.

        timeout: seconds to wait; None waits as long as the limits allow. Raises TooSlow, FrameError. A message that is not
        there in time is not lost: receive again. (Where None can be a message, JSON null, iterate instead.)
        """
        message = self._next(timeout)
        return None if message is END else message

    def __iter__(self) -> Iterator[Any]:
        while (message := self._next()) is not END:
            yield message

    def ask(self, message: Any, timeout: float | None = None) -> Any:
        """Sends a message and returns the next one received; ConnectionLost if the peer ends without an answer."""
        self.send(message)
        answer = self._next(timeout)
        if answer is END:
            raise ConnectionLost("the peer closed without an answer", operation="ask", peer=self.peer)
        return answer

    def _next(self, timeout: float | None = None) -> Any | End:
        inbox = self._inbox
        deadline = None if timeout is None else time.monotonic() + timeout
        while not inbox:
            if self._error is not None:
                raise self._error
            if self._eof:
                return END
            try:
                self._fill(deadline)
            except FrameError as error:
                error.operation, error.peer = "receive", self.peer
                self._error = error  # where the next message begins is unknown: there is no way on
                raise
        return inbox.popleft()

    def _fill(self, deadline: float | None) -> None:
        """One read: puts what it completes into the inbox, or notes that the input has ended."""
        pipeline = self._pipeline
        if pipeline.decoder.more:
            messages = pipeline.feed(b"")
        else:
            data = self._read(deadline)
            if data:
                self._counters.bytes_received += len(data)
                messages = pipeline.feed(data)
                if pipeline.layered:
                    self._write_layers()
            else:
                self._eof = True
                messages = pipeline.decoder.end()
            if not pipeline.decoder.pending:
                self._partial_since = 0.0
            elif messages or not self._partial_since:
                self._partial_since = time.monotonic()
        self._counters.messages_received += len(messages)
        self._inbox.extend(messages)

    def _read(self, deadline: float | None) -> bytes:
        while True:
            seconds, reason, limit = self._patience(deadline)
            if seconds is not None and seconds <= 0:
                raise self._late(reason, limit, deadline)
            if seconds != self._receive_timeout:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
                self._receive_timeout = seconds
            try:
                return self._sock.recv(READ_SIZE)
            except BlockingIOError:
                if seconds == self._limits.idle_time:
                    raise self._late(reason, limit, deadline) from None
                # else the deadline was near when we began to wait: go round and look at the clock again
            except OSError as error:
                if self.closed:
                    raise UsageError("the connection is closed", operation="receive", local=self._local) from None
                return self._lost(error)

    def _lost(self, error: OSError) -> bytes:
        """The peer broke the connection: for the one who listens, that is the end of the input; it is counted."""
        self._counters.error_lost += 1
        return b""

    def _patience(self, deadline: float | None) -> tuple[float | None, str, float | None]:
        """Seconds that the kernel may wait; what to say when they have passed, and the limit to name."""
        idle = self._limits.idle_time
        seconds, reason, limit = idle, "nothing arrived for {seconds:g} s", idle
        if deadline is None and not self._partial_since:
            return seconds, reason, limit
        now = time.monotonic()
        whole = self._limits.message_time
        if self._partial_since and whole is not None:
            left = self._partial_since + whole - now
            if seconds is None or left < seconds:
                seconds, reason, limit = left, "a message was not complete after {seconds:g} s", whole
        if deadline is not None and (seconds is None or deadline - now < seconds):
            seconds, reason, limit = deadline - now, NO_MESSAGE, None
        return seconds, reason, limit

    def _late(self, reason: str, limit: float | None, deadline: float | None) -> TooSlow:
        late = TooSlow(reason, operation="receive", peer=self.peer, seconds=limit)
        if reason is not NO_MESSAGE:
            self._error = late  # a limit was passed: there is no way on; the caller's own patience may start again
        return late

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Sends one message, whole. Waits while the peer does not take it, for `Limits.write_time` at the most.

        Raises TooSlow, ConnectionLost, and UsageError for a message that the framing cannot carry.
        """
        self._send_bytes(self._pipeline.encode(message))
        self._counters.messages_sent += 1

    @property
    def encoding(self) -> object:
        return self._pipeline.encoding

    def encode(self, message: Any) -> bytes:
        return self._pipeline.encode(message)

    def _send_bytes(self, data: bytes) -> None:
        if self._sent_eof:
            raise UsageError("the sending side is closed already", operation="send", peer=self.peer)
        with self._write_lock:
            if self._posted:
                data = self._take_posted() + data
            self._write(data)
        if self._posted:
            self._write_posted()

    def _write(self, data: bytes) -> None:
        """Everything, in blocking calls under one deadline. The write lock is held."""
        sock, patience = self._sock, self._limits.write_time
        if self._send_timeout != patience:
            self._set_send_timeout(patience)
        try:
            sent = sock.send(data)
            self._counters.bytes_sent += sent
            if sent == len(data):
                return
            rest = memoryview(data)[sent:]
            deadline = None if patience is None else time.monotonic() + patience
            while rest:
                if deadline is not None:
                    self._set_send_timeout(max(deadline - time.monotonic(), 0.001))
                sent = sock.send(rest)
                self._counters.bytes_sent += sent
                rest = rest[sent:]
        except BlockingIOError:
            self.abort()  # half a message may be out: nothing else can follow it
            self._error = TooSlow(
                "the peer took nothing for {seconds:g} s", operation="send", peer=self.peer, seconds=patience
            )
            raise self._error from None
        except OSError as error:
            if self.closed:
                raise UsageError("the connection is closed", operation="send") from None
            self._error = ConnectionLost(
                "the peer is gone ({cause})", operation="send", peer=self.peer, cause=error.strerror or error
            )
            raise self._error from error

    def _set_send_timeout(self, seconds: float | None) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))
        self._send_timeout = seconds

    def _write_layers(self) -> None:
        data = self._pipeline.output()
        if data and not self._sent_eof:
            self._send_bytes(data)

    def post_encoded(self, data: bytes) -> bool:
        if self.closed or self._sent_eof:
            return False
        with self._posted_lock:
            fits = self._posted_size + len(data) <= self._limits.outbox_size
            if fits:
                self._posted.append(data)
                self._posted_size += len(data)
        if not fits:
            self._error = TooSlow(
                "the peer left {size} bytes unread", operation="post", peer=self.peer, size=self._posted_size
            )
            self.abort()
            return False
        self._counters.messages_sent += 1
        self._write_posted()
        return True

    def _write_posted(self) -> None:
        """Sends what was posted as far as the peer takes it now. Whoever holds the write lock does it, nobody waits."""
        while self._posted and self._write_lock.acquire(blocking=False):
            try:
                data = self._take_posted()
                try:
                    sent = self._sock.send(data, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    return  # gone: the owner finds out when it reads
                self._counters.bytes_sent += sent
                if sent < len(data):
                    with self._posted_lock:
                        self._posted.insert(0, data[sent:])
                        self._posted_size += len(data) - sent
                    if not self._flusher_has_it:
                        self._flusher_has_it = True
                        from prise.connection.flusher import flush_later

                        flush_later(self)
                    return
            finally:
                self._write_lock.release()

    def _take_posted(self) -> bytes:
        with self._posted_lock:
            data = b"".join(self._posted)
            self._posted.clear()
            self._posted_size = 0
        return data

    # -- ending ------------------------------------------------------------------------------------------------------

    def send_eof(self) -> None:
        """Ends our side and keeps listening: the peer's input ends (half-close)."""
        if not self._sent_eof:
            last = self._pipeline.end_output() if self._pipeline.layered else b""
            if last:
                self._send_bytes(last)
            with self._write_lock:
                if self._posted:
                    self._write(self._take_posted())
            self._sent_eof = True
            disconnect(self._sock, socket.SHUT_WR)

    def end_input(self) -> None:
        """Ends our reading: what has arrived is still received, then the iteration ends. From any thread (used to drain)."""
        disconnect(self._sock, socket.SHUT_RD)

    def abort(self) -> None:
        disconnect(self._sock)

    def close(self, linger: float = 0.0) -> None:
        """Closes both directions. Closing twice is harmless.

        linger: seconds to wait for the peer's own end first. A server that closes with bytes unread makes the kernel send a
        reset, which can destroy the answers still on their way; reading them away (bounded) prevents that.
        """
        if self.closed:
            return
        try:
            if self._error is None:
                self.send_eof()
                if linger and not self._eof:
                    self._drain_input(linger)
        except (PeerError, OSError):
            pass  # it cannot be closed gracefully: it is closed all the same
        finally:
            self._sent_eof = True
            self._sock.close()

    def _drain_input(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        taken = 0
        while taken < _LINGER_BYTES and (left := deadline - time.monotonic()) > 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(left))
            data = self._sock.recv(READ_SIZE)
            if not data:
                return
            taken += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _timeval(seconds: float | None) -> bytes:
    """`struct timeval` of <sys/time.h>: two longs. Zero means for ever, so a tiny wait is rounded up."""
    if seconds is None:
        return struct.pack("ll", 0, 0)
    whole = int(seconds)
    return struct.pack("ll", whole, max(int((seconds - whole) * 1_000_000), 0 if whole else 1))

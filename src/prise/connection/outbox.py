"""What is posted to a blocking connection: sent at once as far as the peer takes it, and kept up to a bound.

A post joins a queue, and whoever holds the write lock empties that queue. So a post never waits, be it for a slow peer or for
the owner of the connection, who may be sending; what the peer does not take goes to the flusher (flusher.py). The rule that
loses nothing: after the write lock is released, the queue is looked at again.

What is queued is encoded but not wrapped: the layers number what they send, so wrapping is done under the write lock, in the
very order of writing (`_wire`). The layers are also used by whoever receives, hence a lock of their own.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from prise.connection.base import BaseConnection, disconnect, peer_gone, reset
from prise.connection.flusher import flush_later
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import ConnectionLost, TooSlow, UsageError


class PostingConnection(BaseConnection):
    """The half of `Connection` that any thread may use, and what both halves share."""

    __slots__ = (
        "_counters",
        "_eof",
        "_error",
        "_flusher_has_it",
        "_gone",
        "_layer_lock",
        "_layers_wait",
        "_limits",
        "_lock",
        "_posted",
        "_posted_at",
        "_posted_count",
        "_posted_size",
        "_sent_eof",
        "_unsent",
        "_write_lock",
    )

    def __init__(
        self, sock: socket.socket, pipeline: Pipeline, limits: Limits, counters: Counters, sockaddr: Any
    ) -> None:
        super().__init__(sock, pipeline, sockaddr)
        self._limits = limits
        self._counters = counters
        self._error: BaseException | None = None  # what ended the conversation, raised when the inbox is empty
        self._eof = False  # nothing more will be read
        self._sent_eof = False
        self._gone = False  # the connection broke or was cut: nothing can be sent
        self._write_lock = (
            threading.Lock()
        )  # while bytes are being sent; the counts of what was sent belong to its holder
        self._layer_lock = threading.Lock()  # taken after the write lock, if both are
        self._layers_wait = (
            False  # the layers have something to say: whoever holds the write lock, or takes it next, sends it
        )
        self._unsent = b""  # wrapped already, and not taken by the peer yet; belongs to the holder of the write lock
        # Held for a few lines at a time, unlike the write lock. Reentrant, because a signal handler may call `end_input`.
        self._lock = threading.RLock()
        self._posted: list[bytes] = []
        self._posted_size = 0  # without what is being sent, which is as much again at the most
        self._posted_count = 0
        self._posted_at = 0.0  # when the peer last took something posted
        self._flusher_has_it = False

    @property
    def unsent(self) -> int:
        return self._posted_size + len(self._unsent)

    @property
    def _ends(self) -> dict[str, Any]:
        """Who talks with whom, for errors."""
        peer = self.peer
        return {"transport": "tcp" if peer.scheme == "tcp" else None, "local": self.local, "peer": peer}

    def _refuse_if_closed(self, operation: str) -> None:
        if self.closed:
            raise UsageError("the connection is closed", operation=operation)

    def post_encoded(self, data: bytes, flush: bool = False) -> bool:  # there are no turns: all is flushed
        with self._lock:
            if self._gone or self._sent_eof:
                return False
            size = self._posted_size + len(self._unsent)
            fits = size + len(data) <= self._limits.outbox_size
            if fits:
                self._posted.append(data)
                self._posted_size += len(data)
                self._posted_count += 1
        if not fits:
            self._give_up(TooSlow("the peer left {size} bytes unread", operation="post", size=size, **self._ends))
        elif not self._flusher_has_it:
            self._flush_posted()
        return not self._gone

    def _flush_posted(self) -> None:
        """Sends what was posted: now, or through the flusher what the peer does not take now."""
        if self._write_posted() or self._flusher_has_it:
            return
        self._flusher_has_it = True
        try:
            flush_later(self)
        except (OSError, RuntimeError):  # no descriptor or no thread is left: the next post or send tries again
            self._flusher_has_it = False

    def _write_posted(self) -> bool:
        """Sends what the peer takes now; False when something is left that nobody else is about to send."""
        while (self._posted or self._unsent or self._layers_wait) and self._write_lock.acquire(blocking=False):
            try:
                data = self._unsent + self._wire(self._take_posted())
                try:
                    sent = self._sock.send(data, socket.MSG_DONTWAIT) if data else 0
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    self._broke(error)  # the owner finds out when it reads
                    return True
                if sent:
                    self._counters.bytes_sent += sent
                    self._posted_at = time.monotonic()
                self._unsent = data[sent:]
                if self._unsent:
                    return False
            finally:
                self._write_lock.release()
        return True

    def _take_posted(self) -> list[bytes]:
        """Everything that was posted. The write lock is held."""
        with self._lock:
            posted = self._posted[:]
            self._posted.clear()
            self._posted_size = 0
            self._counters.messages_sent += self._posted_count
            self._posted_count = 0
        return posted

    def _wire(self, messages: list[bytes]) -> bytes:
        """What goes out for these encoded messages, and what the layers have to say besides. The write lock is held."""
        if not self._pipeline.layered:
            self._layers_wait = False  # they were asked, and have gone meanwhile: a Multiplex has chosen
            return messages[0] if len(messages) == 1 else b"".join(messages)
        with self._layer_lock:
            self._layers_wait = False
            return self._pipeline.wrap(messages) + self._pipeline.output()

    # -- ending ------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        with self._lock:
            self._gone = self._eof = True
            reset(self._sock)

    def _give_up(self, late: TooSlow) -> None:
        """The peer is too slow: the conversation learns it at its next receive or send."""
        with self._lock:
            if self._error is None and not self._gone:
                self._error = late
        self.abort()

    def _broke(self, cause: OSError | ConnectionLost) -> ConnectionLost:
        """The peer or the network broke the connection; counted once."""
        if not isinstance(cause, ConnectionLost):
            cause = peer_gone(cause, "receive")
        vars(cause).update(self._ends)
        with self._lock:
            if not self._gone:
                self._gone = True
                self._lost = cause
                self._counters.error_lost += 1
        return cause

    def _close(self) -> None:
        # Under both locks: a post or an abort of another thread must not meet a descriptor that is somebody else's by now.
        with self._write_lock, self._lock:
            self._gone = self._eof = self._sent_eof = True
            self._posted.clear()
            self._unsent = b""
            disconnect(self._sock)  # `close` alone would do nothing where a forked process has a copy
            self._sock.close()

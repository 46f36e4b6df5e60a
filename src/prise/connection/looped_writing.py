"""What a connection on an event loop has to send: the outbox, and what other conversations and threads post into it.

What waits in the outbox is encoded; layers wrap it when it is written, because they number what they send. A memoryview there
is wrapped already, and precedes everything that is not.
"""

from __future__ import annotations

from threading import get_ident

from prise.connection.looped_state import OPEN, LoopedState
from prise.errors import TooSlow


class LoopedWriting(LoopedState):
    """Adds writing."""

    __slots__ = ()

    @property
    def unsent(self) -> int:
        return self._out_size

    def _queue(self, data: bytes | memoryview) -> None:
        """Puts an encoded message into the outbox; it is written at the end of the turn."""
        self._out.append(data)
        self._out_size += len(data)
        if not self._in_turn and not self._blocked and not self._again:
            self._again = True
            self._loop.again(self)

    def _queue_output(self) -> None:
        """What the layers themselves have to say, behind what they have wrapped so far."""
        if not self._sent_eof:
            if self._out:
                if self._file is None:
                    self._wrap()
                else:
                    self._file.set_aside(self._out)
            if data := self._pipeline.output():
                self._queue(memoryview(data))

    def _wrap(self) -> None:
        """Has the layers wrap what is in the outbox."""
        out = self._out
        if len(out) == 1 and not isinstance(out[0], memoryview):  # the usual case
            if wrapped := self._pipeline.wrap(out):  # type: ignore[arg-type]
                out[0] = memoryview(wrapped)
                self._out_size = len(wrapped)
            else:
                out.clear()
                self._out_size = 0
            return
        first = 0
        while first < len(out) and isinstance(out[first], memoryview):  # wrapped already
            first += 1
        if first < len(out):
            wrapped = self._pipeline.wrap(out[first:])  # type: ignore[arg-type]  # from there on all are bytes
            out[first:] = [memoryview(wrapped)] if wrapped else []
            self._out_size = sum(map(len, out))

    def _flush(self) -> None:
        """Writes the outbox as far as the kernel takes it, in one call. Runs no conversation."""
        out = self._out
        if self._layered:
            self._wrap()
            if not out:
                return  # a layer that is not ready keeps it
        data = out[0] if len(out) == 1 else b"".join(out)
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._broken(error)
            return
        self._counters.bytes_sent += sent
        out.clear()
        if sent == len(data):
            self._out_size = 0
            self._blocked_since = 0.0
            return
        out.append(memoryview(data)[sent:])
        self._out_size = len(data) - sent
        self._note_blocked(sent)

    def _note_blocked(self, sent: int) -> None:
        """The peer is behind. Its deadline is for what waits *now* to be taken: new bytes do not prolong it."""
        self._blocked = True
        self._written += sent
        now = self._time()
        if not self._blocked_since or self._written >= self._goal:
            self._blocked_since = self._active = now
            self._goal = self._written + self._out_size
            if self._limits.write_time is not None:
                self._loop.at(self, now + self._limits.write_time)
        self._settle()

    def post_encoded(self, data: bytes, flush: bool = False) -> bool:
        if self._loop.thread == get_ident():
            size = self._out_size + len(data)
            if flush or self._state or self._sent_eof or self._error is not None or size > self._limits.outbox_size:
                return self._post(data, flush)
            # `_post` and `_queue` in the usual case, in one place: a broadcast comes by here for each connection.
            self._counters.messages_sent += 1
            self._out.append(data)
            self._out_size = size
            if not (self._again or self._in_turn or self._blocked):
                self._again = True
                self._loop.again(self)
            return True
        if self._state or self._error is not None:
            return False
        with self._loop.lock:
            fits = self._posted_size + len(data) <= self._limits.outbox_size
            if fits:
                self._posted_size += len(data)
        if fits:
            self._loop.call(lambda: self._post_from_outside(data))
        else:
            self._give_up()
        return fits

    def _post_from_outside(self, data: bytes) -> None:
        with self._loop.lock:
            self._posted_size -= len(data)
        self._post(data)

    def _post(self, data: bytes, flush: bool = False) -> bool:
        if self._state != OPEN or self._sent_eof or self._error is not None:
            return False
        if flush and not (self._out or self._in_turn or self._blocked):
            return self._write(data)
        most = self._limits.outbox_size - len(data)
        if self._out_size > most:
            if not self._blocked and self._out:
                self._flush()  # what counts against the peer is what it does not take, not what nobody offered it yet
            if self._blocked and self._out_size > most:
                self._give_up()
            if self._sent_eof or self._error is not None:
                return False
        self._counters.messages_sent += 1
        self._queue(data)
        return True

    def _write(self, data: bytes) -> bool:
        """Posts what nothing waits before, in this very call. What is left, and what went wrong, is the turn's business."""
        wire = self._pipeline.wrap((data,)) if self._layered else data
        self._active = self._time()
        counters = self._counters
        counters.messages_sent += 1
        try:
            sent = self._sock.send(wire)
        except OSError:
            sent = 0
        counters.bytes_sent += sent
        if sent < len(wire):
            self._queue(memoryview(wire)[sent:])
        return True

    def _give_up(self) -> None:
        """The peer is too far behind with what is posted to it."""
        if self._state == OPEN and self._error is None:
            late = TooSlow("the peer left {size} bytes unread", operation="post", peer=self.peer, size=self._out_size)
            self._error = late  # nothing more is posted
            # Not inside the poster's turn: ending this conversation runs its code.
            self._loop.call(lambda: self._fail(late))

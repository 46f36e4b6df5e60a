"""Sends, in the background, what was posted to blocking connections whose peers did not take it at once.

One daemon thread for the whole process, started when first needed and gone when it has had nothing to do for a second. It polls
the sockets of the connections that have something left and lets each send what its peer takes; it never blocks on one peer. What
is left has a deadline, as everywhere: a peer that has not taken within `Limits.write_time` what was waiting for it is given up.

It is poll(2), not epoll: what is closed meanwhile, or has the number of something that was, needs no unregistering.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from typing import TYPE_CHECKING

from prise.errors import TooSlow

if TYPE_CHECKING:
    from prise.connection.outbox import PostingConnection

_IDLE = 1.0

_lock = threading.Lock()  # guards the flusher's beginning and end, and its list of what is new
_flusher: Flusher | None = None


def flush_later(connection: PostingConnection) -> None:
    """Takes over a connection whose posted bytes the peer does not take now. Raises OSError or RuntimeError."""
    global _flusher
    with _lock:
        if _flusher is None:
            _flusher = Flusher()
        _flusher.add(connection)


def _forget() -> None:
    """In a forked child, which has no threads but its own: start anew."""
    global _flusher, _lock
    _lock = threading.Lock()
    if _flusher is not None:
        _flusher.close()
        _flusher = None


os.register_at_fork(after_in_child=_forget)


class Flusher:
    """The thread and its table, which holds no more than the connections that are behind."""

    def __init__(self) -> None:
        self._new: list[PostingConnection] = []
        # Until when the peer must have taken how much in all. Bytes that are posted later do not prolong it.
        self._behind: dict[PostingConnection, tuple[float, int]] = {}
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        try:
            threading.Thread(target=self._run, name="prise-flusher", daemon=True).start()
        except RuntimeError:
            self.close()
            raise

    def add(self, connection: PostingConnection) -> None:
        self._new.append(connection)
        try:
            os.write(self._waker, b"!")
        except BlockingIOError:
            pass  # it has been woken a thousand times already

    def close(self) -> None:
        os.close(self._woken)
        os.close(self._waker)

    def _run(self) -> None:
        while True:
            idle = not self._behind
            due = min((until for until, _ in self._behind.values()), default=time.monotonic() + _IDLE)
            ready = self._wait(max(due - time.monotonic(), 0.0))
            now = time.monotonic()
            for connection, (until, _) in list(self._behind.items()):
                if connection in ready or now >= until:
                    self._advance(connection, now)
            if not self._take_new(now, idle):
                return

    def _wait(self, seconds: float) -> set[PostingConnection]:
        """The connections that take bytes again, or are gone."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        places: dict[int, PostingConnection] = {}
        ready = set()
        for connection in self._behind:
            descriptor = connection.fileno()
            if descriptor < 0:
                ready.add(connection)
            else:
                poll.register(descriptor, select.POLLOUT)
                places[descriptor] = connection
        for descriptor, _ in poll.poll(0 if ready else None if seconds == math.inf else min(seconds, 1e6) * 1000):
            if descriptor == self._woken:
                os.read(self._woken, 4096)
            else:
                ready.add(places[descriptor])
        return ready

    def _advance(self, connection: PostingConnection, now: float) -> None:
        until, goal = self._behind.pop(connection)
        connection._flusher_has_it = False  # a post that comes from here on looks after itself
        if connection._write_posted():
            return
        connection._flusher_has_it = True
        if connection._counters.bytes_sent >= goal:
            self._watch(connection, now)
        elif now < until:
            self._behind[connection] = until, goal
        else:
            seconds = connection._limits.write_time
            connection._give_up(
                TooSlow(
                    "the peer took nothing for {seconds:g} s", operation="post", seconds=seconds, **connection._ends
                )
            )

    def _take_new(self, now: float, idle: bool) -> bool:
        """False when there is still nothing to do: this flusher is over."""
        global _flusher
        with _lock:
            if idle and not self._new:
                _flusher = None
                self.close()
                return False
            for connection in self._new:
                if connection not in self._behind:
                    self._watch(connection, now)
            self._new.clear()
        return True

    def _watch(self, connection: PostingConnection, now: float) -> None:
        patience = connection._limits.write_time
        until = math.inf if patience is None else now + patience
        self._behind[connection] = (
            until,
            connection._counters.bytes_sent + connection._posted_size + len(connection._unsent),
        )

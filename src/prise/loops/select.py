"""Our own event loop: small, single-threaded, over epoll on Linux and whatever `selectors` offers elsewhere.

epoll is used directly because `selectors` builds a key and a tuple for every event, which alone costs a third of what a
message may cost here (benchmarks/README.md). The loop is level-triggered; interest in writing exists only while
something waits to be sent.
"""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

from prise.core.deadlines import NEVER
from prise.loops.base import Handler, Loop

READABLE = 0x001 | 0x008 | 0x010  # EPOLLIN, EPOLLERR, EPOLLHUP: reading tells what happened
WRITABLE = 0x004  # EPOLLOUT
_LONGEST_WAIT = 3600.0


class Selectors:
    """`select.epoll`'s interface over `selectors`, for platforms without epoll (kqueue on macOS and the BSDs)."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, descriptor: int, events: int) -> None:
        if events:
            self._selector.register(descriptor, self._interest(events))

    def modify(self, descriptor: int, events: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
        self.register(descriptor, events)

    def unregister(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        return [
            (key.fd, (events & selectors.EVENT_READ and 1) | (events & selectors.EVENT_WRITE and WRITABLE))
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        self._selector.close()

    @staticmethod
    def _interest(events: int) -> int:
        return (selectors.EVENT_READ if events & 1 else 0) | (selectors.EVENT_WRITE if events & WRITABLE else 0)


def make_poller() -> select.epoll | Selectors:
    """The best poller of this platform."""
    return select.epoll() if hasattr(select, "epoll") else Selectors()


class SelectLoop(Loop):
    """Create it in the thread (and, with fork, in the process) that runs it: an inherited epoll would be shared."""

    def __init__(self) -> None:
        super().__init__()
        self.time = time.monotonic
        self._poller = make_poller()
        self._handlers: dict[int, Handler] = {}
        self._interest: dict[int, int] = {}
        self._again: deque[Handler] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._poller.register(self._woken.fileno(), 1)

    def watch(self, handler: Handler, reading: bool, writing: bool) -> None:
        descriptor = handler.fileno()
        events = (1 if reading else 0) | (WRITABLE if writing else 0)
        known = self._interest.get(descriptor)
        if known is None:
            self._poller.register(descriptor, events)
            self._handlers[descriptor] = handler
        elif known != events:
            self._poller.modify(descriptor, events)
        self._interest[descriptor] = events

    def again(self, handler: Handler) -> None:
        self._again.append(handler)

    def at(self, handler: Handler, when: float) -> None:
        self.deadlines.schedule(handler, when)

    def forget(self, handler: Handler) -> None:
        """Must be called before the descriptor is closed: its number may be another connection's a moment later."""
        descriptor = handler.fileno()
        if self._interest.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)
            del self._handlers[descriptor]
        self.deadlines.cancel(handler)

    def call(self, function: Callable[[], None]) -> None:
        self._calls.append(function)
        try:
            self._waker.send(b"!")
        except (BlockingIOError, OSError):
            pass  # woken already, or the loop is over

    def turn(self, longest: float = _LONGEST_WAIT) -> None:
        """One round: waits (at most `longest` seconds) until something is to be done, and does it."""
        handlers = self._handlers
        again = self._again
        if again:
            wait = 0.0
        else:
            when = self.deadlines.next()
            wait = longest if when == NEVER else min(max(when - self.time(), 0.0), longest)
        # epoll rounds down to milliseconds: half a millisecond more avoids spinning just before a deadline.
        for descriptor, events in self._poller.poll(wait + 0.0005 if wait else 0):
            handler = handlers.get(descriptor)
            if handler is None:
                # closed by an earlier event of this very round, or our own waker
                if descriptor == self._woken.fileno():
                    self._run_calls()
                continue
            if events & READABLE:
                handler.on_readable()
                if events & WRITABLE and handlers.get(descriptor) is handler:
                    handler.on_writable()
            else:
                handler.on_writable()
        for _ in range(len(again)):
            again.popleft().on_again()
        self.run_deadlines()

    def _run_calls(self) -> None:
        self._woken.recv(4096)
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def close(self) -> None:
        self._poller.close()
        self._waker.close()
        self._woken.close()

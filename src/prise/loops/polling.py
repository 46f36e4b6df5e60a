"""Descriptors and who is called for them: the part that both loops share, over epoll on Linux and `selectors` elsewhere.

epoll is used directly because `selectors` builds a key and a tuple for every event, which alone costs a third of what a
message may cost here (benchmarks/README.md). It is level-triggered; interest in writing exists only while something waits
to be sent.
"""

from __future__ import annotations

import select
import selectors

from prise.loops.base import Handler, Loop

READABLE = 0x001 | 0x008 | 0x010  # EPOLLIN, EPOLLERR, EPOLLHUP: reading tells what happened
WRITABLE = 0x004  # EPOLLOUT


class Selectors:
    """`select.epoll`'s interface over `selectors`, for platforms without epoll (kqueue on macOS and the BSDs)."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        number: int = self._selector.fileno()  # epoll and kqueue have one, poll and select not
        return number

    def register(self, descriptor: int, events: int) -> None:
        self._selector.register(descriptor, self._interest(events))

    def modify(self, descriptor: int, events: int) -> None:
        self._selector.modify(descriptor, self._interest(events))

    def unregister(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        return [
            (key.fd, (1 if events & selectors.EVENT_READ else 0) | (WRITABLE if events & selectors.EVENT_WRITE else 0))
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        self._selector.close()

    @staticmethod
    def _interest(events: int) -> int:
        return (selectors.EVENT_READ if events & 1 else 0) | (selectors.EVENT_WRITE if events & WRITABLE else 0)


class PollingLoop(Loop):
    """A poller and its table of handlers."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[int, Handler] = {}
        self._interest: dict[int, int] = {}
        self._poller: select.epoll | Selectors = self._make_poller()

    @staticmethod
    def _make_poller() -> select.epoll | Selectors:
        return select.epoll() if hasattr(select, "epoll") else Selectors()

    def watch(self, handler: Handler, reading: bool, writing: bool) -> None:
        descriptor = handler.fileno()
        events = (1 if reading else 0) | (WRITABLE if writing else 0)
        known = self._interest.get(descriptor, 0)
        if known != events:
            if not known:
                self._poller.register(descriptor, events)
            elif events:
                self._poller.modify(descriptor, events)
            else:  # out of it altogether: epoll reports a hang-up even to who waits for nothing, again and again
                self._poller.unregister(descriptor)
        self._interest[descriptor] = events
        self._handlers[descriptor] = handler

    def forget(self, handler: Handler) -> None:
        """Must be called before the descriptor is closed: its number may be another connection's a moment later."""
        descriptor = handler.fileno()
        if self._handlers.get(descriptor) is handler:
            if self._interest.pop(descriptor):
                self._poller.unregister(descriptor)
            del self._handlers[descriptor]
        self.deadlines.cancel(handler)

    def dispatch(self, wait: float) -> None:
        """Waits for so many seconds at the most and calls whoever is ready."""
        handlers = self._handlers
        ready = self._poller.poll(wait)
        self.now = self.time()
        for descriptor, events in ready:
            handler = handlers.get(descriptor)
            if handler is None:
                continue  # closed by an earlier event of this very round
            if events & READABLE:
                handler.on_readable()
                if events & WRITABLE and handlers.get(descriptor) is handler:
                    handler.on_writable()
            else:
                handler.on_writable()

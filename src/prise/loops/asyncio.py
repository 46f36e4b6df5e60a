"""Our connections on asyncio's loop (uvloop's, when that is installed).

The sockets stay ours. They are in a poller of our own, and asyncio watches that poller: one descriptor, readable when any of
the connections is ready, whose callback then serves all that are (epoll and kqueue descriptors can be polled themselves). So

- the code of a connection is the same as on our own loop, and one trip through asyncio serves many connections;
- nothing is read ahead by a transport: a connection can change hands with all its bytes;
- asyncio's 256 KiB reads (three times the cost until the first client leaves) never happen;
- a reset is heard: libuv stops watching a descriptor at EPOLLERR, and uvloop's `add_reader` then never calls again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from prise.core.deadlines import NEVER
from prise.loops.base import Handler
from prise.loops.polling import PollingLoop

_adapters: dict[int, AsyncioLoop] = {}
"""By the id of the asyncio loop; an adapter is here only while it has something to watch, so no loop is kept alive."""


def running_loop() -> AsyncioLoop:
    """The adapter of the running asyncio loop. Raises RuntimeError where none runs."""
    loop = asyncio.get_running_loop()
    adapter = _adapters.get(id(loop))
    if adapter is None or adapter.asyncio is not loop:
        adapter = AsyncioLoop(loop)
    return adapter


class AsyncioLoop(PollingLoop):
    """One for each asyncio loop; shared by all servers and clients on it."""

    wakes_tasks = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._poller.close()  # opened when there is something to watch
        self.asyncio = loop
        self.time = loop.time
        self._again: deque[Handler] = deque()
        self._soon = False  # `_turn` is to be called
        self._timer: asyncio.Handle | None = None
        self._timer_due = NEVER  # kept here: what uvloop gives for a time that has come already has no `when()`

    def watch(self, handler: Handler, reading: bool, writing: bool) -> None:
        if not self._handlers:
            self._open()
        super().watch(handler, reading, writing)

    def forget(self, handler: Handler) -> None:
        watching = bool(self._handlers)
        super().forget(handler)
        if watching and not self._handlers:
            self._close()

    def again(self, handler: Handler) -> None:
        self._again.append(handler)  # one handle of asyncio's for all: a broadcast brings a thousand
        if not self._soon:
            self._soon = True
            self.asyncio.call_soon(self._turn)

    def _turn(self) -> None:
        again = self._again
        self.now = self.time()
        try:
            for _each in range(len(again)):
                again.popleft().on_again()
        finally:  # what one of them raises is asyncio's to report; the others have their turn all the same
            self._soon = bool(again)
            if again:
                self.asyncio.call_soon(self._turn)

    def at(self, handler: Handler, when: float) -> None:
        if self.deadlines.schedule(handler, when):
            self._arm()

    def call(self, function: Callable[[], None]) -> None:
        try:
            self.asyncio.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to call

    def _open(self) -> None:
        self._poller = self._make_poller()
        self.asyncio.add_reader(self._poller.fileno(), self.dispatch, 0)
        _adapters[id(self.asyncio)] = self

    def _close(self) -> None:
        if not self.asyncio.is_closed():
            self.asyncio.remove_reader(self._poller.fileno())
        self._poller.close()
        if _adapters.get(id(self.asyncio)) is self:
            del _adapters[id(self.asyncio)]

    def _arm(self) -> None:
        """One timer for all deadlines, at the earliest."""
        when = self.deadlines.next()
        if self._timer is not None:
            if self._timer_due <= when:
                return
            self._timer.cancel()
        self._timer_due = when
        self._timer = None if when == NEVER else self.asyncio.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.run_deadlines()
        self._arm()

"""Our connections on asyncio's loop (uvloop's, when that is installed).

The sockets stay ours: the loop only says when they are ready (`add_reader`), reading and writing are our own calls. So the
code of a connection is the same as on our own loop, nothing is read ahead by a transport, a connection can change hands
with all its bytes, and asyncio's 256 KiB reads (three times the cost until the first client leaves) never happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prise.core.deadlines import NEVER
from prise.loops.base import Handler, Loop


def running_loop() -> AsyncioLoop:
    """An adapter of the running asyncio loop. Raises RuntimeError where none runs."""
    return AsyncioLoop(asyncio.get_running_loop())


class AsyncioLoop(Loop):
    """One for each server, and one for each client: it holds their deadlines and nothing else of weight."""

    wakes_tasks = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.asyncio = loop
        self.time = loop.time
        self._interest: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, handler: Handler, reading: bool, writing: bool) -> None:
        descriptor = handler.fileno()
        known = self._interest.get(descriptor, 0)
        events = (1 if reading else 0) | (2 if writing else 0)
        if events == known:
            return
        if (events ^ known) & 1:
            if reading:
                self.asyncio.add_reader(descriptor, handler.on_readable)
            else:
                self.asyncio.remove_reader(descriptor)
        if (events ^ known) & 2:
            if writing:
                self.asyncio.add_writer(descriptor, handler.on_writable)
            else:
                self.asyncio.remove_writer(descriptor)
        self._interest[descriptor] = events

    def again(self, handler: Handler) -> None:
        self.asyncio.call_soon(handler.on_again)

    def at(self, handler: Handler, when: float) -> None:
        if self.deadlines.schedule(handler, when):
            self._arm()

    def forget(self, handler: Handler) -> None:
        descriptor = handler.fileno()
        events = self._interest.pop(descriptor, 0)
        if events & 1:
            self.asyncio.remove_reader(descriptor)
        if events & 2:
            self.asyncio.remove_writer(descriptor)
        self.deadlines.cancel(handler)

    def call(self, function: Callable[[], None]) -> None:
        try:
            self.asyncio.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to call

    def _arm(self) -> None:
        """One timer for all deadlines, at the earliest."""
        when = self.deadlines.next()
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = None if when == NEVER else self.asyncio.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.run_deadlines()
        self._arm()

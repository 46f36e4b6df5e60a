"""What a looped connection asks of the loop that moves it. Two implementations: our own (epoll, kqueue) and asyncio's.

watch(handler, reading, writing)   call handler.on_readable / on_writable when its descriptor is ready (level-triggered)
again(handler)                     call handler.on_again after the others had their turn (work is left over)
at(handler, when)                  call handler.on_deadline at that time of `time()` at the latest
forget(handler)                    none of this any more
call(function)                     run it in the loop's own thread, soon; the only thing allowed from other threads
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from prise.core.deadlines import NEVER, Deadlines


class Handler(Protocol):
    """What a loop calls. scheduled: the note of `Deadlines`."""

    scheduled: float

    def fileno(self) -> int: ...
    def on_readable(self) -> None: ...
    def on_writable(self) -> None: ...
    def on_again(self) -> None: ...
    def on_deadline(self, now: float) -> float:
        """Acts on what is due and returns when to be called next (NEVER: not before `at` says so)."""
        ...


class Loop(ABC):
    """The part that both loops share: deadlines, and knowing the owner thread.

    time: the clock, seconds, monotonic; an attribute, like `again`, so that calling it costs one lookup. now: what it said
    when the events that are being served were found; near enough for whoever only notes that something happened.
    lock: held for a few instructions over what other threads write. Each loop has its own, so that none is forked held.
    """

    time: Callable[[], float]
    again: Callable[[Handler], None]
    now: float = 0.0
    wakes_tasks = False
    """True where a coroutine is run by asyncio, False where the connection steps it itself."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.thread = threading.get_ident()
        self.lock = threading.Lock()

    @abstractmethod
    def watch(self, handler: Handler, reading: bool, writing: bool) -> None: ...

    @abstractmethod
    def at(self, handler: Handler, when: float) -> None: ...

    @abstractmethod
    def forget(self, handler: Handler) -> None: ...

    @abstractmethod
    def call(self, function: Callable[[], None]) -> None: ...

    def run_deadlines(self) -> float:
        """Calls whoever is due; returns when the next one is."""
        deadlines = self.deadlines
        if deadlines.next() > (now := self.time()):
            return deadlines.next()
        for handler in list(deadlines.due(now)):
            when = handler.on_deadline(now)  # type: ignore[attr-defined]  # every item here is a Handler
            if when != NEVER:
                deadlines.schedule(handler, when)
        return deadlines.next()

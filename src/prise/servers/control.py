"""How a running server is told to stop: one small object, safe from any thread and from signal handlers.

    running  --drain(seconds)-->  draining  --its deadline, or cut()-->  cutting

The model's loop watches `descriptors()` and calls `read()` when one is readable, then looks at the state. One of them is a
pipe of its own, to be woken by; the other, in a forked process, comes from the parent, which writes how many seconds are left
(`tell`), or RELOAD. When the parent dies the pipe ends, and the server drains by itself: no orphan keeps a port.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prise.handover.succession import Succession
    from prise.observe.metrics import Metrics
    from prise.transports import Listening

RELOAD = b"reload"
"""What a parent writes for: read your certificates again."""


class Control:
    """deadline: when a drain ends and the cut comes, in seconds of `time.monotonic`; None while running.

    succession: where a new release asks for what this server has; None where none may. metrics: who answers scrapers, through
    one more of the descriptors; None: nobody. parent: the read end of a parent's
    pipe. drain_time: seconds for a drain that nobody gave a time for.
    """

    def __init__(self, parent: int | None = None, drain_time: float = 10.0) -> None:
        self._parent = parent
        self._drain_time = drain_time
        self._lock = threading.RLock()  # reentrant: signal handlers come in between
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self.deadline: float | None = None
        self.cutting = False
        self.on_reload: Callable[[], object] = _nothing
        self.succession: Succession | None = None
        self.metrics: Metrics | None = None
        self.on_state: Callable[[str], object] = _nothing_of  # "reloading", "ready", "stopping", "turn": see manager.py

    def descriptors(self) -> list[int]:
        mine = [self._read] if self._parent is None else [self._read, self._parent]
        others = (self.succession, self.metrics)
        return [*mine, *(number for each in others if each is not None and (number := each.fileno()) >= 0)]

    def due(self) -> float | None:
        """Seconds until `longest_wait` or `read` must be called whatever happens; None: only when there is something to read."""
        return None if self.metrics is None else self.metrics.due()

    def longest_wait(self, seconds: float | None) -> float | None:
        """How long a loop that would wait for so many seconds (None: for ever) may wait; does what is overdue."""
        due = self.due()
        if self.metrics is not None and due == 0.0:
            self.metrics.turn()
            due = self.due()
        return seconds if due is None else due if seconds is None else min(seconds, due)

    def bequest(self, listeners: Sequence[Listening]) -> list[tuple[str, Listening]]:
        """The listeners that a successor gets, and by which name: the server's, and those of its metrics."""
        mine = () if self.metrics is None else self.metrics.listeners
        name = "" if self.metrics is None else self.metrics.name
        return [*((str(each.asked), each) for each in listeners), *((name, each) for each in mine)]

    @property
    def heir(self) -> Succession | None:
        """The succession, when a successor is ready to take over."""
        succession = self.succession
        if succession is None:
            return None
        succession.look()
        return succession if succession.heir is not None and not self.draining else None

    def retire(self) -> None:
        """The drain of a server that another one follows, and which has its listeners."""
        if self.metrics is not None:
            self.metrics.bequeath()
        self.drain(self._drain_time)

    @property
    def waker(self) -> int:
        """A descriptor: whatever is written to it makes the loop look at what has changed."""
        return self._write

    @property
    def draining(self) -> bool:
        return self.deadline is not None

    def drain(self, seconds: float) -> None:
        """Stop accepting, end the input of every conversation, cut after so many seconds. A second call only hastens."""
        deadline = time.monotonic() + max(seconds, 0.0)
        begins = self.deadline is None
        if self.deadline is None or deadline < self.deadline:
            self.deadline = deadline
        if begins:
            self.on_state("stopping")
        self.wake()

    def cut(self) -> None:
        """Close everything now."""
        if self.deadline is None:
            self.deadline = time.monotonic()
        self.cutting = True
        self.wake()

    def reload(self) -> None:
        """Read the certificates again."""
        self.on_state("reloading")
        self.on_reload()
        self.on_state("ready")

    def overdue(self) -> bool:
        """True when it is time to cut; notes it."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.cutting = True
        return self.cutting

    def left(self) -> float | None:
        """Seconds until the cut; None while running."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def wake(self) -> None:
        """Makes the loop look at what has changed."""
        with self._lock:  # else the descriptor could be closed, and somebody else's, at the very moment of writing
            try:
                os.write(self._write, b"!")
            except OSError:
                pass  # it has been woken a thousand times already, or the server is over

    def read(self, descriptor: int) -> None:
        """Takes in what a descriptor has to say."""
        if self.succession is not None and descriptor == self.succession.fileno():
            self.succession.read()
            return
        if self.metrics is not None and descriptor == self.metrics.fileno():
            self.metrics.turn()
            return
        try:
            said = os.read(descriptor, 4096)
        except OSError:
            return
        self.on_state("turn")
        if descriptor == self._parent:
            if not said:
                self._parent = None
                self.drain(self._drain_time)
            for word in said.split():
                if word == RELOAD:
                    self.reload()
                else:
                    self.drain(float(word))

    def close(self) -> None:
        """Gives its descriptors back; in a forked child, only the copies."""
        if self.metrics is not None:
            self.metrics.close()
        with self._lock:
            mine = [self._read, self._write] if self._parent is None else [self._read, self._write, self._parent]
            self._read = self._write = -1
            self._parent = None
            for descriptor in mine:
                if descriptor >= 0:
                    os.close(descriptor)


def tell(descriptor: int, seconds: float) -> None:
    """Tells the process at the other end of its parent pipe to drain within so many seconds (0: cut)."""
    _write(descriptor, b"%.3f" % seconds)


def tell_to_reload(descriptor: int) -> None:
    """Tells the process at the other end of its parent pipe to read its certificates again."""
    _write(descriptor, RELOAD)


def _write(descriptor: int, word: bytes) -> None:
    try:
        os.write(descriptor, word + b"\n")
    except OSError:
        pass  # it is gone already


def _nothing() -> None:
    pass


def _nothing_of(state: str) -> None:
    pass

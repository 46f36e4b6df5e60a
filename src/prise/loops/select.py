"""Our own event loop: small and single-threaded."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable

from prise.core.deadlines import NEVER
from prise.loops.base import Handler
from prise.loops.polling import PollingLoop

_LONGEST_WAIT = 3600.0


class _Waker:
    """Lets other threads wake the loop. It is the one handler that is no connection."""

    def __init__(self, run_calls: Callable[[], None]) -> None:
        self._sender, self._receiver = socket.socketpair()
        self._sender.setblocking(False)
        self._receiver.setblocking(False)
        self._run_calls = run_calls
        self.scheduled = NEVER

    def fileno(self) -> int:
        return self._receiver.fileno()

    def wake(self) -> None:
        try:
            self._sender.send(b"!")
        except (BlockingIOError, OSError):
            pass  # woken already, or the loop is over

    def on_readable(self) -> None:
        self._receiver.recv(4096)
        self._run_calls()

    def on_writable(self) -> None: ...

    def on_again(self) -> None: ...

    def on_deadline(self, now: float) -> float:
        return NEVER

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()


class SelectLoop(PollingLoop):
    """Create it in the thread (and, with fork, in the process) that runs it: an inherited epoll would be shared."""

    def __init__(self) -> None:
        super().__init__()
        self.time = time.monotonic
        self._again: deque[Handler] = deque()
        self.again = self._again.append
        self._calls: deque[Callable[[], None]] = deque()
        self._waker = _Waker(self._run_calls)
        self.watch(self._waker, True, False)

    def at(self, handler: Handler, when: float) -> None:
        self.deadlines.schedule(handler, when)

    def call(self, function: Callable[[], None]) -> None:
        self._calls.append(function)
        self._waker.wake()

    def turn(self, longest: float = _LONGEST_WAIT) -> None:
        """One round: waits (at most `longest` seconds) until something is to be done, and does it."""
        again = self._again
        wait = 0.0
        if not again:
            when = self.deadlines.next()
            wait = longest if when == NEVER else min(max(when - self.time(), 0.0), longest)
        self.dispatch(wait)  # Python rounds it up to the poller's milliseconds: no spinning just before a deadline
        for _ in range(len(again)):
            again.popleft().on_again()
        self.run_deadlines()

    def _run_calls(self) -> None:
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def close(self) -> None:
        self._poller.close()
        self._waker.close()

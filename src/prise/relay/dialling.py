"""Dialling on one of our own loops: the same steps that blocking clients and asyncio drive, driven by `Loop`.

Nothing here blocks: the system's name look-up, which does, happens in a thread of its own, one at a time. Those who ask
while it is under way share its answer, so that a burst of clients is one look-up.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from prise.address import Address
from prise.core.deadlines import NEVER
from prise.errors import PriseError
from prise.loops.base import Loop
from prise.transports import transport
from prise.transports.base import Deadline, Endpoint, Steps

Found = list[Endpoint] | PriseError
Done = Callable[[socket.socket | Exception], None]
"""Is given the connected socket, non-blocking, or why there is none."""


class Dialler:
    """Dials one address, as often as asked. timeout: seconds for one dialling, its look-up included; None: no bound."""

    def __init__(self, loop: Loop, address: Address, timeout: float | None) -> None:
        self._loop = loop
        self._address = address
        self._timeout = timeout
        self._how = transport(address)
        self._waiting: list[Callable[[Found], None]] = []

    def dial(self, done: Done) -> None:
        """Begins; `done` is called from a turn of the loop, perhaps before this returns."""
        deadline = Deadline.after(self._timeout)
        then = partial(self._connect, deadline, done)
        if not self._how.looks_up(self._address):
            then(self._look_up())
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            threading.Thread(target=self._look_up_aside, name="prise-resolve", daemon=True).start()

    def _look_up(self) -> Found:
        try:
            return self._how.resolve(self._address, False)
        except PriseError as error:
            return error

    def _look_up_aside(self) -> None:
        found = self._look_up()
        self._loop.call(lambda: self._found(found))

    def _found(self, found: Found) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(found)

    def _connect(self, deadline: Deadline, done: Done, found: Found) -> None:
        if isinstance(found, PriseError):
            done(found)
        else:
            _Attempt(self._loop, self._how.connect(self._address, found, deadline), done)


class _Attempt:
    """One dialling under way: the loop's handler for its deadline."""

    def __init__(self, loop: Loop, steps: Steps, done: Done) -> None:
        self._loop = loop
        self._steps = steps
        self._done = done
        self._knocks: list[_Knock] = []
        self.scheduled = NEVER
        self.advance(None)

    def advance(self, ready: Sequence[socket.socket] | None) -> None:
        # The steps close the sockets that failed, and the loop must have forgotten them by then.
        self._loop.forget(self)
        for knock in self._knocks:
            self._loop.forget(knock)
        try:
            wait = next(self._steps) if ready is None else self._steps.send(ready)
        except StopIteration as connected:
            self._done(connected.value)
            return
        except (PriseError, OSError) as error:
            self._done(error)
            return
        self._knocks = [_Knock(self, sock) for sock in wait.sockets]
        for knock in self._knocks:
            self._loop.watch(knock, False, True)
        if wait.until != NEVER:
            self._loop.at(self, wait.until)

    def fileno(self) -> int:
        return -1

    def on_readable(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_again(self) -> None: ...

    def on_deadline(self, now: float) -> float:
        self.advance(())
        return NEVER


class _Knock:
    """A socket that is being connected: writable, or in error, when that is decided."""

    def __init__(self, attempt: _Attempt, sock: socket.socket) -> None:
        self._attempt = attempt
        self._sock = sock
        self.scheduled = NEVER

    def fileno(self) -> int:
        return self._sock.fileno()

    def on_readable(self) -> None:
        self.on_writable()

    def on_writable(self) -> None:
        if self._sock.fileno() >= 0:
            self._attempt.advance((self._sock,))

    def on_again(self) -> None: ...

    def on_deadline(self, now: float) -> float:
        return NEVER

"""Pre-forked workers on the same listeners: started, watched, replaced when they die, ended together.

The supervisor has one thread and serves nobody. It forks before any loop or thread exists (an inherited epoll would be the
same set for all), and all workers accept from the same sockets: what waits in the kernel's queue of a dead worker is not lost.
A worker that dies is replaced, at once the first time and then ever later (up to 5 s), so a bug at start does not burn a core.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from prise.servers.control import Control, tell, tell_to_reload
from prise.servers.forking import close_private, fork, how_ended, kill, on_sigterm, private, reap

log = logging.getLogger("prise")

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0
_HEALTHY = 10.0
"""A worker that lived for so many seconds starts again without delay."""
_LAST_GRACE = 2.0
"""Seconds after the drain's deadline until a worker is killed."""


@dataclass(slots=True)
class _Worker:
    number: int
    pid: int
    pipe: int
    ended: int
    born: float


class Supervisor:
    """body(number, control): what worker `number` runs; it returns when its control says so.

    drain_time: seconds for workers that are told to end by others. on_drain: called when the end begins. on_turn: called whenever
    something has happened. on_reload: called when the workers are to read their certificates again.
    """

    def __init__(
        self,
        body: Callable[[int, Control], None],
        count: int,
        control: Control,
        drain_time: float,
        on_drain: Callable[[], object],
        on_turn: Callable[[], object] = lambda: None,
        on_reload: Callable[[], object] = lambda: None,
    ) -> None:
        self._body = body
        self._on_drain = on_drain
        self._on_turn = on_turn
        self._on_reload = on_reload
        self._count = count
        self._control = control
        self._drain_time = drain_time
        self._workers: dict[int, _Worker] = {}  # by the descriptor that ends with them
        self._delays: dict[int, float] = {}
        self._due: dict[int, float] = {}  # worker number -> when to start it again
        self._selector = selectors.DefaultSelector()
        self.restarts = 0

    @property
    def processes(self) -> dict[int, int]:
        """The workers that are there: number and process id."""
        return {worker.number: worker.pid for worker in self._workers.values()}

    def run(self) -> None:
        """Returns when all workers have ended, after a drain or a cut."""
        self._control.on_reload = self.reload
        for descriptor in self._control.descriptors():
            self._selector.register(descriptor, selectors.EVENT_READ)
        for number in range(self._count):
            self._start(number)
        try:
            while not self._control.draining:
                self._wait(min(self._due.values()) - time.monotonic() if self._due else None)
                for number, when in list(self._due.items()):
                    if when <= time.monotonic() and not self._control.draining:
                        self._start(number)
                self._on_turn()
            self._on_drain()
            told: float | None = None
            while self._workers:
                left = self._control.left() or 0.0
                if self._control.overdue():
                    left = 0.0
                if told is None or (left == 0.0 and told > 0.0):
                    told = left
                    for worker in self._workers.values():
                        tell(worker.pipe, left)
                    last = time.monotonic() + left + _LAST_GRACE
                if time.monotonic() >= last:
                    for worker in self._workers.values():
                        kill(worker.pid, signal.SIGKILL)
                self._wait(left or max(last - time.monotonic(), 0.05))
        finally:
            self._selector.close()

    def reload(self) -> None:
        """Has all workers read their certificates again."""
        for worker in self._workers.values():
            tell_to_reload(worker.pipe)
        self._on_reload()

    def _start(self, number: int) -> None:
        self._due.pop(number, None)
        pipes: list[int] = []

        def body() -> None:
            self._selector.close()
            self._control.close()
            private.add(write)
            control = Control(read, self._drain_time)
            on_sigterm(lambda: control.drain(self._drain_time))
            self._body(number, control)

        try:
            pipes += os.pipe()
            pipes += os.pipe()
            read, pipe, ended, write = pipes
            private.update((pipe, ended))
            pid = fork(body)
        except OSError as error:
            log.error("cannot start worker %(worker)d: %(error)s", {"worker": number, "error": error})
            for descriptor in pipes:
                close_private(descriptor)
            self._due[number] = time.monotonic() + _LONGEST_DELAY
            return
        os.close(read)
        os.close(write)
        self._workers[ended] = _Worker(number, pid, pipe, ended, time.monotonic())
        self._selector.register(ended, selectors.EVENT_READ)

    def _wait(self, timeout: float | None) -> None:
        timeout = self._control.longest_wait(None if timeout is None else max(timeout, 0.0))
        for key, _ in self._selector.select(timeout):
            if key.fd in self._workers:
                self._bury(self._workers.pop(key.fd))
            else:
                self._control.read(key.fd)
                if key.fd not in self._control.descriptors():
                    self._selector.unregister(key.fd)

    def _bury(self, worker: _Worker) -> None:
        self._selector.unregister(worker.ended)
        close_private(worker.ended)
        close_private(worker.pipe)
        status = reap(worker.pid)
        if self._control.draining:
            return
        now = time.monotonic()
        delay = 0.0 if now - worker.born > _HEALTHY else self._delays.get(worker.number, 0.0)
        self._delays[worker.number] = min(max(delay * 2, _FIRST_DELAY), _LONGEST_DELAY)
        self._due[worker.number] = now + delay
        self.restarts += 1
        log.error(
            "worker %(worker)d (process %(process)d) ended with %(status)s; a new one starts in %(delay).1f s",
            {"worker": worker.number, "process": worker.pid, "status": how_ended(status), "delay": delay},
        )

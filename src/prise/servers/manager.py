"""What a service manager (systemd) hears from a server that it has started: ready, reloading, stopping, alive.

Only where NOTIFY_SOCKET is set; and whatever goes wrong is logged once, as no server should fail because somebody could not be
told. Signs of life (WatchdogSec=) come out of the server's own loop, so that one that hangs is found out: a timer's signal
(SIGALRM) only wakes the loop, and no thread is needed, which would be in the way of forking.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prise.errors import PriseError

if TYPE_CHECKING:
    from prise.servers.control import Control

log = logging.getLogger("prise")

_SPARE = 5.0
"""Seconds that stopping may take beyond its drain: processes are waited for, files closed."""


@contextmanager
def told_to_manager(control: Control, addresses: Sequence[object]) -> Iterator[None]:
    """Says READY=1 now, with the addresses that are listened on, and STOPPING=1 when the drain or this block ends."""
    if not os.environ.get("NOTIFY_SOCKET"):
        yield
        return
    manager = _Manager(control, ", ".join(map(str, addresses)))
    control.on_state = manager.hear
    manager.hear("stopping" if control.draining else "ready")
    before = manager.start_watchdog()
    try:
        yield
    finally:
        manager.hear("stopping")
        if before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)


class _Manager:
    def __init__(self, control: Control, addresses: str) -> None:
        self._control = control
        self._addresses = addresses
        self._stopping = False
        self._due = False

    def hear(self, state: str) -> None:
        """What `Control.on_state` is told."""
        if state == "turn":
            if self._due:
                self._due = False
                self._tell(watchdog=True)
        elif self._stopping:
            pass  # a reload that comes so late changes nothing
        elif state == "ready":
            self._tell(ready=True, status=f"listening on {self._addresses}" if self._addresses else "serving")
        elif state == "reloading":
            self._tell(reloading=True)
        elif state == "stopping":
            self._stopping = True
            left = self._control.left() or 0.0
            self._tell(stopping=True, status="ending its conversations", extend_timeout=left + _SPARE)

    def start_watchdog(self) -> Any:
        """Starts the timer, if the manager wants signs of life; returns the handler that SIGALRM had before, or None."""
        from prise.handover.notify import watchdog_interval

        try:
            interval = watchdog_interval()
        except PriseError as error:
            log.warning("%s", error)
            return None
        if interval is None or threading.current_thread() is not threading.main_thread():
            return None
        before = signal.signal(signal.SIGALRM, self._ring)
        # Not at half of it: should a signal come just before the loop begins to wait, only the next one wakes it.
        signal.setitimer(signal.ITIMER_REAL, interval / 3, interval / 3)
        return before or signal.SIG_DFL

    def _ring(self, number: int, frame: object) -> None:
        self._due = True
        self._control.wake()

    def _tell(self, **news: Any) -> None:
        from prise.handover.notify import try_to_notify

        try_to_notify(**news)

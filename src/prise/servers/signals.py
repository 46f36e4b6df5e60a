"""What the signals of a process mean to who serves in it.

SIGTERM, SIGINT drain; SIGHUP reads certificates again; SIGUSR2 starts a new release of the program.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from prise.servers.control import Control

if TYPE_CHECKING:
    from prise.handover.succession import Succession


def reloads_on_hangup(control: Control) -> AbstractContextManager[None]:
    """SIGHUP reads the certificates again, in this process or in its workers."""
    return _handled((signal.SIGHUP,), control.reload)


def renews_on_signal(succession: Succession | None) -> AbstractContextManager[None]:
    """SIGUSR2 starts a new release, which takes over when it is ready."""
    return _handled((signal.SIGUSR2,), succession.renew) if succession is not None else nullcontext()


def drains_on_signals(control: Control, drain_time: float) -> AbstractContextManager[None]:
    """SIGTERM and SIGINT drain; the second one cuts."""

    def drain() -> None:
        if control.draining:
            control.cut()
        else:
            control.drain(drain_time)

    return _handled((signal.SIGTERM, signal.SIGINT), drain, control.waker)


@contextmanager
def _handled(
    numbers: Sequence[signal.Signals], react: Callable[[], object], waker: int | None = None
) -> Iterator[None]:
    """Does this for these signals. Only where signals can be handled: in the main thread; elsewhere nothing changes.

    waker: a descriptor that wakes the server when it is written to. Python runs a handler between two of its instructions, so one
    for a signal that comes just before the server begins to wait would run when something else ends that wait; the byte that is
    written here at once ends it (signal.set_wakeup_fd).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    woken_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False) if waker is not None else None
    before = {number: signal.signal(number, lambda number, frame: react()) for number in numbers}
    try:
        yield
    finally:
        if woken_before is not None:
            signal.set_wakeup_fd(woken_before)
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not installed by Python

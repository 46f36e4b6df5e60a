"""What the signals of a process mean to who serves in it.

SIGTERM, SIGINT drain; SIGHUP reads certificates again; SIGUSR2 starts a new release of the program.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prise.servers.control import Control

if TYPE_CHECKING:
    from prise.handover.succession import Succession


@contextmanager
def reloads_on_hangup(control: Control) -> Iterator[None]:
    """SIGHUP reads the certificates again, in this process or in its workers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda number, frame: control.reload())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


@contextmanager
def renews_on_signal(succession: Succession | None) -> Iterator[None]:
    """SIGUSR2 starts a new release, which takes over when it is ready."""
    if succession is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR2, lambda number, frame: succession.renew())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR2, before or signal.SIG_DFL)


@contextmanager
def drains_on_signals(control: Control, drain_time: float) -> Iterator[None]:
    """SIGTERM and SIGINT drain; the second one cuts. Only where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if control.draining:
            control.cut()
        else:
            control.drain(drain_time)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not installed by Python

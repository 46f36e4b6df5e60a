"""What a service tells its manager: sd_notify(3) of systemd, in the plain datagrams that it is.

A manager that wants to know puts the path of a Unix datagram socket into NOTIFY_SOCKET ("@" stands for the abstract namespace).
Each datagram is a few VARIABLE=VALUE lines; descriptors ride along (SCM_RIGHTS). Nobody answers. Without the variable nothing is
said and nothing fails, so a program may always notify.

`prise serve`, `web` and `relay` notify by themselves, and so does `prise.serve` (servers/manager.py). A service on asyncio puts
`async with notifying():` around what it does.
"""

from __future__ import annotations

import array
import logging
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prise.errors import HandoverError, PriseError, UsageError

log = logging.getLogger("prise")

TIMEOUT = 5.0
"""Seconds until a manager that takes nothing is given up. Its queue is long; only one that hangs lets it fill."""

MOST_DESCRIPTORS = 253
"""SCM_MAX_FD of Linux: descriptors that one datagram can carry."""

LONGEST_PATH = 107
"""Bytes; `sun_path` of unix(7) without its closing zero."""


def notify(
    *,
    ready: bool = False,
    reloading: bool = False,
    stopping: bool = False,
    status: str | None = None,
    watchdog: bool = False,
    mainpid: int | None = None,
    extend_timeout: float | None = None,
    descriptors: Sequence[int] = (),
    **more: str | int,
) -> bool:
    """Tells the service manager what is so now. False when there is none (NOTIFY_SOCKET is not set); True when it was told.

    ready: all is set up, or a reload is done. reloading: it begins. stopping: the end begins.
    status: one line for `systemctl status`; line breaks become spaces. watchdog: still alive, see `watchdog_interval`.
    mainpid: the process that counts from now on. extend_timeout: seconds that starting, reloading or stopping may take from now.
    descriptors: go along, for FDSTORE=1. more: any other variable, by its own name: `notify(ERRNO=2)`.

    From any thread; in a signal handler too. Raises HandoverError when NOTIFY_SOCKET cannot be used, UsageError.
    """
    lines = []
    if ready:
        lines.append("READY=1")
    if reloading:  # with the time, so that Type=notify-reload knows which reload this answers
        lines += ["RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"]
    if stopping:
        lines.append("STOPPING=1")
    if status is not None:
        lines.append("STATUS=" + " ".join(status.splitlines()))
    if watchdog:
        lines.append("WATCHDOG=1")
    if mainpid is not None:
        lines.append(f"MAINPID={mainpid}")
    if extend_timeout is not None:
        lines.append(f"EXTEND_TIMEOUT_USEC={round(extend_timeout * 1_000_000)}")
    for name, value in more.items():
        if "\n" in str(value):
            raise UsageError("{name} is told in one line: {value!r} has several", name=name, value=value)
        lines.append(f"{name}={value}")
    if not lines:
        raise UsageError("there is nothing to notify of: give ready=True, status=... or another one")
    if len(descriptors) > MOST_DESCRIPTORS:
        raise UsageError(
            "{count} descriptors are too many, at most {most}", count=len(descriptors), most=MOST_DESCRIPTORS
        )
    place = _place()
    if place is None:
        return False
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT)
            sock.sendmsg(["\n".join(lines).encode(errors="replace")], rights, getattr(socket, "MSG_NOSIGNAL", 0), place)
    except OSError as error:
        raise HandoverError(
            "the service manager could not be told, at {place} (NOTIFY_SOCKET): {error}",
            operation="notify",
            place=os.environ.get("NOTIFY_SOCKET", ""),
            error=error.strerror or error,
        ) from error
    return True


def barrier(timeout: float = TIMEOUT) -> bool:
    """Waits until the manager has dealt with all that was told before (sd_notify_barrier(3)). False when there is none.

    Call it before the process ends: a manager cannot tell whose last words they were once the process is gone.
    timeout: seconds. Raises HandoverError when the manager does not get there in time.
    """
    read, write = os.pipe()
    try:
        try:
            told = notify(BARRIER=1, descriptors=[write])
        finally:
            os.close(write)
        if not told:
            return False
        poll = select.poll()
        poll.register(read, 0)  # POLLHUP, once the manager has closed its copy of the other end
        if not poll.poll(timeout * 1000):
            raise HandoverError(
                "the service manager has not dealt with what it was told within {seconds:g} s",
                operation="notify",
                seconds=timeout,
            )
        return True
    finally:
        os.close(read)


def succeeded_by(pid: int) -> None:
    """Tells the manager that this process is the service from now on, and is silent ever after: it is not we who stop.

    The manager believes it from whoever was the service's process before (NotifyAccess=main).
    """
    global _succeeded
    try_to_notify(mainpid=pid)
    _succeeded = True


def watchdog_interval() -> float | None:
    """Seconds within which the manager wants to hear `notify(watchdog=True)`, each time; None when it does not.

    WatchdogSec= of the unit, in WATCHDOG_USEC; WATCHDOG_PID says whom it is meant for (sd_watchdog_enabled(3)). Notify at half of
    it. Raises HandoverError when the variables make no sense.
    """
    given = os.environ.get("WATCHDOG_USEC")
    if given is None:
        return None
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    for name, text in (("WATCHDOG_USEC", given), ("WATCHDOG_PID", pid)):
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text)):
            raise HandoverError("{name} is {text!r}, not a number", operation="notify", name=name, text=text)
    return int(given) / 1_000_000 if int(pid) == os.getpid() else None


@asynccontextmanager
async def notifying(status: str | None = None) -> AsyncIterator[None]:
    """Around what a service on asyncio does: ready=True at once, signs of life out of its loop, stopping=True at the end.

        async with prise.listen(conversation) as server, notifying(f"listening on {server.address}"):
            await stop.wait()

    status: see `notify`. Nothing is raised, as no service should fail because somebody could not be told: it is logged.
    """
    try_to_notify(ready=True, status=status)
    try:
        interval = watchdog_interval()
    except HandoverError as error:
        log.warning("%s", error)
        interval = None
    alive = None
    if interval is not None:
        import asyncio

        alive = asyncio.ensure_future(_signs_of_life(interval / 2))
    try:
        yield
    finally:
        try_to_notify(stopping=True)
        if alive is not None:
            alive.cancel()


async def _signs_of_life(every: float) -> None:
    import asyncio

    while True:  # whatever came of the last one: a manager that hears nothing restarts the service
        try_to_notify(watchdog=True)
        await asyncio.sleep(every)


def try_to_notify(**news: Any) -> bool:
    """`notify` that never raises: False when something went wrong. The first time it is logged."""
    global _failed
    if _succeeded:
        return False
    try:
        return notify(**news)
    except (PriseError, OSError) as error:
        if not _failed:
            log.warning("%s", error)
        _failed = True
        return False


_failed = False

_succeeded = False
"""Another process is the service now."""


def _place() -> Any:
    """What NOTIFY_SOCKET says, for `sendmsg`; None when it says nothing."""
    given = os.environ.get("NOTIFY_SOCKET", "")
    if not given:
        return None
    if given[0] not in "/@" or len(given) < 2:  # also vsock:, for which a machine's own first process asks
        raise HandoverError(
            "NOTIFY_SOCKET is {given!r}; it must be an absolute path, or @ and an abstract name",
            operation="notify",
            given=given,
        )
    path = os.fsencode(given)
    if len(path) > LONGEST_PATH:
        raise HandoverError(
            "NOTIFY_SOCKET is too long for a Unix socket ({size} bytes, at most {most})",
            operation="notify",
            size=len(path),
            most=LONGEST_PATH,
        )
    return b"\0" + path[1:] if given[0] == "@" else path

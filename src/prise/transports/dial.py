"""Dialling several endpoints at once (Happy Eyeballs, RFC 8305), written once for both colours.

`race` is a generator that connects without blocking and yields `Wait`s. `drive` runs it with a selector,
`drive_async` with the running event loop. However it ends (success, failure, an exception thrown in, cancellation),
every socket but the one that it returns is closed.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prise.transports.base import Endpoint, Steps, Wait

if TYPE_CHECKING:
    import asyncio

ATTEMPT_DELAY = 0.25
"""Seconds that one attempt gets before the next one starts beside it (RFC 8305 §5, "Connection Attempt Delay")."""

IN_PROGRESS = (errno.EINPROGRESS, errno.EINTR)  # not EAGAIN: to TCP it means that no local port is free


class NobodyAnswered(Exception):
    """No endpoint accepted. failures: what each one said, in order; late: the deadline ended it."""

    def __init__(self, failures: Sequence[tuple[Endpoint, OSError]], late: bool) -> None:
        super().__init__(failures)
        self.failures = failures
        self.late = late


def interleave(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """The families take turns, beginning with the first one's; within a family the order stays (RFC 8305 §4)."""
    queues: dict[int, deque[Endpoint]] = {}
    for endpoint in endpoints:
        queues.setdefault(endpoint.family, deque()).append(endpoint)
    turns: list[Endpoint] = []
    while queues:
        for family in list(queues):
            turns.append(queues[family].popleft())
            if not queues[family]:
                del queues[family]
    return turns


def race(endpoints: Iterable[Endpoint], until: float, delay: float = ATTEMPT_DELAY) -> Steps:
    """Connects to the first endpoint that answers. until: deadline, of `time.monotonic()`. Raises NobodyAnswered."""
    waiting = deque(interleave(endpoints))
    trying: dict[socket.socket, Endpoint] = {}
    failures: list[tuple[Endpoint, OSError]] = []
    next_start = -1.0
    winner = None
    try:
        while waiting or trying:
            now = time.monotonic()
            if now >= until:
                failures += [(endpoint, _error(errno.ETIMEDOUT)) for endpoint in trying.values()]
                raise NobodyAnswered(failures, late=True)
            if waiting and now >= next_start:
                endpoint = waiting.popleft()
                try:
                    sock = socket.socket(endpoint.family, endpoint.type, endpoint.proto)
                except OSError as error:
                    failures.append((endpoint, error))
                    continue
                trying[sock] = endpoint  # from here on the `finally` below closes it
                sock.setblocking(False)
                try:
                    code = sock.connect_ex(endpoint.sockaddr)
                except OSError as error:  # the audit hook, or a sockaddr that does not fit
                    code = error.errno or errno.EINVAL
                next_start = now + delay
                finished: Sequence[socket.socket] = () if code in IN_PROGRESS else (sock,)
            else:
                code = None
                finished = yield Wait(tuple(trying), min(until, next_start) if waiting else until)
            for sock in finished:
                result = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if code is None else code
                if result == 0 and _reached_itself(sock):
                    result = errno.ECONNREFUSED
                if result == 0:
                    winner = sock
                    return sock
                failures.append((trying.pop(sock), _error(result)))
                sock.close()
                next_start = -1.0  # a failure gives the turn to the next endpoint at once
        raise NobodyAnswered(failures, late=False)
    finally:
        for sock in trying:
            if sock is not winner:
                sock.close()


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _reached_itself(sock: socket.socket) -> bool:
    """TCP lets a socket connect to itself when the port dialled happens to be the free port that it was given."""
    try:
        return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname() == sock.getpeername()
    except OSError:
        return False  # gone again already: the first read will tell


def drive(steps: Steps) -> socket.socket:
    """Runs a dialling to its end, blocking."""
    try:
        wait = next(steps)
        while True:
            with selectors.DefaultSelector() as selector:
                for sock in wait.sockets:
                    selector.register(sock, selectors.EVENT_WRITE)
                left = None if wait.until == float("inf") else max(0.0, wait.until - time.monotonic())
                ready = [key.fileobj for key, _ in selector.select(left)]
            wait = steps.send([sock for sock in wait.sockets if sock in ready])
    except StopIteration as done:
        sock = done.value
        assert isinstance(sock, socket.socket)
        return sock
    finally:
        steps.close()


async def drive_async(steps: Steps) -> socket.socket:
    """Runs a dialling to its end in the running event loop (asyncio or uvloop)."""
    import asyncio

    loop = asyncio.get_running_loop()
    try:
        wait = next(steps)
        while True:
            wait = steps.send(await _writable(loop, wait))
    except StopIteration as done:
        sock = done.value
        assert isinstance(sock, socket.socket)
        return sock
    finally:
        steps.close()


async def _writable(loop: asyncio.AbstractEventLoop, wait: Wait) -> list[socket.socket]:
    woken = loop.create_future()
    ready: list[socket.socket] = []

    def wake(sock: socket.socket | None = None) -> None:
        if sock is not None and sock not in ready:
            ready.append(sock)
        if not woken.done():
            woken.set_result(None)

    timer = None
    try:
        if wait.until != float("inf"):
            timer = loop.call_later(max(0.0, wait.until - time.monotonic()), wake)
        for sock in wait.sockets:
            loop.add_writer(sock, wake, sock)
        await woken
    finally:
        if timer is not None:
            timer.cancel()
        for sock in wait.sockets:
            loop.remove_writer(sock)
    return ready

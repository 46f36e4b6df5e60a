"""`Metrics`: a server that answers GET /metrics about another server, inside the thread which that one has already.

It is a prise server like any other: the web server's HTTP over the model select, with small limits, so a scraper that is stuck is
cut and a few are served at a time. Its loop has an epoll of its own, and that is one descriptor: the `Control` of the server
that is looked at has it watched, in every model, and `turn` does what is to be done without ever waiting. So no thread and no
further process is needed, conversations are not held up, and what answers is whoever sees all of the server: the loop, the
thread that accepts, or the supervisor of the workers. While the server drains it still answers.

A forked child closes its copies and nothing else. A new release that takes over gets the listener (handover/succession.py).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from prise.address import Address
from prise.core.deadlines import NEVER
from prise.core.limits import Limits
from prise.errors import UsageError
from prise.loops.select import SelectLoop
from prise.observe.exposition import OPENMETRICS, TEXT, Reading, text
from prise.servers.control import Control
from prise.servers.looped import LoopServer
from prise.servers.service import Service
from prise.servers.work import Work
from prise.transports import Listening, bind
from prise.web.conversation import http_branch
from prise.web.negotiation import media_type
from prise.web.request import Body, Request
from prise.web.response import Response, plain

log = logging.getLogger("prise")

LIMITS = Limits(
    connections=16,
    connections_per_peer=None,
    message_size=64 * 1024,
    handshake_time=5.0,
    idle_time=10.0,
    message_time=5.0,
    write_time=5.0,
    linger_time=1.0,
)
"""What scrapers may take. They ask every few seconds, and their answers are some KiB."""

PATH = "/metrics"


class _Inner(SelectLoop):
    """A loop inside another one, which watches `fileno()` and has it turn without waiting."""

    def fileno(self) -> int:
        return self._poller.fileno()

    def turn_now(self) -> None:
        self.thread = threading.get_ident()  # who started the server need not be who runs it
        self.turn(0.0)

    def due(self) -> float | None:
        """Seconds until it must turn even if nothing has arrived; None: not before."""
        if self._again:
            return 0.0
        when = self.deadlines.next()
        return None if when == NEVER else max(when - self.time(), 0.0)


class Metrics:
    """address: where; a stream (TCP, TLS, Unix). Not bound before `bind`, and nobody is answered before `start`."""

    def __init__(self, address: Address) -> None:
        if (
            address.scheme not in ("tcp", "tls", "unix", "fd", "systemd")
            or address.option("type", "stream") != "stream"
        ):
            raise UsageError(
                "metrics are read by HTTP, so they need an address such as :9100 or unix:PATH, not {address}",
                address=address,
            )
        self.address = address
        self.listeners: list[Listening] = []
        self._bequeathed = False
        self._pid = 0  # of the process that answers
        self._loop: _Inner | None = None
        self._server: LoopServer | None = None

    @property
    def name(self) -> str:
        """What its listeners are called in a handover; no address of a conversation is called so."""
        return f"metrics {self.address}"

    def bind(self, tls: Any = None, inherited: Sequence[Listening] = ()) -> None:
        """Raises AddressError, BindError. inherited: what an old release has left, in the place of new ones."""
        self.listeners = list(inherited) or bind(self.address, tls=tls)
        self._bequeathed = False

    def start(self, read: Callable[[], Reading]) -> None:
        """From here on, this process answers. read: gives what is told, at each scrape."""

        async def answer(request: Request, body: Body) -> Response:
            if request.path != PATH:
                return plain(404, f"the metrics are at {PATH}")
            if request.method not in ("GET", "HEAD"):
                return plain(405, "metrics can only be read", [("Allow", "GET, HEAD")])
            kind = media_type(request.headers.get("accept", ""), ("text/plain", "application/openmetrics-text"))
            openmetrics = kind != "text/plain"
            told = text(read(), openmetrics)
            return Response(200, [("Content-Type", OPENMETRICS if openmetrics else TEXT)], told)

        conversation, framing = http_branch(answer, longest_body=0)
        service = Service.of(conversation, framing=framing, model="select", limits=LIMITS)
        self._pid = os.getpid()
        self._loop = _Inner()
        self._server = LoopServer(Work(service, self.listeners, Control()), self._loop)
        self._server.start()
        log.info("metrics are at %(address)s, path %(path)s", {"address": self.listeners[0].address, "path": PATH})

    def fileno(self) -> int:
        """Readable when there is something to do; -1 when nobody is to be answered."""
        return -1 if self._loop is None else self._loop.fileno()

    def turn(self) -> None:
        """Does what is to be done now; never waits."""
        if self._loop is not None:
            self._loop.turn_now()

    def due(self) -> float | None:
        """Seconds until `turn` must be called whatever happens, since a scraper's time is up; None: there is none."""
        return None if self._loop is None else self._loop.due()

    def bequeath(self) -> None:
        """Another process has the listeners and answers from now on; here nobody is let in any more."""
        self._bequeathed = True
        if self._server is not None:
            self._server.work.bequeath()
            self._server.work.control.drain(LIMITS.linger_time)
            self.turn()

    def close(self, unlink: bool = True) -> None:
        """Ends it; in a forked child, which has copies, only closes these. May be called again."""
        server, loop = self._server, self._loop
        mine = self._pid in (0, os.getpid())
        if server is not None and loop is not None:
            if mine:
                self._server = self._loop = None
                server.stop()  # lets nobody in any more
                server.cut_all()
                loop.turn_now()
            else:  # no word to the kernel or to anybody: epoll's set is the parent's as well
                for connection in server.connections:
                    connection._sock.close()
            loop.close()
            server.work.control.close()
        for listening in self.listeners:
            listening.close(unlink=mine and unlink and not self._bequeathed)

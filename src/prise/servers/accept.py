"""The one accept policy, used by all four models: how connections are let in, and when they are not.

- At the limit of connections in all, accepting stops; the kernel queues, and nothing is lost when a place is free again.
- A datagram server has no such queue: at that limit the datagrams of new peers are dropped, those of known ones are not.
- At the limit for one peer, its connection is accepted and closed at once: it would keep the others waiting otherwise.
- accept() never ends the server and never spins. What it can raise falls into three kinds (accept(2), and what trio,
  Twisted and libuv found in the field):
      this connection is gone already (ECONNABORTED, EPROTO, the network errors of Linux, EPERM from a firewall): next one
      the system has nothing left (EMFILE, ENFILE, ENOBUFS, ENOMEM): say so once a second, pause 100 ms, go on
      nothing to accept (EAGAIN): back to waiting
  Anything else is treated like the second kind: a pause can do no harm, an exit would.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.servers.service import peer_key
from prise.transports import Listening

log = logging.getLogger("prise")

PAUSE = 0.1
"""Seconds without accepting when the system has nothing left."""
BURST = 64
"""Connections accepted from one listener before everything else has its turn."""

GONE = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ETIMEDOUT,
    errno.ECONNRESET,
}


class Acceptor:
    """The gate of one process: what is open, and whether more may come in.

    clock: seconds, monotonic. `release` must be called once for each connection that `accept` gave.
    """

    def __init__(
        self, listeners: Sequence[Listening], limits: Limits, counters: Counters, clock: Callable[[], float]
    ) -> None:
        self.listeners = list(listeners)
        self.open = 0
        self.paused_until = 0.0
        self._limits = limits
        self._counters = counters
        self._clock = clock
        self._peers: dict[str, int] = {}
        self._said = float("-inf")

    @property
    def wants_more(self) -> bool:
        """True when the listeners are to be watched: not at the limit, not pausing, not stopped."""
        if not self.listeners or (self._limits.connections is not None and self.open >= self._limits.connections):
            return False
        return not self.paused_until or self.paused_until <= self._clock()

    @property
    def over(self) -> bool:
        """True when nobody can come any more and nobody is here: a server of standard input, say, has done its work."""
        return not self.open and bool(self.listeners) and all(each.exhausted for each in self.listeners)

    def accept(self, listening: Listening) -> Iterator[tuple[socket.socket, Any, str | None]]:
        """The connections that wait at a listener, as (socket, peer's socket address, key for `release`)."""
        for _ in range(BURST):
            if not self.wants_more:
                return
            try:
                sock, sockaddr = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in GONE:
                    continue
                self.exhausted(f"cannot accept on {listening.address}: {error.strerror or error}")
                return
            key = peer_key(sockaddr)
            if self._enter(key):
                yield sock, sockaddr, key
            else:
                sock.close()

    def admit(self, key: str | None) -> bool:
        """Lets a session of a datagram server in, or not: nobody can be told to wait. Then the datagram is dropped."""
        if self.wants_more:
            return self._enter(key)
        self._counters.refused_sessions += 1
        return False

    def _enter(self, key: str | None) -> bool:
        if key is not None and self._over_peer_limit(key):
            self._counters.refused_per_peer += 1
            return False
        self.take_over(key)
        return True

    def take_over(self, key: str | None) -> None:
        """A connection of another process, which had let it in; the limits count it."""
        if key is not None:
            self._peers[key] = self._peers.get(key, 0) + 1
        self.open += 1
        self._counters.accepted += 1

    def exhausted(self, what: str) -> None:
        """The system has nothing left: pause, and say so at most once a second."""
        now = self._clock()
        self.paused_until = now + PAUSE
        self._counters.refused_resources += 1
        if now - self._said >= 1.0:
            self._said = now
            log.error("%(what)s; pausing, %(open)d connections are open", {"what": what, "open": self.open})

    def release(self, key: str | None) -> None:
        """A connection is closed."""
        self.open -= 1
        self._counters.closed += 1
        if key is not None:
            left = self._peers[key] - 1
            if left:
                self._peers[key] = left
            else:
                del self._peers[key]

    def stop(self) -> None:
        """No more connections; the listeners are left to whoever bound them."""
        self.listeners.clear()

    def _over_peer_limit(self, key: str) -> bool:
        most = self._limits.connections_per_peer
        return most is not None and self._peers.get(key, 0) >= most

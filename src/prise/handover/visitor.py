"""A connection that a pool has accepted (pool.py): who it is, our copy of its socket, how it is handed on and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prise.address import Address
from prise.connection.base import READ_SIZE, disconnect, reset
from prise.connection.blocking import Connection
from prise.handover.parcel import Parcel
from prise.handover.wire import READ, Steps
from prise.transports import describe

LINGER_BYTES = 1024 * 1024
"""What a peer may still say after the last word of ours; who says more gets a reset."""

MOST_TRIES = 3
"""How often a connection is offered to workers that turn out to be dead."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot of a pool's counts.

    open: connections that are here now; waiting: those of them that wait for a worker. workers: that are alive.
    total: connections accepted since the start. restarts: of workers that died.
    refused: connections turned away, by cause ("per_peer": over the limit for one peer; "resources": the system had no
    descriptor to give; "queue": too many waited already, or this one for too long).
    errors: connections that ended badly, by cause ("conversation": the worker says that it failed; "worker": the worker died;
    "handshake": TLS or another layer could not be set up).
    """

    open: int
    waiting: int
    workers: int
    total: int
    restarts: int
    refused: Mapping[str, int]
    errors: Mapping[str, int]


class Visitor:
    """key: for the limit per peer. connection: where layers have to be set up first; its socket is the same as ours.

    set_up: they are. tries: how often it was offered to a worker. timer: ends its waiting.
    """

    __slots__ = ("_sockaddr", "connection", "key", "set_up", "sock", "timer", "tries")

    def __init__(
        self, sock: socket.socket, sockaddr: Any, key: str | None, connection: Connection | None = None
    ) -> None:
        self.sock = sock
        self.key = key
        self.connection = connection
        self.set_up = False
        self.tries = 0
        self.timer: asyncio.TimerHandle | None = None
        self._sockaddr = sockaddr

    @property
    def peer(self) -> Address:
        if self.connection is not None:
            return self.connection.peer
        return describe(self.sock.family, self._sockaddr, self.sock.type)

    def parcel(self) -> Parcel:
        """What goes to the worker; our copy of the socket stays. Raises PriseError for what is broken already."""
        if self.connection is None:
            return Parcel(self.sock, keep=True)
        return Parcel(self.connection, relay=True)

    def end_input(self) -> None:
        """Whoever has it reads what has arrived, and then the end."""
        disconnect(self.sock, socket.SHUT_RD)

    def close(self) -> None:
        """Closes our copy; what no worker has taken is closed with it."""
        if self.connection is not None and not self.connection.closed:
            reset(self.sock)  # wakes up the thread of its handshake, which closes the connection
            if self.set_up:
                self.connection.close()
        self.sock.close()

    def handshake(self) -> None:
        """Sets up the layers; blocks. Raises PeerError, OSError."""
        assert self.connection is not None
        try:
            self.connection.handshake()
            self.set_up = True
        except BaseException:
            self.connection.close()
            raise

    def read_away(self) -> Steps[None]:
        """Until the peer's end, so that closing sends no reset after our last words."""
        taken = 0
        while taken < LINGER_BYTES:
            try:
                data = self.sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                yield READ
                continue
            if not data:
                return
            taken += len(data)

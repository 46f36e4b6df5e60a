"""What cannot change hands (TLS: its keys are here) is passed on: the other process gets one end of a pair of sockets, and two
threads of this one carry the clear text between the pair and the connection, until both sides have ended. The connection's
own limits go on: its idle time, and how long the peer may leave unread what it is sent.
"""

from __future__ import annotations

import os
import socket
import threading

from prise.connection.base import READ_SIZE, BaseConnection, disconnect
from prise.connection.blocking import Connection
from prise.connection.parting import Detached
from prise.core.limits import Limits
from prise.errors import PriseError
from prise.framing import Chunks


class Relay:
    """given: what the other process gets, a socket and the clear text that was read already. `start` or `close` must follow."""

    def __init__(self, connection: BaseConnection, parted: Detached) -> None:
        self._pipeline = connection._pipeline
        self._limits: Limits = getattr(connection, "_limits", Limits())  # one that is bridged has none of its own
        self._carrier = socket.socket(fileno=os.dup(parted.socket.fileno()))
        try:
            self._ours, theirs = socket.socketpair()
        except BaseException:
            self._carrier.close()
            raise
        self.given = Detached(theirs, parted.pending)

    def close(self) -> None:
        """It did not change hands."""
        for sock in (self._carrier, self._ours, self.given.socket):
            sock.close()

    def start(self) -> None:
        """It did; from here on the layers are ours."""
        self.given.socket.close()
        self._pipeline.reframe(Chunks())
        connection = Connection(self._carrier, self._pipeline, self._limits)
        threading.Thread(target=_carry, args=(connection, self._ours), name="prise-relay", daemon=True).start()


def _carry(connection: Connection, ours: socket.socket) -> None:
    """Passes everything on, in both directions, until both have ended; then closes."""
    with ours, connection:
        inwards = threading.Thread(target=_inwards, args=(connection, ours), name="prise-relay-in", daemon=True)
        inwards.start()
        try:
            while data := ours.recv(READ_SIZE):
                connection.send(data)
            connection.send_eof()
        except (PriseError, OSError):
            connection.abort()
        inwards.join()


def _inwards(connection: Connection, ours: socket.socket) -> None:
    try:
        for data in connection:
            ours.sendall(data)
    except (PriseError, OSError):
        connection.abort()
    disconnect(ours, socket.SHUT_WR)

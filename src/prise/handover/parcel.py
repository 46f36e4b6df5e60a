"""What is given away: the socket, what was read from it already, and what becomes of our copy afterwards."""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any

from prise.connection.base import BaseConnection
from prise.connection.parting import Way
from prise.errors import HandoverError, UsageError
from prise.handover.relay import Relay
from prise.transports import describe
from prise.transports.base import Listening

_SOCKET, _ACCEPTS = int(socket.SOL_SOCKET), int(socket.SO_ACCEPTCONN)


class Parcel:
    """One connection, listener or datagram socket on its way. Exactly one of `let_go` and `take_back` ends it.

    uncertain: the other side may have it, and has not said so. taken: it has said so.
    kind: "stream", "listener" or "datagram". peer, local: addresses, for information. pending: bytes, read and not used.
    keep: our copy stays open, and both sides share the connection.
    """

    def __init__(self, given: Any, keep: bool = False, relay: bool = False, way: Way = "bare") -> None:
        """given: a socket, a `Listening`, or a prise connection. way: see `parting.Way`. Raises HandoverError, UsageError."""
        self.keep = keep
        self.uncertain = self.taken = False
        self._claimed = threading.Lock()
        self._connection: BaseConnection | None = None
        self._relay: Relay | None = None
        if isinstance(given, BaseConnection):
            self._connection = given
            if given._peer is None and given._dialled is None:  # nobody has asked, no proxy has told: the short way
                self.peer, self.local = ends_of(given._sock)
            else:
                self.peer, self.local = str(given.peer), str(given.local)
            if relay and not keep and given.opaque:
                parted = given.part("inside")
                try:
                    self._relay = Relay(given, parted)
                except BaseException:  # no descriptor is left
                    given.stay()
                    raise
                self.socket, self.pending = self._relay.given
            else:
                self.socket, self.pending = given.part(way)
            self.kind = "stream"
        else:
            self.socket, self.pending = _bare(given), b""
            self.peer, self.local = ends_of(self.socket)
            self.kind = kind_of(self.socket)
        self._timeout = self.socket.gettimeout()
        # The mode is shared by all copies of a descriptor. A server's listener keeps its own: forked workers accept from it
        # all the while, and would block.
        if not (keep and isinstance(given, Listening)):
            self.socket.settimeout(None)

    def claim(self) -> bool:
        """True for the first who asks: a thread that is about to talk of it, or whoever gives up before that."""
        return self._claimed.acquire(blocking=False)

    def let_go(self) -> None:
        """It is in other hands: our copy is closed, without a word to the peer, unless it is to be kept."""
        if self._relay is not None:
            self._relay.start()
        if self._connection is not None:
            self._connection.parted(self.keep)
        elif not self.keep:
            self.socket.close()
        if self.keep and self.socket.fileno() >= 0:
            self.socket.settimeout(self._timeout)

    def take_back(self) -> None:
        """It is still ours alone."""
        if self._relay is not None:
            self._relay.close()
        elif self.socket.fileno() >= 0:
            self.socket.settimeout(self._timeout)
        if self._connection is not None:
            self._connection.stay()


def _bare(given: Any) -> socket.socket:
    """The socket that is to be given away."""
    sock = given.socket if isinstance(given, Listening) else given
    if not isinstance(sock, socket.socket):
        raise UsageError("what is handed over is a socket or a connection, not {kind}", kind=type(given).__name__)
    if sock.fileno() < 0:
        raise UsageError("the socket is closed", operation="hand over")
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise HandoverError(
            "an SSLSocket cannot change hands: its keys are known to this process alone. A prise connection with TLS can be "
            "sent with relay=True"
        )
    return sock


def kind_of(sock: socket.socket) -> str:
    if sock.type == socket.SOCK_DGRAM:
        return "datagram"
    try:
        return "listener" if sock.getsockopt(_SOCKET, _ACCEPTS) else "stream"
    except OSError:  # macOS knows no such option for a Unix socket
        return "stream"


def ends_of(sock: socket.socket) -> tuple[str, str]:
    """The addresses of a socket, peer and local; "" where it has none."""
    ends = []
    family, kind = sock.family, sock.type  # looked up once: each makes a member of an enumeration
    usual = family == socket.AF_INET and kind == socket.SOCK_STREAM
    for ask in (sock.getpeername, sock.getsockname):
        try:
            name = ask()
            if usual:  # by far; to make an Address of it would cost a fifth of a handover
                ends.append(f"{name[0]}:{name[1]}")
            else:
                ends.append(str(describe(family, name, kind)) if name else "unix:")
        except (OSError, ValueError):
            ends.append("")
    return ends[0], ends[1]

"""What every connection has, whichever way its bytes are moved: who talks with whom, and what may be asked of it.

BaseConnection           identity: id, peer, local; never waits: post, abort
├── Connection           blocks                              blocking.py    clients, threads, processes
├── LoopedConnection     moved by an event loop              looped.py      select, asyncio
│   ├── AsyncConnection  `await`                             asynchronous.py
│   └── GeneratorConnection                                  generator.py
└── (a coroutine or a generator in a blocking model gets a thin skin over Connection: bridged.py)
"""

from __future__ import annotations

import errno
import socket
import struct
from abc import ABC, abstractmethod
from itertools import count
from typing import Any, Final

from prise.address import Address
from prise.connection.parting import Detached, Way
from prise.core.pipeline import Pipeline
from prise.errors import ConnectionLost, HandoverError
from prise.transports import describe

READ_SIZE = 64 * 1024
"""Bytes asked for in one read. asyncio's own 256 KiB makes glibc map and unmap memory on every read (three times the cost)."""

LONGEST_WAIT = 1_000_000.0
"""Seconds; what the system is told at the most, since it counts in small integers."""

_ids = count(1)

_QUICK: int = getattr(socket, "TCP_QUICKACK", -1)  # Linux alone has it


class End:
    """The type of END, so that a message None (JSON null) is not mistaken for the end of input."""

    def __repr__(self) -> str:
        return "END"


END: Final = End()


class BaseConnection(ABC):
    """One talk with one peer.

    id: a number that no other connection of this process has; log lines carry it.
    state: what another process needs to go on with the conversation: a value that JSON can say, or a function without
    arguments that gives one. A conversation that sets it may be moved to a new release of its server, between two messages;
    there it is called again and finds the value here (docs/handover.md). None: it stays where it is.
    """

    __slots__ = ("_dialled", "_local", "_lost", "_peer", "_pipeline", "_sock", "_sockaddr", "id", "state")

    def __init__(self, sock: socket.socket, pipeline: Pipeline, sockaddr: Any = None) -> None:
        self.id = next(_ids)
        self.state: Any = None
        self._sock = sock
        self._pipeline = pipeline
        self._dialled: Address | None = None  # by clients: the name there is what a certificate must bear
        self._lost: ConnectionLost | None = None
        self._sockaddr = sockaddr  # what accept() gave: asking the kernel later fails once the peer is gone
        self._peer: Address | None = None
        self._local: Address | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.peer}{' closed' if self.closed else ''}>"

    @property
    def peer(self) -> Address:
        """The address of the other side (for an unnamed Unix socket: `unix:`); behind a trusted proxy, that of its client."""
        if self._peer is None:
            sockaddr = self._sockaddr
            if sockaddr is None:
                try:
                    sockaddr = self._sock.getpeername()
                except OSError:  # it is gone already
                    if self._dialled is not None:
                        return self._dialled.without_options()
                    sockaddr = ""
            self._peer = describe(self._sock.family, sockaddr, self._sock.type)
        return self._peer

    @property
    def local(self) -> Address:
        """The address of this side."""
        if self._local is None:
            try:
                sockaddr = self._sock.getsockname()
            except OSError:
                sockaddr = ""
            self._local = describe(self._sock.family, sockaddr, self._sock.type)
        return self._local

    @property
    def lost(self) -> ConnectionLost | None:
        """Why the connection broke: it was reset, or ended without the end that its layers (TLS, WebSocket) have.

        None while it is there and when the peer simply ended. In a conversation both look alike: the messages end.
        """
        return self._lost

    @property
    def half_closes(self) -> bool:
        """True where `send_eof` ends one direction alone, and answers can still come: not on WebSocket, and not where every
        message stands for itself (UDP)."""
        return self._pipeline.shuts and self._sock.type != socket.SOCK_DGRAM

    @property
    def tls(self) -> Any:
        """What TLS has agreed on, a `TLSInfo` (version, cipher, certificate...); None without TLS."""
        return self._pipeline.info("tls")

    @property
    def websocket(self) -> Any:
        """What the client asked for, a `WebSocketInfo` (path, headers, origin...); None where it is no WebSocket."""
        return self._pipeline.info("websocket")

    @property
    def credentials(self) -> Any:
        """The process of the peer on a Unix socket, (pid, uid, gid), as the kernel knows it; None for other sockets."""
        from prise.connection.credentials import peer_credentials

        return None if self.closed else peer_credentials(self._sock)

    def vouch(self) -> None:
        """Says that the peer is who its address says: it has sent back something secret that was sent to that address.

        That lifts the bound on what is sent to it, `Limits.amplification`. Only UDP lets addresses be forged; anywhere else
        this changes nothing.
        """
        path = getattr(self._sock, "path", None)
        if path is not None:
            path.vouch()

    @property
    def closed(self) -> bool:
        """True once the connection is closed on this side."""
        return self._sock.fileno() < 0

    def fileno(self) -> int:
        """The descriptor, for `select` and the like; -1 when closed."""
        return self._sock.fileno()

    def acknowledge(self) -> None:
        """Has the kernel acknowledge what comes next at once, where it would wait up to 40 ms for a reason to send something.

        For a client before it receives: a server that writes the first line of its answer by itself sends the next only when that
        was acknowledged (RFC 896). It holds for a moment (TCP_QUICKACK, tcp(7)); where there is no such thing, it does nothing.
        """
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)
        except (OSError, AttributeError):
            pass  # closed, or no TCP

    def post(self, message: Any) -> bool:
        """Sends without ever waiting, from any thread: for pushing from one conversation to another.

        What the peer does not take at once is queued up to `Limits.outbox_size`; a peer that stays behind that is given up:
        its connection is cut and counted as too slow. Returns False when the connection is closed or was cut for it.
        """
        return self.post_encoded(self.encode(message))

    @property
    @abstractmethod
    def unsent(self) -> int:
        """Bytes that wait to be sent, because the peer does not take them."""

    @property
    def encoding(self) -> object:
        """A key that connections share (the same object) when `encode` gives the same bytes for each of them."""
        return self._pipeline.framing

    def encode(self, message: Any) -> bytes:
        """The bytes of a message in this connection's framing; what layers make of them comes when they are sent."""
        return self._pipeline.encode(message)

    def _blame(self, error: BaseException | None) -> None:
        """Notes what ends our side, where there are layers that may tell the peer (a WebSocket's close code)."""
        if error is not None and self._pipeline.layered:
            self._pipeline.blame(error, self.peer)

    @abstractmethod
    def post_encoded(self, data: bytes, flush: bool = False) -> bool:
        """`post` for a message that is encoded already (a broadcast encodes once for all).

        flush: writes within this call what the peer takes at once, rather than with all else that is posted in this turn
        of the loop. For whoever has nothing more to say: less work for each message, and the first have it sooner.
        """

    @property
    def opaque(self) -> bool:
        """True where a layer (TLS, WebSocket) makes of the bytes what another program could not read or write."""
        return any(not layer.transparent for layer in self._pipeline.layers)

    # -- changing hands (prise.handover, connection/parting.py) --------------------------------------------------------

    def part(self, way: Way = "bare") -> Detached:
        """First half of giving it away: stops reading, and tells what goes along. `parted` or `stay` must follow.

        way: see `parting.Way`. Raises HandoverError where that cannot be.
        """
        raise HandoverError(
            "a connection of an event loop is given away with `await connection.hand_over(channel)`, or by returning "
            "HandOver(channel) from a generator"
        )

    def parted(self, keep: bool = False) -> None:
        """It is in other hands: our copy is closed without a word to the peer, and the conversation sees the end.

        keep: it stays open here as well; what was read and not used is gone.
        """
        raise NotImplementedError

    def stay(self) -> None:
        """It was not given away after all, and goes on here."""
        raise NotImplementedError

    @abstractmethod
    def abort(self) -> None:
        """Breaks the connection off: what was not sent is dropped, the peer sees a reset (where the transport has one).

        The conversation sees the end of its input. From any thread.
        """


def peer_gone(error: OSError, operation: str) -> ConnectionLost:
    """What the system says about a connection that broke, as it is told to people."""
    if error.errno == errno.ECONNREFUSED:  # UDP has no connecting that could have failed (ICMP)
        return ConnectionLost("connection refused: nothing listens there", operation=operation)
    return ConnectionLost("the peer is gone ({cause})", operation=operation, cause=error.strerror or error)


def disconnect(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """`shutdown` that does not mind a socket which is already down."""
    try:
        sock.shutdown(how)
    except OSError:
        pass


def reset_on_close(sock: socket.socket) -> None:
    """Once the socket is closed, the peer sees a reset instead of an end (SO_LINGER, socket(7)).

    Without it a peer whose window is shut would be probed for a minute, for bytes that nobody wants to send any more.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # closed already, or a kind of socket that does not linger


def reset(sock: socket.socket) -> None:
    """The same, and whoever is blocked on the socket wakes up now. A peer that is quick may see an end before the reset."""
    reset_on_close(sock)
    disconnect(sock)


def timeval(seconds: float | None) -> bytes:
    """`struct timeval` of <sys/time.h>: two longs. Zero means for ever, so a tiny wait is rounded up."""
    if seconds is None:
        return struct.pack("ll", 0, 0)
    microseconds = max(int(min(seconds, LONGEST_WAIT) * 1_000_000), 1)
    return struct.pack("ll", *divmod(microseconds, 1_000_000))

"""What a transport is: how one scheme of addresses is looked up, listened on and dialled.

A transport is a module with the four functions of `Transport`; a new scheme is such a module, one line in the table of
`prise.transports` and one entry in `prise.address.SCHEMES`. Dialling is written once for both colours: `connect` is a
generator that never blocks, it yields what it waits for (see `prise.transports.dial`).
"""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from prise.address import Address
from prise.errors import Unsupported
from prise.layers.base import LayerFactory


class Endpoint(NamedTuple):
    """One way to reach an address: the arguments of `socket()` and of `connect` or `bind`."""

    family: int
    type: int
    proto: int
    sockaddr: Any


class Deadline(NamedTuple):
    """A moment of the monotonic clock. seconds: how long from the start to it, None for ever; at: the moment."""

    seconds: float | None
    at: float

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        return cls(seconds, math.inf if seconds is None else time.monotonic() + seconds)


class Wait(NamedTuple):
    """Wait until one of these sockets is writable, or this moment of the monotonic clock has come (inf: never)."""

    sockets: tuple[socket.socket, ...]
    until: float


Steps: TypeAlias = Generator[Wait, Sequence[socket.socket], socket.socket]
"""A dialling in progress: yields a Wait, is sent the sockets that became writable, returns the connected socket."""


class Listening:
    """A listening socket and its address. `accept` never blocks.

    socket: non-blocking, not inherited by programs that are started. address: with the real port. asked: the address as it
    was given, of which there may be several listeners. layers: what each of its
    connections goes through first (TLS, WebSocket, a PROXY header), as the address says.
    """

    __slots__ = ("address", "asked", "layers", "socket")

    def __init__(self, sock: socket.socket, address: Address) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.address = address
        self.asked = address
        self.layers: tuple[LayerFactory, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}{' closed' if self.socket.fileno() < 0 else ''}>"

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, for `select` and the like; -1 when closed."""
        return self.socket.fileno()

    @property
    def exhausted(self) -> bool:
        """True when no connection will ever come again: what had only one to give has given it."""
        return False

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection, blocking, and the sockaddr of its peer. BlockingIOError when there is none; OSError."""
        return self.socket.accept()

    def close(self, unlink: bool = True) -> None:
        """Stops listening. unlink=False leaves a Unix path in place: for forked workers and while a listener moves."""
        self.socket.close()


class OnceListening(Listening):
    """Gives one connection, which is there already, and then never another: standard input, a socket that was inherited.

    open: makes the connection's socket when it is accepted, in the process that accepts it; raises OSError. Of several
    forked workers one gets it; `exhausted` is true for all of them then.
    """

    __slots__ = ("_open", "_other_end")

    def __init__(self, address: Address, open: Callable[[], socket.socket]) -> None:
        # One byte waits in a socket pair, so that it is readable; whoever gets the byte has the connection.
        token, self._other_end = socket.socketpair()
        super().__init__(token, address)
        self._open = open
        self._other_end.send(b"1")

    @property
    def exhausted(self) -> bool:
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:  # nothing is there (BlockingIOError), or it is closed
            return True

    def accept(self) -> tuple[socket.socket, Any]:
        self.socket.recv(1)
        sock = self._open()
        sock.setblocking(True)
        try:
            return sock, sock.getpeername()
        except OSError:
            return sock, ""

    def close(self, unlink: bool = True) -> None:
        self._other_end.close()
        super().close()


class Transport(Protocol):
    """What every transport module has.

    One whose bytes go through layers also has `layers(address, server, tls) -> tuple[LayerFactory, ...]`, outermost first;
    server: which side; tls: the `TLS` that the caller gave, or None.
    """

    def looks_up(self, address: Address) -> bool:
        """Whether `resolve` may ask the network, and so block for seconds."""

    def resolve(self, address: Address, passive: bool) -> list[Endpoint]:
        """The endpoints, best first; passive: to listen on. Raises ResolveError, AddressError, Unsupported."""

    def bind(self, address: Address, backlog: int) -> list[Listening]:
        """Listens on all of the address, or on nothing. Raises BindError, and what `resolve` raises."""

    def connect(self, address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
        """Dials. The socket it returns is non-blocking. Raises ConnectError, TooSlow; closed early, it leaves
        nothing."""


def family(name: str) -> socket.AddressFamily:
    """The address family of this name: `AF_INET6`, or `PF_INET6`, which is the same number.

    Raises Unsupported when this platform lacks it, be it Python, its headers, or the running kernel (socket(2)).
    """
    number = getattr(socket, name, None) or getattr(socket, name.replace("PF_", "AF_", 1), None)
    if name.startswith(("AF_", "PF_")) and isinstance(number, int):
        try:
            socket.socket(number, socket.SOCK_DGRAM).close()
        except OSError as error:
            # The header files know the name, but the kernel does not. Any other errno means that it does.
            if error.errno != errno.EAFNOSUPPORT:
                return socket.AddressFamily(number)
        else:
            return socket.AddressFamily(number)
    known = ", ".join(each for each in ("AF_INET", "AF_INET6", "AF_UNIX") if hasattr(socket, each))
    raise Unsupported("this platform has no address family {family}; prise uses {known}", family=name, known=known)

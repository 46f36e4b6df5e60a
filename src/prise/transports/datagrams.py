"""Listening where there are no connections: one datagram socket for all peers (UDP, Unix datagrams).

`DatagramListening` receives datagrams with their sender and, on a socket that has several addresses, with the address that
they were sent to, from which the answer must leave (IP_PKTINFO, ip(7); IPV6_RECVPKTINFO, RFC 3542). What sessions are made of
them is the servers' affair; each session answers through a `Path`, which looks like a socket to a connection.

A sender's address may be forged, so that our answers hit somebody else. So a Path sends, in all, at most so many times the
bytes that came in, both counted with their headers as on the wire. Only the conversation can know better (`vouch`): it has had
back from the peer something secret that it had sent there. Two datagrams in a row prove nothing: they can both be forged.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from prise.address import Address
from prise.core.counters import Counters
from prise.errors import UsageError
from prise.transports.base import Listening
from prise.transports.packetsocket import EMPTY, LARGEST, recv_large_from

Source: TypeAlias = Any
"""Ancillary data for `sendmsg` that makes an answer leave from the address that was addressed; None: the usual way."""

IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8 if sys.platform == "linux" else None)  # Python has it from 3.14 on
_IP_PKTINFO_SIZE = 12  # struct in_pktinfo: interface, the local address of it, the address in the header
_IPV6_PKTINFO_SIZE = 20  # struct in6_pktinfo: address, interface
HEADERS = {socket.AF_INET: 28, socket.AF_INET6: 48}
_MOST_SOURCES = 256
LARGEST_UDP = 65536
"""Bytes read at once: more than the longest UDP datagram there is, so none is cut."""
_LARGEST = (LARGEST_UDP, LARGEST)  # bytes of a datagram: UDP, Unix


class DatagramListening(Listening):
    """A datagram socket that serves all its peers; `receive` and the sending of `Path` take the place of `accept`.

    receive: the next datagram, as (bytes, sockaddr of the sender, Source); BlockingIOError when there is none, OSError.
    answers_from: sockets with several addresses tell to which of them a datagram was sent. joined: it is in a multicast group.
    It stays open after `close` while paths use it: what a server says while it drains must still get out.
    """

    __slots__ = ("_closing", "_joined", "_lock", "_paths", "_sources", "_workers", "receive")

    def __init__(self, sock: socket.socket, address: Address, answers_from: bool = False, joined: bool = False) -> None:
        super().__init__(sock, address)
        self._joined = joined
        self._lock = threading.Lock()
        self._paths = 0
        self._closing = False
        self._workers: list[socket.socket] = []
        self._sources: dict[bytes, Source] = {}
        self.receive: Callable[[], tuple[bytes, Any, Source]] = self._receive
        if sock.family == getattr(socket, "AF_UNIX", None):
            self.receive = self._receive_large
        elif answers_from and sock.family == socket.AF_INET6 and hasattr(socket, "IPV6_RECVPKTINFO"):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self.receive = self._receive_with_source
        elif answers_from and sock.family == socket.AF_INET and IP_PKTINFO is not None:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self.receive = self._receive_with_source

    def accept(self) -> tuple[socket.socket, Any]:
        raise UsageError(
            "datagrams have no connections to accept: use serve or listen, which make sessions of them",
            local=self.address,
        )

    @property
    def receives_plainly(self) -> bool:
        """True where `receive` is no more than `recvfrom`."""
        return self.receive == self._receive

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _receive(self) -> tuple[bytes, Any, Source]:
        data, sockaddr = self.socket.recvfrom(LARGEST_UDP)
        return data, sockaddr, None

    def _receive_large(self) -> tuple[bytes, Any, Source]:
        data, sockaddr = recv_large_from(self.socket)
        return data, sockaddr, None

    def _receive_with_source(self) -> tuple[bytes, Any, Source]:
        data, ancillary, _, sockaddr = self.socket.recvmsg(LARGEST_UDP, 64)
        for level, kind, info in ancillary:
            try:
                return data, sockaddr, self._sources[info]
            except KeyError:
                return data, sockaddr, self._source(level, kind, info)
        return data, sockaddr, None

    def _source(self, level: int, kind: int, info: bytes) -> Source:
        source: Source = None
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(info) == _IP_PKTINFO_SIZE:
            # The interface is left to the routing table. Where the datagram came to a group, the local address is ours.
            source = [(level, kind, struct.pack("=I4s4s", 0, info[4:8], bytes(4)))]
        elif kind == getattr(socket, "IPV6_PKTINFO", None) and len(info) == _IPV6_PKTINFO_SIZE and info[0] != 0xFF:
            link_local = info[0] == 0xFE and info[1] & 0xC0 == 0x80
            source = [(level, kind, info if link_local else info[:16] + bytes(4))]
        if len(self._sources) >= _MOST_SOURCES:  # a machine has few addresses, so few of these exist
            self._sources.clear()
        self._sources[info] = source
        return source

    # -- several processes, and the end --------------------------------------------------------------------------------

    def share(self, workers: int) -> None:
        """Opens a socket for each of so many processes; the kernel spreads the peers over them (SO_REUSEPORT, socket(7)).

        One socket that all read would give the datagrams of one peer to all of them. The socket of a worker that died is read
        by the one in its place. Raises UsageError where that cannot be.
        """
        sock = self.socket
        if self._joined or sock.family not in HEADERS or not hasattr(socket, "SO_REUSEPORT"):
            raise UsageError("several workers cannot share these datagrams: use workers=1", local=self.address)
        for _ in range(workers - 1):
            twin = socket.socket(sock.family, sock.type, sock.proto)
            self._workers.append(twin)
            twin.setblocking(False)
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if sock.family == socket.AF_INET6:
                twin.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if self.receive == self._receive_with_source:
                    twin.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            elif self.receive == self._receive_with_source and IP_PKTINFO is not None:
                twin.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            twin.bind(sock.getsockname())

    def become_worker(self, number: int) -> None:
        """In a worker: uses its own socket from now on."""
        if number:
            self.socket, self._workers[number - 1] = self._workers[number - 1], self.socket

    def hold(self) -> None:
        """Somebody answers through this socket."""
        with self._lock:
            self._paths += 1

    def release(self) -> None:
        """One who answers through it is done."""
        with self._lock:
            self._paths -= 1
            over = self._closing and not self._paths
        if over:
            self._close()

    def close(self, unlink: bool = True) -> None:
        with self._lock:
            self._closing = True
            over = not self._paths
        for twin in self._workers:
            twin.close()
        if over:
            self._close()

    def _close(self) -> None:
        self.socket.close()


class Path:
    """The way to one peer over a socket that all share; what a session has in place of a socket of its own.

    sockaddr: the peer's. source: from where answers leave. counters: where what is dropped is counted.
    credit: bytes that may be sent, headers of so many included; each byte received adds `times` as many.
    """

    __slots__ = (
        "_closed",
        "_listening",
        "counters",
        "credit",
        "family",
        "headers",
        "sock",
        "sockaddr",
        "source",
        "times",
    )

    type = socket.SOCK_DGRAM

    @property
    def path(self) -> Path:
        """Itself: the path of a session is found in the same place whatever its socket is."""
        return self

    def __init__(
        self, listening: DatagramListening, sockaddr: Any, source: Source, times: int | None, counters: Counters
    ) -> None:
        """times: None where addresses cannot be forged, or need no bound."""
        listening.hold()
        self._listening = listening
        self._closed = False
        self.sock = listening.socket
        self.family = self.sock.family
        self.sockaddr = sockaddr
        self.source = source
        self.counters = counters
        self.headers = HEADERS.get(self.family, 0)
        self.times: int = times or 0
        self.credit: float = 0  # whole numbers as long as they count: they are added faster
        if times is None or not self.headers:  # on one machine nobody forges the path of a Unix socket
            self.vouch()

    def vouch(self) -> None:
        """The peer is who it says: no bound any more."""
        self.times, self.credit = 0, math.inf

    def heard(self, size: int) -> None:
        """A datagram of so many bytes came from there."""
        self.credit += self.times * (size + self.headers)

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Sends one datagram; 0 when the bound forbids it: it is dropped and counted."""
        cost = len(data) + self.headers
        if cost > self.credit:
            self.counters.dropped_amplification += 1
            return 0
        if self.sockaddr is None:
            raise OSError(errno.ENOTCONN, "the peer's socket has no name, so it cannot be answered")
        if self.source is None:
            sent = self.sock.sendto(data, flags, self.sockaddr)
        else:
            sent = self.sock.sendmsg((data,), self.source, flags, self.sockaddr)
        self.credit -= cost
        return sent

    # What else a connection asks of its socket.

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Nothing: what arrives is given to the session."""
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def setblocking(self, flag: bool) -> None: ...

    def shutdown(self, how: int) -> None: ...

    def setsockopt(self, *option: Any) -> None: ...

    def fileno(self) -> int:
        """Of the socket that all share; -1 when this session is closed."""
        return -1 if self._closed else self.sock.fileno()

    def getpeername(self) -> Any:
        return self.sockaddr if self.sockaddr is not None else ""

    def getsockname(self) -> Any:
        name = self.sock.getsockname()
        if self.source:
            (_, _, info) = self.source[0]
            host = info[4:8] if self.family == socket.AF_INET else info[:16]
            return (socket.inet_ntop(self.family, host), *name[1:])
        return name

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._listening.release()


class SessionSocket(socket.socket):
    """A session for a connection that blocks: datagrams come through a SOCK_SEQPACKET pair, answers leave by a Path.

    `far` is the end at which whoever reads the shared socket puts them in, with a byte in front: so an empty one is no end.
    """

    def __init__(self, path: Path, queue: int, first: bytes) -> None:
        """queue: bytes that may wait. first: what the session begins with; it counts before anything is said."""
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(fileno=near.detach())
        self.far.setblocking(False)
        self.path = path
        self._first = True
        path.heard(len(first))
        # The kernel doubles it, and counts its own overhead. The largest packet must fit.
        self.far.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, max(queue, 2 * _LARGEST[path.family not in HEADERS]) // 2
        )
        self.far.send(b"\0" + first)
        self._lock = threading.Lock()

    @property
    def family(self) -> Any:
        return self.path.family

    @property
    def type(self) -> Any:
        return socket.SOCK_DGRAM

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data = super().recv(_LARGEST[self.path.family not in HEADERS], flags)
        if not data:
            return b""
        if self._first:
            self._first = False
        else:
            self.path.heard(len(data) - 1)
        return data[1:] or EMPTY

    def send(self, data: Any, flags: int = 0, /) -> int:
        return self.path.send(data, flags)

    def put(self, data: bytes, counters: Counters) -> bool:
        """Hands a datagram in; where there is no room the oldest is dropped and counted. False when the session is over."""
        while True:
            try:
                self.far.send(b"\0" + data)
                return True
            except BlockingIOError:
                counters.dropped_queue += 1
                with self._lock:  # so that it is not closed, and its number another's, at that very moment
                    if self.fileno() < 0:
                        return False
                    try:
                        super().recv(1, socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        pass  # its owner has just read it
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    counters.dropped_too_large += 1
                    return True
                return False

    def getpeername(self) -> Any:
        return self.path.getpeername()

    def getsockname(self) -> Any:
        return self.path.getsockname()

    def close(self) -> None:
        with self._lock:
            super().close()
        self.path.close()

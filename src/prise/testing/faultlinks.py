"""What the proxy of `prise.testing.faults` moves: a queue of timed pieces for each direction of each connection.

    reader -> faults, one after the other -> pieces, each with the time of its delivery -> writer

A `Link` is one client's connection and the one to the server, a `Peer` one client of a datagram server; each has a `Passage` for
each direction.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from prise.testing.faults import Fault, Piece, Sign, Timed

MOST_WAITING = 128 * 1024
"""Bytes that wait in one direction of one connection. A datagram counts PIECE more."""

PIECE = 64
READ = 16 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends a RST (socket(7), tcp(7))


class Mover(Protocol):
    """What a link asks of the thread that moves it."""

    selector: selectors.BaseSelector

    def schedule(self, passage: Passage) -> None:
        """Gives the passage's link a turn when the passage is due."""

    def forget(self, link: Link) -> None:
        """The link is closed."""


class Passage:
    """One direction: the faults, and the pieces that wait for their time."""

    def __init__(self, link: Link | Peer, faults: list[Fault], keeps_order: bool) -> None:
        self.link = link
        self.faults = faults
        self.keeps_order = keeps_order
        self.waiting: list[tuple[float, int, Piece]] = []  # a heap; bound: MOST_WAITING
        self.size = 0
        self.ended = False  # the source has no more to say
        self.shut = False  # and the receiver was told
        self.blocked = False  # the receiver takes no more at the moment
        self.scheduled = math.inf  # the time of the turn that it has been promised
        self._last = -math.inf
        self._numbers = itertools.count()

    @property
    def full(self) -> bool:
        return self.size >= MOST_WAITING

    @property
    def due(self) -> float:
        """When there is something to do, were it not blocked."""
        return min(self.waiting[0][0] if self.waiting else math.inf, *(fault.due for fault in self.faults), math.inf)

    def put(self, now: float, piece: Piece) -> None:
        self._through(0, now, piece)

    def ripen(self, now: float) -> None:
        """Lets go of what the faults have held back until now."""
        for place, fault in enumerate(self.faults):
            if fault.due <= now:
                self._from(place + 1, fault.late())

    def pop(self) -> Piece:
        piece = heapq.heappop(self.waiting)[2]
        self.size -= self._weight(piece)
        return piece

    def put_back(self, rest: bytes) -> None:
        """What the receiver has not taken; it stays the first."""
        heapq.heappush(self.waiting, (-math.inf, next(self._numbers), rest))
        self.size += self._weight(rest)

    def _through(self, place: int, at: float, piece: Piece) -> None:
        if place < len(self.faults):
            self._from(place + 1, self.faults[place].put(at, piece))
            return
        if self.keeps_order:
            at = self._last = max(at, self._last)
        heapq.heappush(self.waiting, (at, next(self._numbers), piece))
        self.size += self._weight(piece)

    def _from(self, place: int, pieces: Iterable[Timed]) -> None:
        for at, piece in pieces:
            self._through(place, at, piece)

    def _weight(self, piece: Piece) -> int:
        return len(piece) + (0 if self.keeps_order else PIECE) if isinstance(piece, bytes) else 0


class Link:
    """A client's connection, and the one to the server."""

    def __init__(
        self, mover: Mover, client: socket.socket, server: socket.socket, up: list[Fault], down: list[Fault]
    ) -> None:
        self.mover = mover
        self.up = Passage(self, up, keeps_order=True)
        self.down = Passage(self, down, keeps_order=True)
        self.ways = {client: (self.up, self.down), server: (self.down, self.up)}  # what comes from it, what goes to it
        self.open = True
        for sock in self.ways:
            sock.setblocking(False)
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what was split stays so
        self._watch()

    def turn(self, now: float) -> None:
        """Delivers what is due."""
        try:
            for sock, (_, passage) in self.ways.items():
                if self.open:
                    passage.ripen(now)
                    self._deliver(passage, sock, now)
        except OSError:  # a side is gone: the other hears of it in the same way
            self.close(reset=True)
        if self.up.shut and self.down.shut:
            self.close()
        self._watch()

    def close(self, reset: bool = False) -> None:
        if self.ways:
            self._unwatch()
            for sock in self.ways:
                close(sock, reset)
            self.ways = {}
            self.mover.forget(self)

    def _ready(self, sock: Any, events: int) -> None:
        if not self.open or not self.ways:
            return  # the other side was ready in the same moment, and that was the end
        now = time.monotonic()
        source, sink = self.ways[sock]
        if events & selectors.EVENT_WRITE:
            sink.blocked = False
        if events & selectors.EVENT_READ:
            try:
                data = sock.recv(READ)
                source.ended = not data
                source.put(now, data or Sign.END)
            except BlockingIOError:
                pass
            except OSError:
                source.ended = True
                source.put(now, Sign.RESET)
        self.turn(now)

    def _deliver(self, passage: Passage, sock: socket.socket, now: float) -> None:
        while passage.waiting and passage.waiting[0][0] <= now and not passage.blocked:
            piece = passage.pop()
            if piece is Sign.CUT:
                self.open = False  # it stays like this until the proxy ends
                return
            if piece is Sign.RESET:
                raise ConnectionResetError
            if passage.shut:
                continue
            if piece is Sign.END:
                passage.shut = True
                sock.shutdown(socket.SHUT_WR)
                continue
            assert isinstance(piece, bytes)
            try:
                sent = sock.send(piece)
            except BlockingIOError:
                sent = 0
            if sent < len(piece):
                passage.put_back(piece[sent:])
                passage.blocked = True

    def _watch(self) -> None:
        if not self.open:
            self._unwatch()
            return
        for sock, (source, sink) in self.ways.items():
            wanted = selectors.EVENT_READ if not source.ended and not source.full else 0
            wanted |= selectors.EVENT_WRITE if sink.blocked else 0
            watched = self.mover.selector.get_map().get(sock)
            if watched is None and wanted:
                self.mover.selector.register(sock, wanted, self._ready)
            elif watched is not None and not wanted:
                self.mover.selector.unregister(sock)
            elif watched is not None and watched.events != wanted:
                self.mover.selector.modify(sock, wanted, self._ready)
            if not sink.blocked:
                self.mover.schedule(sink)

    def _unwatch(self) -> None:
        for sock in self.ways:
            if sock in self.mover.selector.get_map():
                self.mover.selector.unregister(sock)


class Peer:
    """A client of a datagram server, which has a socket of its own towards it."""

    def __init__(
        self,
        mover: Mover,
        listener: socket.socket,
        sender: Any,
        server: socket.socket,
        up: list[Fault],
        down: list[Fault],
    ) -> None:
        self.mover = mover
        self.up = Passage(self, up, keeps_order=False)
        self.down = Passage(self, down, keeps_order=False)
        self.open = True
        self._server = server
        self._senders: dict[Passage, Callable[[bytes], Any]] = {
            self.up: server.send,
            self.down: lambda data: listener.sendto(data, sender),
        }
        server.setblocking(False)
        mover.selector.register(server, selectors.EVENT_READ, self._ready)

    def take(self, passage: Passage, data: bytes) -> None:
        if self.open and not passage.full:
            now = time.monotonic()
            passage.put(now, data)
            self.turn(now)

    def turn(self, now: float) -> None:
        for passage, send in self._senders.items():
            passage.ripen(now)
            while passage.waiting and passage.waiting[0][0] <= now and self.open:
                piece = passage.pop()
                if isinstance(piece, bytes):
                    try:
                        send(piece)
                    except OSError:  # lost, as datagrams are
                        pass
                else:
                    self.open = False
            if self.open:
                self.mover.schedule(passage)

    def close(self) -> None:
        self._server.close()

    def _ready(self, sock: socket.socket, events: int) -> None:
        try:
            data = sock.recv(65536)
        except OSError:
            return
        self.take(self.down, data)


def close(sock: socket.socket, reset: bool) -> None:
    if reset and sock.family != getattr(socket, "AF_UNIX", None):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()

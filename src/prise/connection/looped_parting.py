"""How a connection on an event loop leaves this process: it stops reading, and what was read goes along or comes back.

First it pauses: nothing is read, and what was decoded is held back. Once it parts, it looks ended from both sides and holds
nothing, so no turn of the loop moves it.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from prise.address import Address
from prise.connection.looped import CLOSED, OPEN, LoopedConnection
from prise.connection.parting import Detached, Way, refuse_to_part, unread
from prise.errors import HandoverError
from prise.framing.base import MOST_MESSAGES, Decoder


class Preloaded:
    """Stands before a socket's `recv`: what another process has read comes first."""

    __slots__ = ("_connection", "_data")

    def __init__(self, connection: PartingConnection, data: bytes) -> None:
        self._connection = connection
        self._data = data

    def __call__(self, size: int, flags: int = 0) -> bytes:
        self._connection._recv = self._connection._sock.recv
        return self._data


class _Nothing(Decoder):
    """The decoder of a connection that is parting: what is held in the other one waits for how it ends."""

    more = False
    pending = 0

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        return []

    def end(self) -> list[Any]:
        return []


_NOTHING = _Nothing()


class PartingConnection(LoopedConnection):
    """Adds parting; see `BaseConnection.part`. Everything here belongs to the loop's thread.

    _held_back: messages that were decoded and are held back while it pauses; bound: one turn's.
    """

    __slots__ = ("_drained_meanwhile", "_ends_before", "_eof_before", "_held_back", "_recv_before", "asked")

    asked: Address
    """Where the server that it came to was told to listen."""

    def preload(self, pending: bytes) -> None:
        """Has these bytes, which another process has read, come before all others: now, or once it has begun."""
        if pending:
            self._recv = Preloaded(self, pending)
            if self._started:
                self.on_readable()

    @property
    def at_rest(self) -> bool:
        """True while the conversation waits for a message: between two of them it may go on in another process."""
        return True

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        """Nothing more is read and no message is given to the conversation, which may still speak. Raises HandoverError."""
        self._refuse_to_part()
        self._paused = True
        self._drained_meanwhile = False
        self._recv, self._recv_before = self._read_later, self._recv
        self._held_back, self._eof_before = self._undelivered(), self._eof
        self._eof = False
        self._decoder = _NOTHING
        self._partial_since = 0.0
        self._settle()

    def _refuse_to_part(self) -> None:
        refuse_to_part(self._sock, self._state != OPEN or self._error is not None or self._input_ended)
        if self._shaking or self._file is not None:
            raise HandoverError("the connection is in the middle of something that cannot be handed over")

    def _read_later(self, size: int, flags: int = 0) -> bytes:
        """The socket's `recv` meanwhile: the round of the loop in which we paused may bring one more event."""
        if self._state == OPEN:
            raise BlockingIOError
        return self._sock.recv(size, flags)

    def _start_tls(self, tls: Any, name: str | None, left: bool) -> None:
        super()._start_tls(tls, name, left or (self._paused and bool(self._held_back)))

    def unpause(self) -> None:
        """Goes on where `pause` stopped."""
        self._paused = False
        self._recv = self._recv_before
        messages, self._held_back = self._held_back, []
        self._give_back(messages)
        self._eof = self._eof_before
        self._use_pipeline()
        if self._decoder.pending:
            self._begin_patience(self._time())
        if self._drained_meanwhile:
            self.end_input()
        if self._in_turn:  # whose end does the rest
            self._reading = True
            self._watch(True, self._blocked)
        else:
            self._settle()

    def part(self, way: Way = "bare") -> Detached:
        if self._out and not self._blocked:
            self._flush()
        paused = self._paused
        if not paused:
            self.pause()
        try:
            self._refuse_to_part()  # again: its conversation may have gone on while it was paused
            if self._out:
                raise HandoverError("the peer has not taken yet what it was sent; hand the connection over when it has")
            pending = unread(self._pipeline, self._held_back, way)
        except HandoverError:
            if not paused:
                self.unpause()
            raise
        self._ends_before = self._sent_eof, self._end_told
        self._eof = self._sent_eof = self._end_told = True
        self._forget()
        return Detached(self._sock, pending)

    def resume_here(self, pending: bytes) -> None:
        """In place of `begin`, for a connection of another process, which had read these bytes."""
        self._take_limits()
        self.begin()
        self.preload(pending)

    def _undelivered(self) -> list[Any]:
        """Takes away the messages that were decoded for the conversation and not taken by it."""
        return []

    def _give_back(self, messages: list[Any]) -> None:
        """The conversation has these messages before it again."""

    def parted(self, keep: bool = False) -> None:
        if keep:
            self._pipeline.reframe(self._pipeline.framing)
            self._held_back = []
            self.stay()
        elif self._state != CLOSED:
            self._state = CLOSED
            self._forget()  # again: the turn in which we began to part may have ended since
            self._sock.close()
            self._host.closed(self)
            # Tasks that wait for something of it wait in vain from now on. Not from within the one that gave it away.
            self._loop.call(lambda: self._within(self.deliver_end, None))

    def end_input(self) -> None:
        if self._paused and self._state == OPEN:
            self._drained_meanwhile = True  # to shut the socket down now would end it for those who may have it by now
        else:
            super().end_input()

    def stay(self) -> None:
        if self._state == CLOSED:
            return
        self._sent_eof, self._end_told = self._ends_before
        self._sock.setblocking(False)
        self._active = self._time()
        self._loop.at(self, self._active)  # at once, and it says by itself which of its deadlines comes next
        self.unpause()

    def moved(self) -> None:
        """After `parted`: the conversation goes on in another process, so here it is stopped where it waits."""

    def _duplicate(self) -> socket.socket:
        """The socket again: it outlives the connection."""
        sock = socket.socket(fileno=os.dup(self._sock.fileno()))
        sock.setblocking(True)
        return sock

"""One end of a passage: a looped connection whose conversation is the other end.

What one end receives goes straight into the other's outbox. While that is above its mark the first is not read
(backpressure), so a passage holds one read and one outbox for each direction, whoever is stuck. The end of one side's input
is passed on, after what came before it; when both have ended, both are closed. A reset is passed on as a reset.

The two directions do not hold each other up: unlike in a conversation, an end whose own outbox is full is still read.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Self

from prise.connection.host import Host
from prise.connection.looped import CLOSED, OPEN, LoopedConnection
from prise.connection.packets import LoopedPackets
from prise.connection.session import Session
from prise.core.deadlines import NEVER
from prise.core.pipeline import Pipeline
from prise.errors import ConnectionLost, TooSlow
from prise.relay.passage import Passage, Side
from prise.relay.rate import Bucket

if TYPE_CHECKING:
    from prise.relay.server import RelayServer

LARGEST_DATAGRAM = 65_507
"""Bytes: what a UDP datagram over IPv4 can carry (RFC 768). A stream that is relayed to datagrams is cut there."""


class End(LoopedConnection):
    """side: who speaks here. passage: what it is a part of, once that has begun. moved: bytes received.

    other: the end that it is joined to, None until then. partner: the one it will be joined to.
    """

    __slots__ = (
        "_bucket",
        "_cut_at",
        "_loss",
        "_held",
        "_paused_until",
        "_relay",
        "moved",
        "other",
        "partner",
        "passage",
        "side",
    )

    def __init__(
        self, sock: socket.socket, pipeline: Pipeline, host: Host, relay: RelayServer, sockaddr: Any = None
    ) -> None:
        super().__init__(sock, pipeline, host, sockaddr)
        self._run = None  # there are no context variables of anybody's to keep
        self._relay = relay
        self._held: list[bytes] = []  # what came together with the end of a handshake, before the other end was there
        self._cut_at: int | None = None
        self._loss: ConnectionLost | None = None  # nothing more can be sent here
        self._paused_until = 0.0  # by the rate
        self.side: Side = "client"
        self.passage: Passage | None = None
        self.other: Self | None = None
        self.partner: Self | None = None
        self.moved = 0
        rate = relay.plan.rate
        self._bucket = None if rate is None else Bucket(rate, self._time())
        if rate is not None:
            self._recv = self._receive_slowly  # type: ignore[assignment]

    # -- joining ---------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        if self.partner is None and not self._relay.admits_early(self):
            self.refuse()
            return
        super().begin()

    def start(self) -> None:
        self._relay.ready(self)
        if self._state == OPEN and self.other is None:
            self._settle()  # not read until there is somebody to read for

    def join(self, other: Self) -> None:
        """From now on what is received here goes there."""
        self.other = self.partner = other
        if other._pipeline.keeps_messages and not self._pipeline.keeps_messages:
            self._cut_at = LARGEST_DATAGRAM
        idle = self._relay.plan.idle
        if idle is not None:
            self._active = self._time()
            self._loop.at(self, self._active + idle)

    # -- what the machinery asks -----------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """More waits to be sent here than should."""
        return self._blocked and self._out_size > self._mark

    @property
    def away(self) -> bool:
        if not self._started:
            return False  # its layers have their handshakes before there is another end
        return self.other is None or self.other.full or self._paused_until > 0.0

    @property
    def busy(self) -> bool:
        return bool(self._held) or self.away

    @property
    def _stuck(self) -> bool:
        return False  # what keeps us from reading is the other end's outbox, see `full`

    def deliver(self, messages: list[Any]) -> bool:
        if self._held:
            messages, self._held = self._held + messages, []
        other = self.other
        if other is None:
            self._held = messages
            return True
        relay, passage = self._relay, self.passage
        assert passage is not None
        for message in messages:
            self.moved += len(message)
            if relay.copies:
                for tap in relay.plan.taps:
                    tap.data(passage, self.side, message)
        other.pass_on(messages if self._cut_at is None else _cut(messages, self._cut_at))
        return self.away

    def pass_on(self, messages: list[bytes]) -> None:
        """Sends them, or has them wait in the outbox."""
        if self._state or self._sent_eof or not messages:
            return
        for message in messages:
            data = self._encode(message)
            self._out.append(data)
            self._out_size += len(data)
        self._counters.messages_sent += len(messages)
        if not self._blocked and not self._in_turn:
            self._active = self._time()
            self._flush()

    def drained(self) -> None:
        if self.other is not None:
            self.other.resume()

    def deliver_end(self, error: BaseException | None) -> None:
        if not self._started:
            return  # `ended` of the host tells
        if self._loss is not None:
            self._note_lost(self._loss)
        error = error or self._error
        if error is None:
            self._relay.side_ended(self)
        else:
            self._relay.side_broke(self, error)

    def closed_now(self) -> None:
        self._relay.end_closed(self)

    # -- time ------------------------------------------------------------------------------------------------------------

    def on_deadline(self, now: float) -> float:
        when = super().on_deadline(now)
        if self._state == CLOSED:
            return NEVER
        if self._paused_until:
            if self._paused_until <= now:
                self._paused_until = 0.0
                self.resume()
            else:
                when = min(when, self._paused_until)
        idle = self._relay.plan.idle
        if idle is not None and self.other is not None:
            until = max(self._active, self.other._active) + idle
            if until <= now:
                self._relay.give_up(self, TooSlow("nothing arrived for {seconds:g} s", peer=self.peer, seconds=idle))
                return NEVER
            when = min(when, until)
        return when

    def _receive_slowly(self, size: int) -> bytes:
        bucket = self._bucket
        assert bucket is not None
        allowed = bucket.allowed(self._time())
        if self._paused_until or not allowed:
            self._pause(bucket.ready())
            self._watch(False, self._blocked)
            raise BlockingIOError
        data = self._sock.recv(size if self._pipeline.keeps_messages else min(size, allowed))
        bucket.spend(len(data))
        if len(data) >= allowed:
            self._pause(bucket.ready())
        return data

    def _pause(self, until: float) -> None:
        self._paused_until = until
        self._loop.at(self, until)

    # -- ending ----------------------------------------------------------------------------------------------------------

    @property
    def input_ended(self) -> bool:
        return self._end_told

    def end_both(self) -> None:
        """Closes this end and the other, each with an end and not a reset."""
        other = self.other
        self._end_told = True
        if other is not None:
            other._end_told = True
            other._close()
        self._close()

    def _broken(self, error: OSError | ConnectionLost) -> None:
        """The peer is gone. What it had said before that is still read and passed on; then its end tells."""
        if self._loss is not None or self._state != OPEN or not self._started:
            super()._broken(error)
            return
        if not isinstance(error, ConnectionLost):
            error = ConnectionLost("the peer is gone ({cause})", peer=self.peer, cause=error.strerror or error)
        self._loss = error
        self._out.clear()
        self._out_size = 0
        self._blocked, self._sent_eof = False, True
        if self._end_told:
            self._note_lost(error)
            self._relay.side_broke(self, error)
        elif not self._in_turn:
            self._settle()
        if self.other is not None:
            self.other.resume()  # if it waited for our outbox

    def refuse(self) -> None:
        """Closes with a reset (SO_LINGER, socket(7)); without `shutdown`, which would look like an end at first."""
        if self._state != CLOSED:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass  # a kind of socket that does not linger
            self._close()

    def end_input(self) -> None:
        if self.partner is None:
            self._loop.call(self._cut)  # waits for somebody who will not come any more
        elif self.partner._sock.type == socket.SOCK_DGRAM:
            self._loop.call(self.end_both)  # datagrams have no end that the other side could answer with
        else:
            super().end_input()

    def _cut(self) -> None:
        super()._cut()
        if self.partner is not None and self.partner._state != CLOSED:
            self.partner._cut()


class PacketEnd(LoopedPackets, End):
    """An end whose socket keeps the boundaries of messages: each is passed on as one, where the other end can."""

    __slots__ = ()


class SessionEnd(Session, End):
    """A session of a datagram server."""

    def end_input(self) -> None:
        if self.partner is None or self.partner._sock.type == socket.SOCK_DGRAM:
            self._loop.call(self.end_both)  # as in `End`
        else:
            super().end_input()

    def deliver(self, messages: list[Any]) -> bool:
        if self._bucket is not None and messages:
            self._bucket.spend(sum(map(len, messages)))
            if not self._bucket.allowed(self._time()):
                self._pause(self._bucket.ready())
        return super().deliver(messages)


def _cut(messages: list[bytes], size: int) -> list[bytes]:
    return [message[at : at + size] for message in messages for at in range(0, len(message), size)]

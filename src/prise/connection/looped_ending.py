"""How a connection on an event loop ends: in peace, by a limit, by the peer or the network, or cut by us.

finish   the conversation is over: what it said is written, our side is shut, the peer's end is awaited for a while
_fail    a limit was passed or the bytes are wrong: the conversation is told, and may say a last word
_broken  the peer is gone: nothing can be sent any more
abort    we cut it, with a reset
"""

from __future__ import annotations

import socket

from prise.connection.base import READ_SIZE, disconnect, peer_gone, reset_on_close
from prise.connection.looped_state import CLOSED, ENDING, LINGERING, OPEN
from prise.connection.looped_writing import LoopedWriting
from prise.core.deadlines import NEVER
from prise.errors import ConnectionLost, FrameError, TooSlow

_LINGER_BYTES = 1024 * 1024


class LoopedEnding(LoopedWriting):
    """Adds deadlines and ends."""

    __slots__ = ()

    def _patience(self, now: float) -> tuple[TooSlow | None, float]:
        """The error of the deadline that has passed, or None and when the next one will."""
        limits = self._limits
        when = NEVER
        heard = now if self._state == OPEN and self.away else self._active  # while it is away, it is not waiting either
        if self._pings and limits.ping_time is not None and self._state == OPEN:
            if max(self._active, self._pinged) + limits.ping_time <= now:
                self._pinged = now
                self._pipeline.keepalive()
                self._queue_output()
                if self._out and not self._blocked:
                    self._flush()  # here: a later turn would take our own question for a sign of life
            when = max(self._active, self._pinged) + limits.ping_time
        candidates = (
            (self._blocked_since, limits.write_time, "the peer took nothing for {seconds:g} s", "send"),
            (
                self._partial_since if self._reading and not self._state else 0.0,
                limits.message_time,
                "a message was not complete after {seconds:g} s",
                "receive",
            ),
            (heard, limits.idle_time, "nothing arrived for {seconds:g} s", "receive"),
        )
        for since, patience, reason, operation in candidates:
            if since and patience is not None:
                if since + patience <= now:
                    return TooSlow(reason, operation=operation, peer=self.peer, seconds=patience), now
                when = min(when, since + patience)
        return None, when

    def _broken(self, error: OSError | ConnectionLost) -> None:
        """The peer, or the network, broke the connection: nothing more comes and nothing can be sent.

        Runs no conversation, since it may happen in the middle of any: it learns of it after what has arrived.
        """
        if not isinstance(error, ConnectionLost):
            error = peer_gone(error, "send")
        self._note_lost(error)
        self._out.clear()
        self._out_size = 0
        self._blocked_since = 0.0
        self._eof = self._sent_eof = True
        if not self._started:
            self._never_started(self._error)
        if not self._in_turn:
            self._settle()

    def _note_lost(self, error: ConnectionLost) -> None:
        if self._error is None:
            error.peer = self.peer
            self._error = self._lost = error
            self._counters.error_lost += 1

    def _never_started(self, error: BaseException | None) -> None:
        """The layers could not be set up, so there will be no conversation."""
        self._host.ended(self, error)
        self._end_told = True
        self.finish()

    def _fail(self, error: FrameError | TooSlow) -> None:
        """A limit was passed or the framing is broken: the conversation is told, may say a last word, and it is over."""
        if self._state == CLOSED:
            return
        if self._shaking and self._pipeline.ready and not self._state:
            # The same read completed the handshake and broke the framing: that is the conversation's to hear.
            self._layers_moved([])
        if error.peer is None:
            error.operation, error.peer = "connect" if self._shaking else "receive", self.peer
        if self._state != OPEN:
            if self._state == ENDING and self._error is None:
                self._counters.error_too_slow += 1  # the last answer was not taken; the conversation cannot know
            self._close()
            return
        self._error = error
        self._eof = True
        self._partial_since = 0.0
        was_in_turn, self._in_turn = self._in_turn, True
        try:
            if self._layered:
                self._queue_output()
            self._tell_end(error)
            if not self._started:
                self._never_started(error)
        finally:
            self._in_turn = was_in_turn
        if not was_in_turn:
            if self._out and not self._blocked:
                self._flush()
            if self._blocked and isinstance(error, TooSlow):  # nobody waits for a peer that has used up its time
                self._close()
            else:
                self._settle()

    def finish(self) -> None:
        """The conversation is over: what it said is written, then the connection is closed."""
        if self._state == OPEN:
            self._state = ENDING
            if not self._in_turn and not self._again:
                self._again = True
                self._loop.again(self)

    def _shut(self) -> None:
        """Everything is written. Closes, after the peer's own end if that has not come yet."""
        self._blame(self._error)
        if self._layered and (last := self._pipeline.end_output(closing=True)):
            self._sent_eof = True
            try:
                sent = self._sock.send(last)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                sent = len(last)  # a peer that is gone already has lost nothing by not hearing the layers' own end
            self._counters.bytes_sent += sent
            if sent < len(last):
                self._out.append(memoryview(last)[sent:])
                self._out_size = len(last) - sent
                self._note_blocked(sent)
                return
        peer_ended = self._eof and not isinstance(self._error, (FrameError, TooSlow))
        if not self._host.linger_time or peer_ended:
            self._close()
            return
        disconnect(self._sock, socket.SHUT_WR)
        self._state = LINGERING
        self._linger_until = self._time() + self._host.linger_time
        self._loop.at(self, self._linger_until)
        self._watch(True, False)
        self._discard()

    def _discard(self) -> None:
        if self._state != LINGERING:
            return
        try:
            data = self._recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._discarded += len(data)
        if not data or self._discarded > _LINGER_BYTES:
            self._close()

    def send_eof_now(self) -> None:
        """Half-close once the outbox is written."""
        if not self._sent_eof and self._state == OPEN:
            if self._layered:
                self._wrap()
                if last := self._pipeline.end_output(closing=False):
                    self._queue(memoryview(last))
            self._sent_eof = True
            if self._out and not self._blocked:
                self._flush()
            self._shut_when_written()

    def _shut_when_written(self) -> None:
        """Ends our half on the carrier, when everything up to it is out."""
        if self._sent_eof and not self._out and self._pipeline.shuts:
            disconnect(self._sock, socket.SHUT_WR)

    def end_input(self) -> None:
        """Ends our reading, for a drain: what has arrived is still taken, then the conversation sees the end."""
        if self._state == OPEN and not self._eof:
            # The kernel keeps what has arrived and then reports the end, in order, through the usual path.
            self._input_ended = True
            self._pipeline.leave()
            disconnect(self._sock, socket.SHUT_RD)

    def abort(self) -> None:
        self._cut_here()
        reset_on_close(self._sock)
        self._loop.call(self._cut)

    def _cut_here(self) -> None:
        if self._error is None:  # so that what comes of it is not taken for the peer's doing
            self._error = ConnectionLost("the connection was cut on this side", peer=self.peer)

    def _cut(self) -> None:
        """Nothing more is sent or heard. Only from a turn of the loop: the conversation is told."""
        if self._state == CLOSED:
            return
        self._cut_here()
        self._out.clear()
        self._out_size = 0
        self._eof = True
        if self._state == OPEN and not self._end_told:
            self._in_turn = True
            try:
                self._tell_end(None)
            finally:
                self._in_turn = False
        self._close()

    def _close(self) -> None:
        """The socket is closed, once. A conversation that still runs sees the end of its input and cannot send."""
        if self._state != CLOSED:
            self._state = CLOSED
            self._eof = self._sent_eof = True
            self._out.clear()
            self._out_size = 0
            self._forget()
            self._sock.close()
            self._host.closed(self)
            self.closed_now()

    def _forget(self) -> None:
        """Nothing is waited for any more."""
        self._loop.forget(self)

    # -- what is waited for -----------------------------------------------------------------------------------------------

    def _watch(self, reading: bool, writing: bool) -> None:
        """Says what is waited for."""
        self._loop.watch(self, reading, writing)

"""A connection that an event loop moves: the loop says when the socket is ready, and this file does the rest.

One turn, started by `on_readable`: one read, the framing splits it into at most 64 messages, the conversation takes each,
and everything it said is written in one call. What a message costs is decided here, hence the local variables and the
absence of helper calls on that path. The subclasses say how the conversation takes messages:

    deliver(messages)   messages for the conversation (generator.py steps it, asynchronous.py wakes it); True: some are left
    deliver_end(error)  nothing more will come: the peer ended (None), or why the input is over
    away                the conversation is busy with something that is not us: what it left stays until it asks

With layers the conversation starts when their handshakes are over; `start_tls` shakes hands again, in its middle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prise.connection.base import READ_SIZE
from prise.connection.looped_ending import LoopedEnding
from prise.connection.looped_state import CLOSED, ENDING, LINGERING, OPEN
from prise.connection.upgrade import tls_factory
from prise.core.deadlines import NEVER
from prise.core.pipeline import injected
from prise.errors import ConnectionLost, FrameError, TooSlow

__all__ = ["CLOSED", "ENDING", "LINGERING", "OPEN", "LoopedConnection"]


class LoopedConnection(LoopedEnding):
    """The machinery; users meet its subclasses."""

    __slots__ = ()

    # -- what the loop calls --------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts listening, and the conversation once the layers are set up."""
        self._watch(True, False)
        if self._limits.idle_time is not None:
            self._loop.at(self, self._active + self._limits.idle_time)
        if self._layered:
            try:
                self._pipeline.begin(self.peer, self.local)
            except FrameError as error:
                self._fail(error)
                return
            self._shake()
        else:
            self._started = True
            self.start()

    def on_readable(self) -> None:
        if self._again or self._state or self._eof:
            # What is left over has its turn in this very round, and comes first. After the end there is nothing to read, but
            # a socket that is shut on both sides stays readable.
            if self._state and not self._again:
                self._discard()
            return
        try:
            data = self._recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._broken(error)
            return
        self._active = self._loop.now
        if not data:
            self._on_end()
            return
        counters = self._counters
        counters.bytes_received += len(data)
        try:
            messages = self._feed(data)
        except FrameError as error:
            self._fail(error)
            return
        if self._layered:
            messages = self._layers_moved(messages)
            if self._shaking or self._state:
                return
        decoder = self._decoder
        if not decoder.pending:
            self._partial_since = 0.0
        elif messages or not self._partial_since:
            self._begin_patience(self._active)
        left = False
        self._in_turn = True
        try:
            if messages:
                counters.messages_received += len(messages)
                left = self.deliver(messages) if self._run is None else self._run(self.deliver, messages)
        finally:
            self._in_turn = False
        if self._out and not self._blocked:
            self._flush()
        if left or self._blocked or self._state or decoder.more or self._eof:
            self._settle()

    def _on_end(self) -> None:
        """The peer has ended its side, or a drain has ended ours."""
        try:
            messages = self._take_end()
        except FrameError as error:
            self._fail(error)
            return
        if self._layered:
            messages = self._layers_moved(messages)
            if self._shaking:
                self._broken(self._lost or ConnectionLost("the peer closed during the handshake"))
            if self._shaking or self._state:
                return
        left = False
        self._in_turn = True
        try:
            if messages:
                self._counters.messages_received += len(messages)
                left = self._within(self.deliver, messages)
            if not (left or self._decoder.more or self._blocked or self._end_told or self._state):
                self._tell_end(None)
        finally:
            self._in_turn = False
        if self._out and not self._blocked:
            self._flush()
        self._settle()

    def _take_end(self) -> list[Any]:
        """The input is over, on the socket or inside a layer: what that completes. Raises FrameError."""
        self._eof = True
        self._partial_since = 0.0
        try:
            # Half a message means something to the framing (to lines, a last one) only if the peer itself ended there.
            return [] if self._input_ended else self._decoder.end()
        except ConnectionLost as error:
            self._note_lost(error)
            return []

    def on_again(self) -> None:
        """Work was left over by an earlier turn: messages, or something to write."""
        self._again = False
        if self._state == CLOSED:
            return
        if self._decoder.more or self._eof or self.busy:
            self._in_turn = True
            try:
                self._advance()
            finally:
                self._in_turn = False
        elif self._out and not self._state and not self._blocked:
            self._active = self._loop.now
            self._flush()  # the usual case, something that was posted
            if not self._blocked and not self._state:
                return
        if self._out and not self._blocked:
            self._active = self._loop.now
            self._flush()
        self._settle()

    def on_writable(self) -> None:
        self._blocked = False
        self._active = self._time()
        if self._out:
            self._flush()
        self._shut_when_written()
        if not self._blocked and self._state == OPEN:
            self._in_turn = True
            try:
                self._within(self.drained)
            finally:
                self._in_turn = False
            if self._out:
                self._flush()
        self._settle()

    def _run_turn(self, run: Callable[[], Any]) -> None:
        """Lets the conversation go on for another reason than a message, inside a turn or as one of its own."""
        was_in_turn, self._in_turn = self._in_turn, True
        try:
            self._within(run)
        finally:
            self._in_turn = was_in_turn
        if self._out and not self._blocked:
            self._flush()
        self._settle()

    def on_deadline(self, now: float) -> float:
        """Acts on the deadline that has passed, if one has; returns the next."""
        if self._state == CLOSED:
            return NEVER  # another handler of this very round closed it
        if self._shaking and self._state == OPEN:
            return self._shake_on(now)
        late, when = self._patience(now)
        if late is not None:
            self._fail(late)
            return NEVER
        if self._linger_until <= now:
            self._close()
            return NEVER
        return min(when, self._linger_until)

    # -- the layers -------------------------------------------------------------------------------------------------------

    def _shake(self) -> None:
        """Begins to set up the layers."""
        self._shaking = True
        now = self._time()
        if self._handshake_time is not None:
            self._handshake_until = now + self._handshake_time
            self._loop.at(self, self._handshake_until)
        if (patience := self._pipeline.patience) is not None:
            self._loop.at(self, now + patience)
        self._layers_moved([])

    def _layers_moved(self, messages: list[Any]) -> list[Any]:
        """After every call into the layers: says what they have to say, and starts what waits for them.

        Returns the messages, with those that the input's end inside a layer completes.
        """
        pipeline = self._pipeline
        if self._shaking:
            self._use_pipeline()  # which may have chosen its other half just now
        self._queue_output()
        if self._shaking and pipeline.ready:
            self._shaking = False
            self._handshake_until = NEVER
            self._peer, self._local = pipeline.peer or self._peer, pipeline.local or self._local
            self._take_limits()
            self._pings = self._limits.ping_time is not None and pipeline.pings
            if self._pings and self._limits.ping_time is not None:
                self._loop.at(self, self._time() + self._limits.ping_time)
            self._set_up()
        if pipeline.ended and not self._eof and not self._decoder.more:
            try:
                messages = messages + self._take_end()
            except FrameError as error:
                self._fail(error)
        if self._shaking and not self._in_turn and self._out and not self._blocked:
            self._flush()
        return messages

    def _take_limits(self) -> None:
        """What was chosen may have limits of its own (core/multiplex.py)."""
        limits = self._pipeline.limits
        if limits is not None and limits is not self._limits:
            self._limits, self._mark = limits, limits.outbox_mark
            if limits.idle_time is not None:
                self._loop.at(self, self._active + limits.idle_time)

    def _set_up(self) -> None:
        """The layers are ready, for the first time or (start_tls) again."""
        if not self._started:
            self._started = True
            self.start()

    def _shake_on(self, now: float) -> float:
        """A deadline while the layers are being set up."""
        if now >= self._handshake_until:
            self._fail(TooSlow("the handshake was not over after {seconds:g} s", seconds=self._handshake_time))
            return NEVER
        patience = self._pipeline.patience
        if patience is None:
            return self._handshake_until
        if self._active + patience > now:
            return min(self._active + patience, self._handshake_until)
        try:
            self._pipeline.silent()
        except FrameError as error:
            self._fail(error)
            return NEVER
        self._layers_moved([])
        if self._shaking:
            return min(now + patience, self._handshake_until)  # TLS is not ready: nothing was chosen yet
        self._settle()
        return self.on_deadline(now)

    def _start_tls(self, tls: Any, name: str | None, left: bool) -> None:
        """What the two spellings of `start_tls` share. left: messages are here that came in clear."""
        self._refuse_if_ended()
        self._out[:] = [memoryview(b"".join(self._out))]  # what was said up to here goes out in clear
        try:
            if left:
                raise injected()
            self._pipeline.add(tls_factory(self, tls, name), self.peer, self.local)
        except FrameError as error:
            error.operation, error.peer = "start_tls", self.peer
            self._error = error
            self._eof = True
            raise
        self._shake()

    # -- the turn ---------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Goes on with what arrived earlier. At the most one batch, then the others have their turn."""
        if self._state or self._stuck or self.away:
            return
        if self.busy:
            self._within(self.deliver, [])
        elif self._decoder.more:
            try:
                messages = self._feed(b"")
            except FrameError as error:
                self._fail(error)
                return
            if self._layered:
                messages = self._layers_moved(messages)
            self._counters.messages_received += len(messages)
            self._within(self.deliver, messages)
        elif self._eof and not self._end_told:
            self._tell_end(None)

    def _begin_patience(self, now: float) -> None:
        """From now on the rest of a message is waited for."""
        self._partial_since = now
        if self._limits.message_time is not None:
            self._loop.at(self, now + self._limits.message_time)

    def _tell_end(self, error: BaseException | None) -> None:
        self._end_told = True
        if error is None and isinstance(self._error, TooSlow):
            error = self._error  # given up, and the peer's end came first
        self._within(self.deliver_end, error)

    def _settle(self) -> None:
        """After anything unusual: decides what to wait for, and whether this connection is over."""
        state = self._state
        if state == CLOSED:
            return
        if state == ENDING and not self._out and self._file is None:
            self._shut()
            return
        stuck, busy = self._stuck, self.busy
        if (
            state == OPEN
            and not (stuck or self._again or self.away or self._paused)
            and (busy or self._decoder.more or (self._eof and not self._end_told))
        ):
            self._again = True
            self._loop.again(self)
        waiting = not (self._eof or stuck or busy or self._decoder.more or self._paused)
        reading = state == LINGERING or (state == OPEN and waiting)
        if reading and not self._reading and self._decoder.pending:
            self._begin_patience(self._time())  # the rest could not come while nobody read
        self._reading = reading
        self._watch(reading, self._blocked)

    def resume(self) -> None:
        """The conversation, which was away, asks for more: what is left over gets its turn, or the socket does."""
        if self._state == OPEN and not self._in_turn:
            idle, now = self._limits.idle_time, self._time()
            if idle is not None and self._active + idle <= now:
                self._active = now  # the peer may have been waiting for us
            self._settle()

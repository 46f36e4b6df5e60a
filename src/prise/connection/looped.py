"""A connection that an event loop moves: the loop says when the socket is ready, and this file does the rest.

One turn, started by `on_readable`: one read, the framing splits it into at most 64 messages, the conversation takes each,
and everything it said is written in one call. What a message costs is decided here, hence the local variables and the
absence of helper calls on that path. The subclasses say how the conversation takes messages:

    deliver(messages)   messages for the conversation (generator.py steps it, asynchronous.py wakes it); True: some are left
    deliver_end(error)  nothing more will come: the peer ended (None), or why the input is over
    away                the conversation is busy with something that is not us: what it left stays until it asks

With layers the conversation starts when their handshakes are over; `start_tls` shakes hands again, in its middle. What waits in
the outbox is encoded; layers wrap it when it is written, because they number what they send. A memoryview there is wrapped
already, and precedes everything that is not.

States, in the order in which they can only be left:
    open      reading, unless the outbox is above its mark or the conversation has messages left to take (backpressure)
    ending    the conversation is over; what it said is still being written
    lingering our side is shut; reading (and throwing away) until the peer's end, bounded, so that no reset destroys the answers
    closed
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Callable
from contextvars import copy_context
from threading import get_ident
from typing import Any

from prise.connection.base import READ_SIZE, BaseConnection, disconnect, peer_gone, reset
from prise.connection.host import Host
from prise.connection.upgrade import tls_factory
from prise.core.deadlines import NEVER
from prise.core.pipeline import Pipeline, injected
from prise.errors import ConnectionLost, FrameError, TooSlow, UsageError

OPEN, ENDING, LINGERING, CLOSED = range(4)
_LINGER_BYTES = 1024 * 1024


class LoopedConnection(BaseConnection):
    """The machinery; users meet its subclasses. Everything but `post` and `abort` belongs to the loop's thread."""

    __slots__ = (
        "_active",
        "_again",
        "_blocked",
        "_blocked_since",
        "_counters",
        "_decoder",
        "_discarded",
        "_encode",
        "_end_told",
        "_eof",
        "_error",
        "_feed",
        "_goal",
        "_handshake_time",
        "_handshake_until",
        "_host",
        "_input_ended",
        "_in_turn",
        "_layered",
        "_limits",
        "_linger_until",
        "_loop",
        "_mark",
        "_out",
        "_out_size",
        "_partial_since",
        "_pinged",
        "_pings",
        "_posted_size",
        "_reading",
        "_recv",
        "_run",
        "_sent_eof",
        "_shaking",
        "_started",
        "_state",
        "_time",
        "_written",
        "scheduled",
    )

    def __init__(self, sock: socket.socket, pipeline: Pipeline, host: Host, sockaddr: Any = None) -> None:
        super().__init__(sock, pipeline, sockaddr)
        sock.setblocking(False)
        self._use_pipeline()
        self._host = host
        self._limits = host.limits
        self._mark = host.limits.outbox_mark
        self._loop = host.loop
        self._time = host.loop.time
        self._counters = host.counters
        self._recv = sock.recv
        # Each conversation has context variables of its own. A task brings its own, and cannot be woken from inside them.
        self._run: Callable[..., Any] | None = None if host.loop.wakes_tasks else copy_context().run
        self._state = OPEN
        self._started = False  # the conversation
        self._shaking = False  # the layers are being set up
        self._handshake_time = host.limits.handshake_time
        self._handshake_until = NEVER
        self._pings = False  # a layer is to ask a silent peer whether it is still there
        self._pinged = 0.0
        self._in_turn = False  # True while our own code is below: what is said then is written at the end of the turn
        self._again = False
        self._eof = False  # nothing more will be read
        self._input_ended = False  # by us
        self._end_told = False  # the conversation knows that nothing more comes
        self._sent_eof = False
        self._error: BaseException | None = None  # what ended the connection, where it was not the peer's plain end
        self._reading = True  # the socket is watched for input: only then does a message's time run
        self._out: list[bytes | memoryview] = []
        self._out_size = 0
        self._blocked = False  # the kernel took less than we had: wait until it is writable
        self._blocked_since = 0.0
        self._written = 0
        self._goal = 0
        self._posted_size = 0  # bytes that other threads posted and the loop has not taken yet; under the loop's lock
        self._partial_since = 0.0
        self._linger_until = NEVER
        self._discarded = 0
        self._active = self._time()
        self.scheduled = NEVER

    def _use_pipeline(self) -> None:
        """Its parts are kept at hand; they are others after a choice among protocols, and after `start_tls`."""
        pipeline = self._pipeline
        self._decoder = pipeline.decoder
        self._feed = pipeline.feed
        self._encode = pipeline.encode
        self._layered = pipeline.layered

    # -- what the subclasses say ----------------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> None:
        """Starts the conversation, if there is one: the layers are set up."""

    @abstractmethod
    def deliver(self, messages: list[Any]) -> bool:
        """Gives the conversation messages after those it has left; True when some are left now."""

    @abstractmethod
    def deliver_end(self, error: BaseException | None) -> None:
        """Tells the conversation, which has taken everything, that nothing more comes (and why, unless the peer ended)."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """True while messages are left for the conversation: nothing more is read or decoded."""

    @property
    def away(self) -> bool:
        """True while the conversation does not ask for a message: it awaits something else."""
        return False

    def drained(self) -> None:
        """The outbox went out: a conversation that waited for that goes on."""

    def closed_now(self) -> None:
        """The socket has just been closed."""

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
            self._active = self._time()
            self._flush()  # the usual case, something that was posted
            if not self._blocked and not self._state:
                return
        if self._out and not self._blocked:
            self._active = self._time()
            self._flush()
        self._settle()

    def on_writable(self) -> None:
        self._blocked = False
        self._active = self._time()
        if self._out:
            self._flush()
        if self._sent_eof and not self._out:
            disconnect(self._sock, socket.SHUT_WR)
        if not self._blocked and self._state == OPEN:
            self._in_turn = True
            try:
                self._within(self.drained)
            finally:
                self._in_turn = False
            if self._out:
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
        self._use_pipeline()
        self._queue_output()
        pipeline = self._pipeline
        if self._shaking and pipeline.ready:
            self._shaking = False
            self._handshake_until = NEVER
            self._peer, self._local = pipeline.peer or self._peer, pipeline.local or self._local
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

    def _within(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls into the conversation, with its own context variables."""
        return function(*arguments) if self._run is None else self._run(function, *arguments)

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

    @property
    def _stuck(self) -> bool:
        """Backpressure: the peer leaves more unread than the mark, so nothing more is taken from it."""
        return self._blocked and self._out_size > self._mark

    def _settle(self) -> None:
        """After anything unusual: decides what to wait for, and whether this connection is over."""
        state = self._state
        if state == CLOSED:
            return
        if state == ENDING and not self._out:
            self._shut()
            return
        stuck, busy = self._stuck, self.busy
        if (
            state == OPEN
            and not (stuck or self._again or self.away)
            and (busy or self._decoder.more or (self._eof and not self._end_told))
        ):
            self._again = True
            self._loop.again(self)
        reading = state == LINGERING or (state == OPEN and not (self._eof or stuck or busy or self._decoder.more))
        if reading and not self._reading and self._decoder.pending:
            self._begin_patience(self._time())  # the rest could not come while nobody read
        self._reading = reading
        self._watch(reading, self._blocked)

    def _watch(self, reading: bool, writing: bool) -> None:
        """Says what is waited for."""
        self._loop.watch(self, reading, writing)

    def resume(self) -> None:
        """The conversation, which was away, asks for more: what is left over gets its turn, or the socket does."""
        if self._state == OPEN and not self._in_turn:
            idle, now = self._limits.idle_time, self._time()
            if idle is not None and self._active + idle <= now:
                self._active = now  # the peer may have been waiting for us
            self._settle()

    # -- writing ------------------------------------------------------------------------------------------------------------

    def _queue(self, data: bytes | memoryview) -> None:
        """Puts an encoded message into the outbox; it is written at the end of the turn."""
        self._out.append(data)
        self._out_size += len(data)
        if not self._in_turn and not self._blocked and not self._again:
            self._again = True
            self._loop.again(self)

    def _queue_output(self) -> None:
        """What the layers themselves have to say, behind what they have wrapped so far."""
        if not self._sent_eof:
            self._wrap()
            if data := self._pipeline.output():
                self._queue(memoryview(data))

    def _wrap(self) -> None:
        """Has the layers wrap what is in the outbox."""
        out = self._out
        first = 0
        while first < len(out) and isinstance(out[first], memoryview):  # wrapped already
            first += 1
        if first < len(out):
            wrapped = self._pipeline.wrap(out[first:])  # type: ignore[arg-type]  # from there on all are bytes
            out[first:] = [memoryview(wrapped)] if wrapped else []
            self._out_size = sum(map(len, out))

    def _flush(self) -> None:
        """Writes the outbox as far as the kernel takes it, in one call. Runs no conversation."""
        out = self._out
        if self._layered:
            self._wrap()
            if not out:
                return  # a layer that is not ready keeps it
        data = out[0] if len(out) == 1 else b"".join(out)
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._broken(error)
            return
        self._counters.bytes_sent += sent
        out.clear()
        if sent == len(data):
            self._out_size = 0
            self._blocked_since = 0.0
            return
        out.append(memoryview(data)[sent:])
        self._out_size = len(data) - sent
        self._note_blocked(sent)

    def _note_blocked(self, sent: int) -> None:
        """The peer is behind. Its deadline is for what waits *now* to be taken: new bytes do not prolong it."""
        self._blocked = True
        self._written += sent
        now = self._time()
        if not self._blocked_since or self._written >= self._goal:
            self._blocked_since = self._active = now
            self._goal = self._written + self._out_size
            if self._limits.write_time is not None:
                self._loop.at(self, now + self._limits.write_time)
        self._settle()

    def post_encoded(self, data: bytes) -> bool:
        if self._loop.thread == get_ident():
            return self._post(data)
        if self._state or self._error is not None:
            return False
        with self._loop.lock:
            fits = self._posted_size + len(data) <= self._limits.outbox_size
            if fits:
                self._posted_size += len(data)
        if fits:
            self._loop.call(lambda: self._post_from_outside(data))
        else:
            self._give_up()
        return fits

    def _post_from_outside(self, data: bytes) -> None:
        with self._loop.lock:
            self._posted_size -= len(data)
        self._post(data)

    def _post(self, data: bytes) -> bool:
        if self._state != OPEN or self._sent_eof or self._error is not None:
            return False
        most = self._limits.outbox_size - len(data)
        if self._out_size > most:
            if not self._blocked and self._out:
                self._flush()  # what counts against the peer is what it does not take, not what nobody offered it yet
            if self._blocked and self._out_size > most:
                self._give_up()
            if self._sent_eof or self._error is not None:
                return False
        self._counters.messages_sent += 1
        self._queue(data)
        return True

    def _give_up(self) -> None:
        """The peer is too far behind with what is posted to it."""
        if self._state == OPEN and self._error is None:
            late = TooSlow("the peer left {size} bytes unread", operation="post", peer=self.peer, size=self._out_size)
            self._error = late  # nothing more is posted
            # Not inside the poster's turn: ending this conversation runs its code.
            self._loop.call(lambda: self._fail(late))

    # -- ending ---------------------------------------------------------------------------------------------------------------

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
        if self._layered and not self._sent_eof and (last := self._pipeline.end_output()):
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
                if last := self._pipeline.end_output():
                    self._queue(memoryview(last))
            self._sent_eof = True
            if self._out and not self._blocked:
                self._flush()
            if not self._out:
                disconnect(self._sock, socket.SHUT_WR)

    def end_input(self) -> None:
        """Ends our reading, for a drain: what has arrived is still taken, then the conversation sees the end."""
        if self._state == OPEN and not self._eof:
            # The kernel keeps what has arrived and then reports the end, in order, through the usual path.
            self._input_ended = True
            disconnect(self._sock, socket.SHUT_RD)

    def abort(self) -> None:
        self._cut_here()
        reset(self._sock)
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

    def _refuse_if_ended(self) -> None:
        if self._state != OPEN or self._sent_eof:
            if self._error is not None:
                raise self._error
            if self._state == OPEN:
                raise UsageError("the sending side is closed already", operation="send", peer=self.peer)
            raise ConnectionLost("the connection is closed", operation="send", peer=self.peer)

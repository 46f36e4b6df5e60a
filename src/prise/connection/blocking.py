"""A connection that blocks: for clients in plain Python, and for conversations in the models threads and processes.

Waiting is done by the kernel. In the usual case it keeps the idle time too (SO_RCVTIMEO, set once), so a read is one system
call; Python's own `settimeout` would poll before each. Where another deadline may come first, the socket is tried without
waiting and then polled until that deadline, which neither a trickle of bytes nor a signal can move. Sending is always tried
first. A blocked conversation is woken from another thread by shutting its socket down, never by a signal.

One thread owns the connection (or one receives while another sends). `post` and `abort` may be called from any: see outbox.py.
"""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from prise.connection.base import END, LONGEST_WAIT, READ_SIZE, End, disconnect, timeval
from prise.connection.files import send_file
from prise.connection.outbox import PostingConnection
from prise.connection.parting import Detached, Way, refuse_to_part, unread
from prise.connection.upgrade import tls_factory
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline, injected
from prise.errors import ConnectionLost, FrameError, PeerError, TooSlow, UsageError

_LINGER_BYTES = 1024 * 1024


class Connection(PostingConnection):
    """A blocking connection. Iterate over it for its messages; the iteration ends when the peer ends.

    Use it in a `with` statement, or `close()` it. One thread owns it; `post` and `abort` may be called from any.
    """

    __slots__ = (
        "_begun_for",
        "_drained_meanwhile",
        "_ended_before",
        "_inbox",
        "_input_ended",
        "_kernel_waits",
        "_linger",
        "_parting",
        "_pinged_at",
        "_pings",
        "_ready",
        "_shared",
        "_silent_for",
    )

    def __init__(
        self,
        sock: socket.socket,
        pipeline: Pipeline,
        limits: Limits,
        counters: Counters | None = None,
        sockaddr: Any = None,
        linger: float = 0.0,
    ) -> None:
        """linger: seconds that `close` gives the peer to end its own side."""
        super().__init__(sock, pipeline, limits, counters if counters is not None else Counters(), sockaddr)
        sock.setblocking(True)
        self._ready = not pipeline.layered  # the layers are set up
        self._pings = False  # a layer is to ask a silent peer whether it is still there
        self._pinged_at = 0.0
        self._linger = linger
        self._inbox: deque[Any] = deque()
        self._input_ended = False  # by us
        self._shared = False  # with another process, whose reads our SO_RCVTIMEO would hurry
        self._parting = self._drained_meanwhile = False
        self._ended_before = False  # our side, when we began to part with the connection
        self._kernel_waits = limits.idle_time is None  # the kernel has been told how long to wait
        # Time counts against the peer only while we wait for it, not while the conversation does something else.
        self._silent_for = 0.0  # seconds waited without a byte, where the caller's own timeouts interrupted the waiting
        self._begun_for = 0.0  # seconds waited for the rest of a message

    # -- the layers' handshakes --------------------------------------------------------------------------------------

    def handshake(self, timeout: float | None = None) -> None:
        """Sets up the layers (TLS, WebSocket, a proxy); without it, the first `send` or `receive` does.

        timeout: seconds; by default `Limits.handshake_time`. Raises HandshakeError, TLSError, TooSlow, ConnectionLost.
        """
        if self._ready:
            return
        self._ready = True
        seconds = self._limits.handshake_time if timeout is None else timeout
        until = math.inf if seconds is None else time.monotonic() + seconds
        pipeline = self._pipeline
        try:
            pipeline.begin(self.peer, self.local)
            self._write_layers()
            while not pipeline.ready:
                self._shake(until, seconds)
        except FrameError as error:
            if not pipeline.ready:
                self._tell_why()
                raise self._failed("connect", error) from None
            # The same read completed the handshake and broke the framing: that is the conversation's to hear.
            self._failed("receive", error)
            self._eof = True
        except TooSlow as error:
            self._error = error
            raise
        self._peer, self._local = pipeline.peer or self._peer, pipeline.local or self._local
        if pipeline.limits is not None:
            self._limits, self._kernel_waits = pipeline.limits, pipeline.limits.idle_time is None
        self._pings = self._limits.ping_time is not None and pipeline.pings

    def _shake(self, until: float, seconds: float | None) -> None:
        """One read of a handshake, or a silence that says enough."""
        pipeline = self._pipeline
        patience = pipeline.patience
        left = until - time.monotonic()
        if left <= 0:
            raise TooSlow("the handshake was not over after {seconds:g} s", seconds=seconds, **self._ends)
        wait_for(self._sock, select.POLLIN, left if patience is None else min(left, patience))
        try:
            data = self._sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if patience is not None and patience < left:
                with self._layer_lock:
                    pipeline.silent()
            return
        except OSError as error:
            raise self._broke(error) from None
        self._counters.bytes_received += len(data)
        if data:
            messages = self._feed(data)
        else:
            self._eof = True
            messages = [] if self._input_ended else self._end()
            if not pipeline.ready:
                raise self._lost or self._broke(ConnectionLost("the peer closed during the handshake"))
        self._take(messages)
        self._layers_moved()

    def start_tls(self, tls: Any, name: str | None = None) -> None:
        """From here on the connection is encrypted (STARTTLS): call it when both sides have agreed on it.

        tls: a `TLS`. name: the host that the certificate must be for; by default the one that was connected to. Raises
        TLSError, TooSlow, ConnectionLost; FrameError when the peer sent more in clear than what asked for it.
        """
        self._refuse_if_closed("start_tls")
        self.handshake()
        if self._inbox:
            raise self._failed("start_tls", injected())
        with self._write_lock, self._layer_lock:
            try:
                self._pipeline.add(tls_factory(self, tls, name), self.peer, self.local)
            except FrameError as error:
                raise self._failed("start_tls", error) from None
        self._ready = False
        self.handshake()

    def _failed(self, operation: str, error: FrameError) -> FrameError:
        """Notes what makes it impossible to go on."""
        if error.peer is None:
            error.operation = operation
            vars(error).update(self._ends)
        self._error = error
        return error

    def _tell_why(self) -> None:
        """What the layers still have to say to a peer with which a handshake failed."""
        try:
            self._write_layers()
        except TooSlow:
            pass

    # -- receiving ---------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> Any:
        """The next message, or None when the peer has ended its side.

        timeout: seconds to wait; 0: only what is there already; None: as long as the limits allow. Raises TooSlow, FrameError.
        A message that is not there in time is not lost: receive again. (Where None can be a message, JSON null, iterate.)
        """
        message = self._next(timeout)
        return None if message is END else message

    def __iter__(self) -> Iterator[Any]:
        while (message := self._next()) is not END:
            yield message

    def ask(self, message: Any, timeout: float | None = None) -> Any:
        """Sends a message and returns the next one received; ConnectionLost if the peer ends without an answer."""
        self.send(message)
        answer = self._next(timeout)
        if answer is END:
            raise self._lost or ConnectionLost("the peer closed without an answer", operation="ask", **self._ends)
        return answer

    def _next(self, timeout: float | None = None) -> Any | End:
        if not self._ready:
            self.handshake()
        inbox = self._inbox
        deadline = None if timeout is None or inbox else time.monotonic() + timeout
        while not inbox:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self._eof:
                return END
            try:
                self._fill(deadline)
            except FrameError as error:
                if self._pipeline.layered:
                    self._tell_why()
                self._failed("receive", error)  # where the next message begins is unknown: there is no way on
                raise
        return inbox.popleft()

    def _fill(self, deadline: float | None) -> None:
        """One read: puts what it completes into the inbox, or notes that the input has ended."""
        pipeline, decoder = self._pipeline, self._pipeline.decoder
        if decoder.more:
            messages = self._feed(b"")
        elif data := self._read(deadline):
            self._counters.bytes_received += len(data)
            messages = self._feed(data)
            if messages or not decoder.pending:
                self._begun_for = 0.0
        else:
            self._eof = True
            # Half a message means something to the framing (to lines, a last one) only if the peer itself ended there.
            messages = [] if self._gone or self._input_ended else self._end()
        self._counters.messages_received += len(messages)
        self._inbox.extend(messages)
        if pipeline.layered:
            self._layers_moved()

    def _layers_moved(self) -> None:
        """After every call into the layers: their input may have ended, and they may have something to say."""
        if self._pipeline.ended and not self._pipeline.decoder.more and not self._eof:
            self._eof = True
            self._take(self._end())
        self._write_layers()

    def _feed(self, data: bytes) -> list[Any]:
        if not self._pipeline.layered:
            return self._pipeline.feed(data)
        with self._layer_lock:
            return self._pipeline.feed(data)

    def _end(self) -> list[Any]:
        try:
            return self._pipeline.decoder.end()
        except ConnectionLost as error:
            self._broke(error)
            return []

    def _take(self, messages: list[Any]) -> None:
        self._counters.messages_received += len(messages)
        self._inbox.extend(messages)

    def _read(self, deadline: float | None) -> bytes:
        """What has arrived; b"" at the end, also when the connection broke. Raises TooSlow."""
        idle = self._limits.idle_time
        usual = deadline is None and not (
            self._pipeline.decoder.pending or self._silent_for or self._pings or self._shared
        )
        while True:
            try:
                if usual and not self._kernel_waits:
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval(idle))
                    self._kernel_waits = True
                data = self._sock.recv(READ_SIZE, 0 if usual else socket.MSG_DONTWAIT)
            except BlockingIOError:
                if usual and idle is not None:
                    usual, self._silent_for = False, idle
                self._wait_for_input(deadline)
            except OSError as error:
                self._broke(error)
                return b""
            else:
                self._silent_for = 0.0
                return data

    def _wait_for_input(self, deadline: float | None) -> None:
        """Waits until something may be there, or a deadline has come. Raises TooSlow if one has come already."""
        now, limits, begun = time.monotonic(), self._limits, self._pipeline.decoder.pending
        silent = min(self._silent_for, now - self._posted_at)  # seconds without a byte in either direction
        left, reason, seconds = math.inf, "no message in the time given", 0.0
        if limits.idle_time is not None:
            left, seconds = limits.idle_time - silent, limits.idle_time
            reason = "nothing arrived for {seconds:g} s"
        if begun and limits.message_time is not None and limits.message_time - self._begun_for < left:
            left, seconds = limits.message_time - self._begun_for, limits.message_time
            reason = "a message was not complete after {seconds:g} s"
        own = deadline is None or deadline - now >= left  # a limit of ours comes first, not the caller's patience
        if not own and deadline is not None:
            left, reason = deadline - now, "no message in the time given"
        if left > 0:
            if self._pings and limits.ping_time is not None:
                left = min(left, limits.ping_time)
                if min(silent, now - self._pinged_at) >= limits.ping_time:
                    self._pinged_at = now
                    with self._layer_lock:
                        self._pipeline.keepalive()
                    self._write_layers()
            wait_for(self._sock, select.POLLIN, left)
            waited = time.monotonic() - now
            self._silent_for = silent + waited
            if begun:
                self._begun_for += waited
            return
        late = TooSlow(reason, operation="receive", seconds=seconds, **self._ends)
        if own:
            self._error = late  # there is no way on; the caller's own patience may start again
        raise late

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Sends one message, whole. Waits while the peer does not take it, for `Limits.write_time` at the most.

        Raises TooSlow, ConnectionLost, and UsageError for a message that the framing cannot carry.
        """
        self._send_bytes(self._pipeline.encode(message), 1)

    def send_file(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Sends a file, or a part of it, as raw bytes behind everything sent so far; returns how many bytes that were.

        file: open, a descriptor or an object with fileno(); its own position neither matters nor moves. offset, count: bytes;
        count None: up to the end as it is now. Without layers the kernel copies the bytes itself (sendfile). The peer must
        take 64 KiB at least, or the rest, within `Limits.write_time`. What is posted meanwhile follows the file.

        Raises TooSlow, ConnectionLost; UsageError for what is no regular file or too short, and on transports that carry
        messages (WebSocket, UDP). After a file that became shorter meanwhile (UsageError, `details["sent"]` tells how far it
        came), the connection is cut.
        """
        return send_file(self, file, offset, count)

    def _send_all(self, messages: list[bytes]) -> None:
        """Sends several encoded messages, in one piece where no layer keeps their boundaries."""
        if len(messages) == 1:  # the usual case
            self._send_bytes(messages[0], 1)
            return
        if not self._pipeline.keeps_messages:
            self._send_bytes(b"".join(messages), len(messages))
            return
        for message in messages:
            self._send_bytes(message, 1)

    def _send_bytes(self, data: bytes, messages: int) -> None:
        if self._sent_eof:  # as it is once the connection is closed
            self._refuse_if_closed("send")
            raise UsageError("the sending side is closed already", operation="send", **self._ends)
        if not self._ready:
            self.handshake()
        with self._write_lock:
            if self._posted or self._unsent or self._pipeline.layered:
                data = self._unsent + self._wire([*self._take_posted(), data])
                self._unsent = b""
            self._write(data)
            self._counters.messages_sent += messages
        if self._posted or self._layers_wait:
            self._flush_posted()

    def _write(self, data: bytes) -> None:
        """Everything, under one deadline. The write lock is held."""
        rest: bytes | memoryview = data
        until = 0.0
        while True:
            try:
                sent = self._sock.send(rest, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise self._cannot_send(error) from error
            self._counters.bytes_sent += sent
            if sent == len(rest):
                self._silent_for = 0.0
                return
            rest = memoryview(rest)[sent:]
            until = self._wait_to_send(until, self._sock)

    def _wait_to_send(self, until: float, sock: socket.socket) -> float:
        """Waits until the socket takes more. until: the deadline, 0 for a new one, which is returned. Raises TooSlow."""
        now = time.monotonic()
        patience = self._limits.write_time
        until = until or now + (math.inf if patience is None else patience)
        if now >= until:  # half a message may be out: nothing else can follow it
            late = TooSlow("the peer took nothing for {seconds:g} s", operation="send", seconds=patience, **self._ends)
            self._give_up(late)
            raise late
        wait_for(sock, select.POLLOUT, until - now)
        return until

    def _cannot_send(self, error: OSError) -> BaseException:
        """What is to be raised when the system does not send."""
        if isinstance(self._error, TooSlow):  # given up from another thread, for what was posted
            return self._error.with_traceback(None)
        lost = self._broke(error)
        lost.operation = "send"
        return lost

    def _write_layers(self) -> None:
        """What the layers say by themselves. Does not wait for another thread that is sending: that one sends it as well.

        If it cannot be sent, what was received is no less worth. Raises TooSlow.
        """
        self._layers_wait = True
        while self._layers_wait and self._write_lock.acquire(blocking=False):
            try:
                data = self._unsent + self._wire(self._take_posted())
                self._unsent = b""
                if data and not self._sent_eof and not self._gone:
                    self._write(data)
            except ConnectionLost:
                pass
            finally:
                self._write_lock.release()

    # -- ending ------------------------------------------------------------------------------------------------------

    def send_eof(self) -> None:
        """Ends our side and keeps listening: the peer's input ends (half-close)."""
        if not self._sent_eof:
            self._refuse_if_closed("send")
            with self._write_lock:
                with self._lock:
                    self._sent_eof = True  # from here on nothing is posted
                data = self._unsent + self._wire(self._take_posted())
                self._unsent = b""
                if data:
                    self._write(data)
                if self._pipeline.layered:
                    self._write_end(closing=False)
                if self._pipeline.shuts:
                    disconnect(self._sock, socket.SHUT_WR)

    def _write_end(self, closing: bool) -> None:
        """The layers' own end. A peer that is gone already has lost nothing by not hearing it, so that is no error."""
        self._blame(self._error)
        with self._layer_lock:
            last = self._pipeline.end_output(closing)
        try:
            sent = self._sock.send(last, socket.MSG_DONTWAIT) if last else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        self._counters.bytes_sent += sent
        if sent < len(last) and not isinstance(
            self._error, TooSlow
        ):  # nobody waits for a peer that has used up its time
            self._write(last[sent:])

    def end_input(self) -> None:
        """Ends our reading: what has arrived is still received, then the iteration ends. From any thread (used to drain)."""
        with self._lock:
            if self._parting:  # the shutdown would end it for those who may have it by now
                self._drained_meanwhile = True
                return
            self._input_ended = True
            self._pipeline.leave()
            disconnect(self._sock, socket.SHUT_RD)

    def close(self) -> None:
        """Sends what was posted and closes both directions. Closing twice is harmless.

        What has arrived is read away first, in a server until the peer's own end or for `Limits.linger_time`: a socket that is
        closed with bytes unread sends a reset, which can destroy the answers still on their way.
        """
        if self.closed:
            return
        try:
            if not self._gone and not isinstance(self._error, TooSlow):
                self.send_eof()
                if not self._pipeline.shuts:
                    with self._write_lock:
                        self._write_end(closing=True)
                        disconnect(self._sock, socket.SHUT_WR)
                self._read_away()
            elif self._pipeline.layered and not (self._gone or self._posted or self._unsent):
                with self._write_lock:
                    self._write_end(closing=True)  # a silent peer hears why it is let go
        except (PeerError, OSError):
            pass  # it cannot be closed gracefully: it is closed all the same
        finally:
            self._close()

    def _read_away(self) -> None:
        until, taken = time.monotonic() + self._linger, 0
        while taken < _LINGER_BYTES:
            try:
                data = self._sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0:
                    return
                wait_for(self._sock, select.POLLIN, left)
            else:
                if not data:
                    return
                taken += len(data)

    # -- changing hands ----------------------------------------------------------------------------------------------

    def hand_over(
        self, channel: Any, *, state: Any = None, keep: bool = False, relay: bool = False, timeout: float | None = 5.0
    ) -> None:
        """Gives this connection to the process at the other end of a `handover.Channel`; see `Channel.send`."""
        channel.send(self, state=state, keep=keep, relay=relay, timeout=timeout)

    def detach(self) -> Detached:
        """Takes the socket out of the connection, which is closed by it without a word to the peer: (socket, pending).

        Raises HandoverError where what was read cannot be given back, or only this process can read it (TLS).
        """
        parted = self.part()
        sock = socket.socket(fileno=os.dup(parted.socket.fileno()))
        self.parted()
        return Detached(sock, parted.pending)

    def preload(self, pending: bytes) -> None:
        """Takes bytes of the peer's that another process has read: they come before all others."""
        if pending:
            try:
                self._take(self._feed(pending))
            except FrameError as error:
                self._failed("receive", error)

    def part(self, way: Way = "bare") -> Detached:
        self._refuse_if_closed("hand over")
        self.handshake()
        if self._parting:
            raise UsageError("another thread is handing the connection over already", operation="hand over")
        refuse_to_part(self._sock, self._gone or self._error is not None or self._input_ended)
        pending = unread(self._pipeline, self._inbox, way)
        with self._write_lock:
            with self._lock:
                self._ended_before, self._sent_eof = self._sent_eof, True  # meanwhile nothing is posted
                self._parting, self._drained_meanwhile = True, False
            data = self._unsent + self._wire(self._take_posted())
            self._unsent = b""
            try:
                if data:
                    self._write(data)
            except BaseException:
                self.stay()
                raise
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval(None))  # else it would go along
        return Detached(self._sock, pending)

    def parted(self, keep: bool = False) -> None:
        self._inbox.clear()
        if keep:
            self._pipeline.reframe(self._pipeline.framing)
            self._shared = True
            self.stay()
            return
        with self._write_lock, self._lock:
            self._gone = self._eof = self._sent_eof = True
            self._sock.close()  # alone, without the shutdown that would end the other side's copy as well

    def stay(self) -> None:
        with self._lock:
            self._sent_eof, self._parting = self._ended_before, False
        if self._drained_meanwhile:
            self.end_input()
        self._kernel_waits = self._limits.idle_time is None  # it was told otherwise meanwhile

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blame(error)
        self.close()


def in_running_loop() -> bool:
    """True where blocking would stop a running asyncio loop."""
    asyncio = sys.modules.get("asyncio")
    current = getattr(asyncio, "_get_running_loop", None)  # neither is there: it is not imported (yet), so no loop runs
    return current is not None and current() is not None


def wait_for(sock: socket.socket, event: int, seconds: float) -> None:
    """Waits until the socket is ready or shut down, for so many seconds at the most. Signals do not prolong it (PEP 475)."""
    poll = select.poll()
    poll.register(sock, event)
    poll.poll(min(seconds, LONGEST_WAIT) * 1000)

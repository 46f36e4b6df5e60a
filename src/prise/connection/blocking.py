"""A connection that blocks: for clients in plain Python, and for conversations in the models threads and processes.

Here is what its owner calls; how bytes are received and sent stands in blocking_reading.py and blocking_writing.py. A blocked
conversation is woken from another thread by shutting its socket down, never by a signal.

One thread owns the connection (or one receives while another sends). `post` and `abort` may be called from any: see outbox.py.
"""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from prise.connection.base import END, READ_SIZE, End, disconnect, timeval
from prise.connection.blocking_reading import BlockingReading
from prise.connection.blocking_writing import wait_for
from prise.connection.files import send_file
from prise.connection.parting import Detached, Way, refuse_to_part, unread
from prise.connection.upgrade import tls_factory
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline, injected
from prise.errors import ConnectionLost, FrameError, PeerError, TooSlow, UsageError

_LINGER_BYTES = 1024 * 1024


class Connection(BlockingReading):
    """A blocking connection. Iterate over it for its messages; the iteration ends when the peer ends.

    Use it in a `with` statement, or `close()` it. One thread owns it; `post` and `abort` may be called from any.
    """

    __slots__ = ("_drained_meanwhile", "_ended_before", "_linger", "_parting", "_ready")

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
        self._ready = not pipeline.layered  # the layers are set up
        self._linger = linger
        self._parting = self._drained_meanwhile = False
        self._ended_before = False  # our side, when we began to part with the connection

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
        pipeline = self._pipeline
        if self._eof and self._error is None and not (self._input_ended or pipeline.layered or pipeline.keeps_messages):
            return  # the peer's own end was read, and nothing is behind it (behind an empty packet there may be)
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

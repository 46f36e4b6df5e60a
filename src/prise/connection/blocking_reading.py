"""How a blocking connection receives: from the socket through the pipeline into its inbox, read by read.

Waiting is done by the kernel. In the usual case it keeps the idle time too (SO_RCVTIMEO, set once), so a read is one system
call; Python's own `settimeout` would poll before each. Where another deadline may come first, the socket is tried without
waiting and then polled until that deadline, which neither a trickle of bytes nor a signal can move.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections import deque
from typing import Any

from prise.connection.base import READ_SIZE, timeval
from prise.connection.blocking_writing import BlockingWriting, wait_for
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import ConnectionLost, FrameError, TooSlow


class BlockingReading(BlockingWriting):
    """The machinery; users meet `Connection`."""

    __slots__ = ("_begun_for", "_inbox", "_input_ended", "_kernel_waits", "_pinged_at", "_pings", "_shared")

    def __init__(
        self, sock: socket.socket, pipeline: Pipeline, limits: Limits, counters: Counters, sockaddr: Any
    ) -> None:
        super().__init__(sock, pipeline, limits, counters, sockaddr)
        sock.setblocking(True)
        self._pings = False  # a layer is to ask a silent peer whether it is still there
        self._pinged_at = 0.0
        self._inbox: deque[Any] = deque()
        self._input_ended = False  # by us
        self._shared = False  # with another process, whose reads our SO_RCVTIMEO would hurry
        self._kernel_waits = limits.idle_time is None  # the kernel has been told how long to wait
        self._begun_for = 0.0  # seconds waited for the rest of a message

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

    def _layers_moved(self) -> None:
        """After every call into the layers: their input may have ended, and they may have something to say."""
        if self._pipeline.ended and not self._pipeline.decoder.more and not self._eof:
            self._eof = True
            self._take(self._end())
        self._write_layers()

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

    def _failed(self, operation: str, error: FrameError) -> FrameError:
        """Notes what makes it impossible to go on."""
        if error.peer is None:
            error.operation = operation
            vars(error).update(self._ends)
        self._error = error
        return error

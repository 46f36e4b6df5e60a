"""How a blocking connection sends: always tried at once, then polled for under one deadline.

A deadline stands still whatever happens meanwhile: neither a trickle of bytes nor a signal moves it. Here are the bytes; whose
turn it is to send them is decided in outbox.py (what was posted) and blocking.py (what the owner says).
"""

from __future__ import annotations

import math
import select
import socket
import time
from typing import Any

from prise.connection.base import LONGEST_WAIT
from prise.connection.outbox import PostingConnection
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import ConnectionLost, TooSlow


class BlockingWriting(PostingConnection):
    """The machinery; users meet `Connection`."""

    __slots__ = ("_silent_for",)

    def __init__(
        self, sock: socket.socket, pipeline: Pipeline, limits: Limits, counters: Counters, sockaddr: Any
    ) -> None:
        super().__init__(sock, pipeline, limits, counters, sockaddr)
        # Time counts against the peer only while we wait for it, not while the conversation does something else.
        self._silent_for = 0.0  # seconds waited without a byte, where the caller's own timeouts interrupted the waiting

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


def wait_for(sock: socket.socket, event: int, seconds: float) -> None:
    """Waits until the socket is ready or shut down, for so many seconds at the most. Signals do not prolong it (PEP 475)."""
    poll = select.poll()
    poll.register(sock, event)
    poll.poll(min(seconds, LONGEST_WAIT) * 1000)

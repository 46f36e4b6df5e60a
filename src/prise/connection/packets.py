"""Connections over sockets that keep the boundaries of messages: UDP, Unix datagrams and SOCK_SEQPACKET, in both machineries.

One read is one message (transports/packetsocket.py sees to that), so the stream's code serves, except that:

- each message is sent by itself, never joined with the next;
- a datagram that is no message is dropped and counted, and said in the log: the next one is as good as any. SOCK_SEQPACKET is
  reliable, so there it ends the connection, as in a stream;
- datagrams have no end: nothing lingers, and what is not taken at once from a `post` is dropped, as the network would;
- a message that does not fit into a datagram is the conversation's mistake (UsageError).
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from typing import Any

from prise.connection.asynchronous import AsyncConnection
from prise.connection.base import BaseConnection, disconnect
from prise.connection.blocking import Connection
from prise.connection.generator import GeneratorConnection
from prise.connection.looped import LoopedConnection
from prise.core.counters import Counters
from prise.errors import FrameError, MessageTooLarge, TooSlow, UsageError
from prise.transports import keeps_messages
from prise.transports.datagrams import SessionSocket

log = logging.getLogger("prise")

_SAY_EVERY = 1.0
_said = 0.0  # when a bad datagram was last logged; one log line a second for the whole process


def drop(connection: BaseConnection, error: FrameError, counters: Counters) -> None:
    """Takes note of a datagram that is no message."""
    global _said
    if isinstance(error, MessageTooLarge):
        counters.dropped_too_large += 1
    else:
        counters.dropped_malformed += 1
    if (now := time.monotonic()) - _said >= _SAY_EVERY:
        _said = now
        log.warning("connection %d from %s: a datagram was dropped: %s", connection.id, connection.peer, error)


def too_large(size: int) -> UsageError:
    return UsageError("a message of {size} bytes does not fit into one packet; send less at a time", size=size)


class PacketConnection(Connection):
    """A blocking connection whose socket keeps the boundaries of messages."""

    __slots__ = ()

    @property
    def _lossy(self) -> bool:
        return self._sock.type == socket.SOCK_DGRAM

    def _feed(self, data: bytes) -> list[Any]:
        try:
            return super()._feed(data)
        except FrameError as error:
            if not self._lossy:
                raise
            drop(self, error, self._counters)
            return []

    # -- sending: one by one -----------------------------------------------------------------------------------------

    def _send_all(self, messages: list[bytes]) -> None:
        for message in messages:
            self._send_bytes(message, 1)

    def _send_bytes(self, data: bytes, messages: int) -> None:
        self._refuse_if_closed("send")
        if self._sent_eof:
            raise UsageError("the sending side is closed already", operation="send", **self._ends)
        with self._write_lock:
            for each in (*self._take_posted(), data):
                self._write(each)
            self._counters.messages_sent += messages
        if self._posted:
            self._flush_posted()

    def _write(self, data: bytes) -> None:
        until = 0.0
        while True:
            try:
                self._counters.bytes_sent += self._sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                until = self._wait_to_send(until, getattr(self._sock, "path", self._sock))
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    raise too_large(len(data)) from None
                if error.errno != errno.ENOBUFS:
                    raise self._cannot_send(error) from error
                self._counters.dropped_queue += 1
                return
            else:
                self._silent_for = 0.0
                return

    def _write_posted(self) -> bool:
        while self._posted and self._write_lock.acquire(blocking=False):
            try:
                waiting = self._take_posted()
                while waiting:
                    try:
                        self._counters.bytes_sent += self._sock.send(waiting[0], socket.MSG_DONTWAIT)
                        self._posted_at = time.monotonic()
                    except BlockingIOError:
                        if not self._lossy:
                            self._put_back(waiting)
                            return False
                        self._counters.dropped_queue += 1
                    except OSError as error:
                        if error.errno == errno.EMSGSIZE:
                            self._counters.dropped_too_large += 1
                        elif error.errno == errno.ENOBUFS:
                            self._counters.dropped_queue += 1
                        else:
                            self._broke(error)  # the owner finds out when it reads
                            return True
                    del waiting[0]
            finally:
                self._write_lock.release()
        return True

    def _put_back(self, messages: list[bytes]) -> None:
        with self._lock:
            self._posted[:0] = messages
            self._posted_size += sum(map(len, messages))
            self._posted_count += len(messages)
            self._counters.messages_sent -= len(messages)

    # -- ending ------------------------------------------------------------------------------------------------------

    def send_eof(self) -> None:
        if not self._sent_eof:
            self._refuse_if_closed("send")
            with self._write_lock:
                with self._lock:
                    self._sent_eof = True  # from here on nothing is posted
                for each in self._take_posted():
                    self._write(each)
                disconnect(self._sock, socket.SHUT_WR)

    def _read_away(self) -> None:
        if not self._lossy:
            super()._read_away()


class SessionConnection(PacketConnection):
    """A session with one peer of a datagram server. Its silence is its end, and nobody's fault."""

    __slots__ = ()

    def __init__(self, sock: SessionSocket, *arguments: Any) -> None:
        super().__init__(sock, *arguments)
        sock.path.counters = self._counters

    def _fill(self, deadline: float | None) -> None:
        try:
            super()._fill(deadline)
        except TooSlow as late:
            if self._error is not late:
                raise
            self._error = None
            self._eof = True


def blocking_kind(sock: socket.socket) -> type[Connection]:
    """The kind of blocking connection that this socket needs."""
    if isinstance(sock, SessionSocket):
        return SessionConnection
    return PacketConnection if keeps_messages(sock) else Connection


class LoopedPackets(LoopedConnection):
    """What the looped connections over such sockets share."""

    __slots__ = ()

    def _use_pipeline(self) -> None:
        super()._use_pipeline()
        self._feed = self._feed_packet

    def _feed_packet(self, data: bytes) -> list[Any]:
        try:
            return self._pipeline.feed(data)
        except FrameError as error:
            if self._sock.type != socket.SOCK_DGRAM:
                raise
            drop(self, error, self._counters)
            return []

    def _flush(self) -> None:
        """Writes the outbox, one message after the other, as far as the kernel takes it. Runs no conversation."""
        out, counters, send = self._out, self._counters, self._sock.send
        done = size = 0
        try:
            for data in out:
                done += 1
                size += len(data)
                counters.bytes_sent += send(data)
        except (BlockingIOError, InterruptedError):
            size -= len(data)
            del out[: done - 1]
            self._out_size -= size
            self._note_blocked(size)
        except OSError as error:
            del out[:done]
            self._out_size -= size
            if error.errno == errno.EMSGSIZE:
                self._refuse(too_large(len(data)))
            elif error.errno == errno.ENOBUFS:
                counters.dropped_queue += 1
            else:
                self._broken(error)
            if out:
                self._flush()
            else:
                self._blocked_since = 0.0
        else:
            out.clear()
            self._out_size = 0
            self._blocked_since = 0.0

    def _refuse(self, error: UsageError) -> None:
        """The conversation has said what cannot be sent. Not inside its turn: telling it runs its code."""
        self._loop.call(lambda: self._fail(error))  # type: ignore[arg-type]  # a mistake ends it like a limit

    def _shut(self) -> None:
        if self._sock.type == socket.SOCK_DGRAM:
            self._close()
        else:
            super()._shut()


class PacketAsyncConnection(LoopedPackets, AsyncConnection):
    """An asynchronous connection whose socket keeps the boundaries of messages."""

    __slots__ = ()


class PacketGeneratorConnection(LoopedPackets, GeneratorConnection):
    """The same for a generator conversation."""

    __slots__ = ()

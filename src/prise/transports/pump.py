"""Makes a socket of descriptors that are none: a pseudo terminal, a pair of pipes, a file, a serial line.

Everything above the transports knows sockets only. So a pair of connected sockets is made; one is the caller's, and a daemon
thread carries bytes between the other one and the descriptors, with poll(2) and one bounded buffer each way:

    reader  --->  incoming  --->  inner socket  ===  the caller's socket
    writer  <---  outgoing  <---  inner socket

An end on one side is passed on to the other, each direction by itself. What the caller has sent is written even if it closes
its socket at once; the program's own end waits for that. Where nothing is read (no `reader`), the end that the caller
receives says that all was written; where nothing is written, sending fails (EPIPE). What was sent to a side that had gone is
dropped, without a reset, as by a socket pair. But when writing fails (a full disk), the caller gets a reset and not an end:
what was not written yet is left unread in the inner socket, and closing it so is what resets (Linux). So it is when reading
fails where nothing is written: for this, one byte lies unread in the inner socket from the beginning.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable

BUFFER = 64 * 1024
"""Bytes kept at most, each way."""

STUCK_TIME = 10.0
"""Seconds that a descriptor may take nothing of what a caller, who has closed, left behind; then it is dropped."""

_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL
_running: set[_Pump] = set()


def pump(reader: int | None, writer: int | None, *, name: str, farewell: Callable[[], bytes] = bytes) -> socket.socket:
    """The socket that stands for these descriptors; it is blocking. Both may be one and the same.

    It owns the descriptors from now on, and closes them; whether they block is left as it is, as others may share that.
    name: what they are, for the log. farewell: called at the end of what is sent, for what is then written last (a terminal
    has a character that means the end of input). Raises OSError.
    """
    try:
        outer, inner = socket.socketpair()
    except OSError:
        _close(reader, writer)
        raise
    if writer is None:
        outer.send(b"\0")
    moving = _Pump(inner, reader, writer, name, farewell)
    _running.add(moving)
    try:
        moving.thread.start()
    except RuntimeError as error:  # the system has no thread left
        outer.close()
        moving.close()
        raise OSError(errno.EAGAIN, str(error)) from error
    return outer


class _Pump:
    """The descriptors and one socket, until both directions are over. A descriptor whose direction is over is None."""

    def __init__(
        self, inner: socket.socket, reader: int | None, writer: int | None, name: str, farewell: Callable[[], bytes]
    ) -> None:
        inner.setblocking(False)
        self.inner = inner
        self.thread = threading.Thread(target=self._run, name=f"prise {name}", daemon=True)
        self._name = name
        self._farewell = farewell
        self._reader, self._writer = reader, writer
        self._reads = reader is not None
        self._incoming, self._outgoing = bytearray(), bytearray()
        self._telling = True  # the caller's input has not ended
        self._asking = True  # the caller's output has not ended
        self._unread = 0  # bytes of `outgoing` that are in the inner socket still, as they were only peeked at
        self._failed = False  # writing did, or reading where nothing is written
        self._left = False  # the caller has closed its socket, or both directions of it are over
        self._stuck_at = float("inf")
        self._poll = select.poll()
        self._watched: dict[int, int] = {}
        self._chunk = BUFFER if writer is None else _chunk(writer)
        if writer is None:
            self._refuse()

    @property
    def is_left(self) -> bool:
        """True when the caller is gone, and what it left behind is still being written."""
        try:
            poll = select.poll()
            poll.register(self.inner, 0)
            return bool(poll.poll(0))
        except (OSError, ValueError):  # closed in this very moment
            return False

    def _run(self) -> None:
        try:
            while self._go_on():
                self._turn()
        finally:
            self.close()

    def close(self) -> None:
        _running.discard(self)
        _close(self._reader, self._writer)
        self._reader = self._writer = None
        if not self._failed:
            _shutdown(self.inner, socket.SHUT_RDWR)  # not only close: a forked process may have a copy
            drain(self.inner)
        self.inner.close()

    def _go_on(self) -> bool:
        """Passes ends on, once all that came before them is through. False when both directions are over."""
        if not self._asking and not self._outgoing and self._writer is not None:
            self._end_writer()
        if self._telling and self._reader is None and not self._incoming and (self._reads or self._writer is None):
            self._telling = False
            if not self._failed:
                _shutdown(self.inner, socket.SHUT_WR)
        return self._telling or self._writer is not None

    def _turn(self) -> None:
        """Waits until something can be moved, and moves it."""
        inner = self.inner.fileno()
        takes = self._asking and self._writer is not None and not self._outgoing
        socket_events = select.POLLIN * takes | select.POLLOUT * bool(self._incoming)
        read_events = select.POLLIN * (self._telling and len(self._incoming) < BUFFER)
        write_events = select.POLLOUT * bool(self._outgoing)
        # What is not asked for is not watched: poll reports a hang-up even where nothing is asked, again and again. Except
        # the caller's and a reader's going away, which are reported once, because we then end that direction.
        wanted = {inner: socket_events} if socket_events or not self._left else {}
        if self._writer is not None and (write_events or self._writer != self._reader):
            wanted[self._writer] = write_events
        if self._reader is not None and read_events:
            wanted[self._reader] = wanted.get(self._reader, 0) | read_events
        self._watch(wanted)
        patience = None if self._stuck_at == float("inf") else max(self._stuck_at - time.monotonic(), 0.0) * 1000
        ready = dict(self._poll.poll(patience))
        if not ready and patience is not None and time.monotonic() >= self._stuck_at:
            self._end_writer("nobody took the rest of what was sent")
            return
        if (got := ready.get(inner, 0)) & select.POLLHUP and not self._left:
            self._leave()
        if got & select.POLLIN and takes:
            self._hear()
        if got & select.POLLOUT:
            self._tell()
        if self._reader is not None and read_events and self._reader in ready:
            self._read()
        if self._writer is not None and self._writer in ready:
            if self._outgoing:
                self._write()
            elif ready[self._writer] & _BROKEN and self._writer != self._reader:
                self._end_writer()

    def _watch(self, wanted: dict[int, int]) -> None:
        for descriptor in self._watched.keys() - wanted.keys():
            self._poll.unregister(descriptor)
        for descriptor, events in wanted.items():
            if self._watched.get(descriptor) != events:
                self._poll.register(descriptor, events)
        self._watched = wanted

    def _leave(self) -> None:
        self._left = True
        if self._telling:  # the caller has closed before the end: it reads no more, but what it has sent is written
            self._telling = False
            self._incoming.clear()
            self._stuck_at = time.monotonic() + STUCK_TIME
            if self._reader is not None and self._reader != self._writer:
                self._forget(self._reader)
                self._reader = None

    # -- from the caller to the writer ---------------------------------------------------------------------------------

    def _hear(self) -> None:
        try:
            data = self.inner.recv(BUFFER, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._outgoing += data
            self._unread = len(data)
        else:
            self._asking = False
            self._outgoing += self._farewell()
        if self._writer is not None and self._outgoing and not os.get_blocking(self._writer):
            self._write()

    def _write(self) -> None:
        assert self._writer is not None
        try:
            with memoryview(self._outgoing)[: self._chunk] as rest:
                count = os.write(self._writer, rest)
        except BlockingIOError:
            return
        except OSError as error:
            gone = error.errno in (errno.EPIPE, errno.ECONNRESET) or _has_hung_up(self._writer, error)
            self._end_writer(None if gone else error.strerror)
            return
        del self._outgoing[:count]
        if not self._outgoing:
            self._take()
        if self._left and count:
            self._stuck_at = max(self._stuck_at, time.monotonic() + STUCK_TIME)

    def _take(self) -> None:
        """What was only peeked at has been written."""
        try:
            while self._unread and (data := self.inner.recv(self._unread)):
                self._unread -= len(data)
        except OSError:
            pass  # nothing is there: not on Linux
        self._unread = 0

    def _end_writer(self, why: str | None = None) -> None:
        """Nothing more is written: all of it was, or the other side takes no more."""
        if self._writer is not None and self._writer != self._reader:
            self._forget(self._writer)
        elif self._left and self._reader is not None:
            self._forget(self._reader)
            self._reader = None
        self._writer = None
        if self._asking:
            self._asking = False
            self._refuse()
        self._outgoing.clear()
        self._stuck_at = float("inf")
        if why:
            self._failed = True
            from logging import getLogger

            getLogger("prise").error("%s: cannot be written: %s", self._name, why)

    def _refuse(self) -> None:
        """The caller's further `send` fails with EPIPE."""
        self._asking = False
        _shutdown(self.inner, socket.SHUT_RD)

    # -- from the reader to the caller ---------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self._reader is not None
        try:
            data = os.read(self._reader, BUFFER - len(self._incoming))
        except BlockingIOError:
            return
        except OSError as error:
            data = b""
            if not _has_hung_up(self._reader, error):
                self._failed = self._failed or self._writer is None
                from logging import getLogger

                getLogger("prise").error("%s: cannot be read: %s", self._name, error.strerror)
        if data:
            self._incoming += data
            self._tell()
            return
        if self._writer == self._reader:  # a terminal or a line that hung up: nobody is there to write to, either
            self._writer = None
            self._outgoing.clear()
            if self._asking:
                self._refuse()
        self._forget(self._reader)
        self._reader = None

    def _tell(self) -> None:
        try:
            del self._incoming[: self.inner.send(self._incoming)]
        except BlockingIOError:
            pass
        except OSError:  # closed, or it reads no more
            self._incoming.clear()
            if self._telling:
                self._telling = False
                if self._reader is not None and self._reader != self._writer:
                    self._forget(self._reader)
                    self._reader = None

    def _forget(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
        os.close(descriptor)


def _has_hung_up(terminal: int, error: OSError) -> bool:
    """A pseudo terminal that no program has open any more ends with an error, EIO."""
    return error.errno == errno.EIO and os.isatty(terminal)


def _chunk(writer: int) -> int:
    """How much may be written at once when poll says that it can: no more than a blocking pipe then takes for sure."""
    if not os.get_blocking(writer) or stat.S_ISREG(os.fstat(writer).st_mode):
        return BUFFER
    return select.PIPE_BUF


def drain(sock: socket.socket) -> None:
    """Reads away what has arrived, after SHUT_RD: a Unix socket that is closed with bytes unread gives its peer a reset."""
    try:
        while sock.recv(BUFFER, socket.MSG_DONTWAIT):
            pass
    except OSError:
        pass


def _shutdown(sock: socket.socket, how: int) -> None:
    try:
        sock.shutdown(how)
    except OSError:
        pass  # the other side has closed (macOS)


def _close(*descriptors: int | None) -> None:
    for descriptor in {each for each in descriptors if each is not None}:
        os.close(descriptor)


def _write_the_rest() -> None:
    """At the program's end: daemon threads would be stopped amid what the caller, who has closed, left to be written."""
    for moving in list(_running):
        if moving.is_left:
            moving.thread.join()


def _leave_to_parent() -> None:
    """In a forked child, where the threads are missing: a copy of the inner socket would only hide its end from the caller."""
    for moving in _running:
        moving.inner.close()
    _running.clear()


atexit.register(_write_the_rest)
os.register_at_fork(after_in_child=_leave_to_parent)

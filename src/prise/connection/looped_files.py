"""Sending a file on an event loop: a phase of the connection, in which the outbox waits.

While a file is being sent the connection counts as blocked, so that whatever others say meanwhile stays in the outbox. The loop
tells when the socket takes more; then at most TURN bytes go out, and the others have their turn, for the loop tells again. In
the outbox, a memoryview goes before the rest of the file (and is wrapped already, where there are layers); `bytes` follow it.
"""

from __future__ import annotations

import socket
from typing import Any

from prise.connection.files import PIECE, TURN, FilePart
from prise.connection.looped_parting import PartingConnection
from prise.errors import ConnectionLost, PriseError

_MORE = getattr(socket, "MSG_MORE", 0)
"""More follows at once: what was said before a file shares a packet with its beginning (send(2))."""


class Outgoing(FilePart):
    """A file that is being sent. done: all of it was given to the kernel. error: what is wrong with it."""

    __slots__ = ("_behind", "done", "error")

    def __init__(self, file: Any, offset: int, count: int | None) -> None:
        super().__init__(file, offset, count)
        self._behind: list[bytes | memoryview] = []  # bound: it counts as the outbox
        self.done = False
        self.error: PriseError | None = None

    def set_aside(self, out: list[bytes | memoryview]) -> None:
        first = len(out)
        while first and not isinstance(out[first - 1], memoryview):
            first -= 1
        if first < len(out):
            self._behind += out[first:]
            del out[first:]

    def put_back(self, out: list[bytes | memoryview]) -> None:
        out += self._behind


class SendingFiles(PartingConnection):
    """Adds the phase; `_file` is the file while it lasts."""

    __slots__ = ()

    def _begin_file(self, file: Outgoing) -> None:
        """Sends a first part of it; the loop sends the rest."""
        if self._layered:
            self._wrap()
        else:
            self._out[:] = [memoryview(each) for each in self._out]
        self._file = file
        self._blocked = True
        self._advance_file(file)
        if file.done:
            self._settle()  # perhaps it had been waiting for the socket

    def _advance_file(self, file: Outgoing) -> None:
        """A turn: sends until TURN bytes are out, the peer takes no more, or all is done. Runs no conversation."""
        self._active = self._time()
        file.set_aside(self._out)
        sent = 0
        try:
            while self._out or (file.left and sent < TURN):
                if self._out:
                    sent += self._write_front(_MORE if file.left and file.by_kernel and not self._layered else 0)
                elif file.by_kernel and not self._layered:
                    taken = file.send(self._sock.fileno(), TURN - sent)
                    self._counters.bytes_sent += taken
                    sent += taken
                else:
                    data = file.read()
                    data = self._pipeline.wrap([data]) if self._layered else data
                    self._out.append(memoryview(data))
                    self._out_size += len(data)
        except BlockingIOError:
            pass
        except PriseError as error:
            file.error = error
            self._file = None
            self.abort()
            return
        except OSError as error:
            self._broken(error)
            return
        if file.left or self._out:
            self._note_pace(sent, file.left + self._out_size)
        else:
            self._file = None
            self._blocked = False
            self._blocked_since = 0.0
            file.done = True
            file.put_back(self._out)

    def _write_front(self, flags: int) -> int:
        """What goes before the rest of the file, as far as the kernel takes it. Raises BlockingIOError when that is not all."""
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        sent = self._sock.send(data, flags)
        self._counters.bytes_sent += sent
        self._out_size -= sent
        out[:] = [memoryview(data)[sent:]] if sent < len(data) else []
        return sent

    def _note_pace(self, sent: int, left: int) -> None:
        """The peer's deadline is for the next PIECE of bytes: it must neither take all in that time, nor dawdle."""
        self._written += sent
        if not self._blocked_since or self._written >= self._goal:
            self._blocked_since = self._active
            self._goal = self._written + min(PIECE, left)
            if self._limits.write_time is not None:
                self._loop.at(self, self._active + self._limits.write_time)
        self._settle()

    def on_writable(self) -> None:
        if isinstance(self._file, Outgoing):
            self._advance_file(self._file)
        if self._file is None:
            super().on_writable()

    def on_deadline(self, now: float) -> float:
        patience = self._limits.write_time
        if self._file is not None and patience is not None and self._blocked_since + patience <= now:
            # The kernel tells only when a third of its buffer is free: a slow peer may have taken a lot meanwhile.
            self.on_writable()
        return super().on_deadline(now)

    def _broken(self, error: OSError | ConnectionLost) -> None:
        self._file = None
        super()._broken(error)

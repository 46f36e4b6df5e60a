"""Sends, in the background, what was posted to blocking connections whose peers did not take it at once.

One daemon thread for the whole process, started when first needed. It waits until such a socket is writable and lets the
connection go on; it never blocks on one peer. A connection is here only while something posted to it is left over.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prise.connection.blocking import Connection

_lock = threading.Lock()
_flusher: Flusher | None = None


def flush_later(connection: Connection) -> None:
    """Takes over a connection whose posted bytes the peer does not take now."""
    global _flusher
    with _lock:
        if _flusher is None or _flusher.pid != os.getpid():  # a fork has no threads: start anew
            _flusher = Flusher()
        _flusher.add(connection)


class Flusher:
    """The thread and its table; bounded by the connections there are and each one's outbox limit."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._waker, woken = socket.socketpair()
        self._waker.setblocking(False)
        woken.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ)
        self._new: list[Connection] = []
        self._new_lock = threading.Lock()
        threading.Thread(target=self._run, args=(woken,), name="prise-flusher", daemon=True).start()

    def add(self, connection: Connection) -> None:
        with self._new_lock:
            self._new.append(connection)
        try:
            self._waker.send(b"!")
        except BlockingIOError:
            pass  # it has been woken a thousand times already

    def _run(self, woken: socket.socket) -> None:
        while True:
            for key, _ in self._selector.select():
                connection = key.data
                if connection is None:
                    woken.recv(4096)
                else:
                    self._selector.unregister(key.fileobj)
                    self._advance(connection)
            with self._new_lock:
                new, self._new = self._new, []
            for connection in new:
                self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        descriptor = connection.fileno()
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)  # left by a connection that was closed and had the same number
        try:
            self._selector.register(descriptor, selectors.EVENT_WRITE, connection)
        except (ValueError, OSError):
            connection._flusher_has_it = False  # closed meanwhile

    def _advance(self, connection: Connection) -> None:
        connection._flusher_has_it = False
        connection._write_posted()  # comes back to flush_later if something is left again

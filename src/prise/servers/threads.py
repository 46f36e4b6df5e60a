"""The model threads: a thread for each connection, blocking conversations. State of the program is shared: mind the races."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from typing import Any

from prise.connection.blocking import Connection
from prise.connection.bridged import converse
from prise.core.counters import Counters
from prise.servers.accept import Acceptor
from prise.servers.blocking import AcceptLoop, add
from prise.servers.work import Work
from prise.transports import Listening
from prise.transports.datagrams import SessionSocket


def run(work: Work) -> None:
    """Serves until drained or cut."""
    ThreadsModel(work).run()


class ThreadsModel(AcceptLoop):
    """A conversation's thread takes note of its own end: to wake the accepting thread for it would cost more than all else."""

    publish_every = 0.1

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._live: dict[Connection, str | None] = {}
        self._ended: deque[Connection] = deque()  # sessions of datagrams, whose table belongs to the accepting thread
        work.live = lambda: [connection._counters for connection in self._live]

    def make_acceptor(self) -> Acceptor:
        return SharedAcceptor(self.work)

    @property
    def running(self) -> int:
        return len(self._live)

    def start(self, listening: Listening, sock: socket.socket, sockaddr: Any, key: str | None) -> None:
        connection = self.connection(listening, sock, sockaddr, Counters())
        with self.work.counting:
            self._live[connection] = key
        # Daemon threads: a conversation that ignores the end of its input cannot keep the process from ending.
        thread = threading.Thread(target=self._serve, args=(connection,), name=f"prise-{connection.id}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            with self.work.counting:
                del self._live[connection]
            raise

    def _serve(self, connection: Connection) -> None:
        service = self.work.service
        error: BaseException | None = None
        try:
            service.opened(connection)
            converse(service.conversation, service.spelling, connection, "threads")
        except SystemExit:
            pass
        except BaseException as raised:
            error = raised
        try:
            service.ended(connection, error, connection._counters)
            connection.close()
        except Exception:
            logging.getLogger("prise").exception(
                "connection %(connection)d: cannot close", {"connection": connection.id}
            )
        finally:
            service.closed(connection)
            if isinstance(connection._sock, SessionSocket):
                self._ended.append(connection)
                self.work.control.wake()
            else:
                self._count(connection)

    def _count(self, connection: Connection) -> None:
        with self.work.counting:
            key = self._live.pop(connection)
            add(self.work.counters, connection._counters)
            self.over(connection._sock, key)  # in one: who sees that nobody runs any more also sees what was counted

    def reap(self) -> None:
        while self._ended:
            self._count(self._ended.popleft())

    def end_input(self) -> None:
        for connection in list(self._live):
            connection.end_input()

    def cut(self) -> None:
        for connection in list(self._live):
            connection.abort()


class SharedAcceptor(Acceptor):
    """The gate where connections are let in by one thread and let go by others.

    Who lets go wakes the accepting thread where that may wait for just this: a place, or the last one to end.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work.listeners, work.service.limits, work.counters, time.monotonic)
        self._lock, self._control = work.counting, work.control

    def take_over(self, key: str | None) -> None:
        with self._lock:
            super().take_over(key)

    def release(self, key: str | None) -> None:
        with self._lock:
            full = not self.wants_more
            super().release(key)
        if full or self._control.draining or self.over:
            self._control.wake()

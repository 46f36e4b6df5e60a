"""The model processes: a forked process for each connection. Conversations share nothing; what one changes the others never see.

The accepting process has one thread and waits for nothing but its pipes: each child holds the write end of one, so its end
shows as the end of that pipe, and `waitpid` is called for that child alone (never for -1, which would steal others' children).
The other way round, the end of the accepting process means to a child what SIGTERM means: its input ends (SIGIO, fcntl(2)).
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
from typing import Any

from prise.connection.bridged import converse
from prise.core.counters import Counters
from prise.servers.blocking import AcceptLoop, add
from prise.servers.board import Board
from prise.servers.forking import close_private, fork, kill, on_orphaned, on_sigterm, private, reap
from prise.servers.work import Work
from prise.transports import Listening
from prise.transports.datagrams import SessionSocket

MOST_CHILDREN = 2_000
"""Children when the limits say nothing; each needs a row of shared counters."""


def child_rows(work_limit: int | None) -> int:
    return min(work_limit or MOST_CHILDREN, 4 * MOST_CHILDREN)


def run(work: Work) -> None:
    """Serves until drained or cut. Needs a process without other threads."""
    ProcessesModel(work).run()


class ProcessesModel(AcceptLoop):
    def __init__(self, work: Work) -> None:
        if work.board is not None:
            work.publish()  # what a predecessor has counted, from where
            work.counters = work.board.shared(work.first_row)  # we go on: so all of us are up to date at any time
        super().__init__(work)
        if work.child_rows:
            assert work.board is not None
            self._board, first = work.board, work.first_row + 1
        else:
            self._board, first = Board(child_rows(work.service.limits.connections)), 0
        self._rows = list(range(first, first + (work.child_rows or self._board.rows)))
        # read end -> pid, row, socket (closed here, unless it is a session's), peer's key
        self._children: dict[int, tuple[int, int, socket.socket, str | None]] = {}
        if not work.child_rows:
            work.live = lambda: [self._board.read(row) for _, row, _, _ in self._children.values()]

    @property
    def running(self) -> int:
        return len(self._children)

    def start(self, listening: Listening, sock: socket.socket, sockaddr: Any, key: str | None) -> None:
        if not self._rows:
            raise OSError("no more children can be counted")
        read, write = os.pipe()
        private.add(read)
        row, parent = self._rows[-1], os.getpid()
        try:
            pid = fork(lambda: self._serve(listening, sock, sockaddr, row, write, parent))
        except OSError:
            close_private(read)
            raise
        finally:
            os.close(write)
        self._rows.pop()
        if not isinstance(sock, SessionSocket):  # whose datagrams come through us
            sock.close()
        self._children[read] = (pid, row, sock, key)
        self.selector.register(read, selectors.EVENT_READ)

    def _serve(
        self, listening: Listening, sock: socket.socket, sockaddr: Any, row: int, lifeline: int, parent: int
    ) -> None:
        """In the child."""
        service = self.work.service
        private.add(lifeline)
        self.selector.close()
        self.work.close_listeners()
        self.work.control.close()
        if isinstance(sock, SessionSocket):
            for sessions in self.sessions.values():
                sessions.leave_to_child(sock)
        counters = self._board.shared(row)
        connection = self.connection(listening, sock, sockaddr, counters)
        on_sigterm(connection.end_input)
        on_orphaned(lifeline, parent, connection.end_input)
        error: BaseException | None = None
        service.opened(connection)
        try:
            converse(service.conversation, service.spelling, connection, "processes")
        except SystemExit:
            pass
        except BaseException as raised:
            error = raised
        try:
            service.ended(connection, error, counters)
            connection.close()
        finally:
            service.closed(connection)

    def on_ready(self, key: selectors.SelectorKey) -> None:
        """A child's pipe has ended, so the child has, or is about to."""
        pid, row, sock, peer = self._children.pop(key.fd)
        self.selector.unregister(key.fd)
        close_private(key.fd)
        status = reap(pid)
        if os.WIFSIGNALED(status) and not self.work.control.cutting:
            self.work.counters.error_conversation += 1
            logging.getLogger("prise").error(
                "the process %(process)d of a conversation died of signal %(signal)d",
                {"process": pid, "signal": os.WTERMSIG(status)},
            )
        add(self.work.counters, self._board.read(row))
        self._board.write(row, Counters())
        self._rows.append(row)
        self.over(sock, peer)

    def reap(self) -> None:
        """Children are reaped as their pipes end."""

    def end_input(self) -> None:
        self._signal_all(signal.SIGTERM)

    def cut(self) -> None:
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        for pid, _, _, _ in self._children.values():
            kill(pid, number)

"""The model processes: a forked process for each connection. Conversations share nothing; what one changes the others never see.

The accepting process has one thread and waits for nothing but its pipes: each child holds the write end of one, so its end
shows as the end of that pipe, and `waitpid` is called for that child alone (never for -1, which would steal others' children).
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from prise.connection.blocking import Connection
from prise.connection.bridged import converse
from prise.core.counters import Counters
from prise.servers.blocking import AcceptLoop, add
from prise.servers.board import Board
from prise.servers.work import Work

MOST_CHILDREN = 2_000
"""Children when the limits say nothing; each needs a row of shared counters."""


def child_rows(work_limit: int | None) -> int:
    return min(work_limit or MOST_CHILDREN, 4 * MOST_CHILDREN)


def run(work: Work) -> None:
    """Serves until drained or cut. Needs a process without other threads."""
    ProcessesModel(work).run()


class ProcessesModel(AcceptLoop):
    def __init__(self, work: Work) -> None:
        super().__init__(work)
        if work.child_rows:
            assert work.board is not None
            self._board, first = work.board, work.first_row + 1
        else:
            self._board, first = Board(child_rows(work.service.limits.connections)), 0
        self._rows = list(range(first, first + (work.child_rows or self._board.rows)))
        self._children: dict[int, tuple[int, int, str | None]] = {}  # read end -> pid, row, peer's key
        if not work.child_rows:
            work.live = lambda: [self._board.read(row) for _, row, _ in self._children.values()]

    @property
    def running(self) -> int:
        return len(self._children)

    def start(self, sock: socket.socket, sockaddr: Any, key: str | None) -> None:
        if not self._rows:
            raise OSError("no more children can be counted")
        read, write = os.pipe()
        row = self._rows[-1]
        try:
            pid = fork(lambda: self._serve(sock, sockaddr, row))
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._rows.pop()
        sock.close()
        self._children[read] = (pid, row, key)
        self.selector.register(read, selectors.EVENT_READ)

    def _serve(self, sock: socket.socket, sockaddr: Any, row: int) -> None:
        """In the child."""
        service = self.work.service
        self.selector.close()
        self.work.close_listeners()
        self.work.control.close()
        counters = self._board.shared(row)
        connection = Connection(sock, service.pipeline(), service.limits, counters, sockaddr)
        on_sigterm(connection.end_input)
        error: BaseException | None = None
        try:
            converse(service.conversation, service.spelling, connection, "processes")
        except SystemExit:
            pass
        except BaseException as raised:
            error = raised
        service.ended(connection, error, counters)
        connection.close(linger=service.limits.linger_time)

    def on_ready(self, key: selectors.SelectorKey) -> None:
        """A child's pipe has ended, so the child has, or is about to."""
        pid, row, peer = self._children.pop(key.fd)
        self.selector.unregister(key.fd)
        os.close(key.fd)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status) and not self.work.control.cutting:
            self.work.counters.error_conversation += 1
            logging.getLogger("prise").error("the process %d of a conversation died of signal %d", pid, os.WTERMSIG(status))
        add(self.work.counters, self._board.read(row))
        self._board.write(row, Counters())
        self._rows.append(row)
        self.acceptor.release(peer)

    def reap(self) -> None:
        """Children are reaped as their pipes end."""

    def end_input(self) -> None:
        self._signal_all(signal.SIGTERM)

    def cut(self) -> None:
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        for pid, _, _ in self._children.values():
            os.kill(pid, number)  # cannot be another's: the child is not reaped yet


def fork(body: Callable[[], object]) -> int:
    """Runs `body` in a new process that then ends, without the parent's clean-up. Returns its pid in the parent.

    SIGTERM is held back in the child until `on_sigterm` says what it means there: a drain that comes at once is not lost.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        pid = os.fork()
        if not pid:
            _child(body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def on_sigterm(react: Callable[[], object]) -> None:
    """In a forked child: what SIGTERM does here. One that came earlier takes effect now."""
    signal.signal(signal.SIGTERM, lambda *_: react())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _child(body: Callable[[], object]) -> NoReturn:
    status = 1
    try:
        # Ctrl-C reaches the whole group: the parent alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        body()
        status = 0
    except BaseException:
        logging.getLogger("prise").exception("a server process failed")
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)

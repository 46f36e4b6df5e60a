"""The part that the models threads and processes share: one thread that accepts, and starts a runner for each connection.

A process reports its end through the control's pipe; a thread takes note of it itself, under the lock of the counts (threads.py).
"""

from __future__ import annotations

import selectors
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from prise.connection.blocking import Connection
from prise.connection.packets import blocking_kind
from prise.core.counters import FIELDS, Counters
from prise.servers.accept import PAUSE, Acceptor
from prise.servers.control import Control
from prise.servers.sessions import BlockingSessions
from prise.servers.work import Work
from prise.transports import Listening, keeps_messages
from prise.transports.datagrams import DatagramListening, SessionSocket

_LAST_RUNNERS = 1.0
"""Seconds that runners get to end after the cut."""


class AcceptLoop(ABC):
    """Accepts until drained or cut. The subclasses say what a runner is.

    publish_every: seconds between publications, where counts change without this thread being woken.
    """

    publish_every: float | None = None

    def __init__(self, work: Work) -> None:
        self.work = work
        self.selector = selectors.DefaultSelector()
        self.acceptor = self.make_acceptor()
        self._accepting = False
        self.sessions = {
            listening: BlockingSessions(work, self.acceptor, listening)
            for listening in work.listeners
            if isinstance(listening, DatagramListening)
        }

    def make_acceptor(self) -> Acceptor:
        return Acceptor(self.work.listeners, self.work.service.limits, self.work.counters, time.monotonic)

    @property
    @abstractmethod
    def running(self) -> int:
        """How many runners have not ended."""

    @abstractmethod
    def start(self, listening: Listening, sock: socket.socket, sockaddr: Any, key: str | None) -> None:
        """Starts a runner for a connection. Raises OSError or RuntimeError when the system has nothing left."""

    def connection(self, listening: Listening, sock: socket.socket, sockaddr: Any, counters: Counters) -> Connection:
        """The connection that a runner is given."""
        service = self.work.service
        pipeline = service.pipeline(listening.layers, keeps_messages(sock))
        return blocking_kind(sock)(sock, pipeline, service.limits, counters, sockaddr, service.limits.linger_time)

    def over(self, sock: socket.socket, key: str | None) -> None:
        """A runner has ended, or could not be started."""
        self.acceptor.release(key)
        if isinstance(sock, SessionSocket):
            for sessions in self.sessions.values():
                sessions.forget(sock)

    @abstractmethod
    def reap(self) -> None:
        """Takes note of the runners that have ended."""

    @abstractmethod
    def end_input(self) -> None:
        """Ends the input of all conversations: they take what has arrived, and end."""

    @abstractmethod
    def cut(self) -> None:
        """Ends all conversations now."""

    def on_ready(self, key: selectors.SelectorKey) -> None:  # noqa: B027 - not every subclass watches something
        """Something else that a subclass watches is readable."""

    def run(self) -> None:
        control = self.work.control
        for descriptor in control.descriptors():
            self.selector.register(descriptor, selectors.EVENT_READ, control)
        for listening in self.sessions:
            self.selector.register(listening, selectors.EVENT_READ, listening)
        try:
            while not control.draining:
                self._watch_listeners()
                self._wait(PAUSE if self.acceptor.paused_until else None)
                if self.acceptor.over:
                    control.drain(0.0)
                if leave_listeners(control, self.work.listeners):
                    self.work.bequeath()
            self._stop_accepting()
            self.end_input()
            while self.running and not control.overdue():
                self._wait(control.left())
            if self.running:
                self.cut()
                last = time.monotonic() + _LAST_RUNNERS
                while self.running and time.monotonic() < last:
                    self._wait(last - time.monotonic())
        finally:
            self.work.publish()
            self.selector.close()

    def _watch_listeners(self) -> None:
        wanted = self.acceptor.wants_more
        if wanted and self.acceptor.paused_until:
            self.acceptor.paused_until = 0.0
        if wanted != self._accepting:
            self._accepting = wanted
            for listening in self.work.listeners:
                if listening in self.sessions:
                    continue  # always: it brings the datagrams of the sessions that exist
                if wanted:
                    self.selector.register(listening, selectors.EVENT_READ, listening)
                else:
                    self.selector.unregister(listening)

    def _wait(self, timeout: float | None) -> None:
        if self.work.board is not None:
            running = self.running  # asked first: one that ends now is published after the wait
            self.work.publish()
            if self.publish_every is not None and running:
                timeout = self.publish_every if timeout is None else min(timeout, self.publish_every)
        for key, _ in self.selector.select(self.work.control.longest_wait(timeout)):
            if key.data is self.work.control:
                self.work.control.read(key.fd)
                if key.fd not in self.work.control.descriptors():
                    self.selector.unregister(key.fd)
            elif key.data in self.work.listeners:
                sessions = self.sessions.get(key.data)
                for sock, sockaddr, peer in sessions.accept() if sessions else self.acceptor.accept(key.data):
                    try:
                        self.start(key.data, sock, sockaddr, peer)
                    except (OSError, RuntimeError) as error:
                        sock.close()
                        self.over(sock, peer)
                        self.acceptor.exhausted(f"cannot start a conversation: {error}")
            else:
                self.on_ready(key)
        self.reap()

    def _stop_accepting(self) -> None:
        for listening in self.work.listeners:
            if self._accepting or listening in self.sessions:
                self.selector.unregister(listening)
        self._accepting = False
        self.acceptor.stop()
        self.work.close_listeners()


def leave_listeners(control: Control, listeners: Sequence[Listening]) -> bool:
    """Gives the listeners to a successor that asks for them; True when it has them. (Blocking conversations cannot be moved.)"""
    succession = control.heir
    if succession is None:
        return False
    if succession.bequeath(control.bequest(listeners), ()):
        control.retire()
        return True
    succession.staying()
    return False


def add(total: Counters, part: Counters) -> None:
    """Adds the counts of a runner that has ended. Most are 0, and are not touched: they may be somebody else's to write."""
    for name, count in zip(FIELDS, part.values(), strict=True):
        if count:
            setattr(total, name, getattr(total, name) + count)

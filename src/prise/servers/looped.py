"""The part that the models select and asyncio share: letting connections in, draining, cutting, on any `Loop`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prise.connection.asynchronous import AsyncConnection
from prise.connection.generator import GeneratorConnection
from prise.connection.host import Host
from prise.connection.looped import LoopedConnection
from prise.connection.packets import PacketAsyncConnection, PacketGeneratorConnection
from prise.core.deadlines import NEVER
from prise.loops.base import Loop
from prise.servers.accept import Acceptor
from prise.servers.service import peer_key
from prise.servers.sessions import LoopedSessions
from prise.servers.work import Work
from prise.transports import Listening, describe, keeps_messages
from prise.transports.datagrams import DatagramListening

if TYPE_CHECKING:
    from prise.handover.received import Received
    from prise.servers.leaving import Leaving

log = logging.getLogger("prise")


class Watcher:
    """A descriptor of the server itself (a listener, the control) as the loop sees it."""

    def __init__(self, descriptor: int, on_readable: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self.on_readable = on_readable
        self.scheduled = NEVER

    def fileno(self) -> int:
        return self._descriptor

    def on_writable(self) -> None: ...

    def on_again(self) -> None: ...

    def on_deadline(self, now: float) -> float:
        self.on_readable()  # a pause is over, or it is time to cut: the same question as after any event
        return NEVER


class LoopServer:
    """Serves on a loop. `finished` turns True when everything is over; on_finished is called then.

    host: what its connections share. tasks: asyncio tasks of conversations whose connection is closed already and which
    are about to end.
    """

    def __init__(self, work: Work, loop: Loop, on_finished: Callable[[], None] | None = None) -> None:
        self.work = work
        self.loop = loop
        self.finished = False
        self.connections: dict[LoopedConnection, str | None] = {}
        self.tasks: set[Any] = set()
        service = work.service
        self._kinds: tuple[Any, Any] = (  # over a stream, and over what keeps the boundaries of messages
            (GeneratorConnection, PacketGeneratorConnection)
            if service.spelling == "generator"
            else (AsyncConnection, PacketAsyncConnection)
        )
        self.host = Host(
            loop,
            service.limits,
            work.counters,
            ended=self._ended,
            closed=self._closed,
            linger_time=service.limits.linger_time,
        )
        self._on_finished = on_finished
        self._ending: set[LoopedConnection] = set()  # closed, and the observer does not know yet
        self._acceptor = Acceptor(work.listeners, service.limits, work.counters, loop.time)
        self._accepting = False
        self._sessions = [
            LoopedSessions(self, self._acceptor, listening)
            for listening in work.listeners
            if isinstance(listening, DatagramListening)
        ]
        self._draining = self._cut = False
        self._leaving: Leaving | None = None
        self._listeners = [
            Watcher(listening.fileno(), lambda listening=listening: self._accept(listening))  # type: ignore[misc]
            for listening in work.listeners
            if not isinstance(listening, DatagramListening)
        ]
        self._controls = [
            Watcher(descriptor, lambda descriptor=descriptor: self._controlled(descriptor))  # type: ignore[misc]
            for descriptor in work.control.descriptors()
        ]
        self._gate = Watcher(-1, self._watch_listeners)
        self._steps = Watcher(-2, self._step)
        self._patience = Watcher(-3, self._await_due)

    def start(self) -> None:
        for watcher in self._controls:
            self.loop.watch(watcher, True, False)
        for sessions in self._sessions:
            sessions.start()
        self._adopt_all()
        self._watch_listeners()
        self._await_due()
        self._look()

    def stop(self) -> None:
        """Forgets the server's own descriptors; the loop may go on with other things."""
        for watcher in (*self._controls, *self._listeners, self._gate, self._steps, self._patience):
            self.loop.forget(watcher)

    def _watch_listeners(self) -> None:
        wanted = self._acceptor.wants_more and self._leaving is None
        if wanted != self._accepting:
            self._accepting = wanted
            for watcher in self._listeners:
                self.loop.watch(watcher, wanted, False)
        if not wanted and self._acceptor.paused_until > self.loop.time():
            self.loop.at(self._gate, self._acceptor.paused_until)

    def _accept(self, listening: Listening) -> None:
        service = self.work.service
        for sock, sockaddr, key in self._acceptor.accept(listening):
            try:
                packets = keeps_messages(sock)
                pipeline = service.pipeline(listening.layers, packets)
                kind = self._kinds[packets]
                connection = kind(sock, pipeline, self.host, service.conversation, sockaddr)
            except Exception as error:  # a layer that cannot be made just now
                sock.close()
                self._acceptor.release(key)
                self._acceptor.exhausted(f"cannot start a conversation: {error}")
                continue
            self.connections[connection] = key
            connection.asked = listening.asked
            service.opened(connection)
            try:
                connection.begin()
            except OSError as error:  # epoll has no room, for example
                self._acceptor.exhausted(f"cannot watch a new connection: {error}")
                connection.abort()
        self._watch_listeners()

    def _ended(self, connection: Any, error: BaseException | None) -> None:
        self.work.service.ended(connection, error, self.work.counters)
        self.tell_over(connection)

    def _closed(self, connection: Any) -> None:
        self._acceptor.release(self.connections.pop(connection))
        if self.work.service.observer is not None:
            self._ending.add(connection)
            self.tell_over(connection)
        task = getattr(connection, "_task", None)
        if task is not None and not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if self._acceptor.over:
            self.work.control.drain(0.0)
        if self._draining:
            self._look()
        elif not self._accepting:
            self._watch_listeners()

    def tell_over(self, connection: LoopedConnection) -> None:
        """Tells the observer of a connection that is closed, once its conversation has ended too: until then it may fail."""
        if connection in self._ending and not any(
            getattr(connection, name, None) is not None for name in ("_task", "_coroutine", "_generator")
        ):
            self._ending.discard(connection)
            self.work.service.closed(connection)

    def _controlled(self, descriptor: int) -> None:
        self.work.control.read(descriptor)
        if descriptor not in self.work.control.descriptors():
            for watcher in self._controls:
                if watcher.fileno() == descriptor:
                    self.loop.forget(watcher)
        self._await_due()
        self._look()

    def _await_due(self) -> None:
        """The control has deadlines of its own, where it answers scrapers."""
        if (wait := self.work.control.longest_wait(None)) is not None:
            self.loop.at(self._patience, self.loop.time() + wait)

    def _look(self) -> None:
        """Has the control changed, or the last connection gone?"""
        control = self.work.control
        if self._leaving is None and (succession := control.heir) is not None:
            from prise.servers.leaving import Leaving

            self._leaving = Leaving(self, succession, lambda when: self.loop.at(self._steps, when), self._left)
            self._watch_listeners()
            self._leaving.begin()
        if control.draining and not self._draining:
            self._draining = True
            self._acceptor.stop()
            for watcher in self._listeners:
                self.loop.forget(watcher)
            for sessions in self._sessions:
                sessions.stop()
            self.work.close_listeners()
            for connection in list(self.connections):
                connection.end_input()
        if self._draining:
            if control.overdue():
                if not self._cut:
                    self._cut = True
                    self.cut_all()
            elif (left := control.left()) is not None:
                self.loop.at(self._controls[0], self.loop.time() + left)
            self._finish_if_empty()

    # -- changing hands ----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        if self._leaving is not None:
            self._leaving.step()

    def _left(self, moved: bool) -> None:
        """All is another process's now, or all is ours as before."""
        control = self.work.control
        assert control.succession is not None
        self._leaving = None
        if moved:
            self.work.bequeath()
            control.retire()
            self._look()
        else:
            control.succession.staying()
            self._watch_listeners()

    def _adopt_all(self) -> None:
        """The connections that an old release has left to this one."""
        inherited, self.work.inherited = self.work.inherited, []
        for received in inherited:
            try:
                self._adopt(received)
            except Exception as error:
                log.error(
                    "the connection of %(peer)s could not be taken over: %(error)s",
                    {"peer": received.peer, "error": error},
                )
                received.close()

    def _adopt(self, received: Received) -> None:
        from prise.handover.inheritance import told_of

        service, sock, told = self.work.service, received.socket, told_of(received)
        here = [each for each in self.work.listeners if str(each.asked) == told["address"]] or self.work.listeners
        try:
            sockaddr = sock.getpeername()
        except OSError:
            sockaddr = ""  # it is gone already
        pipeline = service.pipeline(here[0].layers)
        peer, local = describe(sock.family, sockaddr, sock.type), describe(sock.family, sock.getsockname(), sock.type)
        pipeline.resume(told.get("facts", {}), peer, local)
        connection = self._kinds[0](sock, pipeline, self.host, service.conversation, sockaddr)
        connection.state = told.get("state")
        key = peer_key(sockaddr)
        self._acceptor.take_over(key)
        self.connections[connection] = key
        connection.asked = here[0].asked
        service.opened(connection)
        try:
            connection.resume_here(received.pending)
        except OSError as error:  # epoll has no room, for example
            log.error("the connection of %(peer)s is cut: %(error)s", {"peer": received.peer, "error": error})
            connection.abort()

    def cut_all(self) -> None:
        """Ends every conversation now. Not from within one."""
        for connection in list(self.connections):
            connection._cut()

    def _finish_if_empty(self) -> None:
        if not self.connections and not self.finished:
            self.finished = True
            if self._on_finished is not None:
                self._on_finished()

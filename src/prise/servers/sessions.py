"""The sessions of a datagram server: whose datagram is it? One table for the models with a loop, one for those that block.

A table is keyed by the sender's address and has no more entries than the limits allow connections. Each wake-up reads several
datagrams, and gives each to its session; the first one of a peer makes a session, if the accept policy lets it in.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prise.connection.session import AsyncSession, GeneratorSession, Session
from prise.core.deadlines import NEVER
from prise.servers.accept import BURST, Acceptor
from prise.servers.service import peer_key
from prise.servers.work import Work
from prise.transports.datagrams import HEADERS, LARGEST_UDP, DatagramListening, Path, SessionSocket, Source

if TYPE_CHECKING:
    from prise.servers.looped import LoopServer

_SINGLE = 8
"""After a wake-up that found one datagram alone, so many read one without asking for a second: it costs a system call to hear
that there is none, and if there is one the socket is reported again."""


class LoopedSessions:
    """The sessions of one socket, on a loop, which calls us when the socket is ready."""

    def __init__(self, server: LoopServer, acceptor: Acceptor, listening: DatagramListening) -> None:
        self._server = server
        self._acceptor = acceptor
        self._listening = listening
        self._receive = listening.receive
        self._descriptor = listening.fileno()
        self._headers = HEADERS.get(listening.socket.family, 0)
        self._sessions: dict[Any, Session] = {}
        self._waiting: set[Session] = set()  # they have something that the socket did not take
        self._reading = True
        self._single = 0
        self.scheduled = NEVER

    def fileno(self) -> int:
        return self._descriptor

    def start(self) -> None:
        self._watch()

    def stop(self) -> None:
        """Reads no more; what sessions have to say still gets out."""
        self._reading = False
        self._watch()

    def on_readable(self) -> None:
        """Reads several datagrams, gives each to its session, and sends the answer. The hot path of every datagram server."""
        receive, find, now = self._receive, self._sessions.get, self._server.loop.now
        sock, headers = self._listening.socket, self._headers
        # The plain receiving is done here, which saves a call for each datagram.
        recvfrom = sock.recvfrom if self._listening.receives_plainly else None
        sendto, sendmsg = sock.sendto, sock.sendmsg
        source: Source = None
        size = sent = 0
        most = 1 if self._single else BURST
        if self._single:
            self._single -= 1
        for count in range(most):
            try:
                if recvfrom is not None:
                    data, sockaddr = recvfrom(LARGEST_UDP)
                else:
                    data, sockaddr, source = receive()
            except (BlockingIOError, InterruptedError):
                self._single = _SINGLE if count <= 1 else 0
                break
            except OSError:
                break  # what an earlier answer met on its way (ICMP); it says nothing about what comes
            length = len(data)
            size += length
            session = find(sockaddr)
            if session is None or session._state or session._eof:
                self._begin(data, sockaddr, source)
                continue
            path = session._path
            path.source = source
            path.credit += path.times * (length + headers)
            answer = session.take(data, now)
            if answer is None:
                continue
            length = len(answer)
            credit = path.credit - length - headers
            if credit >= 0:
                try:
                    if source is None:
                        sendto(answer, sockaddr)
                    else:
                        sendmsg((answer,), source, 0, sockaddr)
                except (OSError, TypeError):
                    pass  # the way round finds out
                else:
                    path.credit = credit
                    sent += length
                    continue
            session.put_back(answer)
        counters = self._server.host.counters
        counters.bytes_received += size
        counters.bytes_sent += sent

    def _begin(self, data: bytes, sockaddr: Any, source: Source) -> None:
        service, host, acceptor = self._server.work.service, self._server.host, self._acceptor
        key = peer_key(sockaddr)
        if not acceptor.admit(key):
            return
        kind = GeneratorSession if service.spelling == "generator" else AsyncSession
        path = Path(self._listening, sockaddr, source, service.limits.amplification, host.counters)
        try:
            pipeline = service.pipeline(self._listening.layers, True)
            session = kind(path, self, pipeline, host, service.conversation, sockaddr)
        except Exception as error:
            path.close()
            acceptor.release(key)
            acceptor.exhausted(f"cannot start a conversation: {error}")
            return
        self._sessions[sockaddr] = session
        self._server.connections[session] = key
        service.opened(session)
        session.begin_with(data)

    def wait(self, session: Session) -> None:
        if not self._waiting:
            self._waiting.add(session)
            self._watch()
        self._waiting.add(session)

    def on_writable(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for session in waiting:
            session.on_writable()
        if not self._waiting:
            self._watch()

    def forget(self, session: Session) -> None:
        sockaddr = session._path.sockaddr
        if self._sessions.get(sockaddr) is session:
            del self._sessions[sockaddr]
        if session in self._waiting:
            self._waiting.discard(session)
            self._watch()

    def _watch(self) -> None:
        loop = self._server.loop
        if self._reading or self._waiting:
            loop.watch(self, self._reading, bool(self._waiting))
        else:
            loop.forget(self)

    def on_again(self) -> None: ...

    def on_deadline(self, now: float) -> float:
        return NEVER


class BlockingSessions:
    """The sessions of one socket for models that block: the accepting thread reads it and hands the datagrams on."""

    def __init__(self, work: Work, acceptor: Acceptor, listening: DatagramListening) -> None:
        self._work = work
        self._acceptor = acceptor
        self._listening = listening
        self._sessions: dict[Any, SessionSocket] = {}

    def accept(self) -> Iterator[tuple[socket.socket, Any, str | None]]:
        """Reads several datagrams; gives the sessions that begin, as `Acceptor.accept` does."""
        receive, sessions, counters = self._listening.receive, self._sessions, self._work.counters
        limits = self._work.service.limits
        for _ in range(BURST):
            try:
                data, sockaddr, source = receive()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            sock = sessions.get(sockaddr)
            if sock is not None and sock.put(data, counters):
                continue
            key = peer_key(sockaddr)
            if not self._acceptor.admit(key):
                continue
            path = Path(self._listening, sockaddr, source, limits.amplification, counters)
            try:
                sock = SessionSocket(path, limits.datagram_queue, data)
            except OSError as error:
                path.close()
                self._acceptor.release(key)
                self._acceptor.exhausted(f"cannot start a session: {os.strerror(error.errno or 0)}")
                continue
            sessions[sockaddr] = sock
            yield sock, sockaddr, key

    def forget(self, sock: SessionSocket) -> None:
        """A conversation is over."""
        sockaddr = sock.path.sockaddr
        if self._sessions.get(sockaddr) is sock:
            del self._sessions[sockaddr]
        sock.far.close()
        sock.close()

    def leave_to_child(self, own: SessionSocket) -> None:
        """In a forked process, which serves one session: the others are its parent's."""
        for sock in self._sessions.values():
            sock.far.close()
            if sock is not own:
                sock.close()
        self._sessions.clear()

"""Serves passages: lets clients in by the one accept policy, dials a server for each, joins the two.

It is the `LoopServer` of the models select and asyncio, with `End`s for connections: limits, accept errors, drain and cut
are those of every prise server. What it adds is the other end. A client is not read before its server is there, so nothing
has to be kept meanwhile.

    ready(client) -> dial -> ready(server) -> join -> side_ended, side_broke, give_up -> end_closed twice -> closed
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from prise.address import Address
from prise.connection.host import Host
from prise.connection.looped import CLOSED
from prise.core.counters import Counters
from prise.core.pipeline import Pipeline
from prise.errors import PriseError
from prise.layers.base import Ends, LayerFactory
from prise.loops.base import Loop
from prise.relay.dialling import Dialler
from prise.relay.ends import End, PacketEnd, SessionEnd
from prise.relay.passage import Passage, Side, Tap
from prise.relay.splice import Pipes, SplicedEnd, available
from prise.servers.looped import LoopServer
from prise.servers.service import peer_key
from prise.servers.sessions import LoopedSessions
from prise.servers.work import Work
from prise.transports import Listening, keeps_messages
from prise.transports.datagrams import DatagramListening, Path, Source

if TYPE_CHECKING:
    from prise.relay.networks import Networks

log = logging.getLogger("prise")


@dataclass(slots=True)
class Peer:
    """A side that is connected to. dialled: another address than `address` where a proxy is in between.

    layers: its own; proxies: those outside of them, which reach it.
    """

    address: Address
    dialled: Address
    layers: tuple[LayerFactory, ...] = ()
    proxies: tuple[LayerFactory, ...] = ()


@dataclass(slots=True)
class Plan:
    """What is relayed how; see `Relay` for the meanings. client, server: who is dialled for that side; None: it comes."""

    client: Peer | None
    server: Peer | None
    once: bool = False
    idle: float | None = None
    rate: int | None = None
    networks: Networks | None = None
    trusts_proxies: bool = False
    proxy_protocol: int | None = None
    timeout: float | None = 10.0
    taps: Sequence[Tap] = ()


class RelayServer(LoopServer):
    """client_listeners: those of the client side; the others in `work` are for servers that come by themselves."""

    def __init__(self, work: Work, loop: Loop, plan: Plan, client_listeners: Sequence[Listening]) -> None:
        super().__init__(work, loop)
        self.plan = plan
        self.copies = any(tap.wants_data for tap in plan.taps)
        self.pipes = Pipes()
        self._splices = not self.copies and plan.rate is None and available()
        self._sessions = [
            _Sessions(self, self._acceptor, listening)
            for listening in work.listeners
            if isinstance(listening, DatagramListening)
        ]
        self._far_host = Host(
            loop, work.service.limits, Counters(), self._ended, self._closed, work.service.limits.linger_time
        )
        self._client_listeners = set(client_listeners)
        self._waiting: dict[Side, deque[End]] = {"client": deque(), "server": deque()}  # bound: Limits.connections
        self._began: dict[Passage, float] = {}
        self._count = 0
        self._diallers = {
            side: Dialler(loop, peer.dialled, plan.timeout)
            for side, peer in (("client", plan.client), ("server", plan.server))
            if peer is not None
        }

    def start(self) -> None:
        super().start()
        if self.plan.client is not None:
            self._diallers["client"].dial(self._client_dialled)

    def stop(self) -> None:
        super().stop()
        self.pipes.close()

    # -- letting in ------------------------------------------------------------------------------------------------------

    def _accept(self, listening: Listening) -> None:
        host, side = self.host, self._side(listening)
        for sock, sockaddr, key in self._acceptor.accept(listening):
            try:
                pipeline = self.work.service.pipeline(listening.layers, keeps_messages(sock))
                end = self._end(sock, pipeline, host, side, sockaddr)
            except Exception as error:  # a layer that cannot be made just now
                sock.close()
                self._acceptor.release(key)
                self._acceptor.exhausted(f"cannot begin: {error}")
                continue
            self.connections[end] = key
            try:
                end.begin()
            except OSError as error:  # the poller has no room
                self._acceptor.exhausted(f"cannot watch a new connection: {error}")
                end.refuse()
        self._watch_listeners()

    def _side(self, listening: Listening) -> Side:
        return "client" if listening in self._client_listeners else "server"

    def _end(self, sock: socket.socket, pipeline: Pipeline, host: Host, side: Side, sockaddr: Any = None) -> End:
        kind: type[End] = PacketEnd if keeps_messages(sock) else SplicedEnd if self._splices else End
        end = kind(sock, pipeline, host, self, sockaddr)
        end.side = side
        return end

    def admits_early(self, end: End) -> bool:
        """Before a handshake: by the socket's own peer, where no PROXY header may name another."""
        return self.plan.trusts_proxies or self._admits(end)

    def _admits(self, end: End) -> bool:
        networks = self.plan.networks
        if networks is None or networks.admit(end.peer):
            return True
        log.info("connection %(connection)d from %(peer)s: not let in", {"connection": end.id, "peer": end.peer})
        return False

    def ready(self, end: End) -> None:
        """The layers of an end are set up."""
        if end.partner is not None:
            self._join(end.partner, end)
            return
        if self.plan.trusts_proxies and not self._admits(end):
            end.refuse()
            return
        if self.plan.server is not None:
            passage = self._begin(end)
            if self.plan.once:
                self._accept_no_more()
            self._diallers["server"].dial(partial(self._dialled, end, passage))
            return
        self._waiting[end.side].append(end)
        self._pair()

    def _pair(self) -> None:
        """Joins whoever waits on one side with whoever waits on the other."""
        clients, servers = self._waiting["client"], self._waiting["server"]
        while clients and servers:
            for side in (clients, servers):
                while side and _left(side[0]):
                    side.popleft().refuse()
            if clients and servers:
                client, server = clients.popleft(), servers.popleft()
                self._begin(client)
                server.passage, server.partner, client.partner = client.passage, client, server
                if self.plan.once:
                    self._accept_no_more()
                self._join(client, server)

    def _begin(self, client: End) -> Passage:
        self._count += 1
        passage = client.passage = Passage(self._count, client=client.peer)
        self._began[passage] = self.loop.time()
        return passage

    def _accept_no_more(self) -> None:
        self._acceptor.stop()
        for watcher in self._listeners:
            self.loop.forget(watcher)
        self._listeners.clear()
        self._accepting = False
        self.work.close_listeners()

    # -- dialling --------------------------------------------------------------------------------------------------------

    def _client_dialled(self, found: socket.socket | Exception) -> None:
        """connect: on both sides: the one client there will be."""
        peer = self.plan.client
        assert peer is not None
        if isinstance(found, Exception):
            self._count += 1
            passage = Passage(self._count, client=peer.address)
            self._failed(passage, found)
            self._over(passage)
            return
        self._acceptor.open += 1
        self.work.counters.accepted += 1
        end = self._end(found, self._pipeline(found, peer.proxies + peer.layers), self.host, "client")
        end._dialled = peer.address
        self.connections[end] = None
        end.begin()

    def _dialled(self, client: End, passage: Passage, found: socket.socket | Exception) -> None:
        peer = self.plan.server
        assert peer is not None
        if isinstance(found, Exception) or client._state == CLOSED:
            if isinstance(found, Exception):
                self._failed(passage, found)
            else:
                found.close()
            client.refuse()
            return
        layers = peer.proxies + peer.layers
        if self.plan.proxy_protocol is not None:
            layers = self._introduce(self.plan.proxy_protocol, client, found, peer)
        server = self._end(found, self._pipeline(found, layers), self._far_host, "server")
        server._dialled = peer.address
        server.passage, server.partner, client.partner = passage, client, server
        try:
            server.begin()
        except OSError as error:  # the poller has no room
            self._failed(passage, error)
            server.refuse()

    def _pipeline(self, sock: socket.socket, layers: tuple[LayerFactory, ...]) -> Pipeline:
        service = self.work.service
        return Pipeline(service.framing, service.limits.message_size, layers, packets=keeps_messages(sock))

    def _introduce(self, version: int, client: End, sock: socket.socket, peer: Peer) -> tuple[LayerFactory, ...]:
        """Sends the PROXY header, which names the client to the server; returns the layers that are left to be set up.

        Straight into the socket, which is new and has room for it, where nothing else needs a layer: so that the kernel can
        still join the two.
        """
        from prise.layers.proxy import send_proxy

        factory: LayerFactory = send_proxy(version, client.peer, client.local)
        if peer.layers or peer.proxies:
            return (*peer.proxies, factory, *peer.layers)
        layer = factory()
        layer.begin(Ends(client.peer, client.local))
        try:
            sock.send(layer.output())
        except OSError:
            pass  # gone already: reading will tell
        return ()

    # -- joined ----------------------------------------------------------------------------------------------------------

    def _join(self, client: End, server: End) -> None:
        passage = client.passage
        assert passage is not None
        if client._state == CLOSED:
            server.refuse()
            return
        passage.server = server.peer if server._dialled is None else server._dialled.without_options()
        for tap in self.plan.taps:
            tap.opened(passage)
        client.join(server)
        server.join(client)
        client.resume()
        server.resume()

    def side_ended(self, end: End) -> None:
        """Everything that this side said has been passed on, and nothing more will come."""
        other, passage = end.other, end.passage
        if other is None or passage is None:
            end.finish()
            return
        for tap in self.plan.taps:
            tap.ended(passage, end.side)
        other.send_eof_now()
        if other.input_ended:
            end.finish()
            other.finish()

    def side_broke(self, end: End, error: BaseException) -> None:
        """This side is gone: so is the other, by a reset."""
        passage = end.passage
        if passage is not None:
            self._failed(passage, error)
            for tap in self.plan.taps:
                tap.reset(passage, end.side)
        other = end.other
        end.refuse()
        if other is not None:
            other.refuse()

    def give_up(self, end: End, error: PriseError) -> None:
        """Closes both: a time has passed."""
        passage = end.passage
        if passage is None:
            return
        self.work.counters.error_too_slow += 1
        self._failed(passage, error)
        end.end_both()

    def _failed(self, passage: Passage, error: BaseException) -> None:
        if passage.error is None and isinstance(error, Exception):
            passage.error = error

    # -- over ------------------------------------------------------------------------------------------------------------

    def _ended(self, connection: Any, error: BaseException | None) -> None:
        """The layers of an end could not be set up."""
        end: End = connection
        if isinstance(error, Exception):
            if end.passage is None:  # a client who was nobody yet
                super()._ended(end, error)
            else:
                self._failed(end.passage, error)
        if end.partner is not None and end.other is None:
            end.partner.refuse()

    def _closed(self, connection: Any) -> None:
        pass  # `end_closed` waits for both ends

    def end_closed(self, end: End) -> None:
        """One end is closed. The passage is over when both are."""
        partner = end.partner
        if partner is None:
            for side in self._waiting.values():
                if end in side:
                    side.remove(end)
        elif partner._state != CLOSED:
            if not (end.input_ended and partner.input_ended):  # else it is only sending its last bytes
                partner.refuse()  # which comes back here
            return
        passage = end.passage
        if passage is not None:
            for each in (end, partner):
                if each is not None and each.side == "client":
                    passage.to_server = each.moved
                elif each is not None:
                    passage.to_client = each.moved
            passage.seconds = self.loop.time() - self._began.pop(passage)
        for each in (end, partner):
            if each in self.connections:
                super()._closed(each)
        if passage is not None:
            self._over(passage)

    def _over(self, passage: Passage) -> None:
        if passage.error is not None:
            log.debug("passage %(passage)d: %(error)s", {"passage": passage.number, "error": passage.error})
        for tap in self.plan.taps:
            tap.closed(passage)
        if self.plan.once or self.plan.client is not None:
            self.work.control.drain(0.0)


class _Sessions(LoopedSessions):
    """Those who send datagrams to a relay."""

    _server: RelayServer

    def _begin(self, data: bytes, sockaddr: Any, source: Source) -> None:
        server, service, acceptor = self._server, self._server.work.service, self._acceptor
        key = peer_key(sockaddr)
        if not acceptor.admit(key):
            return
        path = Path(self._listening, sockaddr, source, service.limits.amplification, server.host.counters)
        session = SessionEnd(path, self, service.pipeline(self._listening.layers, True), server.host, server, sockaddr)  # type: ignore[arg-type]
        session.side = server._side(self._listening)
        self._sessions[sockaddr] = session
        server.connections[session] = key
        session.begin_with(data)


def _left(end: End) -> bool:
    """Whether somebody who waited for the other side has broken off meanwhile."""
    try:
        end._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False

"""`Relay`: joins whoever comes to one address with another address. The public way in; what it does is in `server.py`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prise.address import Address
from prise.connection.blocking import in_running_loop
from prise.core.counters import Stats
from prise.core.limits import Limits
from prise.errors import UsageError
from prise.loops.select import SelectLoop
from prise.relay.passage import Tap
from prise.relay.server import Peer, Plan, RelayServer
from prise.servers.control import Control
from prise.servers.manager import told_to_manager
from prise.servers.reloading import try_to_reload
from prise.servers.server import DRAIN_TIME, AnyAddress
from prise.servers.service import Service
from prise.servers.signals import drains_on_signals, reloads_on_hangup
from prise.servers.work import Work
from prise.transports import Listening, bind
from prise.transports import layers as layers_of

if TYPE_CHECKING:
    from prise.observe.metrics import Metrics
    from prise.relay.networks import Networks

RELAY_LIMITS = Limits(idle_time=None, message_time=None, write_time=None, outbox_mark=256 * 1024)
"""Two who talk through a relay may be silent, and slow, as long as they like; how many they are is bounded."""

DATAGRAM_IDLE = 60.0
"""Seconds: datagrams have no end, so a silence must do."""

LISTEN, CONNECT = "listen:", "connect:"


class Relay:
    """Joins whoever comes to `a` with a connection of its own to `b`, both ways, for as many as come.

        prise.Relay(":8080", "/run/app.sock").run()          until SIGINT or SIGTERM
        with prise.Relay(":0", "host:80") as relay: ...      in the background; relay.address

    a is listened on and b connected to. A prefix says otherwise: "listen:ADDRESS" on both sides joins pairs, one from each
    side; "connect:ADDRESS" on both sides connects to both, once.

    The end of one side's input is passed on (half-close), a reset is passed on as a reset. On Linux plain TCP and Unix
    sockets are joined inside the kernel (splice(2)), unless a tap or a rate needs to see the bytes.

    once: the first passage only. idle: seconds without a byte in either direction after which a passage is closed
    (default: none, but 60 where a side is UDP). rate: bytes per second, of each passage and direction.
    allow, deny: networks such as "10.0.0.0/8"; `deny` goes first, and with `allow` all others stay out.
    taps: who looks on, see `Tap`. proxy_protocol: 1 or 2, the version of a PROXY header that tells b who the client is.
    limits: how many connections, and how long handshakes; by default without idle and write times. tls: a `TLS` for
    addresses to be listened on. connect_tls, via: as `tls` and `via` of `connect`, for those that are connected to.
    timeout: seconds for connecting to one address. drain_time: seconds that passages get to end after the first signal.
    metrics: an address where Prometheus reads the counts, as for `serve`.

    Raises UsageError, AddressError at once; BindError and the like when it starts.
    """

    def __init__(
        self,
        a: AnyAddress,
        b: AnyAddress,
        *,
        once: bool = False,
        idle: float | None = None,
        rate: int | None = None,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        taps: Sequence[Tap] = (),
        proxy_protocol: int | None = None,
        limits: Limits = RELAY_LIMITS,
        tls: Any = None,
        connect_tls: Any = None,
        via: str | Sequence[str] = (),
        timeout: float | None = 10.0,
        drain_time: float = DRAIN_TIME,
        metrics: AnyAddress | None = None,
    ) -> None:
        came, a = _role(a, LISTEN)
        goes, b = _role(b, CONNECT)
        if came == CONNECT and goes == LISTEN:
            raise UsageError("the address to listen on comes first: exchange the two")
        if rate is not None and rate < 1:
            raise UsageError("the rate must be at least 1 byte per second, not {rate}", rate=rate)
        if proxy_protocol not in (None, 1, 2):
            raise UsageError("the PROXY protocol has the versions 1 and 2, not {version}", version=proxy_protocol)
        if proxy_protocol is not None and goes == LISTEN:
            raise UsageError("a PROXY header goes to a server that is connected to, and here none is")
        self.drain_time = drain_time
        self._tls = tls
        self._clients = [a] if came == LISTEN else []
        self._servers = [b] if goes == LISTEN else []
        if idle is None and "udp" in (a.scheme, b.scheme):
            idle = DATAGRAM_IDLE
        self._plan = Plan(
            client=_peer(a, connect_tls, via) if came == CONNECT else None,
            server=_peer(b, connect_tls, via) if goes == CONNECT else None,
            once=once,
            idle=idle,
            rate=rate,
            networks=_networks(allow, deny),
            trusts_proxies=a.option("proxy-from") is not None,
            proxy_protocol=proxy_protocol,
            timeout=timeout,
            taps=tuple(taps),
        )
        self._service = Service.of(_relayed, framing="chunks", model="select", limits=limits)
        self._listeners: list[Listening] = []
        self._metrics: Metrics | None = None
        if metrics is not None:
            from prise.observe.metrics import Metrics

            self._metrics = Metrics(Address.parse(metrics))
        self._control: Control | None = None
        self._thread: threading.Thread | None = None
        self._work: Work | None = None
        self._failure: BaseException | None = None
        self.addresses: list[Address] = []

    @property
    def address(self) -> Address:
        """Where it listens, with the real port: the first of `addresses`."""
        if not self.addresses:
            raise UsageError("the relay is not started, or listens nowhere")
        return self.addresses[0]

    def run(self, ready: Callable[[list[Address]], object] | None = None) -> Stats:
        """Relays until SIGINT, SIGTERM or, with `once`, the end; returns the counts. ready: called with the bound addresses.

        In the counts a connection is a passage; what is received comes from clients, what is sent goes to them.
        """
        if in_running_loop():
            raise UsageError("run() would stop the running asyncio loop: use `with prise.Relay(...)`, or a thread")
        work, control = self._bind()
        try:
            with drains_on_signals(control, self.drain_time), reloads_on_hangup(control):
                if ready is not None:
                    ready(self.addresses)
                with told_to_manager(control, self.addresses):
                    self._serve(work)
        finally:
            self._end()
        return self.stats()

    def start(self) -> Self:
        """Relays in the background. Raises what binding raises."""
        work, _control = self._bind()
        self._thread = threading.Thread(target=self._run, args=(work,), name="prise-relay", daemon=True)
        self._thread.start()
        return self

    def wait(self) -> Stats:
        """Waits until it is over, by itself (`once`) or by `drain` of another thread."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._end()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return self.stats()

    def drain(self, timeout: float | None = None) -> Stats:
        """Lets nobody in any more, ends the clients' input, and cuts what is left after `timeout` seconds (`drain_time`)."""
        if self._control is not None:
            self._control.drain(self.drain_time if timeout is None else timeout)
        return self.wait()

    def stop(self) -> Stats:
        """Closes everything now."""
        return self.drain(0.0)

    def stats(self) -> Stats:
        """The counts so far."""
        if self._work is None:
            raise UsageError("the relay is not started")
        return Stats.of(self._work.snapshot())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()

    def _bind(self) -> tuple[Work, Control]:
        if self._work is not None:
            raise UsageError("the relay was started already; make another one")
        clients: list[Listening] = []
        try:
            for address in self._clients:
                clients += bind(address, tls=self._tls)
            self._listeners += clients
            for address in self._servers:
                self._listeners += bind(address, tls=self._tls)
            if self._metrics is not None:
                self._metrics.bind(self._tls)
        except BaseException:
            for listening in {*clients, *self._listeners}:
                listening.close()
            self._listeners.clear()
            raise
        self.addresses = [listening.address for listening in self._listeners]
        self._client_listeners = clients
        self._control = Control(drain_time=self.drain_time)
        self._control.on_reload = self._reload
        self._work = Work(self._service, self._listeners, self._control)
        if self._metrics is not None:
            from prise.observe.reading import Reader

            work, control, reader, mine = self._work, self._control, Reader(self._service), {"relay": os.getpid()}
            self._metrics.start(lambda: reader.read(work.snapshot(), mine, control.draining))
            control.metrics = self._metrics
        return self._work, self._control

    def _reload(self) -> None:
        try_to_reload([*self._listeners, *(self._metrics.listeners if self._metrics is not None else ())])

    def _run(self, work: Work) -> None:
        try:
            self._serve(work)
        except BaseException as error:
            self._failure = error

    def _serve(self, work: Work) -> None:
        loop = SelectLoop()
        server = RelayServer(work, loop, self._plan, self._client_listeners)
        try:
            server.start()
            while not server.finished:
                loop.turn()
        finally:
            server.cut_all()
            loop.turn(0)
            server.stop()
            loop.close()

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        for listening in self._listeners:
            listening.close()
        if self._metrics is not None:
            self._metrics.close()


async def _relayed(connection: Any) -> None:
    """What a service must have; the ends of a passage have each other instead."""


def _role(address: AnyAddress, role: str) -> tuple[str, Address]:
    """The address without its prefix, and whether it is listened on or connected to."""
    if isinstance(address, str):
        for prefix in (LISTEN, CONNECT):
            if address.startswith(prefix):
                return prefix, Address.parse(address.removeprefix(prefix))
    return role, Address.parse(address)


def _peer(address: Address, tls: Any, via: str | Sequence[str]) -> Peer:
    layers = layers_of(address, server=False, tls=tls)
    if not via:
        return Peer(address, address, layers)
    from prise.clients.via import through

    dialled, proxies = through(address, via)
    return Peer(address, dialled, layers, tuple(proxies))


def _networks(allow: Sequence[str], deny: Sequence[str]) -> Networks | None:
    if not (allow or deny):
        return None
    from prise.relay.networks import Networks

    return Networks(allow, deny)

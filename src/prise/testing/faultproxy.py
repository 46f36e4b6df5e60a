"""The proxy behind `prise.testing.faults`: what it listens on, and its thread, which waits for sockets and for times.

`prise.testing.faultlinks` has the connections that it moves. All times are in one heap here, so that the thread waits for the
earliest of them or for a socket, whichever comes first.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import secrets
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from prise.address import Address, AddressLike
from prise.errors import PriseError, UsageError
from prise.testing.faultlinks import Link, Passage, Peer, close
from prise.testing.faults import Fault
from prise.transports import bind, dial, resolve

MOST = 256
"""Connections (or peers of a datagram socket) at the same time. More wait for their turn; datagrams of more are lost."""

DIAL_TIME = 5.0
_STREAMS = ("tcp", "tls", "ws", "wss", "unix")


class Proxy:
    """What `faults.proxy` returns. `address`: where it listens, once it is entered; `seed`: of all that is random."""

    def __init__(self, address: AddressLike, faults: Sequence[Fault], seed: int | None) -> None:
        self.target = Address.parse(address)
        self.faults = tuple(faults)
        self.seed = secrets.randbelow(2**32) if seed is None else seed
        self.address: Address | None = None
        kind = "datagrams" if self.target.scheme == "udp" else "stream"
        if (kind == "stream" and self.target.scheme not in _STREAMS) or self.target.option(
            "type", "stream"
        ) != "stream":
            raise UsageError(
                "there is a proxy with faults for tcp, tls, ws, wss, udp and unix, not for {address}",
                address=self.target,
            )
        for fault in self.faults:
            if kind not in fault.on:
                raise UsageError("a {kind} transport cannot have the fault {fault}", kind=kind, fault=repr(fault))

    def __repr__(self) -> str:
        return f"faults.proxy({', '.join([repr(str(self.target)), *map(repr, self.faults)])}, seed={self.seed})"

    def __enter__(self) -> Address:
        with contextlib.ExitStack() as stack:
            here = self._here(stack)
            listeners = bind(here)
            for listener in listeners:
                stack.callback(listener.close)
            self.address = replace(self.target, host=here.host, port=listeners[0].address.port, path=self._path(here))
            mover = Mover(self)
            stack.callback(mover.close)
            sockets = [listener.socket for listener in listeners]
            if self.target.scheme == "udp":
                mover.serve_datagrams(sockets)
            else:
                mover.serve_streams(sockets)
            mover.start()
            self._stack = stack.pop_all()
        return self.address

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is not None:
            error.add_note(f"through {self!r}")

    def _here(self, stack: contextlib.ExitStack) -> Address:
        """Where to listen: on the host that the server has, if it is this machine."""
        if self.target.scheme == "unix":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="prise-faults-"))
            return Address("unix", path=str(Path(folder) / "s"))
        host = self.target.host
        places = resolve(replace(self.target, options=()))
        if not all(ip_address(place.sockaddr[0].partition("%")[0]).is_loopback for place in places):
            host = None
        return Address("udp" if self.target.scheme == "udp" else "tcp", host, 0)

    def _path(self, here: Address) -> str | None:
        return here.path if self.target.scheme == "unix" else self.target.path

    def stages(self, way: str, number: int) -> list[Fault]:
        """Fresh faults for one direction of connection number `number`; all that is random in them follows from these."""
        chosen = [fault for fault in self.faults if fault.only in (None, way)]
        return [fault.fresh(Random(f"{self.seed} {number} {way} {place}")) for place, fault in enumerate(chosen)]


class Mover:
    """The thread, and the sockets and times that it waits for."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._told, self._teller = socket.socketpair()  # a byte, and the thread ends
        self.selector.register(self._told, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="prise-faults", daemon=True)
        self._timers: list[tuple[float, int, Passage]] = []
        self._numbers = itertools.count()
        self._accepting: list[socket.socket] = []
        self._links: set[Link] = set()
        self._peers: dict[Any, Peer] = {}
        self._count = 0  # connections so far, which number them

    def serve_streams(self, listeners: list[socket.socket]) -> None:
        self._accepting = listeners
        for listener in listeners:
            self.selector.register(listener, selectors.EVENT_READ, self._accept)

    def serve_datagrams(self, listeners: list[socket.socket]) -> None:
        for listener in listeners:
            self.selector.register(listener, selectors.EVENT_READ, self._hear)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._teller.send(b"1")
            self._thread.join()
        for link in list(self._links):
            link.close()
        for peer in self._peers.values():
            peer.close()
        self.selector.close()
        self._told.close()
        self._teller.close()

    def schedule(self, passage: Passage) -> None:
        """Gives the passage a turn when it is due."""
        if passage.due < passage.scheduled:
            passage.scheduled = passage.due
            heapq.heappush(self._timers, (passage.due, next(self._numbers), passage))

    def forget(self, link: Link) -> None:
        self._links.discard(link)
        if len(self._links) == MOST - 1:
            self.serve_streams(self._accepting)

    def _run(self) -> None:
        while True:
            first = self._timers[0][0] if self._timers else math.inf
            for key, events in self.selector.select(None if first == math.inf else max(first - time.monotonic(), 0)):
                if key.data is None:
                    return
                key.data(key.fileobj, events)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                passage = heapq.heappop(self._timers)[2]
                passage.scheduled = math.inf
                passage.link.turn(now)

    def _stages(self) -> tuple[list[Fault], list[Fault]]:
        self._count += 1
        return self.proxy.stages("up", self._count), self.proxy.stages("down", self._count)

    def _accept(self, listener: socket.socket, events: int) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        try:
            server = dial(self.proxy.target, timeout=DIAL_TIME)
        except PriseError:  # nobody is there: the client is to see that
            close(client, reset=True)
            return
        self._links.add(Link(self, client, server, *self._stages()))
        if len(self._links) == MOST:
            for each in self._accepting:
                self.selector.unregister(each)

    def _hear(self, listener: socket.socket, events: int) -> None:
        try:
            data, sender = listener.recvfrom(65536)
            peer = self._peers.get((listener, sender))
            if peer is None:
                if len(self._peers) >= MOST:
                    return
                server = dial(self.proxy.target, timeout=DIAL_TIME)
                peer = self._peers[listener, sender] = Peer(self, listener, sender, server, *self._stages())
        except (OSError, PriseError):
            return
        peer.take(peer.up, data)

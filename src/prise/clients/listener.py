"""`Listener`: the bare accept loop, for those who want to run their conversations themselves."""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from prise.address import Address
from prise.closing import Closing
from prise.connection.blocking import Connection
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import TooSlow, UsageError
from prise.framing import Framing, framing_of
from prise.layers.base import LayerFactory
from prise.transports import Listening, bind, keeps_messages


class Listener(Closing):
    """Listens on addresses; iterate over it, or call `accept`, for blocking connections.

    It binds when it is made. Of the limits, those of a single connection apply; how many there are is the caller's affair. One
    thread owns it.

    addresses: where it listens, with real ports.
    """

    def __init__(
        self,
        *addresses: str | int | tuple[Any, ...] | Address,
        framing: str | Framing = "lines",
        limits: Limits | None = None,
        layers: Sequence[LayerFactory] = (),
        tls: Any = None,
    ) -> None:
        self._framing = framing_of(framing)
        self._limits = limits or Limits()
        self._layers = tuple(layers)
        self._pipeline((), False)  # a framing and limits that exclude each other are refused before anything is bound
        self._turn = count()
        self._listeners: list[Listening] = []
        self._selector = selectors.DefaultSelector()
        try:
            for address in addresses or (":50000",):
                self._listeners += bind(Address.parse(address), tls=tls)
            for listening in self._listeners:
                self._selector.register(listening, selectors.EVENT_READ, listening)
        except BaseException:
            self.close()
            raise
        self.addresses = [listening.address for listening in self._listeners]

    @property
    def address(self) -> Address:
        """The first address."""
        return self.addresses[0]

    def accept(self, timeout: float | None = None) -> Connection:
        """The next connection; its layers (TLS, say) are set up by its first `send` or `receive`, or by `handshake()`.

        timeout: seconds; None waits for ever. Raises TooSlow, and OSError out of descriptors."""
        if not self._listeners:
            raise UsageError("the listener is closed", operation="accept")
        until = None if timeout is None else time.monotonic() + timeout
        while ready := self._selector.select(None if until is None else max(until - time.monotonic(), 0.0)):
            key, _ = ready[next(self._turn) % len(ready)]  # where several are ready, none is kept waiting for ever
            try:
                sock, sockaddr = key.data.accept()
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                from prise.servers.accept import GONE

                if error.errno in GONE:
                    continue
                raise
            try:
                pipeline = self._pipeline(key.data.layers, keeps_messages(sock))
                kind: type[Connection] = Connection
                if keeps_messages(sock):
                    from prise.connection.packets import PacketConnection as kind
                return kind(sock, pipeline, self._limits, sockaddr=sockaddr)
            except BaseException:  # a layer that cannot be made
                sock.close()
                raise
        raise TooSlow("nobody came in {seconds:g} s", operation="accept", local=self.address, seconds=timeout)

    def __iter__(self) -> Iterator[Connection]:
        while self._listeners:
            yield self.accept()

    def close(self) -> None:
        """Stops listening; connections that were accepted go on."""
        self._selector.close()
        for listening in self._listeners:
            listening.close()
        self._listeners = []

    def _pipeline(self, layers: tuple[LayerFactory, ...], packets: bool) -> Pipeline:
        return Pipeline(self._framing, self._limits.message_size, layers + self._layers, packets=packets)

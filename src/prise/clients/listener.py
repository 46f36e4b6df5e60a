"""`Listener`: the bare accept loop, for those who want to run their conversations themselves."""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from prise.address import Address
from prise.connection.blocking import Connection
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import TooSlow, UsageError
from prise.framing import Framing, framing_of
from prise.layers.base import LayerFactory
from prise.transports import bind


class Listener:
    """Listens on addresses; iterate over it, or call `accept`, for blocking connections.

    It binds when it is made. Of the limits, those of a single connection apply; how many there are is the caller's affair.
    """

    def __init__(
        self,
        *addresses: str | int | tuple[Any, ...] | Address,
        framing: str | Framing = "lines",
        limits: Limits | None = None,
        layers: Sequence[LayerFactory] = (),
    ) -> None:
        self._framing = framing_of(framing)
        self._limits = limits or Limits()
        self._layers = tuple(layers)
        self._selector = selectors.DefaultSelector()
        self._listeners = []
        try:
            for address in addresses or (":50000",):
                self._listeners += bind(Address.parse(address))
        except BaseException:
            self.close()
            raise
        for listening in self._listeners:
            self._selector.register(listening, selectors.EVENT_READ, listening)

    @property
    def addresses(self) -> list[Address]:
        """Where it listens, with real ports."""
        return [listening.address for listening in self._listeners]

    @property
    def address(self) -> Address:
        """The first address."""
        return self._listeners[0].address

    def accept(self, timeout: float | None = None) -> Connection:
        """The next connection. timeout: seconds; None waits for ever. Raises TooSlow, and OSError out of descriptors."""
        if not self._listeners:
            raise UsageError("the listener is closed", operation="accept")
        while True:
            ready = self._selector.select(timeout)
            if not ready:
                raise TooSlow("nobody came in {seconds:g} s", operation="accept", local=self.address, seconds=timeout)
            try:
                sock, sockaddr = ready[0][0].data.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue
            pipeline = Pipeline(self._framing, self._limits.message_size, self._layers)
            return Connection(sock, pipeline, self._limits, sockaddr=sockaddr)

    def __iter__(self) -> Iterator[Connection]:
        while self._listeners:
            yield self.accept()

    def close(self) -> None:
        """Stops listening; connections that were accepted go on."""
        self._selector.close()
        for listening in self._listeners:
            listening.close()
        self._listeners = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

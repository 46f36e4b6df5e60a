"""`connect`: one name for both colours; the keyword decides.

    with prise.connect(address) as connection:          blocking, a Connection
    async with prise.connect(address) as connection:    asynchronous, an AsyncConnection

Nothing happens before `with`, `async with`, `await` or `open()`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from prise.address import Address
from prise.connection.asynchronous import AsyncConnection
from prise.connection.blocking import Connection, in_running_loop
from prise.connection.host import Host
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import ConnectError, TooSlow, UsageError
from prise.framing import Framing, framing_of
from prise.layers.base import LayerFactory
from prise.transports import dial, dial_async, keeps_messages
from prise.transports import layers as layers_of

CLIENT_LIMITS = Limits(idle_time=None)
"""A client waits for its server as long as it likes; the rest is as for servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often, and after which pauses, to try again to connect.

    attempts: in all, the first included. first, longest: seconds of the first pause and bound of all; each is twice the one
    before, and a random part of up to a half is taken off, so that a thousand clients do not come back at the same moment.
    """

    attempts: int = 5
    first: float = 0.2
    longest: float = 10.0

    def pauses(self) -> Iterator[float]:
        """Seconds to wait before the second attempt, the third, and so on."""
        from random import uniform  # imported when it is needed: most clients connect at once

        for attempt in range(self.attempts - 1):
            yield uniform(0.5, 1.0) * min(self.first * 2.0 ** min(attempt, 100), self.longest)


def connect(
    address: str | int | tuple[Any, ...] | Address,
    *,
    framing: str | Framing = "lines",
    timeout: float | None = 10.0,
    retry: int | Retry = 1,
    limits: Limits = CLIENT_LIMITS,
    layers: Sequence[LayerFactory] = (),
    tls: Any = None,
    via: str | Sequence[str] = (),
) -> Connector:
    """Connects to an address.

    framing: how bytes become messages; a name ("lines", "prefixed:4 | json") or a Framing.
    timeout: seconds for the connection to be made, all its addresses together, and again for its layers (TLS, WebSocket, a
    proxy) to be set up; None: as long as the system tries.
    retry: how many attempts in all, or a `Retry`, when nobody answers.
    limits: bounds on messages, writing and the outbox; as for servers but without an idle limit.
    layers: factories of layers between the address's own and the framing. tls: a `TLS` for `tls:` and `wss:` addresses.
    via: a proxy, or several to go through in this order: "socks5://host:1080", "http://user:password@host:3128"; or
    "environment", what the variables ALL_PROXY, HTTPS_PROXY, NO_PROXY... say.

    Raises ResolveError, ConnectError, TooSlow, HandshakeError, TLSError when it is entered; UsageError for what can never
    work, at once.
    """
    if isinstance(retry, int):
        retry = Retry(attempts=retry)
    if retry.attempts < 1:
        raise UsageError("retry must allow at least 1 attempt, not {attempts}", attempts=retry.attempts)
    where = Address.parse(address)
    wrapped = (*layers_of(where, server=False, tls=tls), *layers)
    dialled = where
    if via and (via != "environment" or any(name.lower().endswith("_proxy") for name in os.environ)):
        from prise.clients.via import through

        dialled, proxies = through(where, via)
        wrapped = (*proxies, *wrapped)
    return Connector(where, dialled, framing_of(framing), timeout, retry, limits, wrapped)


class Connector:
    """A connection that is about to be made; what `connect` returns."""

    def __init__(
        self,
        address: Address,
        dialled: Address,
        framing: Framing,
        timeout: float | None,
        retry: Retry,
        limits: Limits,
        layers: tuple[LayerFactory, ...],
    ) -> None:
        self.address = address
        self._dialled = dialled  # another one than the address where a proxy is in between
        self._framing = framing
        self._timeout = timeout
        self._retry = retry
        self._limits = limits
        self._layers = layers
        self._opened: Any = None
        self._pipeline(False)  # a framing and limits that exclude each other are refused now, not once it is connected

    def open(self) -> Connection:
        """Connects and returns the blocking connection. Raises UsageError inside a running asyncio loop."""
        if in_running_loop():
            raise UsageError(
                "a blocking client inside a running asyncio loop would stop everything in it: "
                "use `async with prise.connect(...)` or `await prise.connect(...)`"
            )
        pauses = self._retry.pauses()
        while True:
            try:
                sock = dial(self._dialled, timeout=self._timeout)
            except (ConnectError, TooSlow):
                pause = next(pauses, None)
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                try:
                    kind: type[Connection] = Connection
                    if packets := keeps_messages(sock):
                        from prise.connection.packets import PacketConnection as kind
                    connection = kind(sock, self._pipeline(packets), self._limits)
                    connection._dialled = self.address
                    connection.handshake(self._handshake_time)
                except BaseException:  # TLS that is not to be trusted, for example
                    sock.close()
                    raise
                return connection

    async def open_async(self) -> AsyncConnection:
        """Connects and returns the asynchronous connection; the same as `await connect(...)`."""
        import asyncio

        from prise.loops.asyncio import running_loop

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise UsageError(
                "an asynchronous client needs a running asyncio loop: call it from a coroutine run by asyncio.run, and "
                "serve with model='asyncio' if it is called from a conversation"
            ) from None
        pauses = self._retry.pauses()
        while True:
            try:
                sock = await dial_async(self._dialled, timeout=self._timeout)
            except (ConnectError, TooSlow):
                pause = next(pauses, None)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                try:
                    kind: type[AsyncConnection] = AsyncConnection
                    if packets := keeps_messages(sock):
                        from prise.connection.packets import PacketAsyncConnection as kind
                    connection = kind(sock, self._pipeline(packets), Host(running_loop(), self._limits))
                    connection._dialled = self.address
                    connection._handshake_time = self._handshake_time
                    connection.begin()
                except BaseException:  # a layer that cannot be made, no descriptor for the poller
                    sock.close()
                    raise
                try:
                    await connection.handshake()
                except Exception:
                    connection.finish()  # in peace: the layers' last word, an alert for example, is to arrive
                    raise
                except BaseException:
                    connection.abort()
                    raise
                return connection

    @property
    def proxied(self) -> bool:
        """Whether a proxy is in between; "environment" may well have none to name."""
        return self._dialled != self.address

    @property
    def _handshake_time(self) -> float | None:
        """Seconds for the layers: what the caller has patience for, but no more than the limit."""
        return min((each for each in (self._timeout, self._limits.handshake_time) if each is not None), default=None)

    def _pipeline(self, packets: bool) -> Pipeline:
        return Pipeline(self._framing, self._limits.message_size, self._layers, packets=packets)

    def __await__(self) -> Generator[Any, Any, AsyncConnection]:
        return self.open_async().__await__()

    def __enter__(self) -> Connection:
        self._opened = self.open()
        connection: Connection = self._opened
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    async def __aenter__(self) -> AsyncConnection:
        self._opened = await self.open_async()
        connection: AsyncConnection = self._opened
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, trace)

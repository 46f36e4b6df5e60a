"""How a connection of `prise.ipc` is opened, in four ways and two colours, as with `prise.connect`.

with opener as connection:              blocking          connection = opener.open()
async with opener as connection:        asynchronous      connection = await opener
"""

from __future__ import annotations

import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from prise.address import Address, AddressLike
from prise.closing import Closing
from prise.connection.blocking import in_running_loop
from prise.core.limits import Limits
from prise.errors import TooSlow, UsageError
from prise.ipc.asynchronous import AsyncConnection
from prise.ipc.blocking import Connection
from prise.ipc.sharing import LOCAL_LIMITS, Sharing
from prise.transports import Listening, bind, dial, dial_async, layers

Blocking = TypeVar("Blocking")
Async = TypeVar("Async")


class Opener(ABC, Generic[Blocking, Async]):
    """A connection that is about to be opened."""

    _opened: Any = None

    @abstractmethod
    def open(self) -> Blocking:
        """Opens it, blocking. Raises UsageError inside a running asyncio loop."""

    @abstractmethod
    async def open_async(self) -> Async:
        """Opens it for the running event loop; the same as awaiting it."""

    def __await__(self) -> Generator[Any, Any, Async]:
        return self.open_async().__await__()

    def __enter__(self) -> Blocking:
        self._opened = connection = self.open()
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    async def __aenter__(self) -> Async:
        self._opened = connection = await self.open_async()
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, trace)


def refuse_in_loop() -> None:
    """Raises UsageError where blocking would stop a running asyncio loop."""
    if in_running_loop():
        raise UsageError(
            "a blocking connection inside a running asyncio loop would stop everything in it: await it instead"
        )


class Connector(Opener[Connection, AsyncConnection]):
    """What `connect` returns."""

    def __init__(self, address: Address, timeout: float | None, limits: Limits, sharing: Sharing | None) -> None:
        self.address = address
        self._timeout = timeout
        self._limits = limits
        self._sharing = sharing

    def open(self) -> Connection:
        refuse_in_loop()
        return made(Connection, dial(self.address, timeout=self._timeout), self._limits, self._sharing)

    async def open_async(self) -> AsyncConnection:
        sock = await dial_async(self.address, timeout=self._timeout)
        return made(AsyncConnection, sock, self._limits, self._sharing)


Made = TypeVar("Made", Connection, AsyncConnection)


def made(kind: type[Made], sock: socket.socket, limits: Limits, sharing: Sharing | None) -> Made:
    """A connection over this socket, which is closed where that cannot be (`fd:` and `exec:` give what they are given)."""
    try:
        return kind(sock, limits, sharing)
    except BaseException:
        sock.close()
        raise


def connect(
    address: AddressLike,
    *,
    timeout: float | None = 10.0,
    limits: Limits = LOCAL_LIMITS,
    sharing: Sharing | None = None,
) -> Connector:
    """Connects to an `ipc.Listener`, or as a child by `pipe:` to the process that started this one.

    address: a Unix socket; any other stream without layers (TCP, `fd:`, `stdio:`) works too, without shared memory where it is no
    Unix socket. timeout: seconds to connect. Raises ConnectError, TooSlow when it is opened; UsageError, AddressError.
    """
    return Connector(_bare(address), timeout, limits, sharing)


def _bare(address: AddressLike) -> Address:
    where = Address.parse(address)
    if where.scheme == "udp" or where.option("type", "stream") != "stream":
        raise UsageError("prise.ipc needs a stream of bytes, such as unix: without the option `type`", local=where)
    if layers(where, server=False):
        raise UsageError("prise.ipc takes no layers such as TLS: give a Unix socket", local=where)
    return where


class Listener(Closing):
    """Listens for `ipc.connect`; iterate over it, or call `accept`. It binds when it is made. One thread owns it.

    Who may connect is said by the mode of the Unix socket, `unix,mode=600:/run/x.sock`; who did, by `connection.credentials`.
    address: where it listens, with a real port.
    """

    def __init__(self, address: AddressLike, *, limits: Limits = LOCAL_LIMITS, sharing: Sharing | None = None) -> None:
        self._limits = limits
        self._sharing = sharing
        self._listening: list[Listening] = bind(_bare(address))
        self.address = self._listening[0].address

    def accept(self, timeout: float | None = None) -> Connection:
        """The next connection. timeout: seconds; None waits for ever. Raises TooSlow, and OSError out of descriptors."""
        refuse_in_loop()
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            poll = select.poll()
            for each in self._open():
                poll.register(each, select.POLLIN)
            ready = poll.poll(None if until is None else max(until - time.monotonic(), 0.0) * 1000)
            if not ready:
                raise TooSlow("nobody came in {seconds:g} s", operation="accept", local=self.address, seconds=timeout)
            if (sock := self._accept()) is not None:
                return made(Connection, sock, self._limits, self._sharing)

    async def accept_async(self, timeout: float | None = None) -> AsyncConnection:
        """The same for the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                while (sock := self._accept()) is None:
                    woken = asyncio.Event()
                    watched = self._open()
                    for each in watched:
                        loop.add_reader(each.socket, woken.set)
                    try:
                        await woken.wait()
                    finally:
                        for each in watched:
                            loop.remove_reader(each.socket)
        except TimeoutError:
            raise TooSlow(
                "nobody came in {seconds:g} s", operation="accept", local=self.address, seconds=timeout
            ) from None
        return made(AsyncConnection, sock, self._limits, self._sharing)

    def _open(self) -> list[Listening]:
        if not self._listening:
            raise UsageError("the listener is closed", operation="accept")
        return self._listening

    def _accept(self) -> socket.socket | None:
        """A connection that is there, of any address; None when there is none."""
        from prise.servers.accept import GONE

        for each in self._open():
            try:
                return each.accept()[0]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                if error.errno not in GONE:
                    raise
        return None

    def __iter__(self) -> Iterator[Connection]:
        while self._listening:
            yield self.accept()

    def close(self) -> None:
        """Stops listening; connections that were accepted go on."""
        for each in self._listening:
            each.close()
        self._listening = []

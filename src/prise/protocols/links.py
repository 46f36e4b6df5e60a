"""One connection and how connections are made, in either colour: what waits for the bytes of a session.

`BlockingLinks`, whose methods never suspend, and `AsyncLinks`, for a running loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from prise.address import Address
from prise.clients.connect import Connector
from prise.clients.listener import Listener
from prise.connection.asynchronous import AsyncConnection
from prise.connection.blocking import Connection
from prise.errors import TooSlow, UsageError
from prise.framing import Chunks


class Link(ABC):
    """One connection, in either colour."""

    @property
    @abstractmethod
    def connection(self) -> Any:
        """The prise connection."""

    @abstractmethod
    async def send(self, data: bytes) -> None: ...

    @abstractmethod
    async def receive(self, seconds: float | None) -> bytes: ...

    @abstractmethod
    async def start_tls(self, tls: Any, name: str) -> None: ...

    @abstractmethod
    async def end(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    def abort(self) -> None:
        """Cuts it, without a word and without waiting."""
        self.connection.abort()


class Links(ABC):
    """How connections are made in one colour."""

    @abstractmethod
    async def dial(self, connector: Connector) -> Link: ...

    @abstractmethod
    async def listen(self, host: str) -> Address: ...

    @abstractmethod
    async def accept(self, seconds: float | None) -> Link: ...

    @abstractmethod
    async def close(self) -> None:
        """Stops listening."""


class BlockingLink(Link):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> Connection:
        return self._connection

    async def send(self, data: bytes) -> None:
        self._connection.send(data)

    async def receive(self, seconds: float | None) -> bytes:
        self._connection.acknowledge()
        return _or_lost(self._connection.receive(seconds), self._connection)

    async def start_tls(self, tls: Any, name: str) -> None:
        self._connection.start_tls(tls, name)

    async def end(self) -> None:
        self._connection.send_eof()

    async def close(self) -> None:
        self._connection.close()


class BlockingLinks(Links):
    def __init__(self) -> None:
        self._listener: Listener | None = None

    async def dial(self, connector: Connector) -> Link:
        return BlockingLink(connector.open())

    async def listen(self, host: str) -> Address:
        await self.close()
        self._listener = Listener(Address("tcp", host, 0), framing=Chunks())
        return self._listener.address

    async def accept(self, seconds: float | None) -> Link:
        if self._listener is None:
            raise UsageError("nothing listens for the server's connection")
        link = BlockingLink(self._listener.accept(seconds))
        await self.close()
        return link

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class AsyncLink(Link):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def connection(self) -> AsyncConnection:
        return self._connection

    async def send(self, data: bytes) -> None:
        await self._connection.send(data)

    async def receive(self, seconds: float | None) -> bytes:
        if seconds == 0:
            import asyncio

            # What is there now, says the system, not the loop: it has to look first, and to run what it finds.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self._connection.acknowledge()
        return _or_lost(await self._connection.receive(seconds), self._connection)

    async def start_tls(self, tls: Any, name: str) -> None:
        await self._connection.start_tls(tls, name)

    async def end(self) -> None:
        await self._connection.send_eof()

    async def close(self) -> None:
        await self._connection.close()


class AsyncLinks(Links):
    def __init__(self) -> None:
        self._server: Any = None
        self._come: Any = None  # a future: the connection that was accepted
        self._over: Any = None  # an event: its conversation may end

    async def dial(self, connector: Connector) -> Link:
        return AsyncLink(await connector.open_async())

    async def listen(self, host: str) -> Address:
        import asyncio

        from prise.servers.server import listen

        await self.close()
        come, over = asyncio.get_running_loop().create_future(), asyncio.Event()

        async def take(connection: AsyncConnection) -> None:
            if not come.done():
                come.set_result(connection)
                await over.wait()

        self._come, self._over = come, over
        self._server = await listen(take, Address("tcp", host, 0), framing=Chunks(), model="asyncio").__aenter__()
        address: Address = self._server.address
        return address

    async def accept(self, seconds: float | None) -> Link:
        import asyncio

        if self._come is None:
            raise UsageError("nothing listens for the server's connection")
        try:
            return AsyncLink(await asyncio.wait_for(self._come, seconds))
        except TimeoutError:
            raise TooSlow("nobody came in {seconds:g} s", operation="accept", seconds=seconds) from None

    async def close(self) -> None:
        if self._server is not None:
            self._over.set()
            server, self._server, self._come = self._server, None, None
            await server.__aexit__(None, None, None)


def _or_lost(data: Any, connection: Connection | AsyncConnection) -> bytes:
    """The bytes received; b"" at the end, unless it was no end but a break."""
    if data is None:
        if connection.lost is not None:
            raise connection.lost
        return b""
    received: bytes = data
    return received

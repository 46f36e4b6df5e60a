"""What the tests of the chat's stores share: a house that takes notes, a real nats-server, and a wire that can be cut."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from prise import PriseError
from prise.chat.events import Message
from prise.chat.store.archive import Archive
from prise.chat.store.base import Store
from prise.chat.store.nats import NatsStore
from prise.chat.store.sqlite import SqliteStore

PATIENCE = 30.0  # seconds until something that does not come is given up
PROGRAM = shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin:/bin")


class Notes:
    """A `House` that writes down what it hears."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.outcomes: list[tuple[Message, PriseError | None]] = []
        self.facts: dict[str, str] = {}
        self.links: list[PriseError | None] = []
        self.nodes: dict[str, Mapping[str, Any]] = {}
        self._news = asyncio.Event()

    def _noted(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def arrived(self, messages: Sequence[Message]) -> None:
        self.messages += messages
        self._noted()

    def settled(self, messages: Sequence[Message], error: PriseError | None) -> None:
        self.outcomes += [(message, error) for message in messages]
        self._noted()

    def learned(self, facts: Mapping[str, str]) -> None:
        self.facts = {key: value for key, value in {**self.facts, **facts}.items() if value}
        self._noted()

    def linked(self, error: PriseError | None) -> None:
        self.links.append(error)
        self._noted()

    def met(self, node: str, people: Mapping[str, Any] | None) -> None:
        self.nodes.pop(node, None)
        if people is not None:
            self.nodes[node] = people
        self._noted()

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self._news.wait()

    async def all(self, messages: int, outcomes: int = 0) -> None:
        """Waits until so many have arrived and so many are settled."""
        await self.until(lambda: len(self.messages) >= messages and len(self.outcomes) >= outcomes)


def said(text: str, *, room: str = "salon", author: str = "Ann", reference: str = "", **more: Any) -> Message:
    return Message(room, time.time(), author, f"id-{author}", text, reference=reference, **more)


async def say(store: Store, house: Notes, *messages: Message) -> list[Message]:
    """Says these, and returns what became of them; all have to be stored."""
    before = len(house.outcomes)
    for message in messages:
        store.append(message)
    await house.until(lambda: len(house.outcomes) >= before + len(messages))
    outcomes = house.outcomes[before : before + len(messages)]
    assert [error for _, error in outcomes if error] == []
    return [message for message, _ in outcomes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """A real one, with its data in a folder; it keeps its port when it is started again."""

    def __init__(self, folder: Path, *options: str, jetstream: bool = True) -> None:
        if PROGRAM is None:
            pytest.skip("nats-server is not installed")
        self.port = free_port()
        stream = ("-js", "-sd", str(folder)) if jetstream else ()
        self._command = [PROGRAM, "-a", "127.0.0.1", "-p", str(self.port), *stream, *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    assert probe.recv(4) == b"INFO"
                return
            except OSError:
                assert self._process.poll() is None, "nats-server does not start"
                assert time.monotonic() < until, "nats-server does not listen"
                time.sleep(0.01)  # nothing tells us when it listens

    def kill(self) -> None:
        """As SIGKILL or a power cut of its machine's process would: it can say nothing any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Wire:
    """A way to a port which can be cut in the middle, so that neither side hears of it."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """What was on its way arrives now, as it does in a network."""
        self._whole.set()

    def mend_for_new(self) -> asyncio.Event:
        """Only what connects from now on gets through. What was on its way arrives when the event is set."""
        old, self._whole = self._whole, asyncio.Event()
        self._whole.set()
        return old

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        try:
            whole = self._whole
            await asyncio.gather(self._pass(reader, back, whole), self._pass(there, writer, whole))
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's server would report it
        finally:
            self._tasks.discard(task)
            for end in (writer, back):
                end.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, whole: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await whole.wait()
                target.write(data)
                await target.drain()
            target.write_eof()


class World:
    """Opens stores of one kind, whose files are in a folder; several nodes at once where there can be."""

    def __init__(self, kind: str, folder: Path, server: NatsServer | None) -> None:
        self.kind, self.folder, self.server = kind, folder, server
        self.many = kind == "nats"

    def store(self, node: str = "a", **options: Any) -> Store:
        archive = Archive(self.folder / f"{node}.sqlite", **options)
        return SqliteStore(archive) if self.server is None else NatsStore(archive, self.server.url)

    @asynccontextmanager
    async def open(self, node: str = "a", **options: Any) -> AsyncIterator[tuple[Store, Notes]]:
        store, house = self.store(node, **options), Notes()
        await store.start(house)
        try:
            yield store, house
        finally:
            await store.stop()

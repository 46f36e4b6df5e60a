"""The store of one node: its archive is the truth, and numbers each room's messages from 1, without gaps."""

from __future__ import annotations

import asyncio

from prise import PriseError
from prise.chat.events import Message
from prise.chat.store.archive import Archive, Batch, Fact
from prise.chat.store.archived import ArchivedStore
from prise.chat.store.base import House


class SqliteStore(ArchivedStore):
    """A store in one file; see `archive`."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(archive)
        self.name = str(archive.path)
        self._puts: dict[int, asyncio.Future[None]] = {}

    async def start(self, house: House) -> None:
        loop = asyncio.get_running_loop()
        self._house = house

        def report(batch: Batch) -> None:
            try:
                loop.call_soon_threadsafe(self._reported, batch)
            except RuntimeError:
                pass  # the loop is over, and with it everybody who could hear

        self._archive.open(report)
        self._rooms = {room: last for room, last in self._archive.rooms().items() if room[:1] not in "@!"}
        house.learned(self._archive.facts())

    async def stop(self) -> None:
        await asyncio.to_thread(self._archive.close)
        await asyncio.sleep(0)  # what the last batch has reported

    def append(self, message: Message) -> None:
        self._archive.add(message)

    async def put(self, key: str, value: str, *, new: bool = False) -> None:
        fact = Fact(key, value, new)
        kept = self._puts[id(fact)] = asyncio.get_running_loop().create_future()
        self._archive.add(fact)
        await kept

    def _reported(self, batch: Batch) -> None:
        house = self._house
        for message in batch.fresh:
            if message.room[:1] not in "@!":
                self._rooms[message.room] = message.number
        if batch.fresh:
            house.arrived(batch.fresh)
        settled: list[Message] = []
        trouble: PriseError | None = None
        for item, error in batch.done:
            if isinstance(item, Message):
                settled.append(item)
                trouble = error
            else:
                if error is None:
                    house.learned({item.key: item.value})
                kept = self._puts.pop(id(item))
                if not kept.done():
                    kept.set_result(None) if error is None else kept.set_exception(error)
        if settled:
            house.settled(settled, trouble)

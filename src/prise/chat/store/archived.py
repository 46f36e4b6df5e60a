"""What both stores have in common: whatever is read comes from their archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prise.chat.events import Message
from prise.chat.store.archive import Archive
from prise.chat.store.base import Store


class ArchivedStore(Store):
    """The half of a store that reads. `_rooms` is kept up to date by the other half."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._rooms: dict[str, int] = {}

    def rooms(self) -> dict[str, int]:
        return self._rooms

    async def read(self, room: str, *, after: int = 0, before: int = 0, count: int = 50) -> list[Message]:
        return await self._archive.read(room, after=after, before=before, count=count)

    async def private(self, person: str) -> dict[str, int]:
        return await self._archive.private(person)

    async def missed(self, person: str, seen: Mapping[str, int]) -> dict[str, int]:
        return await self._archive.missed(person, seen)

    async def search(self, words: str, rooms: Sequence[str], count: int = 100) -> list[Message]:
        return await self._archive.search(words, rooms, count)

"""People's programs that speak as fast as the house takes it, come back after whatever happened to it, and keep account."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from chat_live import PATIENCE, stored

WINDOW = 20
"""Messages that each has said and not heard of."""


class Talker:
    """acknowledged: text -> number. seen: number -> text, without a gap from the first on. waiting: said, not acknowledged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged: dict[str, int] = {}
        self.seen: dict[int, str] = {}
        self.waiting: list[str] = []
        self._token = ""
        self._count = 0

    async def talk(self, port: int, enough: Callable[[], bool]) -> bool:
        """Comes in, says again what was not acknowledged, and goes on. True once it is `enough` and all is acknowledged;
        False when the house is gone."""
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        except ConnectionError:
            return False
        try:
            hello: dict[str, Any] = {"name": self.name, "history": 500}
            if self._token:
                hello |= {"token": self._token, "since": {"salon": max(self.seen, default=0)}}
            _say(writer, "hello", hello)
            for text in self.waiting:
                _say(writer, "say", {"room": "salon", "text": text, "id": text})
            while self.waiting or not enough():
                while len(self.waiting) < WINDOW and not enough():
                    self._count += 1
                    self.waiting.append(f"{self.name}x{self._count}")
                    _say(writer, "say", {"room": "salon", "text": self.waiting[-1], "id": self.waiting[-1]})
                if not await self._read(reader):
                    return False
            _say(writer, "ping", "all seen")
            while await self._read(reader) != "pong":
                pass
            return True
        except ConnectionError:
            return False
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """Takes one object; its kind, "" at the end."""
        async with asyncio.timeout(PATIENCE):
            line = await reader.readline()
        if not line.endswith(b"\n"):
            return ""
        kind, given = next(iter(json.loads(line).items()))
        if kind == "welcome":
            self._token = given["token"]
        elif kind == "message":
            number, last = given["number"], max(self.seen, default=0)
            assert not self.seen or number == last + 1, f"{self.name} has seen {last}, and then {number}"
            self.seen[number] = given["text"]
        elif kind == "settled":
            self.waiting.remove(given["id"])
            self.acknowledged[given["id"]] = given["number"]
        else:
            assert kind not in ("failed", "denied", "error", "missed"), given
        return str(kind)


def _say(writer: asyncio.StreamWriter, kind: str, given: Any) -> None:
    writer.write(json.dumps({kind: given}).encode() + b"\n")


def check_store(store: Path, talkers: Iterable[Talker]) -> int:
    """The file is sound, and holds all that was acknowledged or seen, once, under the number that was said; returns how much."""
    rows = stored(store)
    numbers = {number: text for _room, number, text in rows}
    texts = {text: number for _room, number, text in rows}
    assert len(numbers) == len(texts) == len(rows), "nothing is there twice"
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    for talker in talkers:
        lost = {text for text, number in talker.acknowledged.items() if texts.get(text) != number}
        assert not lost, f"acknowledged to {talker.name}, and not there: {sorted(lost)[:5]}"
        assert talker.seen.items() <= numbers.items(), "what anybody has seen is stored"
    return len(rows)


def found(store: Path, text: str) -> int:
    """How often searching finds a word."""
    base = sqlite3.connect(store)
    try:
        return int(base.execute("select count(*) from search where search match ?", (f'"{text}"',)).fetchone()[0])
    finally:
        base.close()

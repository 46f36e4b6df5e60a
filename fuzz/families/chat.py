"""The chat room, both sides: what people and programs send to a house, and what a house sends to a client (prise/chat)."""

from __future__ import annotations

import asyncio
import atexit
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import prise
from fuzz.target import LONGEST, Given, must, seed, target
from prise.chat import cleaning, texts
from prise.chat.admission import Options
from prise.chat.client.model import Model
from prise.chat.doors.entry import FRAMING, LIMITS
from prise.chat.doors.lines import LineDoor
from prise.chat.doors.objects import ObjectDoor
from prise.chat.doors.painter import Painter
from prise.chat.events import Message
from prise.chat.house import House
from prise.chat.store.base import Store
from prise.chat.store.natspresence import Presence
from prise.chat.store.natswire import name_of, packed, token, unpacked
from prise.errors import TooSlow, UsageError


class Memory(Store):
    """Keeps what is said in memory: a house of its own for each input."""

    def __init__(self) -> None:
        self._house: Any = None
        self._said: dict[str, list[Message]] = defaultdict(list)
        self._facts: dict[str, str] = {}

    async def start(self, house: Any) -> None:
        self._house = house
        house.learned({})

    async def stop(self) -> None:
        """Nothing is open."""

    def append(self, message: Message) -> None:
        asyncio.get_running_loop().call_soon(self._stored, message)

    def _stored(self, message: Message) -> None:
        import dataclasses

        log = self._said[message.room]
        log.append(dataclasses.replace(message, number=len(log) + 1))
        self._house.arrived([log[-1]])
        self._house.settled([log[-1]], None)

    async def put(self, key: str, value: str, *, new: bool = False) -> None:
        if new and key in self._facts:
            raise UsageError("it is there already")
        self._facts[key] = value
        self._house.learned({key: value})

    def rooms(self) -> dict[str, int]:
        return {room: len(log) for room, log in self._said.items() if room[:1] not in "@!"}

    async def read(self, room: str, *, after: int = 0, before: int = 0, count: int = 50) -> list[Message]:
        log = self._said[room]
        if after:
            return [each for each in log if each.number > after][:count]
        return [each for each in log if not before or each.number < before][-count:]

    async def private(self, person: str) -> dict[str, int]:
        return {room: len(log) for room, log in self._said.items() if person in room[1:].split(",")}

    async def missed(self, person: str, seen: Mapping[str, int]) -> dict[str, int]:
        return {}

    async def search(self, words: str, rooms: Sequence[str], count: int = 100) -> list[Message]:
        return [each for room in rooms for each in self._said[room] if words in each.text][:count]


_HARMFUL = re.compile("[\x00-\x06\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


class Doors:
    """A server in this process that never ends; the house behind its door is another one for each input."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.broken: list[BaseException] = []
        self._door: Any = None
        self._server: Any = None
        atexit.register(self._close)

    def _close(self) -> None:
        if self._server is not None:
            self.loop.run_until_complete(self._server.__aexit__(None, None, None))
        self.loop.close()

    async def _converse(self, connection: prise.AsyncConnection) -> None:
        try:
            await self._door(connection)
        except (prise.PeerError, asyncio.CancelledError):
            raise
        except BaseException as error:
            self.broken.append(error)
            raise

    async def say(self, pieces: Iterable[bytes]) -> bytes:
        """What the house answers to all this, up to its end."""
        if self._server is None:
            self._server = prise.listen(self._converse, "mem:prise-fuzz", framing=FRAMING, limits=LIMITS)
            await self._server.__aenter__()
        house = House(Memory(), Options(rate=None, operator_password="sesame"))
        await house.open()
        painter = Painter()
        self._door = LineDoor(house, painter, ObjectDoor(house, painter))
        answer: list[bytes] = []
        async with prise.connect("mem:prise-fuzz", framing="chunks", limits=LIMITS) as connection:
            for piece in pieces:
                if piece:
                    await connection.send(piece)
            await connection.send_eof()
            try:
                while (piece := await connection.receive(timeout=20)) is not None:
                    answer.append(piece)
            except prise.ConnectionLost:
                pass  # it had more to say than it could hear
        return b"".join(answer)


@cache
def doors() -> Doors:
    return Doors()


SAID = (
    b"hello\n/me waves\n/join caf\xc3\xa9\n/topic x\n/msg ada hi\n/who\n/help\n/op sesame\n/kick ada\n/away "
    b"lunch\n/poll a | b | c\nFIN\n"
)
OBJECTS = (
    b'{"say":{"text":"hi","id":"1","room":"salon"}}\n{"do":{"command":"/join x","room":"salon"}}\n'
    b'{"history":{"room":"salon","count":5}}\n{"search":{"words":"hi"}}\n{"ping":1}\n{"quit":{}}\n'
)
HELLO = b'{"hello":{"name":"ada","rooms":["salon","x"],"since":{"salon":0},"history":10,"language":"fr","bot":true}}\n'


@target(
    seed(b"ada\n" + SAID, 0, 0), seed(SAID, 1), seed(SAID, 2, 0x75), seed(HELLO + OBJECTS, 0), seed(OBJECTS, 4),
    seed(b"ada\b\b\nben\n\xff\xfe\x1b[2J\xe2\x80\xae\n/bot\n" + OBJECTS, 0),
    words=(b"/join ", b"/part", b"/msg ada ", b"/me ", b"/nick ", b"/topic ", b"/who", b"/rooms", b"/op sesame",
        b"/kick ", b"/ban ", b"/unban ", b"/mute", b"/slow 5", b"/lock x", b"/announce ", b"/register x",
           b"/invite ", b"/search ", b"/history", b"/hand", b"/bot", b"/quit", b"FIN\n", b'{"hello":', b'{"say":',
           b'{"do":{"command":"', b'{"history":{', b'"room":"', b'"since":{', b"\\ud800", b"1e999", b"@ada",
           b"salon"),
)  # fmt: skip
def chat_doors(given: Given) -> None:
    """choice: 1 ada is in already, 2 and an operator, 4 a program is in. What is shown has nothing that moves a cursor."""
    first = {1: b"ada\n", 2: b"ada\n/op sesame\n", 4: HELLO}.get(given.choice & 7, b"")
    data = first + given.data
    here = doors()
    try:
        answer = here.loop.run_until_complete(here.say(Given(data, 0, given.cut and 0x70).pieces()))
    except TooSlow:
        must(len(given.data) > LONGEST, "the house stops listening")  # to a flood it listens slowly
        return
    if here.broken:
        raise here.broken.pop()
    for line in answer.decode().replace("\r\n", "\n").split("\n"):
        # Objects are for programs; what they hold of others was made harmless as well, but the sender's own comes back as it is.
        harmful = None if line.startswith("{") else _HARMFUL.search(line)
        must(harmful is None, "the house says what moves a cursor:", line)


@target(
    seed(b'{"welcome":{"name":"ada","id":"1","commands":[{"name":"x","arguments":"","help":"y"}]}}\n'
         b'{"room":{"room":"salon","people":[{"name":"b","id":"2"}],"last":5}}\n'
         b'{"message":{"room":"salon","number":6,"at":1e9,"author":"b","by":"2","kind":"say","text":"hi","mentions":["ada"]}}\n{"history":{"room":"salon","messages":[],"more":true}}\n'),
    seed(b'{"joined":{"room":"salon","name":"c","id":"3","at":1}}\n{"left":{"room":"salon","id":"3"}}\n'
         b'{"renamed":{"id":"2","name":"b","new":"d"}}\n{"away":{"id":"2","text":"x"}}\n{"hands":{"hands":[]}}\n'
         b'{"found":{"messages":[{}]}}\n{"settled":{"id":"1"}}'),
    words=(b'{"message":{', b'"room":"', b'"number":', b'"text":"', b'"file":{"name":"', b'"url":"', b'"at":',
        b'{"parted":{', b'{"missed":{', b'{"announce":{', b'{"notice":{', b'{"link":{"up":false',
        b'{"rooms":{"rooms":[', b"1e400", b"\\ud800", b"null"),
)  # fmt: skip
def chat_client(given: Given) -> None:
    """Whatever a house says, the client's model takes it; what it shows moves no cursor."""
    model = Model()
    for line in given.data.split(b"\n"):
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        for kind, fields in said.items() if isinstance(said, dict) else ():
            news = model.take(kind, fields)
            for _, entry in news.entries:
                shown = texts.line(entry.event, str)
                must(cleaning.line(shown) == shown, "it moves a cursor:", shown)
    must(len(model.rooms) <= 200, "too many rooms:", len(model.rooms))
    model.since()


SAYING = packed(Message("salon", 1.0, "ada", "1", "hi", details={"a": 1}), "x")


@target(
    seed(SAYING), seed(b'{"node":"n","version":"1","part":0,"parts":1,"people":{"1":{"name":"ada"}}}', 1),
    seed(b'{"node":"n","ask":""}', 1), seed(b"caf=C3=A9", 2),
    words=(b'"id":"', b'"room":"', b'"at":', b'"details":', b'"node":"', b'"people":{', b'"parts":', b'"part":',
        b'"version":', b'"gone":true', b"1" * 400, b"[" * 1000, b"NaN", b"\\ud800", b"=E9"),
)  # fmt: skip
def chat_nodes(given: Given) -> None:
    """What another node of the same house sends over NATS; anybody who may write there could have."""
    which = given.choice % 3
    if which == 0:
        try:
            id, message = unpacked(given.data, 7)
        except ValueError:
            return
        must(unpacked(packed(message, id), 7) == (id, message), "does not come back:", message)
    elif which == 1:
        met: list[Any] = []
        loop = doors().loop

        async def hear() -> None:
            presence = Presence(lambda data: None, lambda node, people: met.append(people), "us")
            for line in given.data.split(b"\n"):
                presence.heard(line)

        loop.run_until_complete(hear())
    else:
        try:
            name = name_of(given.data.decode(errors="replace"))
        except ValueError:
            return
        must(name_of(token(name)) == name, "does not come back:", name)

"""The people of test_chat_invariants.py, and the account that is kept of all that any of them has seen."""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from chat_live import LiveHouse
from chat_support import Bot, Person
from prise.testing import faults

_MINE = re.compile(r"(?:[\d-]+ )?\d\d:\d\d <[^>]*> (word\d+z)\a?")


@dataclass
class Member:
    """Somebody with a program. got: for each room, the last number that was seen. waiting: what was said and not settled.
    heard: all that was seen."""

    name: str
    carrier: str
    rooms: list[str] = field(default_factory=lambda: ["salon"])
    bot: Bot | None = None
    token: str = ""
    id: str = ""
    read: int = 0
    got: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, tuple[str, str]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)


@dataclass
class Onlooker:
    """Somebody at a terminal, in the salon."""

    name: str
    person: Person


class Company:
    """truth: what is known to be said, (room, number) -> text; places: the same the other way round. refused: what failed.
    private: what was whispered and acknowledged, and to whom. bad: what their network does to them.
    """

    bad: ClassVar[tuple[faults.Fault, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="prise-torture-")
        self.house = LiveHouse(Path(self.folder.name) / "chat.sqlite")
        self.network = ExitStack()
        self.open()
        self.members: list[Member] = []
        self.onlookers: list[Onlooker] = []
        self.truth: dict[tuple[str, int], str] = {}
        self.places: dict[str, tuple[str, int]] = {}
        self.refused: set[str] = set()
        self.private: dict[str, Member] = {}
        self.count = 0

    def open(self) -> None:
        self.network.close()
        self.house.open()
        self.port = self.house.port
        if self.bad:
            between = faults.proxy(f"127.0.0.1:{self.port}", *self.bad, seed=1)
            self.port = int(self.network.enter_context(between).port or 0)

    def connected(self) -> list[Member]:
        return [member for member in self.members if member.bot is not None]

    def pick(self, which: int, room: str = "") -> Member | None:
        able = [member for member in self.connected() if not room or room in member.rooms]
        return able[which % len(able)] if able else None

    def word(self) -> str:
        self.count += 1
        return f"word{self.count}z"  # none begins like another: searching finds what begins so

    def say(self, member: Member, room: str) -> str:
        text = self.word()
        member.waiting[text] = (room, text)
        self.send(member, text)
        return text

    def send(self, member: Member, reference: str) -> None:
        assert member.bot is not None
        room, text = member.waiting[reference]
        try:
            member.bot.send("say", {"room": room, "text": text, "id": reference})
        except OSError:
            pass  # the house is closing; it is said again later

    def settle(self, member: Member) -> None:
        """Reads on until all that was said is settled."""
        assert member.bot is not None
        while member.waiting:
            member.bot.next()
            self.take(member)

    def enter(self, member: Member) -> None:
        """Comes in, or back: behind what was seen, and saying again what was not acknowledged."""
        hello: dict[str, Any] = {"name": member.name, "rooms": list(member.rooms), "history": 500}
        if member.token:
            hello |= {"token": member.token, "since": {room: member.got.get(room, 0) for room in member.rooms}}
            hello["since"] |= {log: number for log, number in member.got.items() if log.startswith("@")}
        member.bot, member.read = Bot(self.port, member.carrier), 0
        me = member.bot.say_hello(**hello)
        assert not member.id or me["id"] == member.id, "the same person again"
        member.id, member.token, member.name = me["id"], me["token"], me["name"]
        for reference in member.waiting:
            self.send(member, reference)
        self.settle(member)

    def drop(self, member: Member) -> None:
        assert member.bot is not None
        member.bot.rest()
        self.take(member)
        member.bot.close()
        member.bot = None

    def take(self, member: Member) -> None:
        """Looks at what has come since the last time."""
        assert member.bot is not None
        news, member.read = member.bot.seen[member.read :], len(member.bot.seen)
        for kind, given in news:
            if kind == "message":
                log, number = given["room"], given["number"]
                before = member.got.get(log)
                assert before is None or number == before + 1, (member.name, log, before, json.dumps(given))
                member.got[log] = number
                member.heard.add(given["text"])
                self.note(log, number, given["text"])
            elif kind == "settled":
                member.waiting.pop(given["id"])
                self.note(given["room"], given["number"], given["id"])
            elif kind == "failed":
                member.waiting.pop(given["id"])
                self.refused.add(given["id"])
            else:
                assert kind not in ("missed", "error", "denied"), given

    def note(self, log: str, number: int, text: str) -> None:
        assert self.truth.setdefault((log, number), text) == text, "one number, one message"
        assert self.places.setdefault(text, (log, number)) == (log, number), "said once"

    def last(self, room: str) -> int:
        return max((number for log, number in self.truth if log == room), default=0)

    def catch_up(self, onlooker: Onlooker) -> None:
        """Until the answer to a command is there, which comes behind all that was shown before."""
        self.count += 1
        onlooker.person.say(f"/mark{self.count}")
        onlooker.person.sees(f"mark{self.count}")

    def shown_to(self, onlooker: Onlooker) -> list[str]:
        return [match[1] for line in onlooker.person.screen.lines if (match := _MINE.fullmatch(line))]

    def check_seen(self, onlooker: Onlooker) -> None:
        numbers = [self.places[text][1] for text in self.shown_to(onlooker) if text in self.places]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True

"""What a client knows: the rooms it is in, what was said there, what is unread, and what it has said that is not settled yet.

No I/O. A house may send anything: what is not of the right kind is left out, texts are made harmless for a terminal, and every table
has a bound. `Model.take` is given each object and tells what is new to see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from prise.chat import cleaning
from prise.chat.events import Announcement, Away, Event, Hands, Joined, Left, Message, Notice, Plain, Renamed

MOST_ROOMS = 200
MOST_ENTRIES = 5_000
"""Things shown in one room, those that were scrolled back to included."""
MOST_PEOPLE = 10_000
MOST_COMMANDS = 200
MOST_PENDING = 1_000
LONGEST_TEXT = 20_000
"""Characters; houses allow less."""

SENDING, STORED, FAILED = "sending", "stored", "failed"


def text(given: Any, name: str) -> str:
    """A field that is a text, harmless for a terminal; "" where there is none."""
    value = given.get(name) if isinstance(given, dict) else None
    return cleaning.line(value[:LONGEST_TEXT].replace("\n", " ")) if isinstance(value, str) else ""


def number(given: Any, name: str) -> int:
    """A field that is a whole number from 0; 0 where there is none."""
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def moment(given: Any, name: str = "at") -> float:
    """A field that is a time that clocks can show; 0.0 where there is none."""
    value = given.get(name) if isinstance(given, dict) else None
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 2**36 else 0.0


def listed(given: Any, name: str, most: int) -> list[Any]:
    value = given.get(name) if isinstance(given, dict) else None
    return value[:most] if isinstance(value, list) else []


@dataclass(slots=True, eq=False)
class Entry:
    """One thing to show in a room. calls: it is for us: we are named, or it is private. mine: said by us."""

    event: Event
    at: float = 0.0
    calls: bool = False
    mine: bool = False
    drawn: Any = None  # what the screen has made of it, for a width

    @property
    def number(self) -> int:
        return self.event.number if isinstance(self.event, Message) else 0


@dataclass(slots=True, eq=False)
class Pending:
    """Something that we have said. state: sending, stored, failed. why: of a failure. shown: the message itself has come."""

    id: str
    room: str
    text: str
    state: str = SENDING
    why: str = ""
    shown: bool = False


@dataclass(slots=True, eq=False)
class Room:
    """A room that we are in, or a private conversation (then `other` is the other one's name).

    last: number of the newest message; known: what was the last one when we came, up to which nothing counts as unread; -1: we are not in yet. appended:
    how many entries were ever added at the end. more: older messages can be asked for.
    """

    name: str
    other: str = ""
    topic: str = ""
    people: dict[str, str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    last: int = 0
    known: int = -1
    unread: int = 0
    calls: int = 0
    appended: int = 0
    more: bool = True
    flags: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        return f"@{self.other}" if self.other else self.name

    @property
    def first(self) -> int:
        """Number of the oldest message here; 0 when there is none."""
        return next((entry.number for entry in self.entries if entry.number), 0)

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.appended += 1
        if len(self.entries) > MOST_ENTRIES:
            del self.entries[: MOST_ENTRIES // 10]
            self.more = True

    def prepend(self, entries: list[Entry]) -> None:
        """Older entries, as many as still fit."""
        space = MOST_ENTRIES - len(self.entries)
        self.entries[:0] = entries[max(0, len(entries) - space) :]
        if space <= len(entries):
            self.more = False


@dataclass(slots=True)
class News:
    """What one object brought: entries by the room they are in, whether to ring, and whether the view of a room begins anew."""

    entries: list[tuple[Room | None, Entry]] = field(default_factory=list)
    ring: bool = False


class Model:
    """Everything the client knows. `current` is the room that is looked at."""

    def __init__(self) -> None:
        self.name = ""
        self.id = ""
        self.house = ""
        self.operator = False
        self.uploads = False
        self.most_upload = 0
        self.longest = 4096
        self.commands: dict[str, tuple[str, str]] = {}
        self.rooms: dict[str, Room] = {}
        self.current: Room | None = None
        self.pending: dict[str, Pending] = {}
        self.listed: list[str] = []  # rooms that the house has named
        self.cut_off = ""

    # -- what we do ------------------------------------------------------------------------------------------------------

    def since(self) -> dict[str, int]:
        """For `hello`: behind which number to go on, for each room."""
        rooms = (room for room in self.rooms.values() if not room.other and room.known >= 0)
        return {room.name: room.last or room.known for room in rooms}

    def say(self, room: Room, said: str, reference: str) -> Pending:
        """Notes that this is being said."""
        pending = self.pending[reference] = Pending(reference, room.name, said)
        room.pending.append(pending)
        return pending

    def look_at(self, room: Room) -> None:
        self.current = room
        room.unread = room.calls = 0

    def find(self, typed: str) -> Room | None:
        key = cleaning.key(typed.removeprefix("#"))
        return next(
            (room for room in self.rooms.values() if key in (cleaning.key(room.name), cleaning.key(room.title))), None
        )

    # -- what the house says ---------------------------------------------------------------------------------------------

    def take(self, kind: str, given: Any) -> News:
        """Notes what an object says. Never raises."""
        news = News()
        method = getattr(self, f"_{kind}", None) if kind in _KINDS else None
        if method is not None:
            method(given if isinstance(given, dict) else {}, news)
        return news

    def _welcome(self, given: Any, news: News) -> None:
        self.name, self.id, self.house = (text(given, each)[:100] for each in ("name", "id", "house"))
        self.operator = given.get("operator") is True
        uploads = given.get("uploads")
        self.uploads = isinstance(uploads, dict) and uploads.get("allowed") is True
        self.most_upload = number(uploads, "most")
        self.longest = number(given, "longest") or 4096
        self.commands = {
            text(each, "name")[:40]: (text(each, "arguments")[:200], text(each, "help")[:300])
            for each in listed(given, "commands", MOST_COMMANDS)
        }

    def _room(self, given: Any, news: News) -> None:
        room = self._get(text(given, "room"))
        if room is None:
            return
        room.topic = text(given, "topic")[:500]
        people = [each for each in listed(given, "people", MOST_PEOPLE) if isinstance(each, dict)]
        room.people = {text(each, "id"): text(each, "name")[:60] for each in people}
        room.away = {text(each, "id") for each in people if each.get("away")}
        room.flags = frozenset(each for each in ("locked", "muted", "slow") if given.get(each))
        if room.known < 0:
            room.known = number(given, "last")
        if self.current is None:
            self.look_at(room)

    def _message(self, given: Any, news: News) -> None:
        room = self._get(text(given, "room"), given)
        entry = self._entry(given)
        if room is None or entry is None or (entry.number and entry.number <= room.last):
            return  # what comes a second time, after a reconnection
        self._new(room, entry, news)

    def _new(self, room: Room, entry: Entry, news: News) -> None:
        # Before `room` has come for the first time, and up to its `last`, these are messages from before we came.
        old = not room.other and (room.known < 0 or entry.number <= room.known)
        room.last = max(room.last, entry.number)
        room.append(entry)
        news.entries.append((room, entry))
        if entry.mine:
            assert isinstance(entry.event, Message)
            for pending in room.pending:
                if pending.state != FAILED and not pending.shown and _same(pending.text, entry.event.text):
                    pending.shown = True
                    if pending.state == STORED:
                        room.pending.remove(pending)
                    break
        elif not old:
            news.ring = news.ring or entry.calls
            if room is not self.current:
                room.unread += 1
                room.calls += entry.calls

    def _history(self, given: Any, news: News) -> None:
        room = self._get(text(given, "room"))
        if room is None:
            return
        entries = [entry for each in listed(given, "messages", 500) if (entry := self._entry(each)) is not None]
        first = room.first
        older = (
            [*takewhile(lambda entry: first == 0 or entry.number < first, entries)] if first or not room.other else []
        )
        room.more = given.get("more") is True
        if older:
            room.prepend(older)
            room.last = max(room.last, older[-1].number)
        for entry in entries[len(older) :]:  # of a private conversation: what was said while we were away
            if entry.number > room.last:
                self._new(room, entry, news)

    def _missed(self, given: Any, news: News) -> None:
        """What follows does not join what is there: the room begins anew behind the gap, and scrolling back loads it."""
        room = self._get(text(given, "room"))
        if room is not None:
            room.entries.clear()
            room.more = True
            room.last = max(room.last, number(given, "last"))

    def _settled(self, given: Any, news: News) -> None:
        pending = self.pending.pop(text(given, "id"), None)
        if pending is not None:
            pending.state = STORED
            room = self.rooms.get(cleaning.key(pending.room))
            if room is not None and pending in room.pending:
                if pending.shown or number(given, "number") <= room.last:
                    room.pending.remove(pending)

    def _failed(self, given: Any, news: News) -> None:
        pending = self.pending.pop(text(given, "id"), None)
        if pending is not None:
            pending.state, pending.why = FAILED, text(given, "why")

    def _joined(self, given: Any, news: News) -> None:
        room = self._get(text(given, "room"))
        if room is None:
            return
        name, who = text(given, "name")[:60], text(given, "id")
        if who and len(room.people) < MOST_PEOPLE:
            room.people[who] = name
        self._show(room, Joined(room.name, moment(given), name, who), news)

    def _left(self, given: Any, news: News) -> None:
        room = self.rooms.get(cleaning.key(text(given, "room")))
        if room is None:
            return
        who, why = text(given, "id"), text(given, "why")
        room.people.pop(who, None)
        event = Left(room.name, moment(given), text(given, "name")[:60], who, Plain(why) if why else None)
        self._show(room, event, news)
        if who and who == self.id:
            self._parted({"room": room.name}, news)

    def _parted(self, given: Any, news: News) -> None:
        room = self.rooms.pop(cleaning.key(text(given, "room")), None)
        if room is None:
            return
        for pending in room.pending:
            self.pending.pop(pending.id, None)
        if self.current is room:
            self.current = None
            if self.rooms:
                self.look_at(next(iter(self.rooms.values())))
        if why := text(given, "why"):
            self._show(self.current, Plain(why), news)

    def _renamed(self, given: Any, news: News) -> None:
        who, old, new = text(given, "id"), text(given, "name")[:60], text(given, "new")[:60]
        if who and who == self.id:
            self.name = new
        for room in self.rooms.values():
            if who in room.people:
                room.people[who] = new
                self._show(room, Renamed(moment(given), old, new, who), news)
            if room.other and room.other == old:
                room.other = new

    def _away(self, given: Any, news: News) -> None:
        who, why = text(given, "id"), text(given, "text")
        for room in self.rooms.values():
            if who in room.people:
                (room.away.add if why else room.away.discard)(who)
                self._show(room, Away(moment(given), room.people[who], who, why), news)

    def _announce(self, given: Any, news: News) -> None:
        event = Announcement(moment(given), text(given, "author")[:60], text(given, "text"))
        self._show(self.current, event, news, calls=True)
        news.ring = True

    def _notice(self, given: Any, news: News) -> None:
        self._show(self.rooms.get(cleaning.key(text(given, "room"))) or self.current, Plain(text(given, "text")), news)

    def _error(self, given: Any, news: News) -> None:
        self._show(self.current, Plain(text(given, "why")), news)

    def _hands(self, given: Any, news: News) -> None:
        room = self.rooms.get(cleaning.key(text(given, "room"))) or self.current
        hands = tuple((text(each, "name")[:60], text(each, "about")) for each in listed(given, "hands", 500))
        self._show(room, Hands(text(given, "room"), hands), news)

    def _found(self, given: Any, news: News) -> None:
        from prise.chat.texts import line

        for each in reversed(listed(given, "messages", 100)):
            entry = self._entry(each)
            if entry is not None:
                assert isinstance(entry.event, Message)
                self._show(self.current, Plain(f"#{entry.event.room} {line(entry.event)}"), news)

    def _rooms(self, given: Any, news: News) -> None:
        rooms = [each for each in listed(given, "rooms", 500) if isinstance(each, dict)]
        self.listed = [text(each, "room") for each in rooms]
        for each in rooms:
            note = f"{text(each, 'room')} ({number(each, 'people')})  {text(each, 'topic')}".rstrip()
            self._show(self.current, Plain(note), news)

    def _link(self, given: Any, news: News) -> None:
        self.cut_off = "" if given.get("up") is True else text(given, "why") or "?"
        self._show(self.current, Plain(text(given, "why")), news)

    # -- parts -----------------------------------------------------------------------------------------------------------

    def _show(self, room: Room | None, event: Event, news: News, calls: bool = False) -> None:
        entry = Entry(event, getattr(event, "at", 0.0), calls)
        if isinstance(event, Notice) and not event.text():
            return
        if room is not None:
            room.append(entry)
        news.entries.append((room, entry))

    def _get(self, name: str, message: Any = None) -> Room | None:
        key = cleaning.key(name)
        room = self.rooms.get(key)
        if room is None:
            if (
                not name
                or len(name) > 200
                or len(self.rooms) >= MOST_ROOMS
                or (name.startswith("@") and message is None)
            ):
                return None
            room = self.rooms[key] = Room(name)
        if message is not None and name.startswith("@"):
            mine = text(message, "by") == self.id
            room.other = text(message, "to" if mine else "author")[:60]
        return room

    def _entry(self, given: Any) -> Entry | None:
        if not isinstance(given, dict):
            return None
        file = given.get("file")
        details = None
        if isinstance(file, dict):
            details = {each: text(file, each) for each in ("name", "type", "url")} | {"size": number(file, "size")}
        mentions = [each for each in listed(given, "mentions", 50) if isinstance(each, str)]
        event = Message(
            room=text(given, "room"),
            at=moment(given),
            author=text(given, "author")[:60],
            by=text(given, "by"),
            text=text(given, "text"),
            kind=text(given, "kind") or "say",
            to=text(given, "to")[:60],
            details=details,
            number=number(given, "number"),
        )
        mine = bool(event.by) and event.by == self.id
        called = bool(event.to) or cleaning.key(self.name) in map(cleaning.key, mentions)
        return Entry(event, event.at, calls=called and not mine, mine=mine)

    def names(self) -> Iterable[str]:
        """People who can be addressed, those of the room that is looked at."""
        return sorted(set(self.current.people.values()) | ({self.current.other} - {""})) if self.current else ()


def _same(said: str, shown: str) -> bool:
    """Whether this is what became of what we said: the house leaves out blanks, perhaps, and what is harmful."""
    return cleaning.line(said).split() == shown.split()


_KINDS = frozenset(
    ["welcome", "room", "message", "missed", "settled", "failed", "joined", "left", "renamed", "away", "parted", "announce", "notice", "hands", "history", "found", "rooms", "link", "error"]
)

"""What a client knows: the rooms it is in, what was said there, what is unread, and what it has said that is not settled yet.

No I/O. A house may send anything: what is not of the right kind is left out (`fields`), and every table has a bound. `Model.take`
is given each object and tells what is new to see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prise.chat import cleaning
from prise.chat.client.fields import listed, moment, number, text
from prise.chat.client.room import FAILED, STORED, Entry, Pending, Room
from prise.chat.events import Announcement, Away, Event, Hands, Joined, Left, Message, Notice, Plain, Renamed

MOST_ROOMS = 200
MOST_PEOPLE = 10_000
MOST_COMMANDS = 200
MOST_PENDING = 1_000


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
        room.others = number(given, "others")
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
        older = [entry for entry in entries if not first or entry.number < first]
        newer = [entry for entry in entries if first and entry.number > room.last]
        if older or not newer:
            room.more = given.get("more") is True and bool(older)
        if older:
            room.last = max(room.last, older[-1].number)
            room.prepend(older)
        for entry in newer:  # in a private conversation, while we were away
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
            seen = room is not None and (pending.shown or number(given, "number") <= room.last)
            if room is not None and seen and pending in room.pending:
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
        if room.people.pop(who, None) is None:
            room.others = max(0, room.others - 1)
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
            pending.state = FAILED
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
            room.other = self._now_called(room) or text(message, "to" if mine else "author")[:60]
        return room

    def _now_called(self, private: Room) -> str:
        """The other one of a private conversation, if they are in a room of ours: a message has the name of when it was said."""
        ids = private.name.removeprefix("@").split(",")
        other = next((id for id in ids if id != self.id), self.id)
        return next((room.people[other] for room in self.rooms.values() if other in room.people), "")

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
    {
        *("welcome", "room", "message", "missed", "settled", "failed", "joined", "left", "renamed", "away", "parted"),
        *("announce", "notice", "history", "hands", "found", "rooms", "link", "error"),
    }
)

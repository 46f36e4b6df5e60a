"""The house: all rooms, who is in them, and the way of everything that is said. It knows neither sockets nor SQLite.

People come in through doors (`doors/`), each with a `Session`; what is kept is the store's (`store/`), whose calls come here: see
`store.base.House`. Everything here belongs to one asyncio loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from prise import PriseError, UsageError
from prise.chat import cleaning, identity
from prise.chat.admission import Admission, Options
from prise.chat.elsewhere import follow
from prise.chat.errors import Denied
from prise.chat.events import (
    Announcement,
    Event,
    Joined,
    Left,
    Link,
    Message,
    Notice,
    Parted,
    Refusal,
    RoomChanged,
)
from prise.chat.person import Person, Session
from prise.chat.room import Room, Rules, room_name, show_once
from prise.chat.store.archive import FIRST_ROOM, TRIM_EVERY
from prise.chat.store.base import RECENT, Store

MOST_ROOMS = 500
MOST_ROOMS_EACH = 50
"""Rooms that one person is in."""

MOST_ROOMS_OWNED = 10
"""Rooms that one person has made."""

GRACE = 5.0
"""Seconds in which somebody whose connection broke may come back unnoticed."""

LAST_WORDS = 5.0
"""Seconds that closing the house waits for the store."""

OLD_ORDER = 30.0
"""Seconds after which an order to all nodes (an announcement, say) is no longer carried out by one that hears it late."""


class House(Admission):
    """`open` it first; `closing` is set when somebody wants it to end."""

    def __init__(self, store: Store, options: Options = Options()) -> None:  # noqa: B008 - it is frozen
        super().__init__(store, options)
        self.closing = asyncio.Event()
        self.rooms: dict[str, Room] = {}
        self.opened_at = time.time()
        self.figures: Callable[[], Iterable[Notice]] | None = None  # more of them for /stats: the server's
        self.uploads: Callable[[Person], dict[str, Any]] | None = None
        self._last_words: list[asyncio.Future[None]] = []
        self._closing_store: asyncio.Future[None] | None = None  # once another process is to have it
        self.moved = False  # all that matters is in another process
        self._shown: dict[str, int] = {}  # there, by room: the number of the last message
        self._early: list[Message] | None = []
        self._present = False
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Future[None]] = set()  # asyncio itself keeps no strong reference

    # -- opening and closing ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Takes up the rooms where the store has them. Raises UsageError, ConnectError."""
        await self.store.start(self)
        if "secret" not in self.facts:
            with suppress(UsageError):  # another node was quicker, and we have learned its
                await self.store.put("secret", identity.new_secret(), new=True)
        for name, last in {FIRST_ROOM: 0, **self.store.rooms()}.items():
            room = self._room(name)
            room.recent.extend(await self.store.read(name, count=RECENT))
            room.last = max(last, room.recent[-1].number if room.recent else 0)
        early, self._early = self._early, None
        if early:
            self.arrived(early)
        self._forget_old()

    def _forget_old(self) -> None:
        """What the archive forgets the rooms forget as well, from now on every minute."""
        keep, most = self.options.keep_time, self.options.keep_messages
        if (keep is None and most is None) or not self.talk.open:
            return
        before = 0.0 if keep is None else time.time() - keep
        for room in self.rooms.values():
            room.forget(before, RECENT if most is None else most)
        asyncio.get_running_loop().call_later(TRIM_EVERY, self._forget_old)

    async def close(self, why: Notice) -> None:
        """Nobody says anything any more; what is on its way to the store is shown, then the reason, then all are let go.

        The store is left open: whoever has made it stops it.
        """
        await self.talk.close(LAST_WORDS)
        self.dismiss_all(why)
        if self._last_words:
            await asyncio.wait(self._last_words, timeout=LAST_WORDS)

    def dismiss_all(self, why: Notice) -> None:
        """Begins to let everybody go, all at the same time: one who does not read holds up nobody. The first reason counts."""
        if not self._last_words:
            self._last_words = [self.soon(session.dismiss(why, True)) for session in tuple(self.sessions())]

    # -- going on in another process (renewal.py) --------------------------------------------------------------------------

    async def pause(self) -> None:
        """What is on its way to the store is shown, and the store is closed: another process has it next."""
        await self.talk.pause(LAST_WORDS)
        self._closing_store = asyncio.ensure_future(self.store.stop())
        await asyncio.shield(self._closing_store)  # a store that is closed by half cannot be opened again

    async def resume(self) -> None:
        """Goes on here after all. Raises UsageError when the store cannot be had again."""
        closing, self._closing_store = self._closing_store, None
        if closing is not None:
            await asyncio.wait([closing])
            await self.store.start(self)
        self.talk.resume()

    def bring_back(self, person: Person, rooms: Iterable[str]) -> None:
        """Somebody who was in this house in another process. Nobody is told."""
        self.people.add(person)
        for name in rooms:
            room = self._room(name)
            person.rooms[room.key] = room.name
            room.members[person.id] = person
        asyncio.get_running_loop().call_later(GRACE, self._gone, person, None, person.visits)

    def take_up_room(self, name: str, hands: dict[str, str], last: int) -> None:
        """What another process knew of a room. last: the number of the last message that it has shown."""
        room = self._room(name)
        room.hands.update(hands)
        self._shown[room.key] = last

    def take_up(self, session: Session) -> None:
        """A session that comes from another process: goes on where it was, with what was said since."""
        session.person.sessions.append(session)
        for key in session.person.rooms:
            room = self.rooms[key]
            if missed := room.behind(self._shown.get(key, room.last)):
                session.show(missed)

    # -- coming and going ----------------------------------------------------------------------------------------------------

    def uploads_for(self, person: Person) -> dict[str, Any]:
        """Whether this person may send files, and how large (bytes)."""
        return {"allowed": False, "most": 0} if self.uploads is None else self.uploads(person)

    def attach(self, session: Session) -> None:
        """From now on the session is shown what happens in its person's rooms. Raises Denied when they were sent away
        since `enter`."""
        if self.people.find_id(session.person.id) is not session.person:
            raise Denied("you were sent away", code="banned")
        session.person.sessions.append(session)
        self._settle_name(session.person)

    def leave(self, session: Session, why: Notice | None = None, *, grace: bool = False) -> None:
        """The session is over. Its person is gone when it was the last one; grace: if they do not come back soon. A second time
        nothing happens."""
        person = session.person
        if session in person.sessions:
            person.sessions.remove(session)
        if person.sessions or self.moved:
            return
        if grace and self.talk.open:
            asyncio.get_running_loop().call_later(GRACE, self._gone, person, why, person.visits)
        else:
            self._gone(person, why)

    def _gone(self, person: Person, why: Notice | None, visits: int | None = None) -> None:
        """visits: how often they had come when this was decided; nothing happens when they have come again."""
        if self.moved or person.sessions or visits not in (None, person.visits) or not self.people.remove(person):
            return
        for room in [self.rooms[key] for key in person.rooms if key in self.rooms]:
            self._out(person, room, why)

    # -- rooms -----------------------------------------------------------------------------------------------------------

    def find_room(self, typed: str) -> Room:
        """The room of this name. Raises UsageError when there is none."""
        name = room_name(typed)
        room = self.rooms.get(cleaning.key(name))
        if room is None:
            raise UsageError("there is no room {room}; /rooms lists them", room=name)
        return room

    def refuse_unless_in(self, person: Person, room: Room) -> None:
        """Raises UsageError when the person is not in the room."""
        if room.key not in person.rooms:
            raise UsageError("you are not in {room}; /join it first", room=room.name)

    async def admit(self, person: Person, typed: str, password: str = "") -> Room:
        """The room, new if there is none of this name, if this person may enter it. Raises UsageError."""
        name = room_name(typed)
        room = self.rooms.get(cleaning.key(name))
        if room is None:
            if len(self.rooms) >= MOST_ROOMS:
                raise UsageError("there are {most} rooms already", most=MOST_ROOMS)
            if sum(each.rules.owner == person.id for each in self.rooms.values()) >= MOST_ROOMS_OWNED:
                raise UsageError("you have made {most} rooms already", most=MOST_ROOMS_OWNED)
            room = self._room(name)
            if f"room:{room.key}" not in self.facts:
                await self.change(room, owner=person.id)
        rules = room.rules
        if room.key not in person.rooms:
            if len(person.rooms) >= MOST_ROOMS_EACH:
                raise UsageError("you are in {most} rooms already; leave one with /part", most=MOST_ROOMS_EACH)
            locked = rules.lock and not (person.operator or person.id == rules.owner)
            if locked and not (password and await identity.verified(password, rules.lock)):
                raise UsageError("{room} is locked; write /join {room} PASSWORD", room=room.name)
        return room

    def come(self, person: Person, room: Room, *, quiet: bool = False) -> None:
        """The person is in the room now, which all see; quiet: nobody is told."""
        if room.key in person.rooms:
            return
        person.rooms[room.key] = room.name
        room.members[person.id] = person
        if not quiet:
            room.show((Joined(room.name, time.time(), person.name, person.id),))
        self.tell_nodes()

    def part(self, person: Person, room: Room, why: Notice | None = None) -> None:
        """The person is no longer in the room. The others are told."""
        self._out(person, room, why)
        for session in person.sessions:
            if session.room == room.name:
                session.room = next(iter(person.rooms.values()), "")

    def _out(self, person: Person, room: Room, why: Notice | None) -> None:
        if person.rooms.pop(room.key, None) is None:
            return
        left = Left(room.name, time.time(), person.name, person.id, why)
        room.members.pop(person.id, None)
        room.hands.pop(person.id, None)
        room.spoke.pop(person.id, None)
        if not self._last_words:  # nothing is said behind the goodbye
            room.show((left,))
        person.show((Parted(room.name, left.at, person.name, person.id, why),))
        if not (
            room.members or room.elsewhere or room.last or room.rules.matter or room.key == cleaning.key(FIRST_ROOM)
        ):
            del self.rooms[room.key]
            if f"room:{room.key}" in self.facts:
                self.soon(self._forget(room))
        self.tell_nodes()

    async def _forget(self, room: Room) -> None:
        with suppress(PriseError):  # then it is forgotten another time
            await self.store.put(f"room:{room.key}", "")

    def _room(self, name: str) -> Room:
        key = cleaning.key(name)
        room = self.rooms.get(key)
        if room is None:
            room = self.rooms[key] = Room(name, Rules.parse(self.facts.get(f"room:{key}", "")))
        return room

    async def change(self, room: Room, **rules: Any) -> None:
        """Changes rules of a room, on all nodes. Raises PriseError when it cannot be kept."""
        async with self._changing:  # one after the other: each starts from what the last one has made
            await self.store.put(f"room:{room.key}", room.with_rules(**rules))

    def changed(self, person: Person, event: Event) -> None:
        """Something about a person has changed that others see."""
        show_once((self.rooms[key] for key in person.rooms), event, person)
        self.tell_nodes()

    # -- talking ---------------------------------------------------------------------------------------------------------

    async def say(
        self, session: Session, text: str, *, room: Room, kind: str = "say", reference: str = "", details: Any = None
    ) -> asyncio.Future[Message]:
        """Says something in a room. Waits while too much waits already.

        What it returns is done when the message was shown. Raises UsageError when this person may not say it.
        """
        person = session.person
        self.refuse_unless_in(person, room)
        reference = reference and f"{person.id}:{reference}"
        if not (reference and any(each.reference == reference for each in room.recent)):  # else: it is said already
            room.rules_for(person)
        return await self.talk.post(
            Message(room.name, time.time(), person.name, person.id, text, kind, "", reference, details)
        )

    async def whisper(self, session: Session, name: str, text: str, reference: str = "") -> asyncio.Future[Message]:
        """Says something to one person alone. Raises UsageError when nobody has that name, or this person may not."""
        person = session.person
        other = self.people.find(name)
        if other is None:
            raise UsageError("nobody is called {name}", name=cleaning.line(name) or "?")
        for key in person.rooms:
            room = self.rooms[key]
            in_charge = other.operator or person.operator or room.rules.owner in (other.id, person.id)
            if room.rules.muted and not in_charge:
                raise UsageError("while {room} is muted, only operators can be written to", room=room.name)
        person.partner = (other.id, other.name)
        log = "@" + ",".join(sorted((person.id, other.id)))
        reference = reference and f"{person.id}:{reference}"
        return await self.talk.post(
            Message(log, time.time(), person.name, person.id, text, "say", other.name, reference)
        )

    async def order(self, person: Person, kind: str, text: str, **details: Any) -> asyncio.Future[Message]:
        """Has something done on all nodes, in the same order: kick, announce, out (of one room)."""
        return await self.talk.post(Message("!", time.time(), person.name, person.id, text, kind, details=details))

    async def readable(self, person: Person) -> list[str]:
        """The logs that this person may read: of the rooms that they are in, and the private ones."""
        return [*person.rooms.values(), *await self.store.private(person.id)]

    def readable_log(self, person: Person, name: str) -> str:
        """The log of this name, a room's or a private one ("@id,id"), if this person may read it. Raises UsageError."""
        if name.startswith("@"):
            if person.id in name.removeprefix("@").split(","):
                return name
            raise UsageError("that private conversation is not yours")
        room = self.find_room(name)
        self.refuse_unless_in(person, room)
        return room.name

    # -- what the store says ---------------------------------------------------------------------------------------------

    def arrived(self, messages: Sequence[Message]) -> None:
        if self._early is not None:
            self._early.extend(messages)
            return
        for name, group in groupby(messages, lambda message: message.room):
            if name.startswith("@"):
                self._deliver(name, tuple(group))
            elif name == "!":
                for message in group:
                    self._obey(message)
            else:
                together = tuple(group)
                self.counts["messages"] += len(together)
                self._room(name).take(together, self.people.find)

    def _deliver(self, log: str, messages: Sequence[Message]) -> None:
        for each in dict.fromkeys(log.removeprefix("@").split(",")):
            person = self.people.find_id(each)
            if person is not None:
                if messages[-1].by != person.id:
                    person.partner = (messages[-1].by, messages[-1].author)
                person.show(messages)

    def _obey(self, order: Message) -> None:
        if order.at < time.time() - OLD_ORDER:
            return
        if order.kind == "announce":
            events = (Announcement(order.at, order.author, order.text),)
            for person in self.people.here():
                person.show(events)
        elif order.kind == "kick":
            target = self.people.find_id((order.details or {}).get("id", ""))
            if target is not None:
                self.dismiss(target, _kicked(order))
        elif order.kind == "out":
            details = order.details or {}
            target, room = self.people.find_id(details.get("id", "")), self.rooms.get(details.get("room", ""))
            if target is not None and room is not None and room.key in target.rooms:
                speaking = [session for session in target.sessions if session.room == room.name]
                self.part(target, room, _kicked(order))
                for session in speaking:
                    session.tell_place()

    def dismiss(self, person: Person, why: Notice) -> None:
        """Sends somebody away."""
        for session in tuple(person.sessions):
            self.soon(session.dismiss(why, False))
            self.leave(session, why)
        self._gone(person, why)  # those without a session too, who may come back unnoticed otherwise

    def settled(self, messages: Sequence[Message], error: PriseError | None) -> None:
        self.talk.settled(messages, error)
        if error is not None:
            authors = {message.by for message in messages}
            for person in self.people.here():
                if person.operator and person.id not in authors:
                    person.show((Refusal(error),))

    def learned(self, facts: Mapping[str, str]) -> None:
        for key, value in facts.items():
            if value:
                self.facts[key] = value
            else:
                self.facts.pop(key, None)
            if key.startswith("room:") and (room := self.rooms.get(key.removeprefix("room:"))) is not None:
                room.rules = Rules.parse(value)
                room.show((RoomChanged(room.name),))

    def linked(self, error: PriseError | None) -> None:
        self.talk.cut_off = error
        why: Notice = (
            Notice("this server has found the others again: all goes on, and what was missed follows")
            if error is None
            else Refusal(error)
        )
        for person in self.people.here():
            person.show((Link(error is None, why),))

    def met(self, node: str, people: Mapping[str, Any] | None) -> None:
        for before, after in self.people.met(node, people):
            follow(before, after, self._room)
        for person in self.people.collisions():
            self._settle_name(person)

    def _settle_name(self, person: Person) -> None:
        """Who has to give up their name to somebody on another node gets one like it; not yet, while they have no session."""
        if person.present and self.people.collides(person):
            self.give_name(person, self.people.free_name(person.name))
            person.show((Notice("somebody on another server has your nickname; you are {name} now", name=person.name),))

    def tell_nodes(self) -> None:
        """Something about somebody here has changed that other nodes know."""
        if self._present or self.store.alone:
            return
        self._present = True

        def tell() -> None:
            self._present = False
            self.store.present({person.id: person.facts() for person in self.people.here()})

        asyncio.get_running_loop().call_soon(tell)

    def soon(self, what: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def sessions(self) -> Iterator[Session]:
        for person in self.people.here():
            yield from person.sessions


def _kicked(order: Message) -> Notice:
    if order.text:
        return Notice("removed by {name} ({reason})", name=order.author, reason=order.text)
    return Notice("removed by {name}", name=order.author)

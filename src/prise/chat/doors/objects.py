"""A program's conversation with the house: JSON objects, over WebSocket or over lines. docs/chat-protocol.md is what
it keeps to.

Who comes back says behind which number they were (`since`). What they have missed is sent from the store, page by
page, until the rest is among the last messages that the room itself remembers; the step from those to what is said
live has no `await` in it, so there is neither a gap nor a repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import prise
from prise.chat import cleaning, commands
from prise.chat.doors import shapes
from prise.chat.doors.entry import LONGEST_LINE, MOST_TRIES, NAME_TIME, Speaker, harmless, host_of, known
from prise.chat.doors.painter import Painter
from prise.chat.errors import Denied
from prise.chat.events import Event, Message, Notice, Plain
from prise.chat.house import House
from prise.chat.person import Person, Session
from prise.chat.room import Room
from prise.chat.store.archive import FIRST_ROOM
from prise.locale import language as usual_language
from prise.locale import translator

HISTORY = 50
MOST_HISTORY = 500
"""Messages sent at once when somebody asks for older ones."""

MOST_REPLAY = 5_000
"""Messages that somebody who comes back is sent without asking."""

MOST_FOUND = 100


class ObjectSession(Session):
    """A program, and the person it speaks for. apart: its carrier keeps messages apart."""

    def __init__(
        self,
        house: House,
        person: Person,
        connection: prise.AsyncConnection,
        painter: Painter,
        language: str,
        apart: bool = False,
    ) -> None:
        super().__init__(person, host_of(connection), translator(language))
        self._house = house
        self._connection = connection
        self._painter = painter
        self.language = language
        self._way = ("object", language)
        self._apart = apart
        self.behind: dict[str, int] = {}  # rooms by key -> the number that this program has got to
        self.history = HISTORY
        self.bot = False
        self._held: list[Sequence[Event]] | None = None  # private messages, while earlier ones are being sent

    def show(self, events: Sequence[Event]) -> None:
        if self._held is not None and isinstance(events[0], Message) and events[0].to:
            self._held.append(events)
            return
        made = self._painter.bytes(events, self._connection, self._way, self._paint, apart=self._apart)
        for data in made:
            self._connection.post_encoded(data, flush=len(made) == 1)

    def _paint(self, events: Sequence[Event]) -> list[str]:
        return shapes.painted(self._house, events, self.translate)

    def send(self, kind: str, given: Any) -> None:
        """Posts one object."""
        self._connection.post(shapes.dumped(kind, given))

    def state(self) -> dict[str, Any]:
        kept = {"language": self.language, "apart": self._apart, "bot": self.bot, "history": self.history}
        return {**super().state(), "door": "objects", **kept}

    @property
    def unsent(self) -> int:
        return self._connection.unsent

    async def dismiss(self, why: Notice | None, again: bool) -> None:
        await self.goodbye(why, again)
        await self._connection.close()

    async def goodbye(self, why: Notice | None, again: bool) -> None:
        await _goodbye(self._connection, why.text(self.translate) if why is not None else "", again)

    async def join(self, room: Room) -> None:
        if room.key in self.person.rooms:
            self.send("room", shapes.room(room))
            return
        await self.bring([room])
        self.room = self.room or room.name

    async def bring(self, rooms: Sequence[Room]) -> None:
        """Sends each room and what was said there, and from then on what is said."""
        behind = {room: self._start(room) for room in rooms}
        while lagging := [room for room, number in behind.items() if room.behind(number) is None]:
            for room in lagging:
                # After -1, for 0 means "the last ones".
                page = await self._house.store.read(room.name, after=behind[room] or -1, count=MOST_HISTORY)
                if not page:  # all of it is forgotten by now
                    behind[room] = room.recent[0].number - 1 if room.recent else room.last
                    continue
                for message in page:
                    await self._connection.send(shapes.dumped("message", shapes.message(message)))
                behind[room] = page[-1].number
        # From here on nothing waits.
        for room, number in behind.items():
            self.send("room", shapes.room(room))
            if rest := room.behind(number):
                self.show(rest)
        if self not in self.person.sessions:
            self._house.attach(self)
        for room in rooms:
            self._house.come(self.person, room)

    async def bring_private(self) -> None:
        """Sends the private messages that were missed: those behind the numbers that the program knows, and those of
        conversations that it does not know and that were stored after all it has seen."""
        store, rooms = self._house.store, self._house.rooms
        seen = {rooms[key].name if key in rooms else key: number for key, number in self.behind.items()}
        sent: dict[str, int] = {}
        for log, number in (await store.missed(self.person.id, seen)).items():
            while page := await store.read(log, after=number or -1, count=MOST_HISTORY):
                for message in page:
                    await self._connection.send(shapes.dumped("message", shapes.message(message)))
                number = sent[log] = page[-1].number
        held, self._held = self._held or [], None
        for events in held:
            fresh = tuple(e for e in events if isinstance(e, Message) and e.number > sent.get(e.room, 0))
            if fresh:
                self.show(fresh)

    def _start(self, room: Room) -> int:
        """The number behind which this program wants to know what was said."""
        since = self.behind.get(room.key)
        if since is None:
            recent = list(room.recent)[-self.history :] if self.history else []
            return recent[0].number - 1 if recent else room.last
        if room.last - since > MOST_REPLAY:
            first = since + 1
            since = room.recent[0].number - 1 if room.recent else room.last
            self.send("missed", {"room": room.name, "first": first, "last": since})
        return min(since, room.last)

    def list_rooms(self, rooms: Sequence[Room]) -> None:
        self.send("rooms", {"rooms": [shapes.summary(room) for room in rooms]})

    def renewed(self) -> None:
        self.send("welcome", shapes.welcome(self._house, self))


class ObjectDoor:
    """Where programs come in. uploads: what `welcome` says of them, by person."""

    def __init__(self, house: House, painter: Painter) -> None:
        self._house = house
        self._painter = painter

    async def __call__(self, connection: prise.AsyncConnection) -> None:
        """A conversation over WebSocket."""
        await self.converse(connection, None)

    async def converse(self, connection: prise.AsyncConnection, first: str | None) -> None:
        """A conversation whose first message may have been received."""
        session: ObjectSession | None = None
        grace = True
        why: Notice | None = None
        try:
            if connection.state:
                session = self._take_up(connection)
            else:
                connection.state = {}
                session = await self._enter(connection, first)
            if session is not None:
                connection.state = session.state
                grace = await self._serve(session, connection) and not session.bot
        except prise.MessageTooLarge:
            why, grace = Notice("a line of more than {most} bytes", most=4 * LONGEST_LINE), False
            await _goodbye(
                connection, why.text(translator(usual_language()) if session is None else session.translate), False
            )
        except prise.TooSlow:
            why = Notice("too slow to read what is said")
            raise
        finally:
            if session is not None:
                self._house.leave(session, why, grace=grace)

    async def take_over(self, connection: prise.AsyncConnection, old: Session) -> None:
        """Goes on with a connection that was a person's until now (`/bot`)."""
        session = ObjectSession(self._house, old.person, connection, self._painter, usual_language())
        session.room = old.room
        self._house.attach(session)
        self._house.leave(old)
        connection.state = session.state
        session.renewed()
        grace = True
        try:
            grace = await self._serve(session, connection)
        finally:
            self._house.leave(session, grace=grace)

    def _take_up(self, connection: prise.AsyncConnection) -> ObjectSession:
        """Goes on with a conversation of the process before this one."""
        told = connection.state
        person = known(self._house, told)
        session = ObjectSession(self._house, person, connection, self._painter, told["language"], told["apart"])
        session.room, session.bot, session.history = told["room"], told["bot"], told["history"]
        self._house.take_up(session)
        return session

    async def _enter(self, connection: prise.AsyncConnection, first: str | None) -> ObjectSession | None:
        apart = first is None  # nothing was received yet: it came in by WebSocket
        language = usual_language()
        for _try in range(MOST_TRIES):
            given = first if first is not None else await connection.receive(timeout=NAME_TIME)
            first = None
            if given is None:
                return None
            try:
                kind, hello = shapes.parsed(given)
                if kind != "hello":
                    raise prise.UsageError("the first object is a hello, not {kind}", kind=kind)
                hello = {"name": hello} if isinstance(hello, str) else shapes.mapping(hello)
                language = shapes.text(hello, "language") or language
                shapes.number(hello, "history", 0)
                person = await self._house.enter(
                    shapes.text(hello, "name"),
                    token=shapes.text(hello, "token"),
                    passphrase=shapes.text(hello, "passphrase"),
                    password=shapes.text(hello, "password"),
                    host=host_of(connection),
                )
            except Denied as error:
                why = error.sentence(translator(language))
                await connection.send(shapes.dumped("denied", {"why": why, "code": error.code}))
                if error.code in ("banned", "full"):
                    return None
                continue
            except prise.UsageError as error:
                await connection.send(shapes.dumped("error", {"why": error.sentence(translator(language))}))
                continue
            session = ObjectSession(self._house, person, connection, self._painter, language, apart)
            try:
                await self._welcome(session, hello)
            except Denied as error:
                await session.goodbye(Plain(error.sentence(session.translate)), False)
                return None
            except BaseException:
                self._house.leave(session, grace=True)
                raise
            return session
        return None

    async def _welcome(self, session: ObjectSession, hello: dict[str, Any]) -> None:
        session.send("welcome", shapes.welcome(self._house, session))
        session.bot = bool(hello.get("bot"))
        session.history = min(shapes.number(hello, "history", 0 if session.bot else HISTORY), MOST_HISTORY)
        since = hello.get("since")
        if isinstance(since, dict):
            session.behind = {
                cleaning.key(str(name)): min(number, 2**53)
                for name, number in since.items()
                if isinstance(number, int) and number >= 0
            }
        wanted = hello.get("rooms")
        names = [str(name) for name in wanted][:50] if isinstance(wanted, list) else [FIRST_ROOM]
        rooms: dict[str, Room] = {}
        for name in dict.fromkeys((*names, *session.person.rooms.values())):
            try:
                room = await self._house.admit(session.person, name)
                rooms[room.key] = room
            except prise.PriseError as error:
                session.refuse(error)
        session.room = next((room.name for room in rooms.values()), "")
        if session.behind:
            session._held = []
        await session.bring(list(rooms.values()))
        if session.behind:
            await session.bring_private()
        if self._house.talk.cut_off is not None:
            session.send("link", {"up": False, "why": self._house.talk.cut_off.sentence(session.translate)})

    async def _serve(self, session: ObjectSession, connection: prise.AsyncConnection) -> bool:
        """Does what the program asks for until it ends; True when it may come back unnoticed."""
        speaker = Speaker(self._house, session)
        async for given in connection:
            if session not in session.person.sessions:
                return False  # sent away
            try:
                kind, fields = shapes.parsed(given)
                if kind == "quit":
                    return False
                if kind not in _KINDS:
                    raise prise.UsageError("there is no kind {kind}", kind=kind[:40])
                if kind in ("say", "do", "search"):
                    await speaker.in_turn()
                await _KINDS[kind](self._house, session, speaker, fields)
            except prise.PriseError as error:
                session.send("error", {"why": error.sentence(session.translate)})
        await speaker.settled()
        return True


async def _goodbye(connection: prise.AsyncConnection, why: str, again: bool) -> None:
    try:
        await connection.send(shapes.dumped("goodbye", {"why": why, "again": again}))
    except prise.PeerError:
        pass  # they did not stay to hear it


async def _say(house: House, session: ObjectSession, speaker: Speaker, given: Any) -> None:
    fields = {"text": given} if isinstance(given, str) else shapes.mapping(given)
    reference = shapes.text(fields, "id")[:64]
    room = shapes.text(fields, "room") or session.room
    try:
        text = harmless(shapes.text(fields, "text"))
        if not text.strip():
            raise prise.UsageError("there is nothing in it")
        speaker.refuse_if_too_long(text)
        if not room:
            raise prise.UsageError("you are in no room; /join one, /rooms lists them")
        done = partial(_settled, session, reference) if reference else None
        await speaker.say(text, room, reference, done)
    except prise.PriseError as error:
        if not reference:
            raise
        session.send("failed", {"id": reference, "why": error.sentence(session.translate)})


def _settled(session: ObjectSession, reference: str, settled: asyncio.Future[Message]) -> None:
    error = None if settled.cancelled() else settled.exception()
    if error is None:
        message = settled.result()
        session.send("settled", {"id": reference, "room": message.room, "number": message.number})
    elif isinstance(error, prise.PriseError):
        session.send("failed", {"id": reference, "why": error.sentence(session.translate)})


async def _do(house: House, session: ObjectSession, speaker: Speaker, given: Any) -> None:
    fields = {"command": given} if isinstance(given, str) else shapes.mapping(given)
    line = harmless(shapes.text(fields, "command"))
    room = shapes.text(fields, "room")
    before = session.room
    if room and not room.startswith("@"):
        session.room = house.readable_log(session.person, room)
    try:
        await commands.obey(house, session, line if line.startswith("/") else f"/{line}")
    finally:
        if before in session.person.rooms.values():
            session.room = before


async def _history(house: House, session: ObjectSession, speaker: Speaker, given: Any) -> None:
    fields = shapes.mapping(given)
    name = shapes.text(fields, "room") or session.room
    count = max(1, min(shapes.number(fields, "count", HISTORY), MOST_HISTORY))
    log = house.readable_log(session.person, name)
    messages = await house.store.read(log, before=shapes.number(fields, "before", 0), count=count + 1)
    more = len(messages) > count
    await session._connection.send(
        shapes.dumped("history", {"room": log, "messages": list(map(shapes.message, messages[-count:])), "more": more})
    )


async def _search(house: House, session: ObjectSession, speaker: Speaker, given: Any) -> None:
    fields = {"words": given} if isinstance(given, str) else shapes.mapping(given)
    words, room = shapes.text(fields, "words"), shapes.text(fields, "room")
    logs = [house.readable_log(session.person, room)] if room else await house.readable(session.person)
    found = await house.store.search(words, logs, MOST_FOUND)
    await session._connection.send(
        shapes.dumped("found", {"words": words, "messages": list(map(shapes.message, found))})
    )


async def _rooms(house: House, session: ObjectSession, speaker: Speaker, given: Any) -> None:
    session.list_rooms(list(house.rooms.values()))


async def _ping(house: House, session: ObjectSession, speaker: Speaker, given: Any) -> None:
    try:
        session.send("pong", given)
    except (ValueError, RecursionError):  # 1e999 is read as infinity; reading goes a little deeper than writing
        raise prise.UsageError("that cannot be sent back") from None


_KINDS: dict[str, Callable[[House, ObjectSession, Speaker, Any], Any]] = {
    "say": _say,
    "do": _do,
    "history": _history,
    "search": _search,
    "rooms": _rooms,
    "ping": _ping,
}

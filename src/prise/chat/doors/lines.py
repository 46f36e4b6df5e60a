"""One person's conversation with the house, over lines: any program that sends and shows lines will do.

What is typed is said in the room where one is; what is said in others that one is in comes with the room's name in
front. A first line that begins with {"hello" is a program's, and the conversation becomes that of `objects`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import prise
from prise.chat import cleaning, commands, texts
from prise.chat.doors.entry import LIMITS, MOST_TRIES, NAME_TIME, Speaker, harmless, host_of, known
from prise.chat.doors.objects import ObjectDoor
from prise.chat.doors.painter import Painter
from prise.chat.errors import Denied
from prise.chat.events import Event, Message, Notice
from prise.chat.house import House
from prise.chat.person import Person, Session
from prise.chat.room import Room
from prise.chat.store.archive import FIRST_ROOM
from prise.locale import translate as _

HELLO = '{"hello"'
"""How the first line of a program begins."""

HISTORY = 20
"""Messages that somebody who comes into a room is shown."""


class LineSession(Session):
    """A person at a screen of lines."""

    def __init__(self, house: House, person: Person, connection: prise.AsyncConnection, painter: Painter) -> None:
        super().__init__(person, host_of(connection), _)
        self._house = house
        self._connection = connection
        self._painter = painter
        self.last_word: Notice | None = None

    def show(self, events: Sequence[Event]) -> None:
        if self.person.name in self._painter.called(events):
            made = tuple(map(self._connection.encode, _lines(events, self.room, _, self.person.name)))
        else:
            made = self._painter.bytes(events, self._connection, ("line", self.room), self._paint)
        for data in made:
            self._connection.post_encoded(data, flush=len(made) == 1)

    def _paint(self, events: Sequence[Event]) -> list[str]:
        return _lines(events, self.room, _)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "door": "lines"}

    @property
    def unsent(self) -> int:
        return self._connection.unsent

    async def dismiss(self, why: Notice | None, again: bool) -> None:
        await last_word(self._connection, _("Goodbye") if why is None else texts.line(why, _))
        await self._connection.close()

    async def join(self, room: Room) -> None:
        self.room = room.name
        if recent := list(room.recent)[-HISTORY:]:
            self.show(recent)
        new = room.key not in self.person.rooms
        self._house.come(self.person, room)
        if room.rules.topic:
            self.inform("the topic of {room} is: {topic}", room=room.name, topic=room.rules.topic)
        elif not new or room.name != FIRST_ROOM:
            self.inform("you are in {room} now", room=room.name)


class LineDoor:
    """Where conversations over lines come in; calling it with a connection holds one."""

    def __init__(self, house: House, painter: Painter, objects: ObjectDoor) -> None:
        self._house = house
        self._painter = painter
        self._objects = objects

    async def __call__(self, connection: prise.AsyncConnection) -> None:
        session: LineSession | None = None
        why: Notice | None = None
        try:
            if connection.state:
                if connection.state["door"] == "objects":
                    await self._objects(connection)
                    return
                session = self._take_up(connection)
            else:
                connection.state = {}  # who has not said a name yet is asked again
                session = await self._enter(connection)
            if session is not None:
                connection.state = session.state
                await self._converse(session, connection)
        except prise.MessageTooLarge:
            why = Notice("a line of more than {most} bytes", most=LIMITS.message_size)
            await last_word(connection, _("Too long: {reason}. Goodbye").format(reason=why.text(_)))
            raise
        except prise.TooSlow:
            why = Notice("too slow to read what is said")
            raise
        finally:
            if session is not None:
                self._house.leave(session, why)

    def _take_up(self, connection: prise.AsyncConnection) -> LineSession:
        """Goes on with a conversation of the process before this one."""
        told = connection.state
        session = LineSession(self._house, known(self._house, told), connection, self._painter)
        session.room = told["room"]
        self._house.take_up(session)
        return session

    async def _enter(self, connection: prise.AsyncConnection) -> LineSession | None:
        """Asks for a nickname until it can be had; None when the person leaves instead."""
        house = self._house
        name = passphrase = password = ""
        question = _("This house's password?") if house.options.password else _("Your nickname?")
        code = "password" if house.options.password else "name"
        first = await _first(connection)
        if first is None or not first.startswith(HELLO):
            await connection.send(question)
        for _try in range(MOST_TRIES):
            typed, first = first if first is not None else await self._answer(connection), None
            if typed is None:
                return None
            if cleaning.is_end(typed):
                await last_word(connection, _("Goodbye"))
                return None
            if typed.startswith(HELLO):
                await self._objects.converse(connection, typed)
                return None
            if code == "password":
                password = typed.strip()
            elif code == "passphrase" and typed.strip():
                passphrase = typed.strip()
            else:
                name, passphrase = typed, ""
            try:
                if code == "password" and not name:
                    house.refuse_password(password)
                    code = "name"
                    await connection.send(_("Your nickname?"))
                    continue
                person = await house.enter(name, passphrase=passphrase, password=password, host=host_of(connection))
            except Denied as error:
                code = "name" if error.code == "passphrase" and passphrase else error.code
                if code in ("banned", "full"):
                    await last_word(connection, error.sentence(_))
                    return None
                ask = "" if code in ("passphrase", "password") else f". {_('Your nickname?')}"
                await connection.send(f"{error.sentence(_)}{ask}")
                continue
            return await self._welcome(connection, person)
        return None

    async def _answer(self, connection: prise.AsyncConnection) -> str | None:
        try:
            typed = await connection.receive(timeout=NAME_TIME)
        except prise.TooSlow:
            await last_word(connection, _("No nickname for {seconds:g} s. Goodbye").format(seconds=NAME_TIME))
            raise
        return str(typed) if typed is not None else None

    async def _welcome(self, connection: prise.AsyncConnection, person: Person) -> LineSession:
        session = LineSession(self._house, person, connection, self._painter)
        try:
            room = await self._house.admit(person, FIRST_ROOM)
            self._house.attach(session)
            await session.join(room)
            session.inform("you are {name}; /help lists the commands, FIN ends; what is said is kept", name=person.name)
            await commands.obey(self._house, session, "/who")
            if self._house.talk.cut_off is not None:
                session.refuse(self._house.talk.cut_off)
        except BaseException:
            self._house.leave(session)
            raise
        return session

    async def _converse(self, session: LineSession, connection: prise.AsyncConnection) -> None:
        speaker = Speaker(self._house, session)
        async for typed in connection:
            line = harmless(typed)
            if session not in session.person.sessions:
                return  # sent away
            command = commands.is_command(line)
            if command or cleaning.is_end(line):
                await speaker.settled()
                if not command or line.strip() == "/quit":
                    await last_word(connection, _("Goodbye"))
                    return
                if line.strip() == "/bot":
                    await self._objects.take_over(connection, session)
                    return
                await speaker.in_turn()
                await commands.obey(self._house, session, line)
            elif line.strip():
                try:
                    speaker.refuse_if_too_long(line)
                    if not session.room:
                        raise prise.UsageError("you are in no room; /join one, /rooms lists them")
                    await speaker.in_turn()
                    await speaker.say(line.removeprefix("/"), session.room)
                except prise.PriseError as error:
                    session.refuse(error)
        await speaker.settled()


def _lines(events: Sequence[Event], here: str, translate: Callable[[str], str], bell: str = "") -> list[str]:
    """The events as lines. here: the room whose lines need not say where they belong. bell: whose name rings."""
    made = []
    for event in events:
        line = texts.line(event, translate)
        if line:
            place = getattr(event, "room", "")
            if place and place != here and place[0] != "@":
                line = f"#{place} {line}"
            if bell and isinstance(event, Message) and (bell in event.mentions or event.to == bell):
                line += "\a"
            made.append(line)
    return made


async def _first(connection: prise.AsyncConnection) -> str | None:
    """The first line, when it is here already: a program's, which is not to be greeted."""
    try:
        typed = await connection.receive(timeout=0.05)
    except prise.TooSlow:
        return None
    return str(typed) if typed is not None else None


async def last_word(connection: prise.AsyncConnection, text: str) -> None:
    try:
        await connection.send(text)
    except prise.PeerError:
        pass  # they did not stay to hear it

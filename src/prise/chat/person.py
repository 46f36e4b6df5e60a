"""Who is in the house: a person, and the sessions through which they are there. Two tabs and a telephone are one person."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from prise import PriseError, UsageError
from prise.chat import cleaning
from prise.chat.events import Event, Message, Notice, Plain, Refusal

if TYPE_CHECKING:
    from prise.chat.room import Room

MOST_IGNORED = 100
"""Names that somebody ignores."""


class Session(ABC):
    """One connection of a person; each kind of door has its own.

    stays: it cannot go on in another process. room: the name of the room where it speaks when it names none; "" for
    nowhere. host: the address it comes from, ""
    where that says nothing. translate: into the language of its reader.
    """

    stays: ClassVar[bool] = False

    def __init__(self, person: Person, host: str = "", translate: Callable[[str], str] = str) -> None:
        self.person = person
        self.host = host
        self.translate = translate
        self.room = ""

    @abstractmethod
    def show(self, events: Sequence[Event]) -> None:
        """See `events.Show`."""

    @property
    def unsent(self) -> int:
        """Bytes that wait because they are not read."""
        return 0

    def state(self) -> dict[str, Any]:
        """What another process needs to go on with it (`connection.state`)."""
        return {"person": self.person.id, "room": self.room}

    @abstractmethod
    async def dismiss(self, why: Notice | None, again: bool) -> None:
        """Ends the conversation once all that was shown is delivered. again: the client may come back."""

    @abstractmethod
    async def join(self, room: Room) -> None:
        """Goes into a room that has admitted the person: shows what was said there, and from then on what is said."""

    def list_rooms(self, rooms: Sequence[Room]) -> None:
        """The answer to `/rooms`, as lines; programs get it as data."""
        for room in rooms:
            mark = "*" if room.name == self.room else "+" if room.key in self.person.rooms else " "
            lock = f" {self.translate('(locked)')}" if room.rules.lock else ""
            self.show((Plain(f"{mark} #{room.name:<20} {room.count:>4}{lock} {room.rules.topic}".rstrip()),))

    def renewed(self) -> None:  # noqa: B027 - people see it by themselves
        """Something about the person is not as it was said at the beginning: they are an operator now."""

    def inform(self, template: str, /, **values: Any) -> None:
        """Says something to this session alone. template: constant, `make locale` finds it."""
        self.show((Notice(template, place=self.room, **values),))

    def tell_place(self) -> None:
        """Says in which room it speaks now, after it has left one."""
        if self.room:
            self.inform("you are in {room} now", room=self.room)
        else:
            self.inform("you are in no room now; /join one, /rooms lists them")

    def refuse(self, error: PriseError) -> None:
        """Tells why something was not done."""
        self.show((Refusal(error, place=self.room),))


@dataclass(eq=False, slots=True)
class Person:
    """id: stays the same when the name changes, and from visit to visit for who shows a token. rooms: those that they
    are in, by key, in the order in which they came. ignored: the name's key -> id. partner: id and name of the last private
    message's other side. visits: how often they have come in.
    """

    id: str
    name: str
    registered: bool = False
    operator: bool = False
    away: str = ""
    rooms: dict[str, str] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    partner: tuple[str, str] | None = None
    visits: int = 1

    @property
    def present(self) -> bool:
        return bool(self.sessions)

    @property
    def key(self) -> str:
        return cleaning.key(self.name)

    def show(self, events: Sequence[Event]) -> None:
        if self.ignored:
            left = tuple(each for each in events if not self._ignores(each))
            if not left:
                return
            if len(left) < len(events):  # else the very same ones: what was made of them is shared
                events = left
        if len(self.sessions) == 1:  # the usual case
            self.sessions[0].show(events)
            return
        for session in tuple(self.sessions):
            session.show(events)

    def _ignores(self, event: Event) -> bool:
        """Whoever takes another name stays ignored, and so does who comes in anew under the same one."""
        if not isinstance(event, Message) or event.by == self.id:
            return False
        return event.by in self.ignored.values() or cleaning.key(event.author) in self.ignored

    def ignore(self, other: Person | Elsewhere) -> None:
        """Raises UsageError."""
        if len(self.ignored) >= MOST_IGNORED:
            raise UsageError("you ignore {most} people already", most=MOST_IGNORED)
        self.ignored[cleaning.key(other.name)] = other.id

    def facts(self) -> dict[str, Any]:
        """What other nodes are told of them."""
        return {"name": self.name, "operator": self.operator, "away": self.away, "rooms": list(self.rooms.values())}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Somebody who is on another node."""

    id: str
    name: str
    operator: bool
    away: str
    rooms: tuple[str, ...]
    node: str

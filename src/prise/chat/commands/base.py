"""What a command is: a name, what `/help` says of it, and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prise import UsageError
from prise.chat.house import House
from prise.chat.person import Elsewhere, Person, Session
from prise.chat.room import Room


@dataclass(frozen=True, slots=True)
class Order:
    """Somebody asks for something. rest: what followed the command, without the spaces around it."""

    house: House
    session: Session
    rest: str

    @property
    def person(self) -> Person:
        return self.session.person

    @property
    def translate(self) -> Callable[[str], str]:
        return self.session.translate

    @property
    def room(self) -> Room:
        """The room where it was asked. Raises UsageError outside of all."""
        if not self.session.room:
            raise UsageError("you are in no room; /join one, /rooms lists them")
        return self.house.find_room(self.session.room)

    def first(self) -> tuple[str, str]:
        """The first word of the rest, and what follows it."""
        word, _space, more = self.rest.partition(" ")
        return word, more.strip()

    def somebody(self, name: str) -> Person | Elsewhere:
        """Raises UsageError when nobody has that name."""
        found = self.house.people.find(name) if name else None
        if found is None:
            raise UsageError("nobody is called {name}", name=name or "?")
        return found

    def in_charge(self, room: Room) -> bool:
        """Whether they are an operator, or have made the room."""
        return self.person.operator or self.person.id == room.rules.owner

    def refuse_unless_in_charge(self, room: Room) -> None:
        """Raises UsageError."""
        if not self.in_charge(room):
            raise UsageError("that is for the operator, and for who has made the room")


@dataclass(frozen=True, slots=True)
class Command:
    """name: without the slash. arguments, help: what `/help` shows, marked to be translated. operator: for operators alone;
    owner: and for who has made the room where it is asked."""

    name: str
    arguments: str
    help: str
    run: Callable[[Order], Awaitable[None]]
    operator: bool = False
    owner: bool = False

    def refuse_unless_allowed(self, order: Order) -> None:
        """Raises UsageError when they may not ask for it, there."""
        if self.operator and not order.person.operator:
            if not self.owner:
                raise UsageError("/{name} is for the operator", name=self.name)
            order.refuse_unless_in_charge(order.room)

    def allowed(self, order: Order) -> bool:
        """Whether they may ask for it, there."""
        try:
            self.refuse_unless_allowed(order)
        except UsageError:
            return False
        return True

    def usage(self, translate: Callable[[str], str]) -> str:
        return f"/{self.name} {translate(self.arguments) if self.arguments else ''}".rstrip()

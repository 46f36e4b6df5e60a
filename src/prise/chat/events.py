"""What can happen in a chat house, as data. Whoever shows an event decides how it looks (`texts` for lines,
`doors/jsondoor` for programs).

at: seconds since 1970, as `time.time()` gives them. room: its name as it is shown; "" is the whole house. by, id: a person's
identity, which stays the same when the name changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was said, the one kind of event that is kept.

    kind: "say", "me", "topic", "file", or an order to all nodes ("kick", "out", "announce", in the room "!"). number: rises
    within its room; 0 as long as it is not stored. reference: chosen by whoever says it, new for each message, so
    that one which is sent again is said once; "" for none. to: of a private message, the name of whom it is for.
    details: of a file, its name, size, type and url. mentions: names of people here that the text calls; worked out
    when it arrives, not kept.
    """

    room: str
    at: float
    author: str
    by: str
    text: str
    kind: str = "say"
    to: str = ""
    reference: str = ""
    details: dict[str, Any] | None = None
    number: int = 0
    mentions: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody came into a room."""

    room: str
    at: float
    name: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody is gone from a room. reason: a notice for people; None when they simply left."""

    room: str
    at: float
    name: str
    id: str = ""
    reason: Notice | None = None


@dataclass(frozen=True, slots=True)
class Parted(Left):
    """The same, as it is shown to the one who is gone from the room."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """Somebody has another name now."""

    at: float
    name: str
    new: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Away:
    """Somebody is away, and says why, or is back (text is empty)."""

    at: float
    name: str
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """The operator speaks to everybody in the house."""

    at: float
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """Something of a room that its members see is not as it was: topic, lock, muting, slow mode. Doors for lines
    leave it out: a notice says it there.
    """

    room: str


@dataclass(frozen=True, slots=True)
class Hands:
    """For operators: who wants to speak in a room, in order. hands: (name, about)."""

    room: str
    hands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """This node is cut off from the others, or has found them again. why: a notice for people."""

    up: bool
    why: Notice


class Notice:
    """What the house itself has to say, usually to one person: the answer to a command, a refusal.

    text: a constant template, which `make locale` finds; values fill it, after it is translated into the reader's
    language. A value that is a Notice itself is translated too. place: the room where it belongs, "" for nowhere.
    """

    __slots__ = ("place", "template", "values")

    def __init__(self, template: str, /, *, place: str = "", **values: Any) -> None:
        self.template = template
        self.place = place
        self.values = values

    def text(self, translate: Callable[[str], str] = str) -> str:
        """The sentence, in the language of `translate` (template -> template)."""
        if not self.values:
            return translate(self.template)
        values = {
            name: value.text(translate) if isinstance(value, Notice) else value for name, value in self.values.items()
        }
        return translate(self.template).format(**values)

    def __repr__(self) -> str:
        return f"Notice({self.text()!r})"


class Plain(Notice):
    """A notice whose text is there already: it comes from people, or from an error."""

    __slots__ = ()

    def text(self, translate: Callable[[str], str] = str) -> str:
        return self.template


class Refusal(Notice):
    """A notice with an error's reason in it, which knows how to translate itself."""

    __slots__ = ("error",)

    def __init__(self, error: Any, /, *, place: str = "") -> None:
        super().__init__("", place=place)
        self.error = error

    def text(self, translate: Callable[[str], str] = str) -> str:
        return str(self.error.sentence(translate))


Event: TypeAlias = Message | Joined | Left | Renamed | Away | Announcement | RoomChanged | Hands | Link | Notice

Show: TypeAlias = Callable[[Sequence[Event]], object]
"""Shows events to one session, in this order. It must never wait, and never raise. Everybody is given the same sequence
object, so what is made of it for one may be kept for the next."""

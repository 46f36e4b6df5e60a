"""The objects of docs/chat-protocol.md: what events, rooms and messages look like there, and how what programs send is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from prise import UsageError
from prise.chat.commands import COMMANDS
from prise.chat.doors.entry import LONGEST_LINE
from prise.chat.events import (
    Announcement,
    Away,
    Event,
    Hands,
    Joined,
    Left,
    Link,
    Message,
    Notice,
    Parted,
    Renamed,
    RoomChanged,
)
from prise.chat.house import House
from prise.chat.room import Room

if TYPE_CHECKING:
    from prise.chat.person import Session

MOST_LISTED = 1_000
"""People of a room who are named to somebody who comes into it; of the others the number is said."""

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
Translate = Callable[[str], str]


def dumped(kind: str, given: Any) -> str:
    return _dump({kind: given})


def painted(house: House, events: Sequence[Event], translate: Translate) -> list[str]:
    """Events as objects."""
    return [dumped(kind, given) for event in events for kind, given in [_shape(house, event, translate)] if kind]


def _shape(house: House, event: Event, translate: Translate) -> tuple[str, Any]:
    match event:
        case Message():
            return "message", message(event)
        case Notice():
            given = {"text": event.text(translate)}
            return "notice", {**given, "room": event.place} if event.place else given
        case Joined():
            return "joined", {"room": event.room, "name": event.name, "id": event.id, "at": event.at}
        case Parted():
            return "parted", {
                "room": event.room,
                "why": event.reason.text(translate) if event.reason is not None else "",
            }
        case Left():
            why = event.reason.text(translate) if event.reason is not None else ""
            return "left", {"room": event.room, "name": event.name, "id": event.id, "at": event.at, "why": why}
        case Renamed():
            return "renamed", {"name": event.name, "new": event.new, "id": event.id, "at": event.at}
        case Away():
            return "away", {"name": event.name, "id": event.id, "text": event.text}
        case Announcement():
            return "announce", {"author": event.author, "text": event.text, "at": event.at}
        case Hands():
            return "hands", {"room": event.room, "hands": [{"name": n, "about": about} for n, about in event.hands]}
        case Link():
            return "link", {"up": event.up, "why": event.why.text(translate)}
        case RoomChanged() if (found := house.rooms.get(event.room.casefold())) is not None:
            return "room", room(found)
    return "", None


def message(event: Message) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "room": event.room,
        "number": event.number,
        "at": event.at,
        "author": event.author,
        "by": event.by,
        "kind": event.kind,
        "text": event.text,
    }
    if event.mentions:
        shape["mentions"] = event.mentions
    if event.details is not None:
        shape["file"] = event.details
    if event.to:
        shape["to"] = event.to
    return shape


def room(given: Room) -> dict[str, Any]:
    rules = given.rules
    people = [
        {"name": e.name, "id": e.id, "operator": e.operator, "away": e.away}
        for e in islice(given.people(), MOST_LISTED)
    ]
    return {
        "room": given.name,
        "topic": rules.topic,
        "people": people,
        "others": given.count - len(people),
        "last": given.last,
        "locked": bool(rules.lock),
        "muted": rules.muted,
        "slow": rules.slow,
        "owner": rules.owner,
    }


def summary(given: Room) -> dict[str, Any]:
    rules = given.rules
    return {
        "room": given.name,
        "topic": rules.topic,
        "people": given.count,
        "locked": bool(rules.lock),
        "last": given.last,
    }


def welcome(house: House, session: Session) -> dict[str, Any]:
    person, translate = session.person, session.translate
    return {
        "name": person.name,
        "id": person.id,
        "token": house.token(person),
        "registered": person.registered,
        "operator": person.operator,
        "house": house.options.name,
        "uploads": house.uploads_for(person),
        "longest": LONGEST_LINE,
        "commands": [
            {
                "name": command.name,
                "arguments": translate(command.arguments) if command.arguments else "",
                "help": translate(command.help),
                "operator": command.operator,
                "owner": command.owner,
            }
            for command in COMMANDS.values()
            if person.operator or not command.operator or command.owner
        ],
    }


# -- what programs send ------------------------------------------------------------------------------------------------


def parsed(text: str) -> tuple[str, Any]:
    """The kind of an object, and what it says. Raises UsageError."""
    try:
        given = json.loads(text, parse_constant=_no_number)
        if "\\u" in text:  # lone surrogates (\ud800) could not be sent again
            given = json.loads(_dump(given).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or len(given) != 1:
        raise UsageError("send JSON objects with one key, their kind; see docs/chat-protocol.md")
    return next(iter(given.items()))


def _no_number(constant: str) -> None:
    raise ValueError("NaN and Infinity are no JSON (RFC 8259, section 6)")


def mapping(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UsageError("the fields are missing; see docs/chat-protocol.md")
    return given


def text(fields: dict[str, Any], name: str) -> str:
    """A field that is a text, "" where it is missing. Raises UsageError."""
    given = fields.get(name)
    if given is None:
        return ""
    if not isinstance(given, str):
        raise UsageError("the field {name} must be a text", name=name)
    return given


def number(fields: dict[str, Any], name: str, default: int) -> int:
    """A field that is a number from 0, the default where it is missing. Raises UsageError."""
    given = fields.get(name)
    if given is None:
        return default
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < 2**53:
        raise UsageError("the field {name} must be a whole number, from 0", name=name)
    return given

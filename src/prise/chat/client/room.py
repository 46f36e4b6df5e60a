"""A room as a client sees it: what was said there, in order, and what we have said that is not settled yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prise.chat.events import Event, Message

MOST_ENTRIES = 5_000
"""Things shown in one room, those that were scrolled back to included."""

SENDING, STORED, FAILED = "sending", "stored", "failed"


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

    last: number of the newest message. known: what was the last one when we came, up to which nothing counts as unread; -1: we
    are not in yet. others: people here whom the house has not named. appended: how many entries were ever added at the end.
    more: older messages can be asked for.
    """

    name: str
    other: str = ""
    topic: str = ""
    people: dict[str, str] = field(default_factory=dict)
    others: int = 0
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

"""One room: who is in it, what was said last, and its rules. It shows; who may do what is the house's business.

Showing never waits: somebody who does not keep up is the business of their door, which gives them up.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from prise import UsageError
from prise.chat import cleaning
from prise.chat.events import Event, Message
from prise.chat.person import Elsewhere, Person
from prise.chat.store.base import RECENT

LONGEST_NAME = 32
"""Characters."""

MOST_HANDS = 200
"""Raised hands that wait in one room."""

_NAME = re.compile(r"[\w][\w.+-]*")
_WORDS = re.compile(r"[\w][\w.'’-]*")


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept of a room besides its messages. lock: a passphrase, see `identity.hashed`. owner: the id of who
    made it. muted: only operators, the owner and those in `allowed` speak. mute: ids of people who may not speak.
    slow: seconds between two messages of one person.
    """

    topic: str = ""
    lock: str = ""
    owner: str = ""
    muted: bool = False
    slow: float = 0.0
    mute: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Rules:
        """From the fact that was kept; what a newer version added is left out."""
        given: dict[str, Any] = json.loads(text) if text else {}
        known = {name: given[name] for name in cls.__slots__ if name in given}
        for name in ("mute", "allowed"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    @property
    def matter(self) -> bool:
        """Whether they say more than who made the room, so that they are kept for an empty one."""
        return replace(self, owner="") != Rules()

    def __str__(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(eq=False, slots=True)
class Room:
    """name: as it was first written. recent: the last messages, in order. last: the number of the last one.

    elsewhere: people of other nodes, by id. hands: ids of those who want to speak, and about what. spoke: when each
    person last spoke (time.monotonic()), in slow mode.
    """

    name: str
    rules: Rules = field(default_factory=Rules)
    members: dict[str, Person] = field(default_factory=dict)
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)
    recent: deque[Message] = field(default_factory=lambda: deque(maxlen=RECENT))
    last: int = 0
    hands: dict[str, str] = field(default_factory=dict)
    spoke: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return cleaning.key(self.name)

    def people(self) -> Iterator[Person | Elsewhere]:
        """Who is here, on whatever node, in the order in which they came."""
        yield from self.members.values()
        yield from self.elsewhere.values()

    @property
    def count(self) -> int:
        """How many people are here, on whatever node."""
        return len(self.members) + len(self.elsewhere)

    def show(self, events: Sequence[Event], but: Person | None = None) -> None:
        for person in tuple(self.members.values()):
            if person is not but:
                person.show(events)

    def take(self, messages: Iterable[Message], find: Callable[[str], Person | Elsewhere | None]) -> None:
        """Messages that have arrived from the store: remembered and shown. find: somebody by a name in any case."""
        fresh = tuple(self._with_mentions(message, find) for message in messages if message.number > self.last)
        if fresh:
            self.recent.extend(fresh)
            self.last = fresh[-1].number
            self.show(fresh)

    def _with_mentions(self, message: Message, find: Callable[[str], Person | Elsewhere | None]) -> Message:
        """The message, with who of this room is named in it."""
        if message.kind == "topic":
            return message
        named = map(find, dict.fromkeys(_words(message.text)))
        mentions = {each.name: None for each in named if each is not None and each.id in self.members}
        mentions.pop(message.author, None)
        return replace(message, mentions=tuple(mentions)) if mentions else message

    def forget(self, before: float, most: int) -> None:
        """Forgets what was said before that time, and all but the last messages."""
        while len(self.recent) > most:
            self.recent.popleft()
        if any(message.at < before for message in self.recent):  # anywhere: the clock may have been put back meanwhile
            kept = [message for message in self.recent if message.at >= before]
            self.recent.clear()
            self.recent.extend(kept)

    def behind(self, number: int) -> list[Message] | None:
        """The messages behind this number, if all of them are still remembered here."""
        if number >= self.last:
            return []
        messages = [message for message in self.recent if message.number > number]
        whole = len(messages) < len(self.recent) or len(self.recent) < RECENT
        return messages if whole else None

    def rules_for(self, person: Person, now: float | None = None, *, ask: bool = False) -> None:
        """Whether this person may speak here now, and then they have. Raises UsageError, which says why not.

        now: of time.monotonic(). ask: they only want to know.
        """
        rules = self.rules
        if person.operator or person.id == rules.owner:
            return
        if person.id in rules.mute:
            raise UsageError("you are muted in {room}; /msg to an operator still works", room=self.name)
        if rules.muted and person.id not in rules.allowed:
            raise UsageError(
                "{room} is muted: you can write to an operator with /msg, or ask to speak with /raise", room=self.name
            )
        if rules.slow:
            now = time.monotonic() if now is None else now
            ready = self.spoke.get(person.id, -rules.slow) + rules.slow
            if now < ready:
                raise UsageError(
                    "{room} is in slow mode: one message in {slow:g} s; yours can be said in {wait:.0f} s",
                    room=self.name,
                    slow=rules.slow,
                    wait=ready - now + 0.5,
                )
            if not ask:
                self.spoke[person.id] = now

    def with_rules(self, **changes: Any) -> str:
        """The rules with these changes, as the fact to keep."""
        return str(replace(self.rules, **changes))


def show_once(rooms: Iterable[Room], event: Event, *people: Person) -> None:
    """To everybody in these rooms, and to these people: once to each."""
    events = (event,)
    around = {each.id: each for room in rooms for each in room.members.values()}
    for each in {**around, **{person.id: person for person in people}}.values():
        each.show(events)


def _words(text: str) -> Iterator[str]:
    """Those that may be names: "alice", also at the end of a sentence."""
    for word in _WORDS.findall(cleaning.key(text)):
        yield word
        yield word.rstrip(".'’-")


def room_name(typed: str) -> str:
    """A room's name from what was typed, with or without "#". Raises UsageError."""
    name = cleaning.visible(typed.removeprefix("#"))
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            "{name} cannot be the name of a room: it has letters, digits, and - _ + . inside, at most {most} of them",
            name=name,
            most=LONGEST_NAME,
        )
    return name

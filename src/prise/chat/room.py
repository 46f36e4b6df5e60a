"""The room: who is there, what is said, and in which order everybody sees it. It knows neither sockets nor SQLite.

What is said goes to the store first and is shown, to its author too, once the store has committed it: whatever anybody has
seen is in the history, in the order in which it was seen. The store answers in the order in which it was asked, so what waits
for it is a queue; its length is bounded, and whoever fills it waits, nobody else.

Showing never waits either: a member who does not keep up is the business of that member's door, which gives it up.
Everything here belongs to one event loop, that of asyncio; only the store's report comes from its own thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prise import PriseError, UsageError
from prise.chat import cleaning
from prise.chat.events import Event, Joined, Left, Message, Notice, Renamed, Show
from prise.locale import translate as _

HISTORY = 20
"""Messages that somebody who joins is shown."""

MOST_WAITING = 128
"""Messages of all members together that wait for the store. All of them may be shown in one turn of the loop, so this many of
the longest must fit into a member's outbox."""

LAST_WORDS = 5.0
"""Seconds that closing the room waits for the store."""


class Report(Protocol):
    """How a store tells what became of messages, from any thread: committed, or not stored for this reason."""

    def __call__(self, messages: Sequence[Message], error: PriseError | None, /) -> None: ...


class Store(Protocol):
    """What the room needs of a store."""

    def last(self, count: int) -> list[Message]:
        """The newest messages, oldest first. Asked once, before anything is added."""

    def begin(self, report: Report) -> None:
        """From now on messages are added, and reported on in the same order."""

    def add(self, message: Message) -> None:
        """Takes a message to be stored; never waits."""


@dataclass(eq=False, slots=True)
class Member:
    """Somebody in the room.

    show: see `events.Show`. dismiss: ends the conversation once all that was shown is delivered. present: False for ever
    after the member has left.
    """

    name: str
    show: Show
    dismiss: Callable[[], Awaitable[None]]
    operator: bool = False
    present: bool = True

    def tell(self, text: str) -> None:
        """Says something to this member alone."""
        self.show((Notice(text),))


class Room:
    """One room. `open` it first; `closing` is set when somebody wants it to end."""

    def __init__(self, store: Store) -> None:
        self.closing = asyncio.Event()
        self._store = store
        self._members: dict[str, Member] = {}
        self._history: deque[Message] = deque(maxlen=HISTORY)
        self._places = asyncio.Semaphore(MOST_WAITING)
        self._waiting: deque[tuple[Member, asyncio.Future[None]]] = deque()
        self._open = False

    @property
    def members(self) -> list[Member]:
        """Who is there, in the order in which they came."""
        return list(self._members.values())

    def find(self, name: str) -> Member | None:
        """The member of this name, in any case."""
        return self._members.get(cleaning.key(name))

    # -- coming and going ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes up the history where the store has it."""
        loop = asyncio.get_running_loop()
        self._history.extend(self._store.last(HISTORY))
        self._open = True

        def report(messages: Sequence[Message], error: PriseError | None) -> None:
            loop.call_soon_threadsafe(self._stored, messages, error)

        self._store.begin(report)

    def join(self, typed: str, show: Show, dismiss: Callable[[], Awaitable[None]], operator: bool = False) -> Member:
        """Lets somebody in, who is shown the last messages. Raises UsageError for a name that cannot be had."""
        member = Member(self._free(typed), show, dismiss, operator)
        if self._history:
            show(tuple(self._history))
        self._members[cleaning.key(member.name)] = member
        if not operator:
            self._show((Joined(time.time(), member.name),))
        return member

    def leave(self, member: Member, reason: str = "") -> None:
        """The member is gone, and the others are told. A second time nothing happens."""
        if member.present:
            member.present = False
            del self._members[cleaning.key(member.name)]
            if self._open:
                self._show((Left(time.time(), member.name, reason),))

    def rename(self, member: Member, typed: str) -> None:
        """Gives a member another name. Raises UsageError when it cannot be had."""
        new = self._free(typed, member)
        if member.present and new != member.name:
            old = member.name
            # In its old place, so that the order of the list stays.
            self._members = {
                cleaning.key(new) if each is member else place: each for place, each in self._members.items()
            }
            member.name = new
            self._show((Renamed(time.time(), old, new),))

    def _free(self, typed: str, member: Member | None = None) -> str:
        name = cleaning.name(typed)
        if not self._open:
            raise UsageError("the room is closed")
        if self._members.get(cleaning.key(name), member) is not member:
            raise UsageError("the nickname {name} is taken", name=name)
        return name

    # -- talking ---------------------------------------------------------------------------------------------------------

    async def say(self, member: Member, text: str) -> Awaitable[None]:
        """Says something to all. Waits while too much waits for the store already.

        What it returns is done when the message has been shown to all, or its author told why it was not.
        """
        shown: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._places.acquire()
        if not (self._open and member.present):
            self._places.release()
            shown.set_result(None)
            return shown
        self._waiting.append((member, shown))
        self._store.add(Message(time.time(), member.name, text))
        return shown

    def _stored(self, messages: Sequence[Message], error: PriseError | None) -> None:
        """The store has done with the oldest messages that waited."""
        done = [self._waiting.popleft() for _each in messages]
        try:
            if error is None:
                self._history.extend(messages)
                self._show(tuple(messages))
            else:
                self._explain({member: None for member, _shown in done}, error)
        finally:
            for _member, shown in done:
                self._places.release()
                if not shown.done():  # whoever waited may be gone
                    shown.set_result(None)

    def _explain(self, authors: dict[Member, None], error: PriseError) -> None:
        text = _("nobody has seen what you just said: {reason}").format(reason=error.sentence(_))
        for member in authors:
            member.tell(text)
        for member in self.members:
            if member.operator and member not in authors:
                member.tell(error.sentence(_))

    def announce(self, text: str) -> None:
        """Says something to all in the room's own name; it is not kept."""
        self._show((Notice(text),))

    def _show(self, events: Sequence[Event]) -> None:
        for member in list(self._members.values()):
            member.show(events)

    # -- the end ---------------------------------------------------------------------------------------------------------

    async def close(self, text: str) -> None:
        """Nobody says anything any more; what is on its way to the store is shown, then the text, then all are let go."""
        self._open = False
        if self._waiting:
            await asyncio.wait([shown for _member, shown in self._waiting], timeout=LAST_WORDS)
        self.announce(text)
        for member in self.members:
            await member.dismiss()

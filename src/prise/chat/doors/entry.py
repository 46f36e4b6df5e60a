"""What all doors have in common: the bounds of a connection, how fast it may speak, and what is said badly.

Everything is posted, so nobody waits for a slow reader: one who leaves more than `LIMITS.outbox_size` unread is cut off by the
library, which ends the conversation with TooSlow. Only what somebody asks for themselves makes that same one wait: while
they leave their screen unread (`outbox_mark`), nothing more is taken from them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import prise
from prise.chat import cleaning
from prise.chat.errors import Denied
from prise.chat.events import Message, Notice
from prise.chat.house import House
from prise.chat.pace import Pace
from prise.chat.person import Person, Session

LONGEST_LINE = 4096
"""Bytes of what is said at once (UTF-8). Longer ones are refused with an answer, and the conversation goes on."""

NAME_TIME = 120.0
"""Seconds to say who one is; after that a connection may be silent as long as it likes."""

MOST_TRIES = 20
"""Wrong names and passwords, until the connection is closed."""

LIMITS = prise.Limits(
    connections=20_000,
    connections_per_peer=20_000,  # a class behind one address; the bound in all is the one that counts
    message_size=4 * LONGEST_LINE,  # beyond this, the conversation is over: nothing so long is typed by a person
    idle_time=None,  # people read, and think
    message_time=None,  # some terminals send each key as it is typed
    outbox_size=2 * 1024 * 1024,
    linger_time=1.0,
)

FRAMING = prise.Lines() | prise.text("utf-8", errors="replace")
"""Bytes that are no UTF-8 become U+FFFD: a wrong terminal setting is no reason to be cut off."""

_LOOPBACK = ("127.", "::1", "::ffff:127.")


def host_of(connection: prise.AsyncConnection) -> str:
    """The address a client comes from; "" where that says nothing about who it is: this very machine."""
    host = str(connection.peer.host or "")
    return "" if host.startswith(_LOOPBACK) else host


def known(house: House, told: dict[str, Any]) -> Person:
    """Whose session it was in the process before this one. Raises Denied when they are not here any more."""
    person = house.people.find_id(told["person"])
    if person is None:
        raise Denied("you were sent away", code="banned")
    return person


class Speaker:
    """One session's way of speaking: its pace, and what becomes of what it says."""

    def __init__(self, house: House, session: Session) -> None:
        self._house = house
        self._session = session
        self._pace = Pace(house.options.rate)
        self._told = 0.0
        self._last: asyncio.Future[Message] | None = None

    async def in_turn(self) -> None:
        """Waits until the rate allows one more line; nothing is lost, and it is said why."""
        delay = self._pace.wait(time.monotonic())
        if delay > 0:
            if time.monotonic() > self._told:
                self._session.inform("you are fast: what you say is shown a little later, nothing is lost")
            self._told = time.monotonic() + 10.0
            await asyncio.sleep(delay)

    def refuse_if_too_long(self, text: str) -> None:
        """Raises UsageError."""
        if len(text) * 4 > LONGEST_LINE and len(text.encode(errors="replace")) > LONGEST_LINE:
            raise prise.UsageError("nobody has seen that line: it is longer than {most} bytes", most=LONGEST_LINE)

    async def say(
        self, text: str, room: str, reference: str = "", done: Callable[[asyncio.Future[Message]], object] | None = None
    ) -> None:
        """Says a text that was made harmless. done: called when it is settled; what it returns is done then.

        Raises UsageError when it may not be said.
        """
        house, session = self._house, self._session
        if room.startswith("@"):
            settled = await house.whisper(session, room, text, reference)
        else:
            settled = await house.say(session, text, room=house.find_room(room), reference=reference)
        settled.add_done_callback(done or self._after)
        self._last = settled

    async def settled(self) -> None:
        """Waits until what was said last is shown, or refused.

        Answers come after what was said before them, and whose input has ended (`printf … | nc`) still wants to see their
        words.
        """
        if self._last is not None:
            await asyncio.wait([self._last])
            self._last = None

    def _after(self, settled: asyncio.Future[Message]) -> None:
        error = None if settled.cancelled() else settled.exception()
        if isinstance(error, prise.PriseError):
            self._session.inform("nobody has seen what you just said: {reason}", reason=_Reason(error))


class _Reason(Notice):
    """An error as part of a notice."""

    __slots__ = ("_error",)

    def __init__(self, error: prise.PriseError) -> None:
        super().__init__("")
        self._error = error

    def text(self, translate: Callable[[str], str] = str) -> str:
        return self._error.sentence(translate)


def harmless(typed: str) -> str:
    """What was typed, on one line."""
    return cleaning.line(typed.replace("\r\n", " ").replace("\n", " ").replace("\r", " "))

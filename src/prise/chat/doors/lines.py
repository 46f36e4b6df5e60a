"""One person's conversation with the room, over lines: any program that sends and shows lines will do.

Everything is posted, so nobody waits for a slow reader: one who leaves more than `LIMITS.outbox_size` unread is cut off by the
library, which ends the conversation with TooSlow. Only what a person asks for themselves makes that same person wait: while
they leave their screen unread (`outbox_mark`), nothing more is taken from them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import prise
from prise.chat import cleaning, commands, texts
from prise.chat.events import Event
from prise.chat.room import Member, Room
from prise.locale import translate as _

LONGEST_LINE = 4096
"""Bytes of one line (UTF-8). A longer one is refused with an answer, and the conversation goes on."""

NAME_TIME = 120.0
"""Seconds to say a nickname; after that a connection may be silent as long as it likes."""

LIMITS = prise.Limits(
    message_size=4 * LONGEST_LINE,  # beyond this, the conversation is over: nothing so long is typed by a person
    idle_time=None,  # people read, and think
    message_time=None,  # some terminals send each key as it is typed
    linger_time=1.0,
)

FRAMING = prise.Lines() | prise.text("utf-8", errors="replace")
"""Bytes that are no UTF-8 become U+FFFD: a wrong terminal setting is no reason to be cut off."""


class Entrance:
    """Where conversations come in; calling it with a connection holds one."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._shown: Sequence[Event] = ()
        self._bytes = b""

    async def __call__(self, connection: prise.AsyncConnection) -> None:
        member: Member | None = None
        reason = ""
        try:
            member = await self._enter(connection)
            if member is not None:
                await self._converse(member, connection)
        except prise.MessageTooLarge:
            reason = _("a line of more than {most} bytes").format(most=LIMITS.message_size)
            await _last_word(connection, _("Too long: {reason}. Goodbye").format(reason=reason))
            raise
        except prise.TooSlow:
            reason = _("too slow to read what is said")
            raise
        finally:
            if member is not None:
                self._room.leave(member, reason)

    async def _enter(self, connection: prise.AsyncConnection) -> Member | None:
        """Asks for a nickname until it can be had; None when the person leaves instead."""

        def show(events: Sequence[Event]) -> None:
            connection.post_encoded(self._encoded(events, connection))

        await connection.send(_("Your nickname?"))
        while True:
            try:
                typed = await connection.receive(timeout=NAME_TIME)
            except prise.TooSlow:
                await _last_word(connection, _("No nickname for {seconds:g} s. Goodbye").format(seconds=NAME_TIME))
                raise
            if typed is None or cleaning.is_end(typed):
                if typed is not None:
                    await _last_word(connection, _("Goodbye"))
                return None
            try:
                member = self._room.join(typed, show, connection.close)
            except prise.UsageError as error:
                await connection.send(_("{reason}. Your nickname?").format(reason=error.sentence(_)))
                continue
            member.tell(
                _("you are {name}; /help lists the commands, FIN ends; what is said is kept").format(name=member.name)
            )
            await commands.obey(self._room, member, "/who")
            return member

    async def _converse(self, member: Member, connection: prise.AsyncConnection) -> None:
        shown: Awaitable[None] | None = None
        async for typed in connection:
            line = cleaning.line(typed)
            command = line.startswith("/") and not line.startswith("//")  # two: a line that is to begin with a slash
            if not member.present:
                return
            if command or cleaning.is_end(line):
                if shown is not None:
                    await shown  # answers come after what was said before them
                    shown = None
                if not command:
                    await _last_word(connection, _("Goodbye"))
                    return
                await commands.obey(self._room, member, line)
            elif len(line) * 4 > LONGEST_LINE and len(line.encode()) > LONGEST_LINE:
                member.tell(_("nobody has seen that line: it is longer than {most} bytes").format(most=LONGEST_LINE))
            elif line.strip():
                shown = await self._room.say(member, line.removeprefix("/"))
        if shown is not None:
            await shown  # the input has ended (`printf … | nc`), and the answer is still wanted

    def _encoded(self, events: Sequence[Event], connection: prise.AsyncConnection) -> bytes:
        """The lines of some events as bytes, made once for everybody: all connections here have the same framing and layers,
        whose output depends on nothing else."""
        if events is not self._shown:
            self._bytes = b"".join(connection.encode(texts.line(event)) for event in events)
            self._shown = events
        return self._bytes


async def _last_word(connection: prise.AsyncConnection, text: str) -> None:
    try:
        await connection.send(text)
    except prise.PeerError:
        pass  # they did not stay to hear it

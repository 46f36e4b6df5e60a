"""What can be asked for with a slash. Commands are data; `/help` is made from them.

To add one: a coroutine function with the room, the member who asks, and the rest of the line; and an entry in COMMANDS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prise import UsageError
from prise.chat import cleaning, texts
from prise.chat.room import Member, Room
from prise.locale import translate as _


@dataclass(frozen=True, slots=True)
class Command:
    """name: without the slash. arguments, help: what `/help` shows, in the language in use then (`str` for nothing).

    operator: for the operator alone.
    """

    name: str
    arguments: Callable[[], str]
    help: Callable[[], str]
    run: Callable[[Room, Member, str], Awaitable[None]]
    operator: bool = False

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments()}".rstrip()


async def obey(room: Room, member: Member, line: str) -> None:
    """Does what a line that begins with a slash asks for, or tells the member why not."""
    word, _space, rest = line.removeprefix("/").partition(" ")
    command = COMMANDS.get(word.casefold())
    if command is None:
        member.tell(_("there is no command /{name}; /help lists them").format(name=word))
    elif command.operator and not member.operator:
        member.tell(_("/{name} is for the operator").format(name=command.name))
    else:
        try:
            await command.run(room, member, rest.strip())
        except UsageError as error:
            member.tell(error.sentence(_))


async def who(room: Room, member: Member, rest: str) -> None:
    names = [each.name for each in room.members]
    member.tell(_("{number} here: {names}").format(number=len(names), names=texts.enumerated(names)))


async def nick(room: Room, member: Member, rest: str) -> None:
    room.rename(member, rest)


async def show_help(room: Room, member: Member, rest: str) -> None:
    for command in COMMANDS.values():
        if member.operator or not command.operator:
            member.tell(f"{command.usage:<22} {command.help()}")
    if not member.operator:
        member.tell(f"{'FIN':<22} {_('ends the conversation')}")


async def kick(room: Room, member: Member, rest: str) -> None:
    name, _space, reason = rest.partition(" ")
    target = room.find(name)
    if target is None:
        raise UsageError("nobody is called {name}", name=cleaning.line(name) or "?")
    if target.operator:
        raise UsageError("the operator cannot be removed")
    why = _("removed by {name}").format(name=member.name) + (f" ({reason.strip()})" if reason.strip() else "")
    target.tell(why)
    room.leave(target, why)
    await target.dismiss()


async def stop(room: Room, member: Member, rest: str) -> None:
    room.closing.set()


COMMANDS = {
    command.name: command
    for command in (
        Command("who", str, lambda: _("who is here"), who),
        Command("nick", lambda: _("NAME"), lambda: _("takes another nickname"), nick),
        Command("help", str, lambda: _("this list"), show_help),
        Command("kick", lambda: _("NAME [REASON]"), lambda: _("removes somebody"), kick, operator=True),
        Command("stop", str, lambda: _("closes the room"), stop, operator=True),
    )
}

"""What can be asked for with a slash. Commands are data; `/help` is made from them, and so is what programs complete.

    base   what a command is          talking  rooms  people  moderating   the commands, by subject

To add one: a coroutine function with an `Order`, and a `Command` in the table of its file.
"""

from __future__ import annotations

from prise import PriseError
from prise.chat.commands import moderating, people, rooms, talking
from prise.chat.commands.base import Command, Order
from prise.chat.events import Plain
from prise.chat.house import House
from prise.chat.person import Session
from prise.locale import N_

__all__ = ["COMMANDS", "Command", "is_command", "obey"]


async def _help(order: Order) -> None:
    wanted = order.rest.removeprefix("/").casefold()
    for command in COMMANDS.values():
        if wanted in ("", command.name) and command.allowed(order):
            order.session.show((Plain(f"{command.usage(order.translate):<26} {order.translate(command.help)}"),))
    if not wanted and not order.person.operator:
        order.session.show((Plain(f"{'FIN':<26} {order.translate('ends the conversation')}"),))


COMMANDS = {
    command.name: command
    for command in (
        *talking.COMMANDS,
        *rooms.COMMANDS,
        *people.COMMANDS,
        Command("help", N_("[COMMAND]"), N_("this list"), _help),
        *moderating.COMMANDS,
    )
}
"""By name, in the order of `/help`."""


def is_command(line: str) -> bool:
    """Two slashes: a line that is to begin with one."""
    return line.startswith("/") and not line.startswith("//")


async def obey(house: House, session: Session, line: str) -> None:
    """Does what a line that begins with a slash asks for, or tells the session why not."""
    word, _space, rest = line.strip().removeprefix("/").partition(" ")
    command = COMMANDS.get(word.casefold())
    if command is None:
        session.inform("there is no command /{name}; /help lists them", name=word)
    else:
        order = Order(house, session, rest.strip())
        try:
            command.refuse_unless_allowed(order)
            await command.run(order)
        except PriseError as error:  # it cannot be done, or the store could not keep it
            session.refuse(error)

"""Commands that say something, or find what was said."""

from __future__ import annotations

from prise import UsageError
from prise.chat import texts
from prise.chat.commands.base import Command, Order
from prise.chat.events import Message, Plain
from prise.locale import N_

MOST_SHOWN = 500
"""Messages of the history that one command shows."""


async def me(order: Order) -> None:
    if not order.rest:
        raise UsageError("write what you do: /me {example}", example="waves")
    await (await order.house.say(order.session, order.rest, room=order.room, kind="me"))


async def msg(order: Order) -> None:
    name, text = order.first()
    if not text:
        raise UsageError("write /msg NAME TEXT")
    await (await order.house.whisper(order.session, name, text))


async def reply(order: Order) -> None:
    if not order.person.partner:
        raise UsageError("nobody has written to you yet; /msg NAME TEXT begins")
    if not order.rest:
        raise UsageError("write /reply TEXT")
    id, name = order.person.partner
    other = order.house.people.anywhere(id)  # they may have another name by now
    await (await order.house.whisper(order.session, other.name if other is not None else name, order.rest))


async def history(order: Order) -> None:
    count = _number(order.rest, 20)
    await _show(order, await order.house.store.read(order.room.name, count=count))


async def since(order: Order) -> None:
    if not order.rest:
        raise UsageError("write /since NUMBER; the last number of this room is {last}", last=order.room.last)
    after = _number(order.rest, 0, most=2**53)
    messages = await order.house.store.read(order.room.name, after=after or -1, count=MOST_SHOWN)
    await _show(order, messages)
    if messages and messages[-1].number < order.room.last:
        order.session.inform("there is more: /since {number}", number=messages[-1].number)


async def search(order: Order) -> None:
    if not order.rest:
        raise UsageError("write /search WORDS")
    messages = await order.house.store.search(order.rest, await order.house.readable(order.person), 20)
    await _show(order, messages[::-1])
    if messages:
        order.session.inform("/since NUMBER shows what followed a message")


async def _show(order: Order, messages: list[Message]) -> None:
    if not messages:
        order.session.inform("nothing was found")
        return
    for message in messages:
        place = "" if message.room == order.session.room or message.to else f"#{message.room} "
        order.session.show((Plain(f"{message.number} {place}{texts.line(message, order.translate)}"),))


def _number(text: str, default: int, most: int = MOST_SHOWN) -> int:
    if not text:
        return default
    if not text.isdecimal() or len(text) > 16:
        raise UsageError("not a number: {text}", text=text)
    return min(int(text), most)


COMMANDS = (
    Command("me", N_("TEXT"), N_("says what you do"), me),
    Command("msg", N_("NAME TEXT"), N_("says something to one person alone"), msg),
    Command("reply", N_("TEXT"), N_("answers the last one who wrote to you alone"), reply),
    Command("history", N_("[NUMBER]"), N_("shows the last messages of the room again"), history),
    Command("since", N_("NUMBER"), N_("shows what was said after the message of that number"), since),
    Command("search", N_("WORDS"), N_("finds messages with all these words"), search),
)

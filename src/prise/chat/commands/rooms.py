"""Commands about rooms."""

from __future__ import annotations

from prise import UsageError
from prise.chat import cleaning, identity
from prise.chat.commands.base import Command, Order
from prise.locale import N_

LONGEST_TOPIC = 300
"""Characters."""


async def join(order: Order) -> None:
    name, password = order.first()
    if not name:
        raise UsageError("write /join ROOM; /rooms lists them")
    room = await order.house.admit(order.person, name, password)
    await order.session.join(room)


async def part(order: Order) -> None:
    room = order.house.find_room(order.rest) if order.rest else order.room
    if room.key not in order.person.rooms:
        raise UsageError("you are not in {room}", room=room.name)
    order.house.part(order.person, room)
    order.session.tell_place()


async def rooms(order: Order) -> None:
    order.session.list_rooms(list(order.house.rooms.values()))


async def topic(order: Order) -> None:
    room = order.room
    if not order.rest:
        if room.rules.topic:
            order.session.inform("the topic of {room} is: {topic}", room=room.name, topic=room.rules.topic)
        else:
            order.session.inform("{room} has no topic; /topic TEXT sets one", room=room.name)
        return
    text = cleaning.line(order.rest)[:LONGEST_TOPIC]
    await (await order.house.say(order.session, text, room=room, kind="topic"))
    await order.house.change(room, topic=text)


async def lock(order: Order) -> None:
    room = order.room
    order.refuse_unless_in_charge(room)
    await order.house.change(room, lock=await identity.hashed(order.rest) if order.rest else "")
    if order.rest:
        order.session.inform("{room} is locked: others come in with /join {room} PASSWORD", room=room.name)
    else:
        order.session.inform("{room} is open to all", room=room.name)


COMMANDS = (
    Command("join", N_("ROOM [PASSWORD]"), N_("goes into a room, a new one if there is none of that name"), join),
    Command("part", N_("[ROOM]"), N_("leaves a room"), part),
    Command("rooms", "", N_("which rooms there are, and how many people are in each"), rooms),
    Command("topic", N_("[TEXT]"), N_("what the room is about"), topic),
    Command(
        "lock", N_("[PASSWORD]"), N_("lets into your room only who knows the password; without one: everybody"), lock
    ),
)

"""Commands of operators: the teacher of a class, the owner of a server. Some are for who has made a room as well, there."""

from __future__ import annotations

import time

from prise import UsageError
from prise.chat import bans, cleaning, texts
from prise.chat.commands.base import Command, Order
from prise.chat.commands.people import show_hands
from prise.chat.events import Notice, Plain
from prise.chat.person import Elsewhere, Person
from prise.chat.room import Room
from prise.locale import N_

MOST_SLOW = 3600
"""Seconds."""

MOST_NAMED = 500
"""People who are muted in a room, and people who have been given the word there."""


async def announce(order: Order) -> None:
    if not order.rest:
        raise UsageError("write /announce TEXT")
    await (await order.house.order(order.person, "announce", cleaning.line(order.rest)))


async def mute(order: Order) -> None:
    room = order.room
    if order.rest == "all":
        await order.house.change(room, muted=True, allowed=())
        room.show((Notice("{room} is muted: only operators speak, and those whom they /allow", room=room.name),))
        return
    target = _ordinary(order, order.rest)
    await order.house.change(room, mute=_with(room.rules.mute, target.id))
    _to(target, room, Notice("you are muted in {room}", room=room.name))
    order.session.inform("{name} is muted in {room}; /unmute {name} ends it", name=target.name, room=room.name)


async def unmute(order: Order) -> None:
    room = order.room
    if order.rest == "all":
        await order.house.change(room, muted=False, mute=(), allowed=())
        room.show((Notice("everybody can speak again in {room}", room=room.name),))
        return
    target = order.somebody(order.rest)
    await order.house.change(room, mute=tuple(id for id in room.rules.mute if id != target.id))
    _to(target, room, Notice("you can speak again in {room}", room=room.name))
    order.session.inform("{name} can speak again in {room}", name=target.name, room=room.name)


async def allow(order: Order) -> None:
    room = order.room
    name = order.rest
    if not name and room.hands:  # the next one who waits
        name = room.members[next(iter(room.hands))].name
    target = order.somebody(name)
    await order.house.change(room, allowed=_with(room.rules.allowed, target.id))
    room.hands.pop(target.id, None)
    room.show((Notice("{name} has the word in {room}", name=target.name, room=room.name),))
    show_hands(order.house, room)


async def slow(order: Order) -> None:
    room = order.room
    try:
        seconds = float(order.rest or "0")
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SLOW:
        raise UsageError("write /slow SECONDS, from 0 (off) to {most}", most=MOST_SLOW)
    room.spoke.clear()
    await order.house.change(room, slow=seconds)
    if seconds:
        room.show(
            (Notice("slow mode in {room}: one message in {seconds:g} s from each", room=room.name, seconds=seconds),)
        )
    else:
        room.show((Notice("slow mode in {room} is over", room=room.name),))


async def kick(order: Order) -> None:
    name, reason = order.first()
    target = _ordinary(order, name)
    if not order.person.operator:
        room = order.room
        if room.members.get(target.id) is None and target.id not in room.elsewhere:
            raise UsageError("{name} is not in {room}", name=target.name, room=room.name)
        how = {"id": target.id, "name": target.name, "room": room.key}
        await (await order.house.order(order.person, "out", cleaning.line(reason), **how))
        return
    await (await order.house.order(order.person, "kick", cleaning.line(reason), id=target.id, name=target.name))
    if order.person.present:
        order.session.inform("{name} is sent away", name=target.name)


async def ban(order: Order) -> None:
    name, rest = order.first()
    target = order.house.people.find(name) if name else None
    if isinstance(target, Person | Elsewhere) and target.operator:
        raise UsageError("the operator cannot be removed")
    time_given, _space, why = rest.partition(" ")
    until = time.time() + bans.seconds(time_given) if time_given else None
    name = target.name if target else cleaning.name(name)
    hosts = [session.host for session in target.sessions] if isinstance(target, Person) else []
    key, value = bans.ban(name, target.id if target else "", hosts, until, cleaning.line(why.strip()))
    await order.house.store.put(key, value)
    if target is not None:
        await (await order.house.order(order.person, "kick", cleaning.line(why.strip()), id=target.id, name=name))
    order.session.inform("{name} is banned; /unban {name} ends it, /bans lists all", name=name)


async def unban(order: Order) -> None:
    key = f"ban:{cleaning.key(order.rest)}"
    if key not in order.house.facts:
        raise UsageError("nobody called {name} is banned; /bans lists all", name=order.rest or "?")
    await order.house.store.put(key, "")
    order.session.inform("{name} may come in again", name=order.rest)


async def list_bans(order: Order) -> None:
    found = list(bans.every(order.house.facts))
    for given in found:
        left = "" if given["until"] is None else f"{round((given['until'] - time.time()) / 60 + 0.5)} min"
        order.session.show((Plain(f"{given['name']:<26} {left:<10} {given['why']}"),))
    if not found:
        order.session.inform("nobody is banned")


async def stats(order: Order) -> None:
    house = order.house
    order.session.inform(
        "{people} people in {rooms} rooms; {most} at most and {visitors} visits, {messages} messages since {since}",
        people=len(house.people),
        rooms=len(house.rooms),
        since=texts.stamp(house.opened_at),
        **{name: house.counts[name] for name in ("most", "visitors", "messages")},
    )
    if house.figures is not None:
        for line in house.figures():
            order.session.show((line,))


async def stop(order: Order) -> None:
    order.house.closing.set()


def _ordinary(order: Order, name: str) -> Person | Elsewhere:
    target = order.somebody(name)
    if target.operator:
        raise UsageError("the operator cannot be removed")
    return target


def _to(target: Person | Elsewhere, room: Room, notice: Notice) -> None:
    """Nobody hears from a room that they are not in."""
    if isinstance(target, Person) and target.id in room.members:
        target.show((notice,))


def _with(ids: tuple[str, ...], id: str) -> tuple[str, ...]:
    """These and that one. Raises UsageError."""
    if id not in ids and len(ids) >= MOST_NAMED:
        raise UsageError("that can be said of {most} people at most; /unmute all forgets them", most=MOST_NAMED)
    return (*(each for each in ids if each != id), id)


COMMANDS = (
    Command("announce", N_("TEXT"), N_("speaks to everybody, in all rooms"), announce, operator=True),
    Command(
        "mute", N_("all | NAME"), N_("lets nobody, or not this one, speak in the room"), mute, operator=True, owner=True
    ),
    Command("unmute", N_("all | NAME"), N_("lets them speak again"), unmute, operator=True, owner=True),
    Command(
        "allow",
        N_("[NAME]"),
        N_("gives the word, by default to the first raised hand"),
        allow,
        operator=True,
        owner=True,
    ),
    Command(
        "slow", N_("SECONDS"), N_("one message from each in so many seconds; 0: off"), slow, operator=True, owner=True
    ),
    Command(
        "kick",
        N_("NAME [REASON]"),
        N_("removes somebody; who has made a room: from that room"),
        kick,
        operator=True,
        owner=True,
    ),
    Command(
        "ban",
        N_("NAME [TIME] [REASON]"),
        N_("removes somebody, who cannot come back for 10m, 2h, 7d"),
        ban,
        operator=True,
    ),
    Command("unban", N_("NAME"), N_("lets somebody come back"), unban, operator=True),
    Command("bans", "", N_("who cannot come in, and for how long"), list_bans, operator=True),
    Command("stats", "", N_("how much is going on"), stats, operator=True),
    Command("stop", "", N_("closes the room"), stop, operator=True),
)

"""Commands about people, and about oneself."""

from __future__ import annotations

import time

from prise import UsageError
from prise.chat import cleaning, texts
from prise.chat.admission import same
from prise.chat.commands.base import Command, Order
from prise.chat.events import Away, Hands
from prise.chat.house import House
from prise.chat.room import MOST_HANDS, Room
from prise.locale import N_


async def who(order: Order) -> None:
    room = order.house.find_room(order.rest) if order.rest else order.room
    if room.rules.lock and room.key not in order.person.rooms:
        raise UsageError("{room} is locked; only who is in it sees who is there", room=room.name)
    names = (f"{each.name} ({each.away})" if each.away else each.name for each in room.people())
    named = texts.enumerated(names, order.translate, room.count)
    order.session.inform("{number} here: {names}", number=room.count, names=named)


async def nick(order: Order) -> None:
    name, passphrase = order.first()
    await order.house.rename(order.person, name, passphrase)


async def register(order: Order) -> None:
    if len(order.rest) < 4:
        raise UsageError(
            "write /register PASSPHRASE, of four characters at least; then nobody else can have your nickname"
        )
    await order.house.register(order.person, order.rest)
    order.session.inform("the nickname {name} is yours: it will be asked for its passphrase", name=order.person.name)


async def away(order: Order) -> None:
    order.person.away = cleaning.line(order.rest)[:100] or order.translate("away")
    order.house.changed(order.person, Away(time.time(), order.person.name, order.person.id, order.person.away))


async def back(order: Order) -> None:
    if order.person.away:
        order.person.away = ""
        order.house.changed(order.person, Away(time.time(), order.person.name, order.person.id, ""))


async def ignore(order: Order) -> None:
    ignored = order.person.ignored
    if not order.rest:
        names = sorted(_now_called(order, id) or key for key, id in ignored.items())
        order.session.inform("you ignore: {names}", names=texts.enumerated(names, order.translate) or "-")
        return
    key = cleaning.key(order.rest.removeprefix("@"))
    again = key if key in ignored else next((old for old, id in ignored.items() if _now_called(order, id) == key), None)
    if again is not None:
        del ignored[again]
        order.session.inform("you see again what {name} says", name=order.rest)
        return
    other = order.somebody(order.rest)
    order.person.ignore(other)
    order.session.inform("you no longer see what {name} says; once more, and you do", name=other.name)


def _now_called(order: Order, id: str) -> str:
    """The key of the name that somebody has now; "" when they are not here."""
    somebody = order.house.people.anywhere(id)
    return "" if somebody is None else cleaning.key(somebody.name)


async def raise_hand(order: Order) -> None:
    room = order.room
    if order.in_charge(room):
        show_hands(order.house, room, order)
        return
    if order.person.id in room.hands:
        del room.hands[order.person.id]
        order.session.inform("your hand is down again")
    else:
        if len(room.hands) >= MOST_HANDS:
            raise UsageError("{most} people have raised their hands already", most=MOST_HANDS)
        room.hands[order.person.id] = cleaning.line(order.rest)[:100]
        order.session.inform("your hand is up, number {number}; once more, and it is down", number=len(room.hands))
    show_hands(order.house, room)


def show_hands(house: House, room: Room, order: Order | None = None) -> None:
    """Tells operators who wants to speak; order: the one who has asked for it."""
    hands = Hands(
        room.name,
        tuple((member.name, about) for id, about in room.hands.items() if (member := room.members.get(id)) is not None),
    )
    if order is not None:
        order.session.show((hands,))
        return
    for person in house.people.here():
        if person.operator or person.id == room.rules.owner:
            person.show((hands,))


async def op(order: Order) -> None:
    given = order.house.options.operator_password
    if not given or not same(order.rest, given):
        raise UsageError("that is not the operator's password; the server's terminal shows it")
    order.person.operator = True
    order.house.tell_nodes()
    order.session.inform("you are an operator now; /help lists what you can do")
    for session in order.person.sessions:
        session.renewed()


async def quit(order: Order) -> None:
    await order.session.dismiss(None, False)


COMMANDS = (
    Command("who", N_("[ROOM]"), N_("who is here"), who),
    Command("nick", N_("NAME [PASSPHRASE]"), N_("takes another nickname"), nick),
    Command("register", N_("PASSPHRASE"), N_("keeps your nickname for you"), register),
    Command("away", N_("[TEXT]"), N_("says that you are not at the keyboard"), away),
    Command("back", "", N_("says that you are back"), back),
    Command("ignore", N_("[NAME]"), N_("no longer shows what somebody says"), ignore),
    Command("raise", N_("[TEXT]"), N_("raises your hand, to be given the word"), raise_hand),
    Command("op", N_("PASSWORD"), N_("makes you an operator"), op),
    Command("quit", "", N_("ends the conversation, as FIN does"), quit),
)

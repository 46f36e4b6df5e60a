"""The house with a real store and no sockets: who is let in, who sees what in which order, who may say what, and how it ends."""

from __future__ import annotations

import asyncio
import functools
import itertools
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import prise
from prise.chat import commands, texts
from prise.chat import house as house_module
from prise.chat.admission import Options
from prise.chat.doors import shapes
from prise.chat.errors import Denied
from prise.chat.events import Announcement, Away, Event, Hands, Joined, Left, Message, Notice, Parted, Renamed
from prise.chat.house import House
from prise.chat.person import Person, Session
from prise.chat.room import LONGEST_NAME, MOST_HANDS, Room, Rules, room_name
from prise.chat.store.archive import Archive
from prise.chat.store.sqlite import SqliteStore


class Somebody(Session):
    """A session that remembers what it was shown."""

    def __init__(self, house: House, person: Person, host: str = "") -> None:
        super().__init__(person, host)
        self.house = house
        self.seen: list[Event] = []
        self.dismissed: tuple[str, bool] | None = None

    def show(self, events: Sequence[Event]) -> None:
        self.seen.extend(events)

    async def dismiss(self, why: Notice | None, again: bool) -> None:
        self.dismissed = (why.text() if why is not None else "", again)

    async def join(self, room: Room) -> None:
        self.room = room.name
        self.house.come(self.person, room)

    async def does(self, line: str) -> str:
        """Types a command; returns the last notice that came of it."""
        before = len(self.seen)
        await commands.obey(self.house, self, line)
        told = [event.text() for event in self.seen[before:] if isinstance(event, Notice)]
        return told[-1] if told else ""

    async def says(self, text: str, room: str = "", reference: str = "") -> Message:
        there = self.house.find_room(room or self.room)
        return await (await self.house.say(self, text, room=there, reference=reference))

    def heard(self, room: str = "salon") -> list[str]:
        return [event.text for event in self.seen if isinstance(event, Message) and event.room == room]

    @property
    def notices(self) -> list[str]:
        return [event.text() for event in self.seen if isinstance(event, Notice)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.seen if type(event) is kind]


class Chat:
    """A house that is open, and how people come into it."""

    def __init__(self, house: House, path: Path) -> None:
        self.house = house
        self.path = path

    async def enter(self, name: str, host: str = "", *, room: str = "salon", **how: Any) -> Somebody:
        person = await self.house.enter(name, host=host, **how)
        somebody = Somebody(self.house, person, host)
        self.house.attach(somebody)
        if room:
            await somebody.join(await self.house.admit(person, room))
        return somebody

    async def close(self) -> None:
        await self.house.close(Notice("bye"))
        await self.house.store.stop()

    def stored(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as base:
            return [row[0] for row in base.execute("select text from messages order by id")]


async def opened(path: Path, **options: Any) -> Chat:
    house = House(SqliteStore(Archive(path)), Options(**options))
    await house.open()
    return Chat(house, path)


def in_house(test: Callable[[Chat], Awaitable[None]]) -> Callable[[], None]:
    """Runs a test that awaits, in a house of its own."""

    @functools.wraps(test)
    def run() -> None:
        async def body() -> None:
            with tempfile.TemporaryDirectory() as folder:
                chat = await opened(Path(folder) / "chat.sqlite", operator_password="sesame")
                try:
                    await test(chat)
                finally:
                    await chat.close()

        asyncio.run(body())

    del run.__wrapped__  # pytest would take its parameter for a fixture
    return run


async def denied(coming: Awaitable[object]) -> str:
    with pytest.raises(Denied) as caught:
        await coming
    return caught.value.code


# -- Names -------------------------------------------------------------------------------------------------------------


@in_house
async def test_a_name_belongs_to_one_and_so_does_what_looks_like_it(chat: Chat) -> None:
    await chat.enter("Ivo10")
    for name in (
        "ivo10",
        "IVO10",
        "lvo10",
        "Ivol0",
        "IvoIO",
        "Іvo10",
        "Ｉｖｏ１０",
    ):  # l, I, 1; O, 0; Cyrillic; full width
        assert await denied(chat.house.enter(name)) == "taken", name
    assert await denied(chat.house.enter("i\u200bv\u202eo10")) == "taken"  # what is invisible makes no other name


@in_house
async def test_what_cannot_be_a_name_is_said(chat: Chat) -> None:
    for name in ("", " ", "\u200b\u2800", "a b", "/who", "*star", "a<b", "x" * 25, "FIN", "fin", "..."):
        assert await denied(chat.house.enter(name)) == "name", name


@in_house
async def test_a_registered_name_asks_for_its_passphrase_and_gives_the_same_person_again(chat: Chat) -> None:
    alice = await chat.enter("alice")
    assert "four characters" in await alice.does("/register abc")
    assert "is yours" in await alice.does("/register open sesame")
    assert alice.person.registered
    chat.house.leave(alice)
    assert await denied(chat.house.enter("Alice")) == "passphrase"
    assert await denied(chat.house.enter("Alice", passphrase="wrong")) == "passphrase"
    again = await chat.enter("Alice", passphrase="open sesame")
    assert again.person.id == alice.person.id
    assert again.person.registered
    second = await chat.enter("alice", passphrase="open sesame")
    assert second.person is again.person
    mallory = await chat.enter("mallory")
    assert "is registered" in await mallory.does("/nick alice")
    chat.house.leave(again)
    chat.house.leave(second)
    assert "is registered" in await mallory.does("/nick alice wrong")
    await mallory.does("/nick alice open sesame")
    assert mallory.person.name == "alice"


@in_house
async def test_only_who_has_a_name_can_register_it(chat: Chat) -> None:
    alice = await chat.enter("alice")
    await alice.does("/register sesame")
    await alice.does("/nick carol")
    assert not alice.person.registered
    await alice.does("/nick alice")  # it is theirs
    assert alice.person.registered
    assert "is yours" in await alice.does("/register another")
    chat.house.leave(alice)
    assert await denied(chat.house.enter("alice", passphrase="sesame")) == "passphrase"
    assert (await chat.enter("alice", passphrase="another")).person.registered


@in_house
async def test_a_token_makes_the_same_person_and_no_other_text_does(chat: Chat) -> None:
    alice = await chat.enter("alice")
    token = chat.house.token(alice.person)
    bob = await chat.enter("bob")
    second = await chat.enter("whoever", token=token)
    assert second.person is alice.person
    chat.house.leave(alice)
    chat.house.leave(second)
    later = await chat.enter("alice", token=token)
    assert later.person.id == alice.person.id
    forged = f"{alice.person.id}.{chat.house.token(bob.person).partition('.')[2]}"
    for wrong in (forged, alice.person.id, token[:-1], token + "0", "é.ü", "\ud800.\ud800", ".", "x" * 10_000):
        assert await denied(chat.house.enter("alice", token=wrong)) == "taken"


@in_house
async def test_a_token_holds_over_a_restart_and_in_no_other_house(chat: Chat) -> None:
    alice = await chat.enter("alice")
    token = chat.house.token(alice.person)
    await chat.close()
    again = await opened(chat.path)
    assert (await again.enter("alice", token=token)).person.id == alice.person.id
    await again.close()
    other = await opened(chat.path.with_name("other.sqlite"))
    assert (await other.enter("alice", token=token)).person.id != alice.person.id
    await other.close()


@in_house
async def test_two_sessions_are_one_person_and_both_see_everything(chat: Chat) -> None:
    bob = await chat.enter("bob")
    alice = await chat.enter("alice")
    phone = await chat.enter("alice", token=chat.house.token(alice.person))
    assert [event.name for event in bob.of(Joined)] == ["bob", "alice"]
    await bob.says("hello")
    assert alice.heard() == phone.heard() == ["hello"]
    chat.house.leave(phone)
    assert not bob.of(Left)
    chat.house.leave(alice)
    assert [event.name for event in bob.of(Left)] == ["alice"]


@in_house
async def test_who_comes_back_in_time_was_never_gone(chat: Chat) -> None:
    bob, alice = await chat.enter("bob"), await chat.enter("alice")
    token = chat.house.token(alice.person)
    chat.house.leave(alice, grace=True)
    assert not bob.of(Left)
    assert len(chat.house.people) == 2
    back = await chat.enter("alice", token=token)
    assert back.person is alice.person
    assert not bob.of(Left)
    assert len(bob.of(Joined)) == 2


@in_house
async def test_each_time_to_come_back_is_counted_from_its_own_beginning(chat: Chat) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house_module, "GRACE", 0.1)
        bob, alice = await chat.enter("bob"), await chat.enter("alice")
        token = chat.house.token(alice.person)
        chat.house.leave(alice, grace=True)
        person = await chat.house.enter("alice", token=token)  # and takes longer to be ready than the time to come back
        await asyncio.sleep(0.15)
        back = Somebody(chat.house, person)
        chat.house.attach(back)
        assert not bob.of(Left)
        assert chat.house.people.find("alice") is person
        await bob.says("are you there?")
        assert back.heard() == ["are you there?"]
        chat.house.leave(back, grace=True)
        await asyncio.sleep(0.15)
        assert [event.name for event in bob.of(Left)] == ["alice"]
        assert chat.house.people.find("alice") is None


@in_house
async def test_a_new_name_is_shown_to_all_who_share_a_room_once(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    far = await chat.enter("far", room="elsewhere")
    for each in (alice, bob):
        await each.does("/join second")
    assert "taken" in await alice.does("/nick BOB")
    assert "no spaces" not in await alice.does("/nick Alice")  # one's own, written otherwise
    await alice.does("/nick zoé")
    for each in (alice, bob):
        assert [(event.name, event.new) for event in each.of(Renamed)] == [("alice", "Alice"), ("Alice", "zoé")]
    assert not far.of(Renamed)
    assert (await chat.enter("alice")).person.name == "alice"


@in_house
async def test_the_houses_password_is_asked_of_everybody_but_the_operator(chat: Chat) -> None:
    await chat.close()
    chat = await opened(chat.path, password="secret")
    house = chat.house
    assert await denied(house.enter("alice")) == "password"
    assert await denied(house.enter("alice", password="Secret")) == "password"
    alice = await house.enter("alice", password="secret")
    assert await denied(house.enter("alice", token=house.token(alice))) == "password"
    await house.enter("chief", operator=True)
    await chat.close()


# -- Rooms -------------------------------------------------------------------------------------------------------------


@in_house
async def test_rooms_are_made_by_joining_and_shown_to_their_members_alone(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    await alice.does("/join #Maths")
    await bob.does("/join MATHS")  # the same one
    assert alice.room == bob.room == "Maths"
    await alice.says("in maths")
    await bob.does("/part maths")
    await alice.says("alone")
    assert bob.heard("Maths") == ["in maths"]
    assert [event.name for event in alice.of(Left)] == ["bob"]
    assert not bob.of(Left)
    assert [event.room for event in bob.of(Parted)] == ["Maths"]
    assert bob.room == "salon"
    with pytest.raises(prise.UsageError, match="you are not in Maths"):
        await bob.says("sneaking in", room="Maths")
    assert "not in Maths" in await bob.does("/part maths")
    await bob.does("/part")
    assert bob.room == ""
    assert "in no room" in await bob.does("/me waves")


@in_house
async def test_a_lock_keeps_others_out_and_its_owner_stays_in_charge(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    await alice.does("/join den")
    assert "for who has made the room" in await bob.does("/lock mine")  # bob is in the salon, which nobody has made
    await alice.does("/lock sesame")
    for wrong in ("", " wrong", " sesam"):
        assert "is locked" in await bob.does(f"/join den{wrong}")
    assert "only who is in it" in await bob.does("/who den")
    await bob.does("/join den sesame")
    assert bob.room == "den"
    assert "for who has made the room" in await bob.does("/lock")
    await bob.does("/part")
    await alice.does("/part")
    await alice.does("/join den")  # who has made it needs no password
    assert alice.room == "den"
    await alice.does("/lock")
    await bob.does("/join den")
    assert bob.room == "den"


@in_house
async def test_a_locked_room_in_which_nothing_was_said_is_locked_after_a_restart(chat: Chat) -> None:
    alice = await chat.enter("alice")
    await alice.does("/join den")
    await alice.does("/lock sesame")
    token = chat.house.token(alice.person)
    await chat.close()
    again = await opened(chat.path)
    bob = await again.enter("bob")
    assert "is locked" in await bob.does("/join den")
    owner = await again.enter("alice", token=token)
    await owner.does("/join den")
    assert owner.room == "den"
    await again.close()


def test_a_rooms_name_is_short_and_has_nothing_strange() -> None:
    assert room_name("#été-2") == room_name("e\u0301te\u0301-2") == "été-2"
    for typed in ("", "#", "##a", "a b", "a/b", "@a", "!", "-a", "x" * (LONGEST_NAME + 1), "a\u202e\u200b!"):
        with pytest.raises(prise.UsageError):
            room_name(typed)


@in_house
async def test_rooms_have_bounds(chat: Chat) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house_module, "MOST_ROOMS_EACH", 3)
        patch.setattr(house_module, "MOST_ROOMS", 4)
        alice, bob = await chat.enter("alice"), await chat.enter("bob")
        for name in ("one", "two"):
            await alice.does(f"/join {name}")
        assert "in 3 rooms already" in await alice.does("/join three")
        await bob.does("/join four")
        assert "there are 4 rooms already" in await bob.does("/join five")


@in_house
async def test_the_topic_is_said_kept_and_shown(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    assert "has no topic" in await alice.does("/topic")
    await alice.does("/topic  sockets and  pipes")
    assert [event.text for event in bob.of(Message) if event.kind == "topic"] == ["sockets and  pipes"]
    assert await bob.does("/topic") == "the topic of salon is: sockets and  pipes"
    await chat.close()
    again = await opened(chat.path)
    assert again.house.find_room("salon").rules.topic == "sockets and  pipes"
    await again.close()


@in_house
async def test_changes_of_a_room_at_the_same_time_are_all_kept(chat: Chat) -> None:
    room = chat.house.find_room("salon")
    await asyncio.gather(
        *(chat.house.change(room, **{name: True}) for name in ("muted",)), chat.house.change(room, slow=2)
    )
    assert (room.rules.muted, room.rules.slow) == (True, 2)
    assert Rules.parse(str(room.rules)) == room.rules


# -- Messages and their order ------------------------------------------------------------------------------------------


@in_house
async def test_everybody_sees_the_same_in_the_same_order(chat: Chat) -> None:
    people = [await chat.enter(name) for name in ("alice", "bob", "carol")]

    async def talk(somebody: Somebody) -> None:
        for number in range(100):
            await chat.house.say(somebody, f"{somebody.person.name} {number}", room=chat.house.find_room("salon"))

    await asyncio.gather(*map(talk, people))
    await people[0].says("the end")
    assert len(people[0].heard()) == 301
    assert people[0].heard() == people[1].heard() == people[2].heard() == chat.stored()
    assert [event.number for event in people[0].of(Message)] == list(range(1, 302))
    for somebody in people:
        mine = [text for text in people[0].heard() if text.startswith(somebody.person.name)]
        assert mine == [f"{somebody.person.name} {number}" for number in range(100)]


@in_house
async def test_what_is_said_again_under_the_same_reference_is_said_once(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    first = await alice.says("hello", reference="1")
    assert (await alice.says("hello", reference="1")).number == first.number
    other = await bob.says("mine", reference="1")  # another person's reference is another one
    assert other.number == first.number + 1
    assert bob.heard() == ["hello", "mine"]
    chief = await chat.enter("chief", operator=True)
    await chief.does("/slow 60")
    slow = await alice.says("slowly", reference="2")
    assert (await alice.says("slowly", reference="2")).number == slow.number  # it is stored; slow mode does not deny it
    with pytest.raises(prise.UsageError, match="slow mode"):
        await alice.says("more", reference="3")


@in_house
async def test_names_that_are_called_are_mentions(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("Jean-Luc")
    for text, called in (
        ("jean-luc: look", ("Jean-Luc",)),
        ("I said it to @JEAN-LUC.", ("Jean-Luc",)),
        ("alice, that is me", ()),
        ("jean-luca is another", ()),
    ):
        assert (await alice.says(text)).text == text
        assert bob.of(Message)[-1].mentions == called, text
    await bob.says("alice... are you there?")
    assert alice.of(Message)[-1].mentions == ("alice",)


@in_house
async def test_private_messages_are_seen_by_the_two_alone(chat: Chat) -> None:
    alice, bob, carol = [await chat.enter(name) for name in ("alice", "bob", "carol")]
    chief = await chat.enter("chief", operator=True)
    assert "nobody has written to you" in await bob.does("/reply hi")
    await alice.does("/msg bob between us")
    await bob.does("/reply indeed")
    await bob.does("/msg @ALICE again")
    log = "@" + ",".join(sorted((alice.person.id, bob.person.id)))
    for each in (alice, bob):
        assert each.heard(log) == ["between us", "indeed", "again"]
    for each in (carol, chief):
        assert not each.of(Message)
        with pytest.raises(prise.UsageError, match="not yours"):
            chat.house.readable_log(each.person, log)
        assert await each.does("/search us") == "nothing was found"
    assert chat.house.readable_log(bob.person, log) == log
    assert "nobody is called dave" in await alice.does("/msg dave hi")
    await alice.does("/msg alice note to self")
    assert alice.heard(f"@{alice.person.id},{alice.person.id}") == ["note to self"]


@in_house
async def test_who_is_ignored_is_not_seen(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    assert "no longer see" in await alice.does("/ignore Bob")
    await bob.says("spam")
    await bob.does("/msg alice spam")
    assert not alice.of(Message)
    assert await alice.does("/ignore") == "you ignore: bob"
    await alice.does("/ignore bob")
    await bob.says("sorry")
    assert alice.heard() == ["sorry"]
    assert "nobody is called nobody" in await alice.does("/ignore nobody")


@in_house
async def test_whoever_takes_another_name_stays_ignored_and_can_be_answered(chat: Chat) -> None:
    alice, bob, carol = [await chat.enter(name) for name in ("alice", "bob", "carol")]
    await alice.does("/ignore bob")
    under_way = await chat.house.say(bob, "on its way", room=chat.house.find_room("salon"))
    await bob.does("/nick robert")
    await under_way
    await bob.says("spam")
    assert alice.heard() == []
    assert await alice.does("/ignore") == "you ignore: robert"
    assert "see again what robert says" in await alice.does("/ignore robert")
    await carol.does("/msg alice psst")
    await carol.does("/nick caroline")
    await bob.does("/nick carol")
    await alice.does("/reply yes?")
    assert [message.text for message in carol.of(Message)][-1] == "yes?"
    assert "yes?" not in [message.text for message in bob.of(Message)], "who took the name does not get the answer"
    chat.house.leave(carol)
    assert "nobody is called caroline" in await alice.does("/reply are you there?")


@in_house
async def test_history_since_and_search_show_what_was_said_here(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    for number in range(1, 31):
        await alice.says(f"Café number {number}")
    await alice.does("/join den")
    await alice.says("café behind a door")

    async def shown(somebody: Somebody, line: str) -> list[str]:
        before = len(somebody.notices)
        await somebody.does(line)
        return somebody.notices[before:]

    assert [line.split()[0] for line in await shown(bob, "/history")] == [str(n) for n in range(11, 31)]
    assert [line.split()[0] for line in await shown(bob, "/history 2")] == ["29", "30"]
    assert [line.split()[0] for line in await shown(bob, "/since 28")] == ["29", "30"]
    assert await bob.does("/since") == "write /since NUMBER; the last number of this room is 30"
    assert (
        len(await shown(bob, "/search cafe numb")) == 21
    )  # accents do not count, a beginning is enough; 20 and a hint
    assert "nothing was found" in await bob.does("/search door")
    assert "behind a door" in (await shown(alice, "/search door"))[0]
    for words in ('"', "*", "a OR b", "NEAR(", "text:x", "-x", "\0", "(", "'", "^café", "!!!", "\ud800", "x" * 4000):
        await bob.does(f"/search {words}")
    for wrong in ("-1", "x", "²", "9" * 17, "1e3"):
        assert "not a number" in await bob.does(f"/history {wrong}")
        assert "not a number" in await bob.does(f"/since {wrong}")


# -- Rules -------------------------------------------------------------------------------------------------------------


@in_house
async def test_a_muted_room_hears_operators_its_owner_and_those_who_are_allowed(chat: Chat) -> None:
    chief = await chat.enter("chief", operator=True)
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    await chief.does("/mute all")
    with pytest.raises(prise.UsageError, match="salon is muted"):
        await alice.says("hello")
    assert "only operators can be written to" in await alice.does("/msg bob psst")
    await alice.does("/msg chief may I?")
    assert [event.text for event in chief.of(Message)] == ["may I?"]
    await chief.does("/msg alice you may")
    assert alice.of(Message)[-1].text == "you may"
    await chief.does("/allow alice")
    await alice.says("thank you")
    with pytest.raises(prise.UsageError, match="salon is muted"):
        await bob.says("me too")
    await chief.does("/unmute all")
    await bob.says("at last")
    assert bob.heard() == ["thank you", "at last"]
    await alice.does("/join den")
    await chief.does("/join den")
    await chief.does("/mute all")
    await alice.says("my room", room="den")


@in_house
async def test_one_person_can_be_muted(chat: Chat) -> None:
    chief = await chat.enter("chief", operator=True)
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    await chief.does("/mute bob")
    with pytest.raises(prise.UsageError, match="you are muted"):
        await bob.says("hello")
    await alice.says("I can")
    await bob.does("/nick robert")  # another name does not help
    with pytest.raises(prise.UsageError, match="you are muted"):
        await bob.says("hello")
    await chief.does("/unmute robert")
    await bob.says("hello")
    assert "cannot be removed" in await chief.does("/mute chief")


def test_slow_mode_lets_each_speak_once_in_so_many_seconds() -> None:
    room = Room("salon", Rules(slow=5.0))
    alice, bob, chief = Person("1", "alice"), Person("2", "bob"), Person("3", "chief", operator=True)
    room.rules_for(alice, 100.0, ask=True)
    room.rules_for(alice, 100.0)
    room.rules_for(bob, 101.0)
    for now in (100.0, 104.9):
        with pytest.raises(prise.UsageError, match="one message in 5 s"):
            room.rules_for(alice, now)
    room.rules_for(alice, 105.0)
    with pytest.raises(prise.UsageError, match="yours can be said in 5 s"):
        room.rules_for(alice, 105.1)
    for _ in range(3):
        room.rules_for(chief, 105.1)


@in_house
async def test_hands_are_raised_and_taken_in_turn(chat: Chat) -> None:
    chief = await chat.enter("chief", operator=True)
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    await chief.does("/mute all")
    assert "number 1" in await bob.does("/raise about sockets")
    assert "number 2" in await alice.does("/raise")
    assert chief.of(Hands)[-1].hands == (("bob", "about sockets"), ("alice", ""))
    assert not alice.of(Hands)
    await chief.does("/allow")
    await bob.says("here I am")
    assert chief.of(Hands)[-1].hands == (("alice", ""),)
    assert "down again" in await alice.does("/raise")
    assert chief.of(Hands)[-1].hands == ()
    assert "nobody is called" in await chief.does("/allow")
    await alice.does("/raise")
    chat.house.leave(alice)
    assert "nobody is called" in await chief.does("/allow")
    chat.house.find_room("salon").hands.update((str(number), "") for number in range(MOST_HANDS))
    assert f"{MOST_HANDS} people" in await bob.does("/raise")


@in_house
async def test_away_is_shown_and_back_too(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    await alice.does("/away lunch")
    assert await bob.does("/who") == "2 here: alice (lunch), bob"
    await alice.does("/back")
    await alice.does("/back")
    assert [event.text for event in bob.of(Away)] == ["lunch", ""]


# -- Operators ---------------------------------------------------------------------------------------------------------


def elsewhere(name: str, *rooms: str, **more: Any) -> dict[str, Any]:
    """What another node tells of somebody."""
    return {"name": name, "operator": False, "away": "", "rooms": list(rooms), **more}


@in_house
async def test_what_people_on_other_nodes_do_is_shown_as_if_they_were_here(chat: Chat) -> None:
    alice, bob, carol = [await chat.enter(name) for name in ("alice", "bob", "carol")]
    met = chat.house.met
    for each in (alice, bob):
        await each.does("/join garden")
    await carol.does("/part")
    met("b", {"1": elsewhere("dan", "salon", "garden")})
    assert [(event.room, event.name) for event in alice.of(Joined)][-2:] == [("salon", "dan"), ("garden", "dan")]
    met("b", {"1": elsewhere("daniel", "salon", "garden", away="lunch")})
    for each in (alice, bob):
        assert [(event.name, event.new, event.id) for event in each.of(Renamed)] == [("dan", "daniel", "1")], "once"
        assert [(event.name, event.id, event.text) for event in each.of(Away)] == [("daniel", "1", "lunch")]
    assert not carol.of(Renamed)
    assert await alice.does("/who salon") == "3 here: alice, bob, daniel (lunch)"
    assert "nobody is called dan" in await alice.does("/msg dan hi")
    await alice.does("/msg daniel hi")
    assert alice.of(Message)[-1].to == "daniel"
    assert await denied(chat.house.enter("daniel")) == "taken"
    assert await denied(chat.house.enter("danie1")) == "taken", "it looks like that"
    await chat.enter("dan")
    met("b", {"1": elsewhere("daniel", "salon", operator=True)})
    assert [(event.room, event.name) for event in alice.of(Left)][1:] == [("garden", "daniel")]
    assert [event.text for event in alice.of(Away)] == ["lunch", ""]
    assert "cannot be removed" in await (await chat.enter("chief", operator=True)).does("/kick daniel")
    # The new name, a room left and another one come into, all at once: by the names that people know.
    before = len(alice.seen)
    met("b", {"1": elsewhere("dany", "salon", "garden")})
    assert [type(event) for event in alice.seen[before:]] == [Renamed, Joined]
    met("b", None)
    assert sorted(event.room for event in alice.of(Left) if event.id == "1") == ["garden", "garden", "salon"]
    assert await denied(chat.house.enter("dan")) == "taken"
    await chat.enter("dany")


@in_house
async def test_who_comes_into_a_crowd_is_not_told_everybodys_name(chat: Chat) -> None:
    alice = await chat.enter("alice")
    chat.house.met("b", {f"{number}": elsewhere(f"person{number}", "salon") for number in range(3000)})
    told = await alice.does("/who")
    assert told.startswith("3001 here: alice, person0, ")
    assert told.endswith(", person98 and 2901 more")
    shape = shapes.room(chat.house.find_room("salon"))
    assert (len(shape["people"]), shape["others"]) == (shapes.MOST_LISTED, 2001)


@in_house
async def test_names_that_nodes_give_at_the_same_time_belong_to_one_in_the_end(chat: Chat) -> None:
    met, people = chat.house.met, chat.house.people
    met("b", {"1": elsewhere("dan", "salon")})
    met("c", {"2": elsewhere("dan", "salon")})  # both let one in before they heard of each other
    assert getattr(people.find("dan"), "id", "") == "1"
    met("c", {"2": elsewhere("dan_2", "salon")})
    assert getattr(people.find("dan"), "id", "") == "1"
    met("c", {"2": elsewhere("dan_2"), "3": elsewhere("eve")})
    met("b", {"1": elsewhere("eve", "salon")})
    met("c", {"2": elsewhere("dan", "salon")})
    assert [getattr(people.find(name), "id", "") for name in ("dan", "eve", "dan_2")] == ["2", "1", ""]
    # Somebody moves from b to c, and c is heard first: they were never gone.
    alice = await chat.enter("alice")
    met("c", {"1": elsewhere("eve", "salon"), "2": elsewhere("dan", "salon")})
    met("b", None)
    assert await alice.does("/who") == "3 here: alice, eve, dan"
    assert not alice.of(Left)


@in_house
async def test_who_has_lost_a_name_while_their_connection_was_broken_gets_another_one_when_they_are_back(
    chat: Chat,
) -> None:
    bob = await chat.enter("bob")
    token = chat.house.token(bob.person)
    chat.house.leave(bob, grace=True)
    chat.house.met("b", {"!": elsewhere("bob", "salon")})  # an id less than any
    assert bob.person.name == "bob"
    again = await chat.enter("bob", token=token)
    assert again.person.name == "bob_2"
    assert again.notices == ["somebody on another server has your nickname; you are bob_2 now"]


@in_house
async def test_operators_commands_are_for_operators(chat: Chat) -> None:
    alice = await chat.enter("alice")
    for command in commands.COMMANDS.values():
        if command.operator:
            told = await alice.does(f"/{command.name} alice")
            if command.owner:
                assert told == "that is for the operator, and for who has made the room"
            else:
                assert told == f"/{command.name} is for the operator"
            assert f"/{command.name}" not in await alice.does("/help")
    assert "not the operator's password" in await alice.does("/op guess")
    assert "not the operator's password" in await alice.does("/op")
    assert "you are an operator now" in await alice.does("/op sesame")
    assert await alice.does("/bans") == "nobody is banned"
    before = len(alice.notices)
    await alice.does("/help")
    assert [line.split()[0] for line in alice.notices[before:]] == [f"/{name}" for name in commands.COMMANDS]


@in_house
async def test_no_password_for_operators_means_no_operators(chat: Chat) -> None:
    await chat.close()
    again = await opened(chat.path)
    alice = await again.enter("alice")
    assert "not the operator's password" in await alice.does("/op")
    await again.close()


@in_house
async def test_an_announcement_reaches_everybody_in_all_rooms(chat: Chat) -> None:
    chief, far = await chat.enter("chief", operator=True), await chat.enter("far", room="elsewhere")
    await chief.does("/announce fire drill")
    for each in (chief, far):
        assert [(event.author, event.text) for event in each.of(Announcement)] == [("chief", "fire drill")]
        assert not each.of(Message)


@in_house
async def test_who_is_kicked_is_told_why_and_may_come_back(chat: Chat) -> None:
    chief, bob = await chat.enter("chief", operator=True), await chat.enter("bob")
    token = chat.house.token(bob.person)
    second = await chat.enter("bob", token=token)
    await chief.does("/kick bob too loud")
    await asyncio.sleep(0)
    for each in (bob, second):
        assert each.dismissed == ("removed by chief (too loud)", False)
    assert [texts.line(event).partition(" ")[2] for event in chief.of(Left)] == [
        "* bob is gone: removed by chief (too loud)"
    ]
    assert "cannot be removed" in await chief.does("/kick chief")
    assert "nobody is called bob" in await chief.does("/kick bob")
    await chat.enter("bob", token=token)


@in_house
async def test_a_ban_holds_for_the_name_the_token_and_the_address_until_its_time(chat: Chat) -> None:
    chief, bob = await chat.enter("chief", operator=True), await chat.enter("bob", host="192.0.2.7")
    token = chat.house.token(bob.person)
    assert "not a time" in await chief.does("/ban bob soon")
    assert bob.dismissed is None
    await chief.does("/ban bob 10m spam")
    await asyncio.sleep(0)
    assert bob.dismissed == ("removed by chief (spam)", False)
    ways: list[tuple[str, dict[str, Any]]] = [
        ("BOB", {}),
        ("robert", {"token": token}),
        ("robert", {"host": "192.0.2.7"}),
    ]
    for name, how in ways:
        with pytest.raises(Denied, match=r"you are banned for another 10 min \(spam\)") as caught:
            await chat.house.enter(name, **how)
        assert caught.value.code == "banned"
    assert (await chief.does("/bans")).split() == ["bob", "10", "min", "spam"]
    await chat.house.enter("robert", host="192.0.2.8")
    assert "nobody called robert is banned" in await chief.does("/unban robert")
    await chief.does("/unban Bob")
    await chat.enter("bob", token=token, host="192.0.2.7")
    await chief.does("/ban bob 1s")
    await asyncio.sleep(1.0)  # the one second of the ban
    await chat.enter("bob", token=token, host="192.0.2.7")
    assert await chief.does("/bans") == "nobody is banned"
    await chief.does("/ban stranger")
    assert await denied(chat.house.enter("stranger")) == "banned"
    assert "cannot be removed" in await chief.does("/ban chief")


@in_house
async def test_who_was_cut_off_a_moment_ago_can_be_banned_too(chat: Chat) -> None:
    chief, bob = await chat.enter("chief", operator=True), await chat.enter("bob")
    token = chat.house.token(bob.person)
    chat.house.leave(bob, grace=True)
    await chief.does("/ban bob")
    assert chat.house.people.find("bob") is None
    assert await denied(chat.house.enter("bob", token=token)) == "banned"


@in_house
async def test_who_is_sent_away_while_coming_in_is_not_in(chat: Chat) -> None:
    chief = await chat.enter("chief", operator=True)
    person = await chat.house.enter("bob")
    await chief.does("/kick bob")
    with pytest.raises(Denied):
        chat.house.attach(Somebody(chat.house, person))


@in_house
async def test_stats_count(chat: Chat) -> None:
    chief, bob = await chat.enter("chief", operator=True), await chat.enter("bob")
    for number in range(3):
        await bob.says(str(number))
    chat.house.leave(bob)
    assert (await chief.does("/stats")).startswith("1 people in 1 rooms; 2 at most and 2 visits, 3 messages since ")


@in_house
async def test_stop_asks_the_house_to_close(chat: Chat) -> None:
    chief = await chat.enter("chief", operator=True)
    await chief.does("/stop")
    assert chat.house.closing.is_set()


# -- Trouble, and the end ----------------------------------------------------------------------------------------------


@in_house
async def test_what_cannot_be_stored_is_shown_to_nobody_and_told_to_its_author_and_operators(chat: Chat) -> None:
    chief, alice, bob = await chat.enter("chief", operator=True), await chat.enter("alice"), await chat.enter("bob")
    with closing(sqlite3.connect(chat.path)) as base:
        base.execute("create trigger full before insert on messages begin select raise(abort, 'no space'); end")
        with pytest.raises(prise.PriseError, match="cannot be written: no space"):
            await alice.says("lost")
        assert "no space" in await alice.does("/me waves")
        assert [notice for notice in chief.notices if "no space" in notice]
        assert not bob.of(Message)
        assert not [notice for notice in bob.notices if "no space" in notice]
        base.execute("drop trigger full")
    assert (await alice.says("after")).number == 1
    assert bob.heard() == ["after"]


@in_house
async def test_closing_shows_what_was_said_and_lets_everybody_go_at_once(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    stuck = asyncio.Event()

    async def never(why: Notice | None, again: bool) -> None:
        await stuck.wait()

    alice.dismiss = never  # type: ignore[method-assign]  # somebody whose connection takes no last word
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house_module, "LAST_WORDS", 0.2)
        room = chat.house.find_room("salon")
        waiting = [await chat.house.say(alice, str(number), room=room) for number in range(100)]
        before = time.monotonic()
        await chat.close()
        assert time.monotonic() - before < 5.0
    stuck.set()
    assert all(settled.done() for settled in waiting)
    assert bob.heard() == [str(number) for number in range(100)] == chat.stored()
    assert bob.dismissed == ("bye", True)
    with pytest.raises(prise.UsageError, match="the house is closed"):
        await bob.says("too late")
    assert await denied(chat.house.enter("late")) == "full"


@in_house
async def test_behind_the_goodbye_nobody_is_told_who_leaves(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    chat.house.dismiss_all(Notice("bye"))
    chat.house.leave(bob)
    assert alice.of(Left) == []


@in_house
async def test_leaving_twice_is_leaving_once(chat: Chat) -> None:
    alice, bob = await chat.enter("alice"), await chat.enter("bob")
    for why in itertools.repeat(Notice("too slow"), 2):
        chat.house.leave(bob, why)
    assert [event.reason.text() for event in alice.of(Left)] == ["too slow"]
    await chat.enter("BOB")


@in_house
async def test_a_house_that_could_not_be_left_goes_on_with_the_store_that_it_has(chat: Chat) -> None:
    """Where the store does not settle in time it is not closed, and so not opened again either; twice is as good as once."""
    ada = await chat.enter("ada")
    for _ in range(2):
        waiting: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        chat.house.talk._waiting.append(waiting)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.house.pause(), 0.05)
        chat.house.talk._waiting.remove(waiting)
        await chat.house.resume()
    await chat.house.pause()
    await chat.house.resume()
    await ada.says("still here")
    assert chat.stored() == ["still here"]


def test_a_room_forgets_what_is_old_wherever_it_stands() -> None:
    """A clock that was wrong for a while leaves stamps that are in no order."""
    room = Room("salon")
    stamps = (10.0, 9_000.0, 20.0, 30.0)
    room.take(
        [Message("salon", at, "ann", "1", f"at {at:g}", number=n) for n, at in enumerate(stamps, 1)], lambda _: None
    )
    room.forget(25.0, 100)
    assert [message.at for message in room.recent] == [9_000.0, 30.0]
    assert [message.number for message in room.behind(2) or []] == [4]
    room.forget(0.0, 1)
    assert [message.number for message in room.recent] == [4]

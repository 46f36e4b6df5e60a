"""What a teacher does with a class, in the server's terminal and from anywhere else by `/op`: on the real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_support import OPERATORS, Chat, Person, Program, in_room

Teacher = Chat | Program


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    with Chat(tmp_path / "chat.sqlite") as server:
        yield server
        if server.process.poll() is None:
            server.terminate()


@pytest.fixture(params=["terminal", "nc"])
def teacher(chat: Chat, request: pytest.FixtureRequest) -> Iterator[tuple[Teacher, str]]:
    """Whoever gives orders, and their name."""
    if request.param == "terminal":
        yield chat, "operator"
        return
    with chat.nc() as nc:
        nc.say("teacher")
        nc.sees("you are teacher")
        nc.say("/kick operator")
        nc.sees("* that is for the operator, and for who has made the room")
        nc.say("/op guess")
        nc.sees("* that is not the operator's password; the server's terminal shows it")
        nc.say(f"/op {OPERATORS}")
        nc.sees("* you are an operator now")
        yield nc, "teacher"


def test_a_quiet_class_raises_hands_and_is_given_the_word(chat: Chat, teacher: tuple[Teacher, str]) -> None:
    (orders, name), place = teacher, 0
    with in_room(chat, "alice", "bob") as (alice, bob):
        orders.say("/mute all")
        for pupil in (alice, bob):
            pupil.sees("* salon is muted: only operators speak, and those whom they /allow")
        alice.say("psst")
        alice.sees("* salon is muted: you can write to an operator with /msg, or ask to speak with /raise")
        alice.say("/msg bob psst")
        alice.sees("* while salon is muted, only operators can be written to")
        alice.say(f"/msg {name} may I leave?")
        place = orders.sees(f"<alice → {name}> may I leave?", place)
        orders.say("/reply no")
        alice.sees(f"<{name} → alice> no\a")
        bob.say("/raise about exercise 3")
        bob.sees("* your hand is up, number 1; once more, and it is down")
        place = orders.sees("raised hands: bob (about exercise 3)", place)
        alice.say("/raise")
        place = orders.sees("raised hands: bob (about exercise 3), alice", place)
        orders.say("/allow")
        alice.sees("* bob has the word in salon")
        bob.say("what is a socket?")
        alice.sees("<bob> what is a socket?")
        orders.say(f"a question for @alice, says {name}")
        alice.sees(f"<{name}> a question for @alice, says {name}\a")
        orders.say("/unmute all")
        alice.sees("* everybody can speak again in salon")
        alice.say("finally")
        bob.sees("<alice> finally")
        assert "psst" not in bob.screen.text
        assert "may I leave" not in bob.screen.text


def test_slow_mode_one_muted_and_an_announcement(chat: Chat, teacher: tuple[Teacher, str]) -> None:
    orders, name = teacher
    with in_room(chat, "alice", "bob") as (alice, bob), chat.person("carol") as carol:
        carol.say("/part")
        carol.sees("* you are in no room now")
        orders.say("/slow 600")
        alice.sees("* slow mode in salon: one message in 600 s from each")
        alice.say("one")
        bob.sees("<alice> one")
        alice.say("two")
        alice.sees("* salon is in slow mode: one message in 600 s; yours can be said in 600 s")
        bob.say("me too")
        alice.sees("<bob> me too")
        orders.say("/slow 0")
        alice.sees("* slow mode in salon is over")
        alice.say("three")
        bob.sees("<alice> three")
        orders.say("/slow fast")
        orders.sees("* write /slow SECONDS, from 0 (off) to 3600")
        orders.say("/mute Bob")
        bob.sees("* you are muted in salon")
        bob.say("hey")
        bob.sees("* you are muted in salon; /msg to an operator still works")
        orders.say("/announce the break begins")
        for pupil in (alice, bob, carol):
            pupil.sees(f"*** {name}: the break begins ***")
        assert "two" not in bob.screen.text
        assert "hey" not in alice.screen.text


def test_who_is_banned_stays_out_until_the_time_is_over(chat: Chat, teacher: tuple[Teacher, str]) -> None:
    orders, name = teacher
    with in_room(chat, "alice", "bob") as (alice, bob):
        orders.say("/ban bob 2s  spam")
        assert bob.leaves().endswith(f"\n* removed by {name} (spam)\n")
        banned_at = time.monotonic()
        alice.sees(f"* bob is gone: removed by {name} (spam)")
        with chat.person() as again:
            again.say("BOB")
            assert again.leaves().endswith("\nyou are banned for another 1 min (spam)\n")
        orders.say("/bans")
        orders.sees("spam")
        while time.monotonic() < banned_at + 10:
            with chat.person() as again:
                again.say("bob")
                if "you are bob" in again.screen.text or _let_in(again):
                    break
        else:
            pytest.fail("the ban does not end")
        assert time.monotonic() - banned_at > 1.5
        orders.say("/ban carol")
        orders.sees("* carol is banned; /unban carol ends it, /bans lists all")
        with chat.person() as carol:
            carol.say("carol")
            assert carol.leaves().endswith("\nyou are banned\n")
        orders.say("/unban carol")
        orders.sees("* carol may come in again")
        with chat.person("carol"):
            pass


def _let_in(person: Person) -> bool:
    """Waits for the answer to a name: in, or out again."""
    try:
        person.sees("you are b")  # "you are banned", or "you are bob"
        return "you are bob" in person.screen.text
    except AssertionError:
        return False


def test_who_has_made_a_room_keeps_order_there_and_nowhere_else(chat: Chat) -> None:
    with in_room(chat, "alice", "bob", "carol") as (alice, bob, carol):
        for person in (alice, bob, carol):
            person.say("/join garden")
            person.sees("* you are in garden now")
        bob.say("/slow 5")
        bob.sees("* that is for the operator, and for who has made the room")
        alice.say("/mute all")
        bob.sees("* garden is muted")
        bob.say("/raise")
        alice.sees("raised hands: bob")
        alice.say("/allow")
        bob.sees("* bob has the word in garden")
        alice.say("/unmute all")
        carol.sees("* everybody can speak again in garden")
        alice.say("/slow 600")
        bob.sees("* slow mode in garden: one message in 600 s from each")
        alice.say("/mute carol")
        carol.sees("* you are muted in garden")
        place = alice.sees("* carol is muted in garden; /unmute carol ends it")
        alice.say("/kick bob  enough")
        place = alice.sees("* bob is gone: removed by alice (enough)", place)
        carol.sees("* bob is gone: removed by alice (enough)")
        bob.say("still in the other room")
        bob.sees("* you are in salon now")
        carol.sees("#salon ")
        carol.sees("<bob> still in the other room")
        alice.say("/kick bob")
        place = alice.sees("* bob is not in garden", place)
        alice.say("/ban bob")
        place = alice.sees("* /ban is for the operator", place)
        alice.say("/help")
        place = alice.sees("/kick NAME [REASON]", place)
        alice.say("/part")
        place = alice.sees("* you are in salon now", place)
        alice.say("/kick bob")
        alice.sees("* that is for the operator, and for who has made the room", place)
        bob.say("/help")
        bob.sees("FIN ")
        assert "/kick NAME" not in bob.screen.text


def test_stats_and_stop(chat: Chat, teacher: tuple[Teacher, str]) -> None:
    orders, _name = teacher
    with in_room(chat, "alice", "bob") as (alice, bob):
        alice.say("hello")
        bob.sees("<alice> hello")
        orders.say("/stats")
        orders.sees(" 1 messages since ")
        orders.sees(" connections of ")
        orders.say("/kick alice")
        orders.sees("* alice is sent away")
        alice.leaves()
        orders.say("/stop")
        assert bob.leaves().endswith("\n* the room is closing. Goodbye\n")
    assert chat.finish() == 0


def test_bans_and_rules_hold_over_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "chat.sqlite"
    with Chat(store) as chat:
        chat.say("/ban bob 1h")
        chat.sees("bob is banned")
        chat.say("/mute all")
        chat.sees("salon is muted")
        chat.terminate()
    with Chat(store) as chat:
        with chat.person() as bob, chat.person("alice") as alice:
            bob.say("bob")
            assert bob.leaves().endswith("\nyou are banned for another 60 min\n")
            alice.say("hello")
            alice.sees("* salon is muted")
        chat.terminate()


def test_one_who_takes_no_last_word_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with Chat(tmp_path / "chat.sqlite") as chat, in_room(chat, "alice", "bob") as (alice, bob):
        stuck = chat.person("dave", read=False)
        alice.sees("* dave joined")
        for number in range(500):
            alice.say(f"{number} {'x' * 3000}")
        bob.sees("<alice> 499 ")
        before = time.monotonic()
        chat.say("/stop")
        for person in (alice, bob):
            assert person.leaves().endswith("\n* the room is closing. Goodbye\n")
        assert chat.finish() == 0
        assert time.monotonic() - before < 11
        stuck.__exit__(None, None, None)

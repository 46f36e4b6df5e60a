"""The room without any socket or file: who is there, what is shown to whom and when, and what is made of what people type."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from prise.chat import cleaning, commands, joining, texts
from prise.chat.events import Event, Joined, Left, Message, Notice
from prise.chat.room import HISTORY, MOST_WAITING, Member, Report, Room
from prise.chat.store import SqliteStore, default_path


class Shelf:
    """A store in memory that commits when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.kept: list[Message] = []
        self.report: Report

    def last(self, count: int) -> list[Message]:
        return self.kept[-count:]

    def begin(self, report: Report) -> None:
        self.report = report

    def add(self, message: Message) -> None:
        self.waiting.append(message)

    async def commit(self, error: prise.PriseError | None = None) -> None:
        messages, self.waiting = self.waiting, []
        if error is None:
            self.kept += messages
        self.report(messages, error)
        await asyncio.sleep(0)  # a store reports from its own thread, so the room hears of it in the loop's next turn
        await asyncio.sleep(0)


class Somebody:
    """A member who remembers what was shown."""

    def __init__(self, room: Room, name: str, operator: bool = False) -> None:
        self.seen: list[Event] = []
        self.dismissed = False
        self.member: Member = room.join(name, self.seen.extend, self._dismiss, operator)

    async def _dismiss(self) -> None:
        self.dismissed = True

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.seen if isinstance(event, (Message, Notice))]


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs a test that awaits, with a room and its store."""

    def run() -> None:
        async def body() -> None:
            shelf = Shelf()
            room = Room(shelf)
            room.open()
            await test(room, shelf)

        asyncio.run(body())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@in_loop
async def test_nobody_is_shown_what_is_not_stored_yet(room: Room, shelf: Shelf) -> None:
    alice, bob = Somebody(room, "alice"), Somebody(room, "bob")
    shown = await room.say(alice.member, "hello")
    assert "hello" not in alice.lines + bob.lines
    await shelf.commit()
    await shown
    assert alice.lines == bob.lines == ["hello"]


@in_loop
async def test_what_could_not_be_stored_is_told_to_its_author_and_the_operator_alone(room: Room, shelf: Shelf) -> None:
    alice, bob, operator = Somebody(room, "alice"), Somebody(room, "bob"), Somebody(room, "chief", operator=True)
    await room.say(alice.member, "one")
    shown = await room.say(alice.member, "two")
    await shelf.commit(prise.PriseError("the disk is full"))
    await shown
    assert alice.lines == ["nobody has seen what you just said: the disk is full"]
    assert operator.lines == ["the disk is full"]
    assert bob.lines == []
    await room.say(alice.member, "three")
    await shelf.commit()
    assert bob.lines == ["three"]


@in_loop
async def test_whoever_says_too_much_waits_for_the_store(room: Room, shelf: Shelf) -> None:
    alice = Somebody(room, "alice")
    for number in range(MOST_WAITING):
        await room.say(alice.member, str(number))
    one_more = asyncio.create_task(room.say(alice.member, "one more"))
    await asyncio.sleep(0)
    assert not one_more.done()
    assert len(shelf.waiting) == MOST_WAITING
    await shelf.commit()
    await one_more
    assert [message.text for message in shelf.waiting] == ["one more"]


@in_loop
async def test_a_new_member_sees_the_last_messages_and_every_one_after_them_once(room: Room, shelf: Shelf) -> None:
    alice = Somebody(room, "alice")
    for number in range(HISTORY + 5):
        await room.say(alice.member, str(number))
    await shelf.commit()
    await room.say(alice.member, "on its way")
    bob = Somebody(room, "bob")
    await shelf.commit()
    assert bob.lines == [*map(str, range(5, HISTORY + 5)), "on its way"]


@in_loop
async def test_leaving_is_told_once_and_the_name_is_free(room: Room, shelf: Shelf) -> None:
    alice, bob = Somebody(room, "alice"), Somebody(room, "bob")
    room.leave(bob.member, "too slow")
    room.leave(bob.member)
    assert [(event.name, event.reason) for event in alice.seen if isinstance(event, Left)] == [("bob", "too slow")]
    shown = await room.say(bob.member, "a ghost")
    await shown
    assert shelf.waiting == []
    Somebody(room, "BOB")


@in_loop
async def test_a_closed_room_shows_what_was_on_its_way_and_lets_everybody_go(room: Room, shelf: Shelf) -> None:
    alice = Somebody(room, "alice")
    await room.say(alice.member, "last")
    closing = asyncio.create_task(room.close("bye"))
    await asyncio.sleep(0)
    with pytest.raises(prise.UsageError, match="the room is closed"):
        Somebody(room, "late")
    await shelf.commit()
    await closing
    assert alice.lines == ["last", "bye"]
    assert alice.dismissed
    await (await room.say(alice.member, "too late"))
    assert shelf.waiting == []


@in_loop
async def test_help_is_made_from_the_commands(room: Room, shelf: Shelf) -> None:
    alice, operator = Somebody(room, "alice"), Somebody(room, "chief", operator=True)
    for person in (alice, operator):
        await commands.obey(room, person.member, "/help")
    everything = [f"/{command.name}" for command in commands.COMMANDS.values()]
    assert [line.split()[0] for line in operator.lines] == everything
    assert [line.split()[0] for line in alice.lines] == [*everything[:3], "FIN"]


# -- What people type ----------------------------------------------------------------------------------------------------


@given(st.text())
def test_no_line_keeps_anything_that_acts_on_a_terminal(typed: str) -> None:
    line = cleaning.line(typed)
    assert all(character == "\t" or not (ord(character) < 32 or 127 <= ord(character) < 160) for character in line)
    prise.Lines().encode(line.encode())  # it is one line, and text


@pytest.mark.parametrize(
    "line", ["", "naïve café", "\ttab", "👩‍👩‍👧 👋🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "שלום", "مرحبا", "नमस्ते", "日本語", "a\u200db", "½ ﬁ ｆｕｌｌ"]
)
def test_what_people_write_stays_as_it_is(line: str) -> None:
    assert cleaning.line(line) == line


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("helo\blo", "hello"),
        ("\b\b\x7fa", "a"),
        ("forget this\x15that", "that"),
        ("forget this\x03that", "that"),
        ("\x1b]0;title\x07", "]0;title"),
        ("a\u202eb\u2066c\u2028d\r", "abcd"),
        ("bell\a", "bell"),
        ("\ud800", ""),
    ],
)
def test_keys_edit_the_line_and_the_rest_goes(typed: str, line: str) -> None:
    assert cleaning.line(typed) == line


@given(st.text())
def test_a_name_is_visible_short_and_the_same_when_it_is_typed_again(typed: str) -> None:
    try:
        name = cleaning.name(typed)
    except prise.UsageError:
        return
    assert cleaning.name(name) == name
    assert name.isprintable()
    assert 0 < len(name) <= cleaning.LONGEST_NAME
    assert not set(name) & set(" \t<>")


# -- How it reads ----------------------------------------------------------------------------------------------------------


def test_todays_events_have_the_time_and_older_ones_the_date_too() -> None:
    now = time.time()
    assert texts.line(Joined(now, "alice")) == time.strftime("%H:%M * alice joined", time.localtime(now))
    older = now - 3 * 86_400
    assert texts.line(Message(older, "bob", "{hi}")) == time.strftime(
        "%Y-%m-%d %H:%M <bob> {hi}", time.localtime(older)
    )


def test_long_lists_of_names_are_cut() -> None:
    assert texts.enumerated(map(str, range(5)), most=3) == "0, 1, 2 and 2 more"
    assert texts.enumerated(["a", "b"]) == "a, b"


def commands_of(*addresses: str) -> list[str]:
    lines = joining.instructions(map(prise.Address.parse, addresses))
    return [line.strip() for line in lines if line.startswith("    ")]


def test_how_to_join_from_here_and_from_elsewhere() -> None:
    assert commands_of("127.0.0.1:6000") == ["nc 127.0.0.1 6000", "prise connect 127.0.0.1:6000"]
    assert commands_of("[::1]:6000") == ["nc ::1 6000", "prise connect [::1]:6000"]
    assert commands_of("[::1]:6000", "127.0.0.1:6000") == ["nc localhost 6000", "prise connect localhost:6000"]
    assert commands_of("/run/chat.sock") == ["nc -U /run/chat.sock", "prise connect unix:/run/chat.sock"]
    elsewhere = [f"nc {host} 6000" for host in joining.machine_addresses()]
    assert commands_of("0.0.0.0:6000", "[::]:6000") == ["nc localhost 6000", "prise connect localhost:6000", *elsewhere]
    *_lines, last = joining.instructions([prise.Address.parse("0.0.0.0:6000")])
    assert "nothing is encrypted" in last


# -- The store -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def reports() -> tuple[list[Message], Report]:
    messages: list[Message] = []

    def report(done: Sequence[Message], error: prise.PriseError | None) -> None:
        assert error is None
        messages.extend(done)

    return messages, report


def test_a_store_numbers_what_it_is_given_and_writes_it_before_it_closes(
    tmp_path: Path, reports: tuple[list[Message], Report]
) -> None:
    messages, report = reports
    path = tmp_path / "a" / "chat.sqlite"
    for first in (1, 1001):
        with SqliteStore(path) as store:
            assert [message.number for message in store.last(3)] == ([] if first == 1 else [998, 999, 1000])
            store.begin(report)
            for number in range(1000):
                store.add(Message(12.5, "alice", f"{number}"))
        assert messages[first - 1 :] == [Message(12.5, "alice", f"{n}", first + n) for n in range(1000)]


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    with SqliteStore(path) as store:
        store._connection.execute("pragma user_version = 99")
    with pytest.raises(prise.UsageError, match="one of a newer prise"):
        SqliteStore(path).__enter__()


@pytest.mark.skipif(sys.platform == "win32", reason="XDG")
def test_the_default_store_is_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_path() == Path("/data/prise/chat.sqlite")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/alice")
    assert default_path() == Path("/home/alice/.local/share/prise/chat.sqlite")

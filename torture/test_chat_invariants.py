"""The promises of the chat, whatever people do and in whatever order: a state machine plays them at random.

What is acknowledged is never lost; nothing is there twice; everybody sees the same order; numbers rise without a gap; the history
is what was acknowledged, and searching finds it. People come by lines, by JSON and by WebSocket; they are cut in the
middle of a line, come back and say again what was not acknowledged; the house is closed and opened again on its file.
"""

from __future__ import annotations

import socket
import struct
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chat_company import Company, Member, Onlooker
from chat_live import PATIENCE, SECONDS, stored
from chat_support import Person
from prise.testing import faults

ROOMS = ["salon", "garden", "Crypte"]
MOST = 6  # people
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class ChatMachine(Company, RuleBasedStateMachine):
    """What people do, in any order, and what has to hold after each step."""

    # -- what people do ------------------------------------------------------------------------------------------------

    @initialize()
    def somebody_is_there(self) -> None:
        self.comes("lines")
        self.comes("websocket")

    @precondition(lambda self: len(self.members) < MOST)
    @rule(carrier=st.sampled_from(["lines", "websocket"]))
    def comes(self, carrier: str) -> None:
        member = Member(f"m{len(self.members)}", carrier)
        self.members.append(member)
        self.enter(member)

    @precondition(lambda self: len(self.onlookers) < 2)
    @rule()
    def looks_on(self) -> None:
        self.count += 1
        name = f"eye{self.count}"
        self.onlookers.append(Onlooker(name, Person(self.port, name)))

    @rule(which=st.integers(0, MOST), room=st.sampled_from(ROOMS))
    def says(self, which: int, room: str) -> None:
        if member := self.pick(which, room):
            self.say(member, room)
            self.settle(member)

    @rule(count=st.integers(1, 30))
    def all_talk_at_once(self, count: int) -> None:
        for _each in range(count):
            for member in self.connected():
                if member.rooms:
                    self.say(member, member.rooms[_each % len(member.rooms)])
            for onlooker in self.onlookers:
                onlooker.person.say(self.word())
        for member in self.connected():
            self.settle(member)

    @rule(which=st.integers(0, MOST), count=st.integers(0, 20), half=st.booleans(), reset=st.booleans())
    def is_cut(self, which: int, count: int, half: bool, reset: bool) -> None:
        """While they speak, and do not read; perhaps in the middle of a line."""
        if (member := self.pick(which)) is None:
            return
        bot = member.bot
        assert bot is not None
        try:
            for _each in range(count if member.rooms else 0):
                self.say(member, member.rooms[0])
            sock: socket.socket = bot._sock if bot._socket is None else bot._socket.socket
            if half:
                sock.sendall(b'{"say": "half a' if bot._socket is None else b"\x81\xfe\x10")
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        finally:
            bot.close()
            member.bot = None

    @rule(which=st.integers(0, MOST))
    def comes_back(self, which: int) -> None:
        away = [member for member in self.members if member.bot is None]
        if away:
            self.enter(away[which % len(away)])

    @rule(which=st.integers(0, MOST))
    def leaves(self, which: int) -> None:
        if member := self.pick(which):
            assert member.bot is not None
            member.bot.send("quit", {})
            self.drop(member)

    @rule(which=st.integers(0, MOST), room=st.sampled_from(ROOMS))
    def joins(self, which: int, room: str) -> None:
        member = self.pick(which)
        if member is not None and member.bot is not None and room not in member.rooms:
            member.rooms.append(room)
            member.got.pop(room, None)  # what was said lately is shown again
            member.bot.asks("do", f"/join {room}", "room", room=room)

    @rule(which=st.integers(0, MOST), room=st.sampled_from(ROOMS))
    def parts(self, which: int, room: str) -> None:
        if (member := self.pick(which, room)) and member.bot is not None:
            member.bot.asks("do", {"command": "/part", "room": room}, "parted", room=room)
            member.rooms.remove(room)
            self.take(member)
            member.got.pop(room, None)

    @rule(which=st.integers(0, MOST))
    def changes_name(self, which: int) -> None:
        if (member := self.pick(which)) and member.bot is not None:
            self.count += 1
            member.name = f"n{self.count}"
            member.bot.send("do", f"/nick {member.name}")
            if member.rooms:
                member.bot.until("renamed", new=member.name)

    @rule(which=st.integers(0, MOST), other=st.integers(0, MOST))
    def whispers(self, which: int, other: int) -> None:
        """Also to somebody whose connection has just broken; to who is gone it fails, and they never see it."""
        member, to = self.pick(which), self.members[other % len(self.members)]
        if member is not None and to is not member:
            text = self.say(member, f"@{to.name}")
            self.settle(member)
            if text in self.places:
                self.private[text] = to

    @rule(talking=st.booleans())
    def the_house_is_opened_anew(self, talking: bool) -> None:
        if talking:
            for member in self.connected():
                if member.rooms:
                    for _each in range(5):
                        self.say(member, member.rooms[0])
        self.house.end()
        for member in self.connected():
            assert member.bot is not None
            assert ("goodbye", True) in [
                (kind, given["again"]) for kind, given in member.bot.rest() if kind == "goodbye"
            ]
            self.drop(member)
        for onlooker in self.onlookers:
            onlooker.person.leaves()
            self.check_seen(onlooker)
            onlooker.person.__exit__(None, None, None)
        self.onlookers.clear()
        self.house.close()
        assert self.house.complaints == []
        self.open()

    @rule(which=st.integers(0, MOST), room=st.sampled_from(ROOMS), page=st.integers(1, 40))
    def looks_back(self, which: int, room: str, page: int) -> None:
        """The history, page by page from its end, is what was seen."""
        if (member := self.pick(which, room)) is None or member.bot is None:
            return
        found: list[tuple[int, str]] = []
        before, more = 0, True
        while more:
            given = member.bot.asks("history", {"room": room, "before": before, "count": page}, "history", room=room)
            found[:0] = [(each["number"], each["text"]) for each in given["messages"]]
            before, more = found[0][0] if found else 0, given["more"]
        assert [number for number, _text in found] == list(range(1, len(found) + 1))
        for number, text in found:
            self.note(room, number, text)
        assert {text for (log, _number), text in self.truth.items() if log == room} == {text for _number, text in found}

    @rule(which=st.integers(0, MOST), word=st.integers(0, 10_000))
    def searches(self, which: int, word: int) -> None:
        member = self.pick(which)
        known = sorted(text for text, (log, _number) in self.places.items() if member and log in member.rooms)
        if member is not None and member.bot is not None and known:
            text = known[word % len(known)]
            found = member.bot.asks("search", text, "found")["messages"]
            assert [(each["room"], each["number"]) for each in found if each["text"] == text] == [self.places[text]]

    # -- what has to hold -----------------------------------------------------------------------------------------------

    @invariant()
    def all_have_seen_the_same(self) -> None:
        """In time: what somebody said who was cut may still be on its way."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for onlooker in self.onlookers:
                self.catch_up(onlooker)
            for member in self.connected():
                assert member.bot is not None
                member.bot.meanwhile()
                self.take(member)
            behind = [
                (member.name, room)
                for member in self.connected()
                for room in member.rooms
                if member.got.get(room, 0) != self.last(room)
            ]
            shown = {text for onlooker in self.onlookers for text in self.shown_to(onlooker)}
            alone = not any("salon" in member.rooms for member in self.connected())
            if not behind and (alone or shown <= self.places.keys()):
                break
            assert time.monotonic() < deadline, (behind, shown - self.places.keys())
        for onlooker in self.onlookers:
            self.check_seen(onlooker)
        for text, member in self.private.items():
            # Who says no number at all is not back, but new.
            told = member.bot is None or not member.rooms or text in member.heard
            assert told, f"{member.name} has missed the private {text}"
        assert not self.refused & self.places.keys(), "what failed was seen by nobody"
        assert self.house.complaints == []

    def teardown(self) -> None:
        try:
            for member in self.members:
                if member.bot is None:
                    self.enter(member)
            self.all_have_seen_the_same()
            shown = {text for onlooker in self.onlookers for text in self.shown_to(onlooker)}
            for member in self.connected():
                assert member.bot is not None
                member.bot.close()
            for onlooker in self.onlookers:
                onlooker.person.__exit__(None, None, None)
            self.house.close()
            rows = stored(self.house.store)
            assert len(rows) == len({(room, number) for room, number, _text in rows}) == len({row[2] for row in rows})
            known = {(room, number): text for room, number, text in rows}
            assert self.truth == {place: text for place, text in known.items() if place in self.truth}
            assert shown <= set(known.values()), "what anybody has seen is stored"
            for room in {room for room, _number, _text in rows}:
                numbers = [number for log, number, _text in rows if log == room]
                assert numbers == list(range(1, len(numbers) + 1))
        finally:
            for member in self.connected():
                assert member.bot is not None
                member.bot.close()
            for onlooker in self.onlookers:
                onlooker.person.__exit__(None, None, None)
            self.network.close()
            self.house.close()
            self.folder.cleanup()


class BadNetworkMachine(ChatMachine):
    """The same where the network cuts everything into small pieces, or keeps it until there is more."""

    bad = (faults.Split(1, 9, only="up"), faults.Coalesce(200, 0.003, only="down"))


USUAL = settings(
    max_examples=max(5, int(SECONDS * 8)),
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestChat = pytest.mark.timeout(60 + 60 * SECONDS)(ChatMachine.TestCase)
TestChat.settings = USUAL
TestChatInABadNetwork = pytest.mark.timeout(60 + 60 * SECONDS)(BadNetworkMachine.TestCase)
TestChatInABadNetwork.settings = settings(USUAL, max_examples=max(3, int(SECONDS * 3)))

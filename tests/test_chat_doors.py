"""The doors for programs, on the real server: docs/chat-protocol.md line by line, over lines and over WebSocket, and what hostile
clients send. Whatever that is, nobody else notices.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
import websockets.exceptions
import websockets.sync.client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_support import NAME, OPERATORS, PATIENCE, Bot, Chat, Person, Program, Screen, said

CARRIERS = ["lines", "websocket"]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    """One server for all tests here that leave it as it was; at the end it has complained of nothing."""
    with Chat(tmp_path_factory.mktemp("chat") / "chat.sqlite") as server:
        yield server
        server.terminate()


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


_names = iter(f"bot{number}" for number in range(10_000))


@pytest.fixture
def name() -> str:
    """One that nobody else has had."""
    return next(_names)


@pytest.fixture
def room(name: str) -> str:
    return f"room-{name}"


# -- hello -------------------------------------------------------------------------------------------------------------


def test_a_welcome_says_all_that_the_protocol_promises(chat: Chat, carrier: str, name: str) -> None:
    with chat.bot(name, carrier) as bot:
        me = bot.me
        assert bot.seen[0][0] == "welcome", "nothing comes before it, no greeting for people either"
        assert me["name"] == name
        assert (me["registered"], me["operator"], me["house"], me["longest"]) == (False, False, "prise", 4096)
        assert me["uploads"] == {"allowed": True, "most": 20 * 1024**2}
        listed = {command["name"]: command for command in me["commands"]}
        assert set(listed["msg"]) == {"name", "arguments", "help", "operator", "owner"}
        assert "ban" not in listed
        assert (listed["kick"]["operator"], listed["kick"]["owner"]) == (True, True)
        salon = bot.until("room", room="salon")
        assert set(salon) == {"room", "topic", "people", "others", "last", "locked", "muted", "slow", "owner"}
        joined = bot.until("joined", name=name)
        assert joined["id"] == me["id"]
        assert abs(joined["at"] - time.time()) < 60


def test_a_text_alone_is_the_name_and_the_text(chat: Chat, carrier: str, name: str) -> None:
    with Bot(chat.port, carrier) as bot:
        bot.send("hello", name)
        assert bot.until("welcome")["name"] == name
        bot.send("say", "it is noon")
        message = bot.until("message", author=name)
        assert (message["room"], message["kind"], message["text"]) == ("salon", "say", "it is noon")
        assert abs(message["at"] - time.time()) < 60


def test_denied_says_what_is_missing_and_a_better_hello_may_follow(chat: Chat, carrier: str, name: str) -> None:
    with chat.bot(name, carrier) as bot, Bot(chat.port, carrier) as other:
        bot.asks("do", "/register sesame", "notice")
        for hello, code in (
            ({}, "name"),
            ({"name": "a b"}, "name"),
            ({"name": name}, "passphrase"),
            ({"name": name, "passphrase": "wrong"}, "passphrase"),
            ({"name": "operator"}, "taken"),
            ({"name": "0perator"}, "taken"),
        ):
            denied = other.asks("hello", hello, "denied")
            assert denied["code"] == code, hello
            assert denied["why"]
        assert other.asks("hello", {"name": "x", "token": 7}, "error")["why"]
        assert other.asks("say", "too early", "error")["why"]
        assert other.say_hello(name=name, passphrase="sesame")["id"] == bot.me["id"]


def test_twenty_wrong_hellos_are_enough(chat: Chat, carrier: str) -> None:
    with Bot(chat.port, carrier) as bot:
        for _try in range(20):
            bot.send("hello", {"name": "a b"})
        assert [kind for kind, _ in bot.rest()] == ["denied"] * 20


def test_a_token_makes_the_same_person(chat: Chat, carrier: str, name: str) -> None:
    with chat.bot(name, carrier) as bot, chat.bot("whatever", carrier, token=bot.me["token"]) as second:
        assert (second.me["name"], second.me["id"]) == (name, bot.me["id"])
        bot.send("say", "from one")
        assert second.until("message", by=bot.me["id"])["text"] == "from one"


def test_notices_are_in_the_language_of_the_hello(chat: Chat, name: str) -> None:
    for language in ("en", "xx", "../../etc", "", "fr"):
        with chat.bot(name + "l", language=language, bot=True) as bot:
            why = bot.asks("do", "/dance", "notice")["text"]
            assert ("there is no command" in why) == (language != "fr"), (language, why)


def test_rooms_and_history_of_the_hello(chat: Chat, carrier: str, name: str, room: str) -> None:
    with chat.bot(name, carrier, rooms=[room, f"{room}-2"]) as bot:
        for number in range(10):
            bot.send("say", {"room": room, "text": str(number)})
        bot.until("message", text="9")
        for hello, wanted in (
            ({}, [str(number) for number in range(10)]),
            ({"history": 3}, ["7", "8", "9"]),
            ({"history": 0}, []),
            ({"bot": True}, []),
            ({"bot": True, "history": 1}, ["9"]),
            ({"since": {room.upper(): 8}}, ["8", "9"]),
            ({"since": {room: 10}}, []),
            ({"since": {room: 10**30}}, []),
            ({"since": {room: -1}, "history": 2}, ["8", "9"]),
            ({"since": [room]}, [str(number) for number in range(10)]),
        ):
            with chat.bot(next(_names), carrier, rooms=[room], **hello) as other:
                other.meanwhile()
                assert other.texts(room) == wanted, hello
        with chat.bot(f"{name}y", carrier, rooms=[]) as nowhere:
            assert "you are in no room" in nowhere.asks("say", "hello", "error")["why"]
        with chat.bot(f"{name}z", carrier, rooms=["a b", 7, None, room]) as strange:
            assert strange.until("room")["room"] in ("7", "None", room)


# -- say, do, history, search ------------------------------------------------------------------------------------------


def test_what_is_said_with_an_id_is_settled_once_even_when_it_is_sent_again(
    chat: Chat, carrier: str, name: str, room: str
) -> None:
    bot = chat.bot(name, carrier, rooms=[room])
    settled = bot.asks("say", {"text": "hello", "id": "7", "room": room}, "settled")
    assert settled == {"id": "7", "room": room, "number": 1}
    bot.send("say", {"text": "on its way", "id": "8", "room": room})
    bot.close()  # before the answer
    with chat.bot(name, carrier, token=bot.me["token"], rooms=[room]) as again:
        for _ in range(2):
            for id, number in (("7", 1), ("8", 2)):
                assert (
                    again.asks("say", {"text": "again", "id": id, "room": room}, "settled", id=id)["number"] == number
                )
        again.asks("say", {"text": "new", "id": "9"}, "settled", id="9")
        again.meanwhile()
        assert again.texts(room) == ["hello", "on its way", "new"]


def test_what_cannot_be_said_fails(chat: Chat, carrier: str, name: str) -> None:
    with chat.bot(name, carrier) as bot:
        for given, why in (
            ({"text": ""}, "nothing in it"),
            ({"text": " \x00\u202e "}, "nothing in it"),
            ({"text": "x" * 4097}, "longer than 4096 bytes"),
            ({"text": "é" * 2049}, "longer than 4096 bytes"),
            ({"text": "x", "room": "nowhere-at-all"}, "there is no room"),
            ({"text": "x", "room": "@nobody"}, "nobody is called @nobody"),
            ({"text": 7}, "must be a text"),
        ):
            assert why in bot.asks("say", {**given, "id": "x"}, "failed", id="x")["why"]
            assert why in bot.asks("say", given, "error")["why"]
        bot.send("say", {"text": "/quit is no command here", "id": "y"})
        assert bot.until("message", author=name)["text"] == "/quit is no command here"
        bot.send("say", "two\nlines\r\nand \x1b[31mred\u202e \ud800")
        assert bot.until("message", author=name)["text"] == "two lines and [31mred ?"


def test_do_does_what_a_person_would(chat: Chat, carrier: str, name: str, room: str) -> None:
    with chat.bot(name, carrier, rooms=["salon", room]) as bot:
        bot.send("do", {"command": "/topic les sockets", "room": room})
        assert bot.until("message", room=room)["kind"] == "topic"
        assert bot.until("room", room=room)["topic"] == "les sockets"
        bot.send("do", {"command": "me waves", "room": room})
        assert bot.until("message", room=room)["kind"] == "me"
        assert "there is no command" in bot.asks("do", "/dance", "notice")["text"]
        bot.send("do", f"/part {room}")
        assert bot.until("parted") == {"room": room, "why": ""}
        bot.send("do", "/away tea")
        assert bot.until("away")["text"] == "tea"
        bot.send("do", f"/nick {name}n")
        assert bot.until("renamed")["new"] == f"{name}n"
        listed = {each["room"]: each for each in bot.asks("do", "/rooms", "rooms")["rooms"]}
        assert set(listed["salon"]) == {"room", "topic", "people", "locked", "last"}
        assert bot.asks("rooms", None, "rooms")["rooms"] == list(listed.values())
        assert bot.asks("ping", {"a": [1, "é"]}, "pong") == {"a": [1, "é"]}
        assert bot.asks("do", f"/op {OPERATORS}", "welcome")["operator"]
        bot.send("do", {"command": "quit"})
        assert bot.rest()[-1] == ("goodbye", {"why": "", "again": False})


def test_history_is_read_page_by_page(chat: Chat, carrier: str, name: str, room: str) -> None:
    with chat.bot(name, carrier, rooms=[room], bot=True) as bot:
        for number in range(1, 121):
            bot.send("say", str(number))
        bot.until("message", number=120)
        page = bot.asks("history", {"room": room}, "history")
        assert ([each["number"] for each in page["messages"]], page["more"]) == ([*range(71, 121)], True)
        collected: list[int] = []
        before = 0
        while True:
            page = bot.asks("history", {"room": room.upper(), "before": before, "count": 40}, "history")
            assert page["room"] == room
            collected = [each["number"] for each in page["messages"]] + collected
            before = collected[0]
            if not page["more"]:
                break
        assert collected == [*range(1, 121)]
        assert bot.asks("history", {"room": room, "before": 1}, "history")["messages"] == []
        for wrong in ({"before": -1}, {"before": "x"}, {"count": 2**64}, {"count": True}, {"room": 7}, None, 7):
            assert bot.asks("history", wrong, "error")["why"]


def test_nobody_reads_or_finds_what_is_not_theirs(chat: Chat, carrier: str, name: str, room: str) -> None:
    secret = f"geheim{name}"
    with (
        chat.bot(f"{name}a", carrier, rooms=["salon", room]) as alice,
        chat.bot(f"{name}b", carrier) as bob,
        chat.bot(f"{name}m", carrier) as mallory,
    ):
        alice.asks("do", {"command": "/lock sesame", "room": room}, "room", locked=True)
        alice.asks("say", {"room": room, "text": f"{secret} in a locked room"}, "message", room=room)
        alice.send("do", f"/msg {name}b {secret} between two")
        private = bob.until("message", to=f"{name}b")
        assert private["room"].startswith("@")
        alice.asks("say", {"room": "salon", "text": f"{secret} for all"}, "message", text=f"{secret} for all")

        assert [each["text"] for each in mallory.asks("search", secret, "found")["messages"]] == [f"{secret} for all"]
        for words in (f'"{secret}"', f"{secret} OR a", "room:x", '" OR 1', "*", "\0", "!!!", "NEAR(", "\ud800", ""):
            found = mallory.asks("search", {"words": words}, "found")["messages"]
            assert {each["room"] for each in found} <= {"salon"}, words
        for kind in ("search", "history"):
            for log in (room, room.upper(), f"#{room}", private["room"], "!", "@", f"@{mallory.me['id']}x"):
                mallory.send(kind, {"words": secret, "room": log})
                assert mallory.until("error")["why"], (kind, log)
        for command in ("/history", "/since 0", "/topic", "/raise", f"/search {secret}", "/me sneaks in", "/who"):
            assert "not in" in mallory.asks("do", {"command": command, "room": room}, "error")["why"]
        mallory.asks("do", f"/join {room}", "notice")
        mallory.meanwhile()
        assert "locked" not in "".join(mallory.texts(room))
        assert not [given for kind, given in mallory.seen if kind == "room" and given["room"] == room]
        everything = json.dumps(mallory.seen)
        assert f"{secret} in a locked room" not in everything
        assert f"{secret} between two" not in everything
        assert [each["text"] for each in bob.asks("history", {"room": private["room"]}, "history")["messages"]] == [
            f"{secret} between two"
        ]
        answer = {"room": f"@{name}a", "text": "I see", "id": "p"}
        assert bob.asks("say", answer, "settled")["room"] == private["room"]


def test_a_person_goes_over_to_objects_with_bot(chat: Chat, name: str) -> None:
    with chat.person(name) as person:
        person.say("/bot")
        person.sees('{"welcome":{"name":"' + name)
        person.say('{"say": "still me"}')
        person.sees(f'"author":"{name}"')
        person.say('{"quit": null}')
        person.leaves()
        assert f"{name} left" not in person.screen.text


# -- Coming back -------------------------------------------------------------------------------------------------------


class Talker:
    """Somebody who never stops talking, as fast as they are let."""

    def __init__(self, chat: Chat, name: str, room: str) -> None:
        self._bot = chat.bot(name, rooms=[room], bot=True)
        self._room = room
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self.said = 0

    def __enter__(self) -> Talker:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        self._bot.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _talk(self) -> None:
        try:
            while not self._stop.is_set():
                self.said += 1
                self._bot.send("say", {"text": str(self.said), "id": str(self.said), "room": self._room})
                if self.said % 20 == 0:
                    self._bot.until("settled", id=str(self.said))
        except (OSError, EOFError):
            pass  # the server is gone


def heard(bot: Bot, room: str, count: int) -> list[Any]:
    """At least so many messages of the room, or all there are to the end."""
    try:
        while len(bot.messages(room)) < count:
            bot.next()
    except EOFError:
        pass
    return bot.messages(room)


def test_who_comes_back_under_fire_misses_nothing_and_sees_nothing_twice(
    chat: Chat, carrier: str, name: str, room: str
) -> None:
    numbers: list[int] = []
    token = ""
    with Talker(chat, f"{name}t", room) as talker, chat.bot(f"{name}w", rooms=[room], bot=True) as watcher:
        for _round in range(20):
            with chat.bot(name, carrier, token=token, rooms=[room], since={room: len(numbers)}) as bot:
                token = bot.me["token"]
                numbers += [each["number"] for each in heard(bot, room, 40)]
                assert numbers == list(range(1, len(numbers) + 1))
                bot.close()
        talker.stop()
        watcher.meanwhile()
        assert not [given for kind, given in watcher.seen if kind == "left" and given["name"] == name]
    with chat.bot(name, carrier, token=token, rooms=[room], since={room: 0}) as bot:
        last = bot.until("room", room=room)["last"]
        bot.meanwhile()
        messages = bot.messages(room)
        assert [each["number"] for each in messages] == list(range(1, last + 1))
        assert [each["text"] for each in messages] == [str(number) for number in range(1, last + 1)]
        assert last == talker.said


def test_who_comes_back_after_a_restart_misses_nothing(tmp_path: Path, carrier: str) -> None:
    store = tmp_path / "chat.sqlite"
    numbers: list[int] = []
    token = ""
    for ending in ("terminate", "kill", "terminate"):
        with Chat(store) as chat:
            with (
                Talker(chat, "talker", "den"),
                chat.bot("bot", carrier, token=token, rooms=["den"], since={"den": len(numbers)}) as bot,
            ):
                token = bot.me["token"]
                heard(bot, "den", 100)
                if ending == "terminate":
                    chat.process.terminate()
                    assert bot.rest()[-1] == ("goodbye", {"why": "the room is closing. Goodbye", "again": True})
                else:
                    chat.process.kill()
                    bot.rest()
                numbers += [each["number"] for each in bot.messages("den")]
            if ending == "terminate":
                assert (chat.finish(), chat.complaints) == (0, "")
        assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 300


def test_too_much_is_left_out_and_said(chat: Chat, carrier: str, name: str, room: str) -> None:
    with Talker(chat, f"{name}t", room) as talker, chat.bot(name, rooms=[room], bot=True) as bot:
        bot.until("message", room=room, number=5_300)
        talker.stop()
        with chat.bot(f"{name}b", carrier, rooms=[room], since={room: 10}) as late:
            missed = late.until("missed", room=room)
            late.meanwhile()
            numbers = [each["number"] for each in late.messages(room)]
            assert (missed["first"], missed["last"]) == (11, numbers[0] - 1)
            assert numbers == list(range(numbers[0], talker.said + 1))
            page = late.asks("history", {"room": room, "before": missed["last"] + 1, "count": 500}, "history")
            assert [each["number"] for each in page["messages"]] == list(
                range(missed["last"] - 499, missed["last"] + 1)
            )


# -- What hostile clients send -----------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["salon", "@", "!", "\ud800", "/history", "fuzz", "x" * 5000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "name",
            "token",
            "passphrase",
            "password",
            "rooms",
            "since",
            "history",
            "language",
            "bot",
            "text",
            "room",
            "id",
            "command",
            "before",
            "count",
            "words",
        ]
    ),
    ANYTHING,
    max_size=6,
)
KINDS = st.sampled_from(["hello", "say", "do", "history", "search", "rooms", "ping", "quit", "welcome"]) | st.text(
    max_size=8
)
COMMAND = st.sampled_from(
    [
        "me",
        "msg",
        "reply",
        "history",
        "since",
        "search",
        "join",
        "part",
        "rooms",
        "topic",
        "lock",
        "who",
        "nick",
        "away",
        "back",
        "ignore",
        "raise",
        "op",
        "help",
        "kick",
        "slow",
    ]
)
OBJECTS = (
    st.dictionaries(KINDS, FIELDS | ANYTHING, max_size=2).map(json.dumps)
    | st.tuples(COMMAND, st.text(max_size=30)).map(lambda pair: json.dumps({"do": f"/{pair[0]} {pair[1]}"}))
    | ANYTHING.map(json.dumps)
    | st.text(max_size=50)
    | st.sampled_from(
        ["[" * 8000, '{"ping":' + "[" * 4000 + "]" * 4000 + "}", '{"ping":1e999}', '{"ping":NaN}', '{"say":']
    )
)


@pytest.fixture(scope="module")
def bystander(chat: Chat) -> Iterator[Bot]:
    with chat.bot("bystander", rooms=["quiet"]) as bot:
        yield bot


@pytest.mark.parametrize("carrier", CARRIERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(OBJECTS, max_size=12))
def test_no_input_does_any_harm(chat: Chat, bystander: Bot, carrier: str, sent: list[str]) -> None:
    fuzzer = next(_names)
    with chat.bot(fuzzer, carrier, rooms=["fuzz"], bot=True) as bot:
        try:
            for text in sent:
                bot.send_text(text.encode("utf-8", "replace").decode().replace("\n", " "))
            bot.send("ping", "the end")
            while bot.next() != ("pong", "the end"):
                pass
        except (EOFError, OSError, websockets.exceptions.ConnectionClosed):
            assert any(kind == "goodbye" for kind, _ in bot.seen) or any("quit" in text for text in sent), bot.seen
    assert bystander.asks("ping", fuzzer, "pong") == fuzzer
    assert chat.complaints == ""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode), greeted=st.booleans())
def test_no_bytes_do_any_harm(chat: Chat, bystander: Bot, data: bytes, greeted: bool) -> None:
    with socket.create_connection(("127.0.0.1", chat.port), PATIENCE) as sock:
        sock.sendall((b'{"hello": "bytes"}\n' if greeted else b"") + data)
        sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(65536):
                pass
        except ConnectionError:
            pass
    assert bystander.asks("ping", 1, "pong") == 1


def test_who_ends_their_input_still_hears_what_became_of_their_words(chat: Chat, name: str) -> None:
    """`printf … | nc`"""
    with socket.create_connection(("127.0.0.1", chat.port), PATIENCE) as sock:
        sock.sendall(b'{"hello": "%b"}\n{"say": {"text": "noon", "id": "7"}}\n' % name.encode())
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as heard:
            kinds = [next(iter(json.loads(line))) for line in heard]
    assert kinds[-2:] == ["message", "settled"]


def test_an_object_that_is_too_large_ends_its_connection_alone(
    chat: Chat, bystander: Bot, carrier: str, name: str
) -> None:
    with chat.bot(name, carrier) as bot:
        try:
            bot.send_text(json.dumps({"say": "x" * 100_000}))
        except (OSError, websockets.exceptions.ConnectionClosed):
            pass
        bot.rest()
    bystander.asks("ping", 1, "pong")


def test_who_never_reads_is_cut_and_holds_up_nobody(chat: Chat, bystander: Bot, name: str, room: str) -> None:
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with stuck, chat.bot(f"{name}w", rooms=[room], bot=True) as watcher:
        watcher.until("joined")
        stuck.connect(("127.0.0.1", chat.port))
        stuck.sendall(json.dumps({"hello": {"name": name, "rooms": [room]}}).encode() + b"\n")
        watcher.until("joined", name=name)
        for number in range(3000):
            watcher.send("say", {"text": "x" * 4000, "id": str(number)})
            if number % 100 == 99:
                watcher.until("settled", id=str(number))
        # The others hear of it when the time to come back is over.
        assert watcher.until("left", name=name)["why"] == "too slow to read what is said"


# -- The rate ----------------------------------------------------------------------------------------------------------


def test_who_is_too_fast_waits_and_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    with Chat(tmp_path / "chat.sqlite", "--rate", "5/1s") as chat:
        with chat.bot("bot") as bot, chat.person("alice") as alice:
            before = time.monotonic()
            for number in range(10):
                bot.send("say", str(number))
                alice.say(f"line {number}")
            bot.until("message", text="9")
            alice.sees("<alice> line 9")
            assert time.monotonic() - before > 0.8
            bot.meanwhile()
            assert [text for text in bot.texts() if text.isdigit()] == [str(number) for number in range(10)]
            mine = [text for author, text in said(alice.screen.lines) if author == "alice"]
            assert mine == [f"line {number}" for number in range(10)]
            fast = "you are fast: what you say is shown a little later, nothing is lost"
            assert [given["text"] for kind, given in bot.seen if kind == "notice"].count(fast) == 1
            assert alice.screen.text.count(fast) == 1
            before = time.monotonic()
            for number in range(8):
                alice.say(f"/me waves {number}")  # commands are no way around it
            alice.sees("waves 7")
            assert time.monotonic() - before > 0.8
        chat.terminate()


# -- One port ----------------------------------------------------------------------------------------------------------


def test_silence_is_greeted_and_slow_typists_too(chat: Chat, name: str) -> None:
    with chat.person() as silent, chat.person() as slow:
        silent.sees(NAME)
        for character in f"{name}\n":
            slow.send(character.encode())
            bystander_time = threading.Event()
            bystander_time.wait(0.01)
        slow.sees(f"* {name} joined")


def test_get_a_life_is_chat_and_get_letter_by_letter_is_http(chat: Chat, name: str) -> None:
    with chat.person(name) as person:
        person.say("GET a life!")
        person.sees(f"<{name}> GET a life!")
    with socket.create_connection(("127.0.0.1", chat.port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for character in b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":
            sock.send(bytes([character]))
            if character == ord("G"):
                time.sleep(0.4)  # longer than the silence that means lines
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 ")
    assert NAME.encode() not in answer


def test_a_web_page_cannot_speak_lines(chat: Chat, bystander: Bot, name: str) -> None:
    """A form with enctype=text/plain, sent to the port by a browser."""
    lines = f'evil{name}\r\nhello\r\n{{"hello": "evil{name}"}}\r\n'.encode()
    with socket.create_connection(("127.0.0.1", chat.port), PATIENCE) as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
            % (len(lines), lines)
        )
        sock.sendall(lines)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert re.match(rb"HTTP/1.1 4\d\d ", answer)
    assert b"evil" not in answer
    people = bystander.asks("do", {"command": "/who salon", "room": "quiet"}, "notice")["text"]
    assert "evil" not in people


def test_a_websocket_of_a_foreign_page_is_refused(chat: Chat, name: str) -> None:
    url = f"ws://127.0.0.1:{chat.port}/chat"
    for origin in (
        "http://evil.example",
        "null",
        f"http://127.0.0.1:{chat.port + 1}",
        f"https://127.0.0.1.evil:{chat.port}",
    ):
        with (
            pytest.raises(websockets.exceptions.InvalidStatus) as caught,
            websockets.sync.client.connect(url, origin=websockets.Origin(origin), proxy=None),
        ):
            pass
        assert caught.value.response.status_code == 403
    own = f"http://127.0.0.1:{chat.port}"
    with websockets.sync.client.connect(url, origin=websockets.Origin(own), proxy=None) as page:
        page.send(json.dumps({"hello": name}))
        assert "welcome" in json.loads(page.recv(PATIENCE))


def test_the_password_and_tls_are_at_all_three_doors(tmp_path: Path) -> None:
    with Chat(tmp_path / "chat.sqlite", "--tls", "--password", "sesame") as chat:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        assert "openssl s_client -quiet -connect 127.0.0.1" in chat.greeting
        for carrier in CARRIERS:
            with Bot(chat.port, carrier, tls=context) as bot:
                for hello in ({"name": "bot"}, {"name": "bot", "password": "wrong"}):
                    assert bot.asks("hello", hello, "denied")["code"] == "password"
                bot.say_hello(name="bot", password="sesame")
                bot.send("quit")
                bot.rest()
        with Program("openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{chat.port}") as person:
            person.sees("This house's password?\n")
            person.say("wrong")
            place = person.sees("this house asks for its password\n")
            person.say("sesame")
            place = person.sees(NAME, place)
            person.say("alice")
            person.sees("* alice joined", place)
            person.say("hello")
            chat.sees("<alice> hello")
        page = subprocess.run(
            ["curl", "-ksS", "-o", "/dev/null", "-w", "%{http_code}", f"https://127.0.0.1:{chat.port}/"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert page.stdout == "200"
        with Person(chat.port) as clear:  # in clear there is no door, whatever is tried
            screen: Screen = clear.screen
            clear.send(b'{"hello": {"name": "clear", "password": "sesame"}}\n')
            clear.leaves()
            assert "welcome" not in screen.text
        chat.terminate()


def test_private_messages_that_were_missed_come_when_one_is_back(chat: Chat, carrier: str) -> None:
    """Those of conversations that the program knows, behind its number; and those that somebody new has begun meanwhile."""
    with (
        chat.bot(f"ann{carrier}", carrier) as ann,
        chat.bot(f"bob{carrier}", carrier) as bob,
        chat.bot(f"eve{carrier}", carrier) as eve,
    ):
        ann.send("say", {"text": "the last that all see", "id": "1"})
        place = ann.until("settled")["number"]
        bob.send("say", {"room": f"@ann{carrier}", "text": "one", "id": "1"})
        known = bob.until("settled")
        ann.close()
        for bot, text in ((bob, "two"), (eve, "psst")):
            bot.send("say", {"room": f"@ann{carrier}", "text": text, "id": "2"})
            bot.until("settled")
        since = {"salon": place, known["room"]: known["number"]}
        with chat.bot(f"ann{carrier}", carrier, token=ann.me["token"], since=since) as back:
            messages = [back.until("message") for _ in range(2)]
            assert sorted(each["text"] for each in messages) == ["psst", "two"]
            back.send("search", "psst")
            assert [each["text"] for each in back.until("found")["messages"]] == ["psst"]
        eve.send("search", "two")
        assert not any("to" in each for each in eve.until("found")["messages"])


def test_a_private_message_is_missed_by_nobody_who_had_seen_nothing_yet(chat: Chat, carrier: str, name: str) -> None:
    with chat.bot(f"{name}a", carrier, rooms=[f"quiet-{name}"]) as ann, chat.bot(f"{name}b", carrier) as bob:
        ann.close()
        bob.asks("say", {"room": f"@{name}a", "text": "are you there?", "id": "1"}, "settled")
        since = {f"quiet-{name}": 0}
        with chat.bot(f"{name}a", carrier, token=ann.me["token"], rooms=[*since], since=since) as back:
            assert back.until("message")["text"] == "are you there?"

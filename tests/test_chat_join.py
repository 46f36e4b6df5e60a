"""`prise chat join`: what a client knows, how it comes back, the whole terminal, and pipes; against the real server."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from chat_support import PATIENCE, Chat, Program
from cli_process import Screen, run
from prise.chat.client.model import Model, News
from prise.chat.client.room import FAILED, STORED
from prise.chat.client.session import LIMITS, NotLetIn, Session, Wish
from prise.chat.events import Message


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "prise" / "chat"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "chat.sqlite"


def address(chat: Chat) -> str:
    return f"127.0.0.1:{chat.port}"


# -- What a client knows ---------------------------------------------------------------------------------------------------


def told(number: int, text: str, by: str = "b", **more: Any) -> dict[str, Any]:
    return {
        "room": "salon",
        "number": number,
        "at": 1.0,
        "author": "bob",
        "by": by,
        "kind": "say",
        "text": text,
        **more,
    }


def model_in(*rooms: str) -> Model:
    model = Model()
    model.take("welcome", {"name": "alice", "id": "a"})
    for room in rooms or ("salon",):
        model.take("room", {"room": room, "people": [], "last": 0})
    return model


def texts(model: Model, room: str = "salon") -> list[str]:
    return [entry.event.text for entry in model.rooms[room].entries if isinstance(entry.event, Message)]


def test_what_comes_twice_is_shown_once() -> None:
    model = model_in()
    for number in (1, 2, 2, 1, 3):
        model.take("message", told(number, str(number)))
    assert texts(model) == ["1", "2", "3"]
    assert model.since() == {"salon": 3}


def test_what_was_said_before_we_came_is_neither_unread_nor_rings() -> None:
    model = model_in("first")
    ringing = model.take("message", told(1, "alice?", mentions=["alice"])).ring
    model.take("room", {"room": "salon", "last": 2})
    ringing |= model.take("message", told(2, "alice!", mentions=["alice"])).ring
    assert (ringing, model.rooms["salon"].unread) == (False, 0)
    assert model.take("message", told(3, "Alice: come", mentions=["alice"])).ring
    assert (model.rooms["salon"].unread, model.rooms["salon"].calls) == (1, 1)


def test_a_private_message_opens_a_conversation_and_rings() -> None:
    model = model_in()
    assert model.take("message", told(1, "psst", to="alice") | {"room": "@a,b"}).ring
    assert model.rooms["@a,b"].title == "@bob"
    assert "@a,b" not in model.since()


@pytest.mark.parametrize("order", [("message", "settled"), ("settled", "message")])
def test_our_own_message_is_pending_until_it_has_come_and_is_settled(order: tuple[str, str]) -> None:
    model = model_in()
    room = model.rooms["salon"]
    pending = model.say(room, "hello", "id1")
    objects = {"message": told(1, "hello", by="a"), "settled": {"id": "id1", "room": "salon", "number": 1}}
    for kind in order:
        model.take(kind, objects[kind])
    assert (pending.state, room.pending, model.pending, texts(model)) == (STORED, [], {}, ["hello"])


def test_a_private_conversation_has_the_name_that_the_other_one_has_now() -> None:
    """A message may have been on its way, or be an old one."""
    model = model_in()
    model.take("joined", {"room": "salon", "name": "bob", "id": "b"})
    model.take("message", told(1, "hi", room=f"@{model.id},b", to="alice"))
    model.take("renamed", {"name": "bob", "new": "robert", "id": "b"})
    model.take("message", told(2, "on its way", room=f"@{model.id},b", to="alice"))
    assert model.rooms[f"@{model.id},b"].title == "@robert"
    model.take("left", {"room": "salon", "name": "robert", "id": "b"})
    model.take("message", told(3, "back as", room=f"@{model.id},b", to="alice", author="bobby"))
    assert model.rooms[f"@{model.id},b"].title == "@bobby"


def test_of_a_crowd_not_all_are_named() -> None:
    model = model_in()
    model.take("room", {"room": "salon", "people": [{"name": "bob", "id": "b"}], "others": 2, "last": 0})
    room = model.rooms["salon"]
    for who in ("x", "b", "y", "z"):
        model.take("left", {"room": "salon", "name": who, "id": who})
    assert (room.people, room.others) == ({}, 0)


def test_a_refused_message_stays_with_its_reason() -> None:
    model = model_in()
    pending = model.say(model.rooms["salon"], "hello", "id1")
    model.take("failed", {"id": "id1", "why": "you are muted"})
    assert (pending.state, pending.why, model.pending) == (FAILED, "you are muted", {})
    assert model.rooms["salon"].pending == [pending]


def test_older_messages_come_in_front_and_a_gap_begins_anew() -> None:
    model = model_in()
    model.take("message", told(5, "five"))
    model.take(
        "history", {"room": "salon", "messages": [told(3, "three"), told(4, "four"), told(5, "five")], "more": False}
    )
    assert (texts(model), model.rooms["salon"].more) == (["three", "four", "five"], False)
    model.take("missed", {"room": "salon", "first": 6, "last": 99})
    model.take("message", told(100, "later"))
    assert (texts(model), model.rooms["salon"].more, model.since()) == (["later"], True, {"salon": 100})


KINDS = """welcome room message missed settled failed joined left renamed away parted announce notice hands history found rooms
link error"""
FIELDS = """room number at author by kind text to file mentions people last name id new why messages rooms hands more url size
since"""
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["salon", "a", "@a,b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=8),
    max_leaves=20,
)


@given(st.lists(st.tuples(st.sampled_from(KINDS.split()), anything), max_size=10))
def test_whatever_a_house_sends_does_no_harm(objects: list[tuple[str, Any]]) -> None:
    from prise.chat.client.pipe import described

    model = model_in()
    for kind, value in objects:
        news = model.take(kind, value)
        for _room, entry in news.entries:
            shown = described(entry, str)
            assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


# -- The connection --------------------------------------------------------------------------------------------------------


class Ear:
    """A listener that collects; `until` waits for something."""

    def __init__(self, *answers: str) -> None:
        self.said: list[str] = []
        self.states: list[str] = []
        self.asked: list[str] = []
        self._answers = list(answers)
        self._event = asyncio.Event()

    def news(self, kind: str, given: Any, news: News) -> None:
        self.said += [entry.event.text for _room, entry in news.entries if isinstance(entry.event, Message)]
        self._event.set()

    def changed(self, state: str, detail: str = "") -> None:
        self.states.append(state)
        self._event.set()

    async def answer(self, code: str, why: str) -> str | None:
        self.asked.append(code)
        return self._answers.pop(0) if self._answers else None

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._event.clear()
                await self._event.wait()


def session_for(where: str, ear: Ear, **wish: Any) -> Session:
    def connect() -> prise.Connector:
        return prise.connect(where, framing=prise.Lines() | prise.json(), limits=LIMITS)

    return Session(connect, Model(), ear, Wish(**{"name": "alice", **wish}))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_after_a_restart_nothing_is_missed_or_doubled_or_lost(store: Path) -> None:
    port = free_port()
    fixed = ("--tcp", f"127.0.0.1:{port}")

    async def scenario() -> None:
        ear = Ear()
        session = session_for(f"127.0.0.1:{port}", ear)
        with Chat(store, *fixed) as chat:
            running = asyncio.create_task(session.run())
            await ear.until(lambda: session.model.current is not None)
            assert session.model.current is not None
            session.say("one", session.model.current)
            chat.say("two")
            await ear.until(lambda: {"one", "two"} <= set(ear.said))
            await asyncio.to_thread(chat.terminate)
        await ear.until(lambda: ear.states[-2:] == ["lost", "connecting"])
        pending = session.say("said meanwhile", session.model.current)
        with Chat(store, *fixed) as chat:
            chat.say("three")
            await ear.until(lambda: {"three", "said meanwhile"} <= set(ear.said))
            await session.all_settled()
            assert pending is not None
            assert pending.state == STORED
            assert sorted(ear.said) == sorted(["one", "two", "three", "said meanwhile"])
            assert session.model.name == "alice"
            assert not ear.asked
            await session.leave()
            async with asyncio.timeout(PATIENCE):
                await running

    asyncio.run(scenario())


def test_an_id_sent_again_is_said_once(store: Path) -> None:
    async def scenario() -> None:
        with Chat(store) as chat:
            ear = Ear()
            session = session_for(address(chat), ear)
            running = asyncio.create_task(session.run())
            await ear.until(lambda: session.model.current is not None)
            assert session.model.current is not None
            session.say("once", session.model.current)
            connection = session._connection
            assert connection is not None
            await asyncio.sleep(0)
            connection.abort()  # nobody knows whether it arrived
            await ear.until(lambda: ear.states.count("in") == 2)
            await session.all_settled()
            session.say("end", session.model.current)
            await ear.until(lambda: "end" in ear.said)
            assert ear.said == ["once", "end"]
            await stop(running)

    asyncio.run(scenario())


def test_a_name_that_is_taken_is_asked_for_again(store: Path) -> None:
    async def scenario() -> None:
        with Chat(store) as chat, chat.person("alice"):
            ear = Ear("alicia")
            session = session_for(address(chat), ear)
            running = asyncio.create_task(session.run())
            await ear.until(lambda: session.model.current is not None)
            assert (ear.asked, session.model.name) == (["taken"], "alicia")
            await stop(running)
            with pytest.raises(NotLetIn, match="taken"):
                await session_for(address(chat), Ear()).run()

    asyncio.run(scenario())


# -- Pipes -----------------------------------------------------------------------------------------------------------------


def join(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return run("chat", "join", *arguments, given=given.encode())


def test_nobody_reads_what_a_pipe_prints(store: Path) -> None:
    with Chat(store) as chat:
        command = [sys.executable, "-m", "prise", "chat", "join", "--name", "log", address(chat)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            assert client.stderr is not None
            client.stdin.write(b"one\n")
            client.stdin.flush()
            assert b"<log> one" in client.stdout.readline()
            client.stdout.close()
            chat.say("two")
            assert client.wait(PATIENCE) == 0
            assert b"Traceback" not in client.stderr.read()


def test_lines_of_a_pipe_are_said_and_shown(store: Path) -> None:
    with Chat(store) as chat, chat.person("bob") as bob:
        done = join("--name", "log", address(chat), given="hi\n\n/kick bob\nlast, without its end")
        bob.sees("<log> last, without its end")
        assert "<log> /kick bob" in bob.screen.text  # said, and nobody was kicked
    lines = re.sub(r"(?m)^\d\d:\d\d ", "", done.stdout).splitlines()
    assert lines == ["<log> hi", "<log> /kick bob", "<log> last, without its end"]
    assert done.returncode == 0


def test_more_lines_than_the_rate_allows_wait_and_all_arrive(store: Path) -> None:
    with Chat(store, "--rate", "none") as chat, chat.person("bob") as bob:
        given = "".join(f"line {number}\n" for number in range(300))
        assert join("--name", "log", address(chat), given=given).returncode == 0
        bob.sees("<log> line 299")
        assert bob.screen.text.count("<log> line ") == 300


def test_a_pipe_gives_json(store: Path) -> None:
    with Chat(store) as chat:
        done = join("--json", "--name", "log", address(chat), given="hi\n")
    kinds = [next(iter(json.loads(line).items())) for line in done.stdout.splitlines()]
    assert kinds[0][0] == "welcome"
    assert [given["text"] for kind, given in kinds if kind == "message"] == ["hi"]


def test_a_pipe_goes_into_the_room_it_is_told(store: Path) -> None:
    with Chat(store) as chat, chat.person("bob") as bob:
        bob.say("/join exam")
        bob.sees("exam")
        assert join("--name", "log", "--room", "exam", address(chat), given="hi\n").returncode == 0
        bob.sees("<log> hi")


def test_a_line_that_is_refused_is_told_and_is_an_error(store: Path) -> None:
    with Chat(store) as chat:
        done = join("--name", "log", address(chat), given=f"{'x' * 5000}\nfine\n")
    assert (done.returncode, done.stdout[6:]) == (1, "<log> fine\n")
    assert "longer than 4096 bytes" in done.stderr


def test_nobody_there_a_taken_name_and_a_password_have_their_exit_codes(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert join(f"127.0.0.1:{free_port()}", given="hi\n").returncode == 4
    assert join("no-port-at-all", given="hi\n").returncode == 2
    with Chat(store, "--password", "sesame") as chat:
        refused = join("--name", "log", address(chat), given="hi\n")
        assert (refused.returncode, "password" in refused.stderr) == (7, True)
        monkeypatch.setenv("PRISE_CHAT_PASSWORD", "sesame")
        assert join("--name", "log", address(chat), given="hi\n").returncode == 0
        monkeypatch.setenv("PRISE_CHAT_PASSWORD", "wrong")
        assert join("--name", "log", address(chat), given="hi\n").returncode == 7
    assert "Traceback" not in refused.stderr


def test_the_token_is_kept_for_the_user_alone(store: Path, state: Path) -> None:
    with Chat(store) as chat:
        for _time in range(2):  # the second time as the same person, who may still seem to be there
            assert join("--name", "log", address(chat), given="hi\n").returncode == 0
    (kept,) = (state / "houses").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["last"] == "log"


def test_hostile_text_is_harmless_in_a_pipe(store: Path) -> None:
    def house(connection: prise.Connection) -> None:
        connection.receive()
        name = "e\x1b[2Jvil"
        for kind, value in (
            ("welcome", {"name": "log", "id": "a", "token": "t", "house": "\x1b]0;x\x07"}),
            ("room", {"room": "salon", "last": 0, "people": [{"name": name, "id": "e"}]}),
            ("message", told(1, "\x1b[31mred\u202e\x9b2J\nnext\x07") | {"author": name}),
        ):
            connection.send({kind: value})
        for message in connection:
            if "say" in message:
                connection.send({"settled": {"id": message["say"]["id"], "room": "salon", "number": 2}})

    with prise.listen(house, "127.0.0.1:0", framing="lines|json") as server:
        done = join("--name", "log", f"127.0.0.1:{server.addresses[0].port}", given="hi\n")
    assert done.returncode == 0
    assert done.stdout.endswith("<e[2Jvil> [31mred2J next\n")


# -- The whole terminal ----------------------------------------------------------------------------------------------------


class Terminal(Screen):
    """A terminal whose blanks at the ends of lines, drawn or not, do not matter."""

    def text(self) -> list[str]:
        return [line.rstrip() for line in super().text()]


def on_screen(chat: Chat, *options: str, name: str = "alice", where: str | None = None) -> Terminal:
    return Terminal("chat", "join", "--name", name, *options, where or address(chat))


STATUS = r" prise │ #salon \(\d\) │ alice.*"


def test_what_arrives_does_not_come_between_what_is_typed(store: Path) -> None:
    with Chat(store) as chat, chat.person("bob") as bob, on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        screen.type("half a ")
        screen.expect("> half a")
        for number in range(5):
            bob.say(f"line {number}")
        screen.expect(r"\d\d:\d\d <bob> line 4", STATUS, "> half a")
        screen.type("sentence")
        screen.press("Enter")
        bob.sees("<alice> half a sentence")
        screen.expect(r"\d\d:\d\d <alice> half a sentence ✓", STATUS, ">")
        screen.press("C-d")
        screen.expect("exit 0")


def test_tab_completes_names_and_commands(store: Path) -> None:
    with Chat(store) as chat, chat.person("bobette"), on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        screen.type("bob")
        screen.press("Tab")
        screen.expect("> bobette:")
        screen.press("C-u")
        screen.type("/regi")
        screen.press("Tab")
        screen.expect("> /register")


def test_page_up_loads_what_was_said_before(store: Path) -> None:
    with Chat(store) as chat:
        for number in range(150):
            chat.say(f"line {number}")
        chat.sees("<operator> line 149")
        with on_screen(chat) as screen:
            screen.expect(r".* <operator> line 149", ".*", STATUS, ">")
            for _page in range(12):
                screen.press("PPage")
            screen.expect(r".* <operator> line 0", r".* line 1")
            chat.say("and now")  # the view stays
            screen.expect(r".* <operator> line 0", r".* line 1")
            for _page in range(12):
                screen.press("NPage")
            screen.expect(r".* <operator> and now", STATUS, ">")


def test_rooms_have_unread_counts_and_keys(store: Path) -> None:
    with Chat(store) as chat, chat.person("bob") as bob, on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        screen.type("/join exam")
        screen.press("Enter")
        screen.expect(r".*#exam \(1\) │ alice.*", ">")
        bob.say("hello alice")
        screen.expect(r".*#exam.*1:salon 1!.*", ">")
        screen.press("M-1")
        screen.expect(STATUS, ">")
        screen.press("C-n")
        screen.expect(r".*#exam.*", ">")


def test_a_mention_rings(store: Path) -> None:
    with Chat(store) as chat, chat.person("bob") as bob:
        command = (sys.executable, "-m", "prise", "chat", "join", "--name", "alice", address(chat))
        with Program(*command, terminal=True) as client:
            bob.sees("alice joined")
            client.sees("#salon")
            bob.say("nothing")
            client.sees("nothing")
            assert "\a" not in client.screen.text
            bob.say("alice: look")
            client.sees("\a")


def test_colours_are_left_out_where_they_are_not_wanted_and_the_wheel_scrolls(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Chat(store) as chat, chat.person("bob") as bob:
        for number in range(60):
            chat.say(f"line {number}.")
        bob.sees("line 59.")
        command = (sys.executable, "-m", "prise", "chat", "join", "--name", "alice", address(chat))
        for without in ("", "1"):
            monkeypatch.setenv("NO_COLOR", without)
            with Program(*command, terminal=True) as client:
                client.sees("line 59.")
                place = client.sees("#salon")
                for _turn in range(10):
                    client.send(b"\x1b[<64;10;10M")  # the wheel, in xterm's way (SGR 1006)
                client.sees("older; Page Down", place)
                coloured = re.search(rb"\x1b\[[0-9;]*3[1-7][;m]", bytes(client.screen._shown))
                assert bool(coloured) is not bool(without)
                client.send(b"\x04")
                assert client.finish() == 0


def test_hostile_text_is_harmless_on_the_screen(store: Path) -> None:
    with Chat(store) as chat, chat.person("bob") as bob, on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        bob.say("a\x1b[2J\x1b]0;title\x07\u202eb\tc")
        screen.expect(r"\d\d:\d\d <bob> a\[2J\]0;titleb    c", STATUS, ">")


def test_ctrl_c_empties_the_line_and_then_leaves(store: Path) -> None:
    with Chat(store) as chat, on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        screen.type("never mind")
        screen.expect("> never mind")
        screen.press("C-c")
        screen.expect(STATUS, ">")
        screen.press("C-c")
        screen.expect("exit 130")


def test_a_house_that_closes_sends_the_client_away_or_lets_it_come_back(store: Path) -> None:
    with Chat(store) as chat, on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        chat.say("/kick alice enough")
        screen.expect("prise: .*removed by operator \\(enough\\)", "exit 1")


def test_a_restart_of_the_server_is_survived(store: Path) -> None:
    port = free_port()
    fixed = ("--tcp", f"127.0.0.1:{port}")
    with Chat(store, *fixed) as chat:
        screen = on_screen(chat, where=f"127.0.0.1:{port}")
        with screen:
            screen.expect(STATUS, ">")
            chat.say("before")
            screen.expect(r".*<operator> before", STATUS, ">")
            chat.terminate()
            screen.expect(r".*not connected, trying again.*", ">")
            screen.type("meanwhile")
            screen.press("Enter")
            screen.expect(r" +… <alice> meanwhile", ".*", ">")
            with Chat(store, *fixed) as again:
                again.say("after")
                screen.expect(r".* <alice> meanwhile ✓")
                screen.expect(r".*<operator> after")
                assert sum("meanwhile" in line for line in screen.text()) == 1
                assert sum("before" in line for line in screen.text()) == 1


def test_a_password_is_asked_for_and_not_shown(store: Path, state: Path) -> None:
    with Chat(store, "--password", "sesame") as chat, on_screen(chat) as screen:
        screen.expect(r"Password of the house\?")
        screen.type("sesame")
        screen.expect(r"Password of the house\? \*{6}")
        screen.press("Enter")
        screen.expect(STATUS, ">")
        screen.type("/register open-me")
        screen.press("Enter")
        screen.expect(r".*the nickname alice is yours.*")
        screen.type("hello")
        screen.press("Enter")
        screen.expect(".*<alice> hello ✓")
    assert (state / "typed").read_text() == "hello\n"


def test_many_pasted_lines_are_said_after_a_question(store: Path) -> None:
    with Chat(store) as chat, chat.person("bob") as bob, on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        screen._tmux("set-buffer", "one\ntwo\n/quit\nfour\n")
        screen._tmux("paste-buffer", "-p", "-r")
        screen.expect(r"Say 4 lines\? \(y/n\)")
        screen.type("y")
        screen.press("Enter")
        bob.sees("<alice> four")
        assert "<alice> /quit" in bob.screen.text


def test_a_file_is_sent(store: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes été.txt"
    notes.write_text("remember")
    with Chat(store) as chat, chat.person("bob") as bob, on_screen(chat) as screen:
        screen.expect(STATUS, ">")
        screen.type(f"/send {notes}")
        screen.press("Enter")
        bob.sees("notes été.txt (8 B)")
        screen.expect(r".* alice sends notes été.txt.*")
        screen.type("/send nothing-there")
        screen.press("Enter")
        screen.expect(r".*nothing-there cannot be read.*")


def test_without_an_answer_nothing_is_taken_from_the_terminal(store: Path) -> None:
    with Terminal("chat", "join", "--name", "alice", f"127.0.0.1:{free_port()}") as screen:
        screen.expect("prise: connect tcp 127.0.0.1:.*", "exit 4")


def test_what_was_said_to_us_alone_while_we_were_away_is_shown_once(store: Path) -> None:
    async def scenario() -> None:
        with Chat(store) as chat, chat.person("bob") as bob:
            ear = Ear()
            session = session_for(address(chat), ear)
            running = asyncio.create_task(session.run())
            await ear.until(lambda: session.model.current is not None)
            bob.say("/msg alice one")
            await ear.until(lambda: "one" in ear.said)
            assert session._connection is not None
            session._connection.abort()
            bob.say("/msg alice two")
            await ear.until(lambda: "two" in ear.said)
            (private,) = (room for room in session.model.rooms.values() if room.other)
            pending = session.say("three", private)
            await asyncio.to_thread(bob.sees, "three")
            await session.all_settled()
            assert pending is not None
            assert pending.state == STORED
            assert ear.said == ["one", "two", "three"]
            await stop(running)

    asyncio.run(scenario())


@pytest.mark.parametrize("scheme", ["ws", "tls", "wss"])
def test_websocket_and_tls_carry_the_same_and_files_too(store: Path, tmp_path: Path, scheme: str) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("remember" * 50_000)
    secure = ("--tls",) if scheme != "ws" else ()
    with Chat(store, *secure) as chat:
        where = f"{scheme}://{address(chat)}/chat" if scheme != "tls" else f"tls:{address(chat)}"
        insecure = ("--insecure",) if secure else ()
        with on_screen(chat, *insecure, where=where) as screen:
            screen.expect(STATUS, ">")
            chat.say("one")
            chat.say("two")
            screen.expect(r".*<operator> two")
            screen.type(f"/send {notes}")
            screen.press("Enter")
            chat.sees("notes.txt (400 kB)")
            screen.press("C-d")
            screen.expect("exit 0")

"""The chat room as people meet it: the real server, with nc, telnet and the tutorials' raw socket around it."""

from __future__ import annotations

import gettext
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import prise
from chat_support import NAME, PATIENCE, Chat, Person, Program, in_room


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chat.sqlite"


@pytest.fixture
def chat(store: Path) -> Iterator[Chat]:
    with Chat(store) as server:
        yield server
        if server.process.poll() is None:
            server.terminate()


# -- Talking -----------------------------------------------------------------------------------------------------------


def test_nc_telnet_and_a_raw_socket_are_in_the_same_room(chat: Chat) -> None:
    with chat.nc() as nc, Program("telnet", "127.0.0.1", str(chat.port)) as telnet, chat.person() as raw:
        for person, name in ((nc, "alice"), (telnet, "bob"), (raw, "carol")):
            person.sees(NAME)
            person.say(name)
            person.sees(f"* {name} joined")
        nc.sees("* carol joined")
        nc.say("bonjour à tous")
        telnet.sees("<alice> bonjour à tous")
        telnet.say("salut 👋")
        raw.sees("<bob> salut 👋")
        raw.say("\ttab and accents: éàü")
        for person in (nc, telnet, raw):
            place = person.sees("<alice> bonjour à tous")
            place = person.sees("<bob> salut 👋", place)
            person.sees("<carol> \ttab and accents: éàü", place)  # everybody sees the same, in the same order
        assert re.search(r"^\d\d:\d\d <alice> bonjour à tous$", raw.screen.text, re.MULTILINE)
        raw.say("fin")
        raw.leaves()
        assert raw.screen.text.endswith("\nGoodbye\n")
        nc.sees("* carol left")
        telnet.say("FIN")
        telnet.sees("Goodbye")
        nc.sees("* bob left")


def test_whoever_leaves_without_a_word_is_missed_too(chat: Chat) -> None:
    with chat.person("alice") as alice, chat.nc() as nc:
        nc.say("bob")
        alice.sees("* bob joined")
        nc.process.kill()
        alice.sees("* bob left")


def test_fin_ends_in_any_case_even_before_there_is_a_name(chat: Chat) -> None:
    for number, fin in enumerate(("FIN", "fin", "Fin", " fin ")):
        with chat.person() as nobody, chat.person(f"alice{number}") as alice:
            for person in (nobody, alice):
                person.say(fin)
                assert person.leaves().endswith("\nGoodbye\n")


def test_lines_from_a_pipe_are_answered_after_their_end(chat: Chat) -> None:
    """`printf … | nc -N`: the input has ended, and what was said is still seen by its author."""
    with chat.nc("-N") as nc:
        nc.send(b"alice\none\ntwo")
        nc.close_stdin()
        shown = nc.screen.wait_end()
    assert re.search(r"<alice> one\n\d\d:\d\d <alice> two\n", shown)


# -- Names -------------------------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_or_bad_is_asked_again_with_the_reason(chat: Chat) -> None:
    with chat.person("Zoé"), chat.person() as other:
        place = 0
        for typed, reason in (
            ("zoé", "the nickname zoé is taken"),
            ("ZOE\u0301", "the nickname ZOÉ is taken"),  # the accent as a character of its own
            ("operator", "the nickname operator is taken"),
            ("", "a nickname has letters or digits"),
            ("\x1b[31m\u202e", "a nickname has letters or digits"),
            ("a b", "a nickname has no spaces"),
            ("/who", "a nickname has none of < and >, and begins with neither / nor *"),
            ("x" * 25, "a nickname has at most 24 characters"),
        ):
            if typed != "\x1b[31m\u202e":
                other.say(typed)
                place = other.sees(f"{reason}. {NAME}", place)
        other.say("b\x1bo\u202eb")
        other.sees("* bob joined")


def test_names_can_change_and_be_had_again(chat: Chat) -> None:
    with in_room(chat, "alice", "bob") as (alice, bob):
        bob.say("/nick robert")
        alice.sees("* bob is now called robert")
        bob.say("/nick ALICE")
        bob.sees("* the nickname ALICE is taken")
        bob.say("/nick Robert")  # one's own name, written otherwise
        alice.sees("* robert is now called Robert")
        alice.say("/nick bob")
        bob.sees("* alice is now called bob")
        bob.say("hello")
        alice.sees("<Robert> hello")


# -- Commands ----------------------------------------------------------------------------------------------------------


def test_who_and_help(chat: Chat) -> None:
    with in_room(chat, "alice", "bob") as (alice, bob):
        alice.say("/who")
        alice.sees("* 3 here: operator, alice, bob")
        alice.say("/HELP")
        alice.sees("* FIN                        ends the conversation\n")
        assert "* /who [ROOM]                who is here" in alice.screen.text
        assert "* /nick NAME [PASSPHRASE]    takes another nickname" in alice.screen.text
        assert "/kick" not in alice.screen.text, "the operator's alone"
        alice.say("/kick bob")
        alice.sees("* that is for the operator, and for who has made the room")
        alice.say("/dance")
        alice.sees("* there is no command /dance; /help lists them")
        alice.say("//etc/hosts is a file")
        bob.sees("<alice> /etc/hosts is a file")
        assert "/who" not in bob.screen.text.replace("; /help", ""), "commands are between the asker and the room"


def test_an_answer_comes_after_what_was_said_before_it(chat: Chat) -> None:
    with chat.person("alice") as alice:
        alice.send(b"one\ntwo\n/who\nthree\nFIN\n")
        shown = alice.leaves().split("\n")
    order = [
        next(index for index, line in enumerate(shown) if line.endswith(end)) for end in ("<alice> one", "<alice> two")
    ]
    who = len(shown) - 1 - shown[::-1].index("* 2 here: operator, alice")
    three = next(index for index, line in enumerate(shown) if line.endswith("<alice> three"))
    assert order[0] < order[1] < who < three < shown.index("Goodbye")


# -- What people send, made harmless --------------------------------------------------------------------------------------


def test_nobody_reaches_the_others_terminals(chat: Chat) -> None:
    with in_room(chat, "alice", "mallory") as (alice, mallory):
        mallory.send(b"red \x1b[31malert\x1b[0m \x07\x9b2J \xc2\x9b2J\x00 \xe2\x80\xaereversed\xe2\x80\xac\rover\n")
        alice.sees("over\n")
        line = alice.screen.lines[-1]
        assert line.endswith("<mallory> red [31malert[0m \ufffd2J 2J reversed over")


def test_bytes_that_are_no_text_harm_nobody(chat: Chat) -> None:
    with in_room(chat, "alice", "bob") as (alice, bob):
        bob.send("voilà\n".encode("latin-1") + b"\x80\xfe\n" + bytes(range(128, 192)) + b"\n")
        alice.sees("<bob> voil\ufffd")
        bob.say("still here")
        alice.sees("<bob> still here")


def test_the_negotiation_of_telnet_does_not_reach_the_room(chat: Chat) -> None:
    with chat.person("alice") as alice, chat.person(end=b"\r\0") as bob:
        bob.sees(NAME)
        bob.send(
            b"\xff\xfb\x1f\xff\xfd\x03\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0"
        )  # WILL NAWS, DO SGA, the window's size
        bob.screen.wait_for(NAME + "\n")
        bob.say("bob")
        bob.say("hel\b\blp\x7fp")
        alice.sees("<bob> hlp\n")
        bob.send(b"never mind\xff\xf4\xff\xfd\x06")  # Ctrl-C in telnet: IP, then "tell me when you have seen it"
        bob.say("all good")
        alice.sees("<bob> all good\n")
        bob.sees("<bob> all good")
        shown = bytes(bob.screen._shown)
    assert shown.count(b"\xff") == 3
    for refusal in (b"\xff\xfe\x1f", b"\xff\xfc\x03", b"\xff\xfc\x06"):  # DONT NAWS, WONT SGA, WONT TM
        assert refusal in shown


def test_a_long_line_is_refused_with_an_answer_and_one_without_end_is_cut(chat: Chat) -> None:
    with in_room(chat, "alice", "bob") as (alice, bob):
        bob.say("é" * 2049)
        bob.sees("* nobody has seen that line: it is longer than 4096 bytes")
        bob.say("é" * 2048)
        alice.sees("é" * 2048)
        assert "é" * 2049 not in alice.screen.text
        bob.send(b"x" * 20_000)
        assert "Too long: a line of more than 16384 bytes. Goodbye\n" in bob.leaves()
        alice.sees("* bob is gone: a line of more than 16384 bytes")
        alice.say("still here")
        alice.sees("<alice> still here")
    chat.process.terminate()
    chat.finish()


# -- The operator ---------------------------------------------------------------------------------------------------------


def test_the_operator_on_a_pipe_talks_kicks_and_stops(chat: Chat) -> None:
    with in_room(chat, "alice", "bob") as (alice, bob):
        chat.say("welcome")
        alice.sees("<operator> welcome")
        alice.say("thank you")
        chat.sees("<alice> thank you")
        chat.say("/kick BOB too  loud")
        assert bob.leaves().endswith("\n* removed by operator (too  loud)\n")
        alice.sees("* bob is gone: removed by operator (too  loud)")
        chat.say("/kick nobody")
        chat.sees("* nobody is called nobody")
        chat.say("/kick operator")
        chat.sees("* the operator cannot be removed")
        chat.say("FIN")
        chat.sees("* /stop closes the room")
        chat.say("/stop")
        assert alice.leaves().endswith("\n* the room is closing. Goodbye\n")
    assert chat.finish() == 0
    assert chat.errors.wait_end() == chat.greeting


def test_the_end_of_the_operators_input_changes_nothing(chat: Chat) -> None:
    chat.close_stdin()
    with in_room(chat, "alice", "bob") as (alice, bob):
        alice.say("hello")
        bob.sees("<alice> hello")


@pytest.mark.parametrize("end", [b"/stop\r", b"\x03", b"\x04"], ids=["/stop", "Ctrl-C", "Ctrl-D"])
def test_the_operator_on_a_terminal_has_a_prompt(store: Path, end: bytes) -> None:
    with Chat(store, terminal=True) as chat:
        chat.sees("> ")
        with chat.person("alice") as alice:
            chat.sees("alice joined")
            chat.send(b"half a ")
            chat.sees("half a ")
            alice.say("what is it?")
            place = chat.sees("<alice> what is it?")
            chat.sees("half a ", place)  # the line being typed is drawn again below
            chat.say("line")
            alice.sees("<operator> half a line")
            place = chat.sees("<operator> half a line")
            chat.sees("> ", place)  # from here on the keys are the prompt's again
            chat.send(end)
            assert alice.leaves().endswith("\n* the room is closing. Goodbye\n")
        chat.sees("the room is closing")
        assert chat.finish() == 0
        assert chat.errors.wait_end() == chat.greeting


def test_a_terminal_is_given_back_when_a_signal_ends_the_room(store: Path) -> None:
    with Chat(store, terminal=True) as chat:
        chat.sees("> ")
        chat.terminate()
        assert "the room is closing" in chat.screen.text


# -- The end ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_tells_everybody_and_ends_well(chat: Chat, number: int) -> None:
    with in_room(chat, "alice", "bob") as people, chat.person() as unnamed:
        unnamed.sees(NAME)
        people[0].say("last words")
        people[0].sees("last words")
        chat.terminate(number)
        for person in people:
            assert person.leaves().endswith("<alice> last words\n* the room is closing. Goodbye\n")
        unnamed.leaves()
    assert chat.screen.wait_end().endswith("* the room is closing. Goodbye\n")


# -- Languages -------------------------------------------------------------------------------------------------------------


def french(text: str, **details: object) -> str:
    translated = gettext.translation("prise", Path(prise.__file__).parent / "locale", ["fr"]).gettext(text)
    assert translated != text
    return translated.format(**details)


def test_the_room_speaks_french(store: Path) -> None:
    operator = french("operator")
    with Chat(store, "--lang", "fr") as chat:
        assert french("the room is open; join it from another terminal:") in chat.greeting
        with Person(chat.port) as zoe:
            zoe.sees(french("Your nickname?"))
            zoe.say("zoé")
            zoe.sees(french("{name} joined", name="zoé"))
            zoe.sees(french("{number} here: {names}", number=2, names=f"{operator}, zoé"))
            zoe.say("/help")
            zoe.sees(french("takes another nickname"))
            zoe.say(f"/nick {operator}")
            zoe.sees(french("the nickname {name} is taken", name=operator))
            zoe.say("FIN")
            assert zoe.leaves().endswith("\nAu revoir\n")
        chat.terminate()


# -- What is wrong on the command line ----------------------------------------------------------------------------------------


def complaint(*arguments: str) -> tuple[int, str]:
    """The exit code of `prise chat` and what it says, which is one line."""
    done = subprocess.run(
        [sys.executable, "-m", "prise", "chat", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_said_in_one_line(chat: Chat) -> None:
    # The same store as well: what is said is the plainer of the two.
    code, said = complaint("--tcp", f"127.0.0.1:{chat.port}", "--store", f"sqlite:{chat.store}")
    assert code == 4
    assert f"something already listens on port {chat.port}" in said
    assert "choose another port" in said


def test_the_usual_port_is_taken_and_the_next_free_one_used(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 50000))
            other.listen()
        except OSError:
            pass  # somebody else has taken it, which is as good
        with Program(*(sys.executable, "-m", "prise", "chat", "--store", f"sqlite:{tmp_path / 'chat.sqlite'}")) as chat:
            chat.errors.wait_for("\n", chat.errors.wait_for("/op "))
            said = chat.errors.text
            chat.process.terminate()
            assert chat.finish() == 0
    found = re.search(r"port 50000 is taken, perhaps by another chat room; using (500\d\d)\n", said)
    assert found
    assert f"nc localhost {found[1]}\n" in said


def test_a_store_in_use_is_said_in_one_line(chat: Chat) -> None:
    code, said = complaint("--tcp", "127.0.0.1:0", "--store", f"sqlite:{chat.store}")
    assert code == 2
    assert f"another chat room is using the store {chat.store}" in said


def test_a_room_listens_where_it_is_told_also_on_a_unix_path(store: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "chat.sock")
    with Chat(store, "--tcp", path) as chat:
        assert f"    nc -U {path}\n" in chat.greeting
        with socket.socket(socket.AF_UNIX) as near, chat.person("far") as far:
            near.connect(path)
            near.sendall(b"near\nhello\n")
            far.sees("<near> hello")
        chat.terminate()

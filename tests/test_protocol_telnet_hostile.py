"""Telnet's parts without I/O, byte by byte and with random input; and servers that mean harm."""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from cli_process import PATIENCE, Screen, argv, environment, run
from prise.protocols.telnet import Telnet, terminal
from prise.protocols.telnet.negotiation import BINARY, ECHO, NAWS, NEW_ENVIRON, SGA, TTYPE, Options
from prise.protocols.telnet.terminal import Terminal
from prise.protocols.telnet.wire import DO, DONT, IAC, SB, SE, WILL, WONT, Command, Option, Sub, Wire, doubled, sub


def said(*parts: int | bytes) -> bytes:
    return b"".join(bytes((part,)) if isinstance(part, int) else part for part in parts)


def events(*pieces: bytes) -> list[object]:
    """What a wire makes of these pieces; text that is only parted by the pieces is joined."""
    wire = Wire()
    found: list[object] = []
    for piece in pieces:
        for event in wire.feed(piece):
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
    return found


EVERYTHING = said(b"text\r\0\r\n\0", IAC, WILL, ECHO, b"a", IAC, IAC, b"b", IAC, 246, IAC, DO, NAWS) + said(
    IAC, SB, TTYPE, 1, IAC, IAC, b"x", IAC, SE, IAC, SB, IAC, SE, IAC, WONT, 255, b"end"
)


def test_what_a_server_says_is_taken_apart():
    assert events(EVERYTHING) == [
        b"text\r\r\n",
        Option(WILL, ECHO),
        b"a\xffb",
        Command(246),
        Option(DO, NAWS),
        Sub(TTYPE, b"\1\xffx"),
        Option(WONT, 255),
        b"end",
    ]


def test_the_same_byte_by_byte_and_cut_anywhere():
    whole = events(EVERYTHING)
    assert events(*(bytes((byte,)) for byte in EVERYTHING)) == whole
    for at in range(len(EVERYTHING)):
        assert events(EVERYTHING[:at], EVERYTHING[at:]) == whole


@settings(max_examples=50)
@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([b"\xff", b"\xff\xfa", b"\xff\xf0", b"\r\0"]))))
def test_random_bytes_mean_the_same_however_they_come(pieces: list[bytes]) -> None:
    assert events(*pieces) == events(b"".join(pieces))


@settings(max_examples=50)
@given(st.binary(), st.integers(0, 255))
def test_what_is_sent_is_what_is_heard(data: bytes, option: int) -> None:
    wire = Wire()
    wire.binary = True
    assert list(wire.feed(sub(option, data))) == [Sub(option, data)]
    assert b"".join(event for event in wire.feed(doubled(data)) if isinstance(event, bytes)) == data


def test_a_subnegotiation_without_an_end():
    with pytest.raises(prise.ProtocolError, match="4096"):
        events(said(IAC, SB), b"x" * 5000)


# The options: RFC 1143


@pytest.mark.parametrize("agreed", [{ECHO}, set()])
@pytest.mark.parametrize("ours", list(itertools.product([True, False], repeat=3)))
def test_two_sides_never_answer_each_other_for_ever(agreed: set[int], ours: tuple[bool, ...]) -> None:
    """Whatever one wishes, and the other meanwhile; all words that pass are heard, and then both agree."""
    one, other = Options(agreed), Options({ECHO})
    to_other = [word for wish in ours if (word := one.wish(ECHO, wish)) is not None]
    to_one = [word for wish in reversed(ours) if (word := other.wish(ECHO, not wish)) is not None]
    for _ in range(20):
        if not to_one and not to_other:
            break
        if to_other and (word := other.heard(ECHO, to_other.pop(0))) is not None:
            to_one.append(word)
        if to_one and (word := one.heard(ECHO, to_one.pop(0))) is not None:
            to_other.append(word)
    assert not to_one
    assert not to_other
    assert (ECHO in one) == (ECHO in other)


@settings(max_examples=50)
@given(st.lists(st.booleans(), max_size=30))
def test_there_is_never_more_than_one_answer_to_a_word_and_none_to_what_is_so(words: list[bool]) -> None:
    options = Options({ECHO})
    for word in words:
        before = ECHO in options
        answer = options.heard(ECHO, word)
        assert (ECHO in options) == word
        assert answer == (word if word != before else None)


# The terminal


def test_a_terminal_says_what_it_is_and_refuses_the_rest():
    terminal = Terminal("xterm", (80, 24), "ada")
    assert terminal.receive(said(IAC, DO, NAWS, IAC, DO, TTYPE, IAC, WILL, SGA, IAC, DO, 34, IAC, WILL, 5)) == b""
    assert terminal.output() == (
        said(IAC, WILL, NAWS, IAC, SB, NAWS, 0, 80, 0, 24, IAC, SE, IAC, WILL, TTYPE, IAC, DO, SGA)
        + said(IAC, WONT, 34, IAC, DONT, 5)
    )
    terminal.receive(said(IAC, SB, TTYPE, 1, IAC, SE))
    assert terminal.output() == said(IAC, SB, TTYPE, 0, b"XTERM", IAC, SE)
    assert terminal.resize(255, 256) == said(IAC, SB, NAWS, 0, IAC, IAC, 1, 0, IAC, SE)


def test_nothing_is_told_that_was_not_agreed_on():
    terminal = Terminal(user="ada")
    terminal.receive(said(IAC, SB, TTYPE, 1, IAC, SE, IAC, SB, NEW_ENVIRON, 1, IAC, SE))
    assert terminal.output() == terminal.resize(1, 1) == b""


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (b"", b"\0USER\1a\2\3b\3TERM\1xterm"),
        (b"\0USER", b"\0USER\1a\2\3b"),
        (b"\3", b"\0USER\1a\2\3b\3TERM\1xterm"),
        (b"\3TERM\0DISPLAY", b"\3TERM\1xterm"),
        (b"\0PATH\3HOME\3SSH_AUTH_SOCK\3LD_PRELOAD", b""),
    ],
)
def test_of_the_environment_only_the_user_and_the_terminal_are_told(asked: bytes, told: bytes) -> None:
    terminal = Terminal(user="a\3b")
    terminal.receive(said(IAC, DO, NEW_ENVIRON, IAC, SB, NEW_ENVIRON, 1, asked, IAC, SE))
    assert terminal.output() == said(IAC, WILL, NEW_ENVIRON, IAC, SB, NEW_ENVIRON, 0, told, IAC, SE)


def test_a_name_of_a_user_that_is_no_text():
    terminal = Terminal(user="\udcff")
    terminal.receive(said(IAC, DO, NEW_ENVIRON, IAC, SB, NEW_ENVIRON, 1, b"\0USER", IAC, SE))
    assert terminal.output().endswith(b"\0USER\1?" + said(IAC, SE))


def test_line_ends_are_telnets_and_in_binary_there_are_none():
    terminal = Terminal()
    assert terminal.send(b"a\nb\r\nc\rd\xff") == b"a\r\nb\r\nc\r\0d\xff\xff"
    assert terminal.ask_binary() == said(IAC, WILL, BINARY, IAC, DO, BINARY)
    assert terminal.receive(said(b"\r\0", IAC, DO, BINARY, b"\r\0", IAC, WILL, BINARY, b"\r\0")) == b"\r\r\r\0"
    assert terminal.output() == b""
    assert terminal.send(b"a\nb\r\n\xff") == b"a\rb\r\xff\xff"


def test_who_echoes():
    terminal = Terminal()
    terminal.receive(said(IAC, WILL, ECHO))
    assert (terminal.echoes, terminal.by_character) == (True, False)
    terminal.receive(said(IAC, WILL, SGA))
    assert terminal.by_character
    terminal.receive(said(IAC, WONT, ECHO))
    assert (terminal.echoes, terminal.by_character) == (False, False)


@pytest.mark.parametrize("kind", ["", "x y", "x\xff", "-x", "x" * 41])
def test_what_is_no_name_of_a_terminal(kind: str) -> None:
    with pytest.raises(prise.UsageError):
        Terminal(kind)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=50)))
def test_random_bytes_do_no_harm(pieces: list[bytes]) -> None:
    terminal = Terminal()
    for piece in pieces:
        terminal.receive(piece)
        assert len(terminal.output()) <= 12 * len(piece)
        assert not terminal.output()


# Servers that mean harm

Speak = Callable[[prise.Connection], object]


def talk(speak: Speak, check: Callable[[Telnet], object], timeout: float = 0.3) -> None:
    """Checks a session with a server that does this."""

    def conversation(connection: prise.Connection) -> None:
        try:
            speak(connection)
        except prise.PeerError:
            pass  # the client has had enough

    with prise.listen(conversation, ":0", framing="chunks") as server:
        with prise.open(f"telnet://localhost:{server.address.port}/?tls=never", timeout=timeout) as session:
            begun = time.monotonic()
            check(session)
            assert time.monotonic() - begun < 10


def for_ever(data: bytes) -> Speak:
    def speak(connection: prise.Connection) -> None:
        while True:
            connection.send(data)

    return speak


def once(*pieces: bytes) -> Speak:
    def speak(connection: prise.Connection) -> None:
        for piece in pieces:
            connection.send(piece)

    return speak


def quiet(connection: prise.Connection) -> None:
    while connection.receive() is not None:
        pass


def raises(error: type[BaseException], match: str | None = None) -> Callable[[Callable[[], object]], None]:
    def check(call: Callable[[], object]) -> None:
        with pytest.raises(error, match=match):
            call()

    return check


def test_a_text_without_an_end():
    def check(session: Telnet) -> None:
        raises(prise.TooSlow)(lambda: session.expect("never", timeout=0.3))
        assert len(session._kept.text) <= 1024 * 1024 + 64 * 1024

    talk(for_ever(b"x" * 10_000), check)


def test_a_byte_now_and_then_is_not_enough():
    def slowly(connection: prise.Connection) -> None:
        while True:
            connection.send(b".")
            raises(prise.TooSlow)(lambda: connection.receive(0.01))

    talk(slowly, lambda session: raises(prise.TooSlow)(lambda: session.expect("never", timeout=0.2)))
    talk(slowly, lambda session: raises(prise.TooSlow)(lambda: session.get().read()))


def test_a_server_that_says_nothing():
    talk(quiet, lambda session: raises(prise.TooSlow, "within 0.3 s")(session.receive))
    talk(quiet, lambda session: raises(prise.TooSlow, "seen last: ''")(lambda: session.log_in("a", "b", timeout=0.1)))


@pytest.mark.parametrize(
    "words",
    [said(IAC, 241), said(IAC, WILL, ECHO, IAC, WONT, ECHO), said(IAC, DO, 99), said(IAC, SB, 99, IAC, SE)],
    ids=["NOP", "ECHO on and off", "DO 99", "subnegotiations"],
)
def test_a_negotiation_without_an_end(words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "MOST_WORDS", 10_000)
    talk(
        for_ever(words * 2000),
        lambda session: raises(prise.ProtocolError, "10000")(lambda: session.expect("x")),
        timeout=5,
    )


def test_the_connection_is_cut():
    check = raises(prise.ConnectionLost, r"the server ended.*seen last: 'half\\n'")
    talk(once(b"half\n"), lambda session: check(lambda: session.expect("whole")))
    talk(once(b"ends in a command", said(IAC)), lambda session: session.get().read())
    talk(once(said(IAC, SB, TTYPE, b"x" * 5000)), lambda session: raises(prise.ProtocolError)(session.receive))


def test_what_comes_to_the_end_may_be_left_in_the_middle():
    def check(session: Telnet) -> None:
        content = session.get()
        assert next(content) == b"one> "
        session.send_line("go on")
        assert session.expect("two> ").before == ""

    def speak(connection: prise.Connection) -> None:
        connection.send(b"one> ")
        assert connection.receive() == b"go on\r\n"
        connection.send(b"two> ")
        quiet(connection)

    talk(speak, check)


def test_what_is_left_at_the_end_is_still_there():
    def check(session: Telnet) -> None:
        assert session.expect("a").before == ""
        assert session.expect("c").before == "b"
        assert session.receive() == "d"
        assert session.receive() == "\udcc3"  # half a character
        assert session.receive() == session.receive(0) == ""

    talk(once(b"abcd\xc3"), check)


def test_the_pattern_that_begins_first_and_then_the_first_of_the_list():
    def check(session: Telnet) -> None:
        assert (match := session.expect(["two", "ne t", re.compile("o(ne)")])).index == 2
        assert (match.before, match.text) == ("", "one")
        assert (match := session.expect(["w", re.compile("wo"), "two"])).index == 2
        assert (match.before, match.text, match.match) == (" ", " two", None)

    talk(once(b"one two"), check)


def test_words_that_come_in_pieces():
    def dribble(connection: prise.Connection) -> None:
        for byte in "a prömpt> rest".encode():
            connection.send(bytes((byte,)))
            connection.send(said(IAC, 241))

    talk(dribble, lambda session: session.expect("prömpt> "))


def test_escape_sequences_do_not_reach_an_error():
    check = raises(prise.ConnectionLost, "seen last: '\N{REPLACEMENT CHARACTER}")
    talk(once(b"\x1b[2J\x9b"), lambda session: check(lambda: session.expect("whole")))


def test_no_login_where_the_question_comes_again():
    """And so another password may be tried."""

    def again(connection: prise.Connection) -> None:
        connection.send(b"Last login: Tue\r\n")
        for answer in (b"Sorry.\r\n", b"Welcome> "):
            connection.send(b"login: ")
            connection.receive()
            connection.send(b"Password: ")
            connection.receive()
            connection.send(answer)
        quiet(connection)

    def check(session: Telnet) -> None:
        raises(prise.LoginFailed, "Sorry")(lambda: session.log_in("a", "b"))
        assert session.log_in("a", "c") == "Welcome> "

    talk(again, check)


def test_the_time_of_the_last_login_is_no_question():
    def last(connection: prise.Connection) -> None:
        connection.send(b"Last login: ")
        quiet(connection)

    talk(last, lambda session: raises(prise.TooSlow)(lambda: session.log_in("a", "b", timeout=0.05)))


def test_no_error_holds_a_password_that_the_server_has_echoed():
    def echoes(connection: prise.Connection) -> None:
        for after in (b"", b"Sorry.\r\nlogin: "):
            connection.send(b"Password: ")
            connection.send(connection.receive() + after)
        quiet(connection)

    def check(session: Telnet) -> None:
        raises(prise.TooSlow, r"seen last: '\*{8}\\n")(lambda: session.log_in("a", "s3cret", timeout=0.1))
        raises(prise.LoginFailed, r"the server said: \*{8}\s+Sorry")(lambda: session.log_in("a", "s3cret"))

    talk(echoes, check)


def test_whose_password_is_sent():
    """That of the user who logs in, of nobody else; and it is one line."""

    def asks(connection: prise.Connection) -> None:
        connection.send(b"login: ")
        name = connection.receive()
        connection.send(b"Password: ")
        connection.send(b"\r\n" + name.strip() + b" " + connection.receive().strip() + b"> ")
        quiet(connection)

    with prise.listen(asks, ":0", framing="chunks") as server:
        host = f"localhost:{server.address.port}/?tls=never"
        only: dict[str, Any] = {"netrc": False, "keyring": False}
        with prise.open(f"telnet://{host}", password="pw", **only) as session:
            assert session.log_in("ada") == "\r\nada pw> "
        with prise.open(f"telnet://ada:pw@{host}", **only) as session:
            raises(prise.UsageError, "who logs in")(lambda: session.log_in("bob"))
            for wrong in [("a\nb", "c"), ("a", "b\r"), ("a", "b\0")]:
                raises(prise.UsageError, "line ends")(partial(session.log_in, *wrong))
            assert session.log_in() == "\r\nada pw> "


def test_what_cannot_be_written_in_the_encoding():
    with prise.listen(quiet, ":0", framing="chunks") as server:
        where = f"telnet://localhost:{server.address.port}"
        with prise.open(where, encoding="ascii") as session, pytest.raises(prise.UsageError, match="ascii"):
            session.write("é")
        encodings = [{"encoding": name} for name in ("klingon", "rot13", "idna")]
        wrongs: list[dict[str, Any]] = [*encodings, {"terminal": "\x1b"}, {"size": (80, 99999)}]
        for options in wrongs:
            with pytest.raises(prise.UsageError):
                prise.open(where, **options).open()
        with pytest.raises(prise.UsageError, match="terminal, size, encoding"):
            prise.open(where, colour=True)


def test_bytes_that_are_not_in_the_encoding():
    """Most encodings keep them; those that shift between sets of characters cannot."""

    def speak(connection: prise.Connection) -> None:
        connection.send(doubled(b"a\xff~z"))
        assert connection.receive() in (b"\xff\xff", None)

    with prise.listen(speak, ":0", framing="chunks") as server:
        where = f"telnet://localhost:{server.address.port}"
        with prise.open(where) as session:
            assert session.expect(b"\xff").before == "a"
            session.write(bytearray(b"\xff"))
        with prise.open(where, encoding="hz") as session, pytest.raises(prise.ProtocolError, match="no text in hz"):
            while True:
                session.receive()


def test_what_is_no_text_is_the_servers_fault_and_not_the_callers():
    """What UTF-16 could not read it cannot write again, either."""

    def speak(connection: prise.Connection) -> None:
        connection.send(b"\xe9")  # half of a character

    with prise.listen(speak, ":0", framing="chunks") as server:
        where = f"telnet://localhost:{server.address.port}"
        with prise.open(where, encoding="utf-16-le") as session, pytest.raises(prise.ProtocolError, match="no text in"):
            list(session.get())


# The command with other servers


def test_a_server_that_only_asks_whether_we_are_there_is_silent():
    def alive(connection: prise.Connection) -> None:
        connection.send(b"answer\r\n")
        while True:
            connection.send(said(IAC, 241))
            raises(prise.TooSlow)(lambda: connection.receive(0.02))

    with prise.listen(alive, ":0", framing="chunks") as server:
        done = run("connect", "--wait", "100ms", f"telnet://localhost:{server.address.port}")
    assert (done.returncode, done.stdout) == (0, "answer\r\n")


def test_bytes_between_pipes():
    """Each 255 and each line end arrives as telnet has it, and comes back as it was."""
    given = b"a\xff\xfe\nb\r\nc\xc3\xa9\n"
    heard: list[bytes] = []

    def echo(connection: prise.Connection) -> None:
        expected = doubled(given.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        while sum(map(len, heard)) < len(expected):
            heard.append(connection.receive())
            connection.send(heard[-1])
        assert b"".join(heard) == expected

    with prise.listen(echo, ":0", framing="chunks") as server:
        command = argv("connect", f"telnet://localhost:{server.address.port}")
        done = subprocess.run(
            command, input=given, capture_output=True, env=environment(), timeout=PATIENCE, check=True
        )
    assert done.stdout == given.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_each_key_where_the_server_echoes():
    """Ctrl-C too."""

    def keys(connection: prise.Connection) -> None:
        connection.send(said(IAC, WILL, ECHO, IAC, WILL, SGA))
        assert connection.receive() == said(IAC, DO, ECHO, IAC, DO, SGA)
        connection.send(b"key? ")
        assert connection.receive() == b"k"
        connection.send(b"[shown]")
        assert connection.receive() == b"\x03"
        connection.send(b"\nnext? ")
        assert connection.receive() == b"\r\0"
        connection.send(b"\r\nbye")

    with prise.listen(keys, ":0", framing="chunks") as server:
        with Screen("connect", f"telnet://localhost:{server.address.port}") as screen:
            screen.expect(r"key\? ?")
            screen.type("k")
            screen.expect(r"key\? \[shown\]")
            screen.press("C-c")
            screen.expect(r"next\? ?")
            screen.press("Enter")
            screen.expect("bye", "the other side has ended", "exit 0")


def test_lines_and_a_hidden_password_where_the_server_does_not_echo():
    """Ctrl-] is seen at once, in the middle of a line too."""

    def lines(connection: prise.Connection) -> None:
        connection.send(b"name? ")
        assert connection.receive() == b"ada\r\n"
        connection.send(said(b"word? ", IAC, WILL, ECHO))
        assert connection.receive() == said(IAC, DO, ECHO)
        assert connection.receive() == b"secret\r\n"
        connection.send(said(IAC, WONT, ECHO, b"hello\r\n> "))
        quiet(connection)

    with prise.listen(lines, ":0", framing="chunks") as server:
        with Screen("connect", f"telnet://localhost:{server.address.port}") as screen:
            screen.expect("connected to .*", r"name\? ?")
            screen.type("adx")
            screen.press("BSpace")
            screen.type("a")
            screen.press("Enter")
            screen.expect(r"name\? ada", r"word\? ?")
            screen.type("secret")
            screen.press("Enter")
            screen.expect(r"word\? ?", "hello", "> ?")
            screen.type("half a line")
            screen.expect("> half a line")
            screen.press("C-]")
            screen.expect("exit 0")


def test_ctrl_d_ends_the_input_and_the_answers_are_awaited_for_a_while():
    def last(connection: prise.Connection) -> None:
        connection.send(b"> ")
        quiet(connection)

    with prise.listen(last, ":0", framing="chunks") as server:
        with Screen("connect", "--wait", "100ms", f"telnet://localhost:{server.address.port}") as screen:
            screen.expect("> ?")
            screen.press("C-d")
            screen.expect("exit 0")


def test_the_end_of_the_server_on_a_terminal_and_wrong_uses():
    with prise.listen(once(b"bye\r\n"), ":0", framing="chunks") as server:
        where = f"telnet://localhost:{server.address.port}"
        with Screen("connect", where) as screen:
            screen.expect("bye", "the other side has ended", "exit 0")
        assert run("connect", "--framing", "lines", where).returncode == 2
        assert run("connect", f"{where}/?tls=required").returncode == 2


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_trace_has_whole_lines_however_they_come(size: int) -> None:
    text = b"one\r\n\r\ntwo and more\r\nlogin: "

    def pieces(connection: Any) -> None:
        for at in range(0, len(text), size):
            connection.send(text[at : at + size])

    heard: list[tuple[str, str]] = []
    with prise.listen(pieces, ":0", framing="chunks") as server:
        place = f"telnet://localhost:{server.address.port}/?tls=never"
        with prise.open(place, timeout=2, trace=lambda *line: heard.append(line)) as session:
            assert b"".join(session.get()) == text
    assert heard == [("<", "one"), ("<", ""), ("<", "two and more"), ("<", "login: ")]

"""Gopher's parts without I/O; Gopher+; menus of the wild; and servers that mean harm. They are small servers of prise's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from prise.errors import PriseError
from prise.protocols.gopher import Gopher
from prise.protocols.gopher import session as gopher_session
from prise.protocols.gopher.menu import Place, error_in, place_of, read_item
from prise.protocols.gopher.plus import read_attributes, read_header
from prise.protocols.target import Target

TARGET = Target.parse("gopher://here.example.org/")
Answer = bytes | Callable[[prise.Connection], object]


@contextmanager
def server(answers: dict[bytes, Answer] | Answer, plan: str = "", **options: Any) -> Iterator[Gopher]:
    """A session with a server that has these answers, by request, or the same one for all."""

    def conversation(connection: prise.Connection) -> None:
        request = connection.receive()
        if request is None:
            return
        answer = (
            answers.get(request.removesuffix(b"\r\n"), b"3Not found\tx\tx\t1\r\n.\r\n")
            if isinstance(answers, dict)
            else answers
        )
        try:
            connection.send(answer) if isinstance(answer, bytes) else answer(connection)
        except prise.PeerError:
            pass  # the client has had enough

    with prise.listen(conversation, ":0", framing="chunks") as serving:
        with prise.open(f"gopher://localhost:{serving.address.port}/{plan}", timeout=0.3, **options) as session:
            begun = time.monotonic()
            yield session
            assert time.monotonic() - begun < 10


def for_ever(data: bytes) -> Answer:
    def speak(connection: prise.Connection) -> None:
        while True:
            connection.send(data)

    return speak


def slowly(data: bytes) -> Answer:
    def speak(connection: prise.Connection) -> None:
        while True:
            connection.send(data)
            try:
                if connection.receive(0.02) is None:
                    return
            except prise.TooSlow:
                pass

    return speak


def item(line: bytes) -> tuple[str, str, str | None]:
    entry = read_item(line).entry(TARGET, "192.0.2.1")
    return entry.kind, entry.name, entry.url


# Menus


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"0t\ts\there.example.org\t70", ("text", "0s", None)),
        (b"0t\ts\tHERE.example.org\t70", ("text", "0s", None)),
        (b"0t\ts\t192.0.2.1\t70", ("text", "0s", None)),
        (
            b"0t\ts\there.example.org\t71",
            ("text", "gopher://here.example.org:71/0s", "gopher://here.example.org:71/0s"),
        ),
        (b"0t\ta b?\xff\t::2\t70\t+", ("text", "gopher://[::2]/0a%20b%3F%FF", "gopher://[::2]/0a%20b%3F%FF")),
        (b"0t\ts\tfe80::1%e\t70", ("text", "gopher://[fe80::1%25e]/0s", "gopher://[fe80::1%25e]/0s")),
        (b"%t\t41\tfar\t70", ("file", "gopher://far/%2541", "gopher://far/%2541")),
        (b"zt\ts\there.example.org\t70", ("file", "zs", None)),
        ("ét\ts\there.example.org\t70".encode(), ("file", "és", None)),
        (b"8t\t\tfar.example.org\t23", ("telnet", "telnet://far.example.org:23/", "telnet://far.example.org:23/")),
        (b"8t\ta/b:c\tfar\t23", ("telnet", "telnet://a%2Fb%3Ac@far:23/", "telnet://a%2Fb%3Ac@far:23/")),
        (b"hpage\tURL:https://far/\tx\t70", ("page", "https://far/", "https://far/")),
        (b"hpage\t/url:https://far/\tx\t70", ("page", "https://far/", "https://far/")),
        (b"hpage\t/page.html\there.example.org\t70", ("page", "h/page.html", None)),
        (b"hpage\tURL:javascript:alert(1)\tx\t70", ("info", "", None)),
        (b"hpage\tURL:https://far/\x1b[2J\tx\t70", ("info", "", None)),
        (b"iwords", ("info", "", None)),
        (b"", ("info", "", None)),
        (b"3sorry", ("error", "", None)),
        (b"Error: sorry", ("error", "", None)),
        *[
            (b"0t\ts\thost\t" + port, ("info", "", None))
            for port in (b"", b"0", b"-1", b"65536", b"9" * 5000, "²".encode())
        ],
        *[
            (b"0t\ts\t" + host + b"\t70", ("info", "", None))
            for host in (b"", b"a b", b"a/b", b"u@h", b"\x1b[1m", b"h#f", b"h\xff", b".", b"h%0d", b"[::1")
        ],
    ],
)
def test_lines_of_menus(line: bytes, expected: tuple[str, str, str | None]) -> None:
    assert item(line) == expected


def test_a_mirror_is_another_place_of_the_item_before_it():
    lines = b"1menu\t/m\there.example.org\t70\r\ninote\t\t\t0\r\n+other\t/m\tfar.example.org\t70\r\n.\r\n"
    with server(lines) as session:
        assert [entry.url for entry in session.list()][-1] == "gopher://far.example.org/1/m"


@pytest.mark.parametrize(
    "line", [b"0title", b"0title\tselector", b"HTTP/1.1 400 Bad Request", b"\xff\xfe", b"0t\ts\thost"]
)
def test_what_is_no_menu(line: bytes) -> None:
    with server(line + b"\r\n") as session, pytest.raises(prise.ProtocolError, match="no line of a gopher menu"):
        list(session.list())


def test_titles_are_cleaned_and_may_be_older_than_utf8():
    lines = b"0\x1b]0;gotcha\x07\x9b2J\t\x1b[2J\tfar\t70\r\n1caf\xe9\t/\tfar\t70\r\n1caf\xc3\xa9\t/\tfar\t70\r\n"
    with server(lines) as session:
        bad, old, new = session.list()
    assert not any(character in bad.title + bad.name for character in "\x1b\x07\x9b")
    assert old.title == new.title == "café"


@settings(max_examples=50)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=20).map(lambda selector: b"0title\t" + selector.replace(b"\t", b"") + b"\tfar\t70"),
        st.binary(max_size=20).map(lambda host: b"0title\tselector\t" + host.replace(b"\t", b"") + b"\t70"),
    )
)
def test_random_lines_are_read_or_refused(line: bytes) -> None:
    try:
        entry = read_item(line).entry(TARGET, None)
    except prise.ProtocolError:
        return
    assert entry.title.isprintable() or "\ufffd" in entry.title or "\n" in entry.title or not entry.title.isascii()
    if entry.url is not None and entry.url.startswith("gopher:"):
        there = Target.parse(entry.url)
        if not set(b"\0\r\n") & set(line):  # those never leave
            assert place_of(there).request == line.split(b"\t")[1]
    if entry.url is None and entry.name:
        assert place_of(TARGET, entry.name).request == entry.name[1:].encode(errors="surrogateescape")


# What is asked


@pytest.mark.parametrize(
    ("url", "request_line"),
    [
        ("gopher://h", b""),
        ("gopher://h/", b""),
        ("gopher://h/1", b""),
        ("gopher://h/0/a%20b", b"/a b"),
        ("gopher://h/0caf%C3%A9?x=1&tls=never", "café?x=1&tls=never".encode()),
        ("gopher://h/7/find%09two%20words", b"/find\ttwo words"),
        ("gopher://h/0/caf%E9", b"/caf\xe9"),
        ("gopher://h/7/find%09words%09+", b"/find\twords\t+"),
        ("gopher://h/0/doc%09%09+text/plain", b"/doc\t+text/plain"),
    ],
)
def test_urls(url: str, request_line: bytes) -> None:
    """RFC 4266."""
    assert place_of(Target.parse(url)).request == request_line


@pytest.mark.parametrize("place", ["0/a%0D%0Ab", "0/a%00", "1/a%09b%09c%09d"])
def test_urls_that_would_be_commands_of_their_own(place: str) -> None:
    with pytest.raises(prise.AddressError):
        place_of(Target.parse(f"gopher://h/{place}"))


@pytest.mark.parametrize("name", ["0/a\r\nb", "/a\nb", "1\0", "0/a\tb", "0/\ud800"])
def test_names_that_would_be_commands_of_their_own(name: str) -> None:
    with server(b"") as session:
        for ask in (session.get, session.list, session.attributes):
            with pytest.raises(prise.UsageError):
                ask(name)


def test_a_selector_alone_and_a_url_of_the_same_server():
    assert place_of(TARGET, "/a") == Place("", "/a")
    assert place_of(TARGET, "") == Place("1", "")
    assert place_of(TARGET, "gopher://here.example.org/0/a%20b") == Place("0", "/a b")
    assert place_of(TARGET, "gopher://Here.Example.org/0/a") == Place("0", "/a")
    for elsewhere in ("gophers://here.example.org/0/a", "gopher://here.example.org:71/0/a", "cso://far/"):
        with pytest.raises(prise.UsageError):
            place_of(TARGET, elsewhere)


# Contents


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"a\n.\n", b"a\n"),
        (b".\r\n", b""),
        (b"", b""),
        (b"a.\r\n", b"a.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n..\r\n", b"a\r\n..\r\n"),
        (b"a\r\n.", b"a\r\n."),
        (b"x" * 100 + b"\r\n.\r\n", b"x" * 100 + b"\r\n"),
    ],
)
def test_the_last_dot_of_a_text(sent: bytes, text: bytes) -> None:
    """It is left out of a text; a file is as it was sent."""

    def dribble(connection: prise.Connection) -> None:
        for byte in sent:
            connection.send(bytes((byte,)))

    for answer in (sent, dribble):
        with server(answer) as session:
            assert session.get("0/x").read() == text
            assert session.get("9/x").read() == session.get("/x").read() == sent


def test_a_server_that_doubles_dots():
    with server(b"..\r\n...x\r\n.\r\n", dots=True) as session:
        assert session.get("0/x").read() == b".\r\n..x\r\n"
    with server(b"no end\r\n", dots=True) as session, pytest.raises(prise.ConnectionLost):
        session.get("0/x").read()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"3'/x' does not exist\t\terror.host\t1\r\n.\r\n", prise.NotFound),
        (b"3No such thing\t\terror.host\t1\n", prise.NotFound),
        (b"3Access denied\t\terror.host\t1\r\niplease go\t\t\t0\r\n.\r\n", prise.Refused),
    ],
)
def test_errors(answer: bytes, error: type[PriseError]) -> None:
    with server(answer) as session:
        for ask in (lambda: session.get("0/x"), lambda: session.get("9/x"), lambda: session.list("1/x")):
            with pytest.raises(prise.Refused) as failure:
                ask()
            assert type(failure.value) is error


@pytest.mark.parametrize(
    "data", [b"3 little pigs\r\n", b"3\tx\ty\tz\r\nmore\r\n", b"3", b"3a\tb\tc\td\r\n" + b"i" * 5000 + b"x\n"]
)
def test_files_that_only_look_like_errors(data: bytes) -> None:
    with server(data) as session:
        assert session.get("9/x").read() == data


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_random_answers_are_an_error_or_none(data: bytes) -> None:
    found = error_in(data)
    assert found is None or found.type == "3"


# Gopher+

ATTRIBUTES = (
    b"+INFO: 0A document\t/doc\there\t70\t+\r\n+ADMIN:\r\n Admin: Ada <ada@example.org>\r\n Mod-Date: now <19930731150000>\r\n"
    b"+VIEWS:\r\n Text/plain: <1k>\r\n application/pdf En_US: <20k>\r\n"
)
KNOWN = {
    "INFO": ["0A document\t/doc\there\t70\t+"],
    "ADMIN": ["Admin: Ada <ada@example.org>", "Mod-Date: now <19930731150000>"],
    "VIEWS": ["Text/plain: <1k>", "application/pdf En_US: <20k>"],
}


@pytest.mark.parametrize(
    "answer",
    [b"+-1\r\n" + ATTRIBUTES + b".\r\n", b"+-2\r\n" + ATTRIBUTES, b"+%d\r\n" % len(ATTRIBUTES) + ATTRIBUTES],
    ids=["to a dot", "to the end", "so many bytes"],
)
def test_attributes(answer: bytes) -> None:
    with server({b"/doc\t!": answer}) as session:
        assert session.attributes("0/doc") == KNOWN
        assert session.attributes("/doc") == KNOWN


def test_attributes_of_all_items():
    with server({b"/\t$": b"+-1\r\n" + ATTRIBUTES + b"+INFO: 1More\t/m\there\t70\t+\r\n.\r\n"}) as session:
        assert session.all_attributes("1/") == [KNOWN, {"INFO": ["1More\t/m\there\t70\t+"]}]


def test_contents_with_their_size_and_in_another_view():
    answers: dict[bytes, Answer] = {
        b"/doc\t+": b"+5\r\nab\r\n.",
        b"/doc\t+text/plain": b"+-1\r\n..a\r\n.\r\n",
        b"/doc\t+to/end": b"+-2\r\na\r\n.\r\n",
        b"/\t+": b"+-1\r\n0A document\t/doc\there\t70\t+\r\n.\r\n",
        b"/short\t+": b"+10\r\nabc",
        b"/gone\t+": b"--1\r\n1 Ada <ada@example.org>\r\nNo longer there.\r\n.\r\n",
        b"/busy\t+": b"--2\r\n2 Ada\r\nTry later\x1b\r\n.\r\n",
        b"/old\t+": b"hello\r\n",
    }
    with server(answers) as session:
        where = str(session.target)
        content = session.get(f"{where}0/doc%09%09+")
        assert (content.size, content.read()) == (5, b"ab\r\n.")
        assert session.get(f"{where}0/doc%09%09+text/plain").read() == b".a\r\n"
        assert session.get(f"{where}0/doc%09%09+to/end").read() == b"a\r\n.\r\n"
        (entry,) = session.list(f"{where}1/%09%09+")
        assert entry.facts["plus"]
        with pytest.raises(prise.NotFound, match="1 No longer there"):
            session.get(f"{where}0/gone%09%09+")
        with pytest.raises(prise.Refused, match="2 Try later\N{REPLACEMENT CHARACTER}"):
            session.get(f"{where}0/busy%09%09+")
        with pytest.raises(prise.ConnectionLost):
            session.get(f"{where}0/short%09%09+").read()
    with server(answers, "0/old%09%09+") as session, pytest.raises(prise.ProtocolError):
        session.get()


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_random_attributes_do_no_harm(data: bytes) -> None:
    read_attributes(data)
    try:
        read_header(data)
    except prise.ProtocolError:
        pass


# Servers that mean harm


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gopher_session, "MOST_ITEMS", 1000)
    monkeypatch.setattr(gopher_session, "MOST_ATTRIBUTES", 10_000)


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (for_ever(b"ihello\t\t\t0\r\n" * 1000), prise.ProtocolError),
        (for_ever(b"i" * 10_000), prise.MessageTooLarge),
        (slowly(b"i"), prise.TooSlow),
        (lambda connection: connection.receive(), prise.TooSlow),
        (b"ihello\t\t\t0\r\n0cut in the mid", prise.ConnectionLost),
        (b"", prise.ConnectionLost),
        (b"\0" * 10_000 + b"\n", prise.ProtocolError),
    ],
    ids=["menu", "line", "slow", "silent", "cut", "nothing", "zeros"],
)
def test_menus_that_mean_harm(answer: Answer, error: type[PriseError]) -> None:
    with server(answer) as session, pytest.raises(error):
        for _ in session.list():
            pass


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (for_ever(b"+-2\r\n" * 2000), prise.MessageTooLarge),
        (for_ever(b"+-1\r\n" * 2000), prise.MessageTooLarge),
        (b"+999999999999999999\r\nx", prise.ConnectionLost),
        (b"+9999999999999999999999\r\nx", prise.ProtocolError),
        (for_ever(b"-" * 10_000), prise.MessageTooLarge),
        (for_ever(b"--1\r\n" * 2000), prise.Refused),
        (slowly(b"+"), prise.TooSlow),
    ],
    ids=["to the end", "to a dot", "giant", "too giant", "line", "error", "slow"],
)
def test_attributes_that_mean_harm(answer: Answer, error: type[PriseError]) -> None:
    with server(answer) as session, pytest.raises(error):
        session.attributes("/x")


def test_contents_that_mean_harm():
    with server(slowly(b"3")) as session, pytest.raises(prise.TooSlow):
        session.get("0/x").read()
    with server(slowly(b".")) as session, pytest.raises(prise.TooSlow):
        session.get("0/x").read()


def test_what_is_left_in_the_middle_is_cut_and_the_session_goes_on():
    answers = {b"/x": for_ever(b"x" * 10_000), b"/m": for_ever(b"ihello\t\t\t0\r\n"), b"/y": b"y"}
    with server(answers) as session:
        for _ in range(3):
            with session.get("9/x") as content:
                assert next(content)
            with session.list("1/m") as menu:
                assert next(menu).title == "hello"
            assert session.get("9/y").read() == b"y"


def test_a_file_that_is_cut():
    """Its end is that of the connection, so nobody can tell; with TLS, which says farewell, it shows (and with Gopher+)."""
    with server(lambda connection: (connection.send(b"half a fi"), connection.abort())) as session:
        assert session.get("9/x").read() == b"half a fi"
    from tls_support import authority, localhost

    def cut(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(b"half a fi")
        connection.abort()

    own = localhost()
    address = f"tls,cert={own.cert},key={own.key}:localhost:0"
    with prise.listen(cut, address, framing="chunks") as serving:
        where = f"gophers://localhost:{serving.address.port}/9/x"
        with pytest.raises(prise.ConnectionLost):
            prise.get(where, tls=prise.TLS(ca=authority().cert)).read()


def test_errors_with_await():
    async def main(port: int) -> None:
        async with prise.open(f"gopher://localhost:{port}/", timeout=0.3) as session:
            with pytest.raises(prise.NotFound):
                await session.get("0/x")
            with pytest.raises(prise.NotFound):
                [entry async for entry in session.list()]

    with server({}) as session:
        asyncio.run(main(session.target.port))

"""The reader without a screen: what each key does, against real servers, and one that hangs up and has 100,000 articles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import prise
from prise.protocols.entry import Entry
from prise.reader.commands import COMMANDS
from prise.reader.model import Finish, Reader
from prise.reader.pages import ListPage, TextPage, page_of
from prise.reader.places import Place, file_name
from prise.reader.plain import show
from prise.reader.servers import Servers
from real_servers.dovecot import Dovecot
from real_servers.gophernicus import Gophernicus
from real_servers.inn import Inn
from real_servers.nginx import Nginx
from real_servers.proftpd import Proftpd

NAMES = itertools.count()


def at_once(job: Callable[[], Any], finish: Finish) -> None:
    """Does what a thread would do."""
    try:
        result = job()
    except Exception as error:
        finish(None, error)
    else:
        finish(result, None)


@contextmanager
def reading(url: str, **arguments: Any) -> Iterator[Reader]:
    place = Place.of(url)
    servers = Servers(place.target, {"netrc": False, "keyring": False, "timeout": 5, **arguments})
    try:
        page = page_of(place, servers.look(place))
        assert page is not None
        yield Reader(servers, page, at_once)
    finally:
        servers.close()


def drawn(reader: Reader, columns: int = 80, lines: int = 20) -> list[str]:
    return [row.text.rstrip() for row in reader.page.draw(columns, lines)]


def select(reader: Reader, words: str) -> None:
    drawn(reader)
    assert reader.page.find(words), drawn(reader, lines=100)


def selected(reader: Reader) -> Entry:
    assert isinstance(reader.page, ListPage)
    assert reader.page.entry is not None
    return reader.page.entry


# -- Pages -----------------------------------------------------------------------------------------------------------------


def menu(*kinds: str) -> ListPage:
    place = Place.of("gopher://example.org/")
    page = ListPage(place, [Entry(f"0{number}", kind, f"{kind} {number}") for number, kind in enumerate(kinds)])
    page.draw(80, 5)
    return page


def test_lines_to_read_are_passed_over() -> None:
    page = menu("info", "text", "info", "text", "info")
    assert page.selected == 1
    page.move(1)
    assert page.selected == 3
    page.move(1)
    assert page.selected == 3
    page.move(-1)
    assert page.selected == 1


def test_a_long_text_between_two_entries_is_seen_before_the_second_is_selected() -> None:
    page = menu("text", *["info"] * 20, "text")
    seen: set[int] = set()
    for _press in range(20):
        page.draw(80, 5)
        seen |= set(range(page.top, page.top + 5))
        page.move(1)
    assert (page.selected, seen) == (21, set(range(22)))


def test_pages_are_turned_and_the_selection_goes_along() -> None:
    page = menu(*["text"] * 12)
    page.turn(1)
    assert (page.top, page.selected) == (4, 4)
    page.turn(1)
    page.turn(1)
    assert (page.top, page.selected) == (7, 11)
    page.go(0)
    assert (page.top, page.selected, page.position) == (0, 0, "1/12")


def test_a_list_without_anything_to_select() -> None:
    for page in (menu(), menu("info"), menu(*["info"] * 30)):
        for step in (page.move, page.turn):
            step(1)
            step(-1)
        page.go(5)
        assert page.entry is None
        assert not page.find("nowhere")


def test_a_text_is_wrapped_scrolled_and_searched() -> None:
    page = TextPage(None, "\n".join(f"line {number} with words" for number in range(100)))
    assert [row.text for row in page.draw(10, 3)] == ["line 0", "with words", "line 1"]
    assert page.find("LINE 50")
    assert [(row.text, row.style) for row in page.draw(10, 2)] == [("line 50", "found"), ("with words", "")]
    page.draw(80, 2)  # a wider window: about the same place
    assert abs(page.top - 50) <= 1
    assert not page.find("nowhere")
    page.turn(99)
    assert page.position == "100 %"


@pytest.mark.parametrize(
    ("url", "kind", "ways"),
    [
        ("gopher://h/", "menu", ("list",)),
        ("gopher://h/0/a.txt", "text", ("get",)),
        ("gopher://h/7/s%09words", "menu", ("list",)),
        ("nntp://h/", "groups", ("list",)),
        ("nntp://h/comp.x", "group", ("list",)),
        ("nntp://h/comp.x/7", "article", ("get",)),
        ("nntp://h/abc@example.org", "article", ("get",)),
        ("imap://h/", "folder", ("list",)),
        ("imap://h/INBOX", "mailbox", ("list",)),
        ("imap://h/INBOX/;UID=7", "message", ("get",)),
        ("pop3://h/", "mailbox", ("list",)),
        ("pop3://h/7", "message", ("get",)),
        ("ftp://h/pub/", "folder", ("list", "get")),
        ("ftp://h/pub", "file", ("get", "list")),
        ("https://h/a.html", "file", ("get",)),
    ],
)
def test_a_url_says_how_it_is_looked_at(url: str, kind: str, ways: tuple[str, ...]) -> None:
    place = Place.of(url)
    assert (place.kind, place.ways, place.url) == (kind, ways, url)


@pytest.mark.parametrize(
    ("url", "entry", "below"),
    [
        ("gopher://h/", Entry("0/a b.txt", "text"), "gopher://h/0/a%20b.txt"),
        ("nntp://h/", Entry("comp.x", "group"), "nntp://h/comp.x"),
        ("nntp://h/comp.x", Entry("7", "article"), "nntp://h/comp.x/7"),
        ("imap://a@h/", Entry("Été/1", "mailbox"), "imap://a@h/%C3%89t%C3%A9%2F1"),
        ("imap://a@h/INBOX", Entry("7", "message"), "imap://a@h/INBOX/;UID=7"),
        ("pop3://a@h/", Entry("7", "message"), "pop3://a@h/7"),
        ("ftp://h/pub/", Entry("a#b", "file"), "ftp://h/pub/a%23b"),
        ("http://h/a/b.html", Entry("c.txt", "file"), "http://h/a/c.txt"),
        ("http://h/a/", Entry("/c", "file"), "http://h/c"),
    ],
)
def test_each_entry_has_a_url(url: str, entry: Entry, below: str) -> None:
    assert Place.of(url).below(entry).url == below


def test_a_file_name_is_never_a_path() -> None:
    place = Place.of("imap://h/INBOX/;UID=7")
    assert file_name(place) == "7.eml"
    for said in ("../../x", "/etc/x", "..\\x", "a\0/x", ".x"):
        assert file_name(place, said) == "x.eml"
    assert file_name(Place.of("gopher://h/"), "..") == "file"


def test_where_there_is_nothing_to_read() -> None:
    with pytest.raises(prise.UsageError, match="nothing to read"):
        Place.of("telnet://example.org/")


# -- Gopher ----------------------------------------------------------------------------------------------------------------


def test_a_menu_is_walked_there_and_back(gophernicus: Gophernicus) -> None:
    with reading(gophernicus.url()) as reader:
        select(reader, "A text")
        reader.do("open")
        assert drawn(reader) == ["hello gopher"]
        reader.do("show_url")
        assert reader.message == gophernicus.url("0/hello.txt")
        reader.do("back")
        assert selected(reader).title == "A text"
        select(reader, "A folder")
        reader.do("open")
        select(reader, "one.txt")
        reader.do("open")
        assert drawn(reader) == ["one"]
        for _press in range(3):
            reader.do("back")
        assert (len(reader.pages), "began" in reader.message) == (1, True)


def test_a_search_asks_for_words(gophernicus: Gophernicus) -> None:
    with reading(gophernicus.url()) as reader:
        select(reader, "A search")
        reader.do("open")
        assert reader.question is not None
        reader.answer("cats")
        assert selected(reader).title == "Found cats"
        assert reader.page.place is not None
        assert reader.page.place.url.endswith("%09cats")
        reader.do("open")
        assert drawn(reader) == ["hello gopher"]


def test_what_is_no_text_is_offered_as_a_file(gophernicus: Gophernicus, tmp_path: Path) -> None:
    with reading(gophernicus.url()) as reader:
        select(reader, "A binary file")
        reader.do("open")
        assert reader.question is not None
        assert (reader.question.text, len(reader.pages)) == ("data.bin", 1)
        path = tmp_path / "data.bin"
        reader.answer(str(path))
        assert path.read_bytes() == bytes(range(256)) * 16
        assert "4.1 kB" in reader.message
        reader.do("save")
        reader.answer(str(path))
        assert reader.question is not None
        assert "replace" in reader.question.label
        path.write_bytes(b"kept")
        reader.answer("n")
        assert path.read_bytes() == b"kept"
        reader.do("save")
        reader.answer(str(tmp_path / "no" / "folder"))
        assert "No such file" in reader.message
        assert [each.name for each in tmp_path.iterdir()] == ["data.bin"]


def test_another_server_is_gone_to_only_after_a_yes(gophernicus: Gophernicus) -> None:
    with reading(gophernicus.url()) as reader:
        select(reader, "Elsewhere")
        reader.do("open")
        assert reader.question is not None
        assert "gopher://gopher.example.org/0/far.txt" in reader.question.label
        reader.answer("n")
        assert (len(reader.pages), reader.busy) == (1, "")
        select(reader, "A terminal")
        reader.do("open")
        assert "cannot go" in reader.message
        assert reader.question is None


def test_errors_are_told_and_end_nothing(gophernicus: Gophernicus) -> None:
    with reading(gophernicus.url()) as reader:
        for url, told in (
            (gophernicus.url("1/none"), "1/none"),
            ("gopher://127.0.0.1:1/", "refused"),
            ("nonsense", "cannot go"),
            ("gopher://h:x/", "port"),
            ("telnet://h/", "cannot go"),
        ):
            reader.do("go")
            reader.answer(url)
            assert told in reader.message
        assert len(reader.pages) == 1
        reader.do("reload")
        select(reader, "A text")


def test_the_password_is_for_the_first_server_alone(gophernicus: Gophernicus, dovecot: Dovecot) -> None:
    with reading(gophernicus.url(), user="ada", password="pw") as reader:
        reader.do("go")
        reader.answer(dovecot.url("INBOX", user="ada") + "?tls=never")
        assert "wants a user and a password" in reader.message


# -- Mail ------------------------------------------------------------------------------------------------------------------

MAIL = b"""\
From: Ada <a@example.org>\r
X-More: yes\r
Subject: number %d\r
Date: Sat, 21 Nov 2026 12:00:00 +0000\r
Content-Type: multipart/mixed; boundary=X\r
\r
--X\r
\r
hello %d\r
--X\r
Content-Type: text/plain\r
Content-Disposition: attachment; filename=notes.txt\r
\r
the notes\r
--X--\r
"""


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    user = f"reader-{next(NAMES)}"
    for number in (1, 2, 3):
        dovecot.deliver(user, MAIL % (number, number))
    return user


def test_a_mailbox_is_read_the_newest_first(dovecot: Dovecot, user: str, tmp_path: Path) -> None:
    with reading(dovecot.url(user=f"{user}:pw"), tls=prise.TLS(ca=dovecot.ca)) as reader:
        select(reader, "INBOX")
        reader.do("open")
        assert [line.split()[-1] for line in drawn(reader)] == ["3", "2", "1"]
        assert drawn(reader)[0].startswith("N ")
        reader.do("down")
        reader.do("open")
        assert "Subject: number 2" in drawn(reader)
        assert "hello 2" in drawn(reader)
        assert "X-More: yes" not in drawn(reader)
        reader.do("header")
        assert "X-More: yes" in drawn(reader)
        reader.do("attachments")
        reader.do("open")
        assert drawn(reader) == ["the notes"]
        reader.do("back")
        reader.do("save")
        assert reader.question is not None
        assert reader.question.text == "notes.txt"
        reader.answer(str(tmp_path / "notes.txt"))
        assert (tmp_path / "notes.txt").read_bytes().strip() == b"the notes"
        reader.do("back")
        reader.do("save")
        reader.answer(str(tmp_path / "2.eml"))
        assert (tmp_path / "2.eml").read_bytes() == MAIL % (2, 2)
        reader.do("back")
        assert drawn(reader)[0].startswith("N ")  # reading has changed nothing
        reader.do("search")
        reader.answer("hello 3")
        assert [line.split()[-1] for line in drawn(reader)] == ["3"]


def test_a_pop3_mailbox_has_subjects_too(dovecot: Dovecot, user: str) -> None:
    with reading(dovecot.pop3_url(user=f"{user}:pw"), tls=prise.TLS(ca=dovecot.ca)) as reader:
        assert [line.partition("Ada")[2].strip() for line in drawn(reader)] == ["number 3", "number 2", "number 1"]
        reader.do("open")
        assert "hello 3" in drawn(reader)


def test_a_password_is_asked_for_once(dovecot: Dovecot, user: str) -> None:
    asked = []

    def ask(host: str, user: str | None) -> tuple[str, str]:
        asked.append((host, user))
        return str(user), "pw"

    with reading(dovecot.url("INBOX", user=user), tls=prise.TLS(ca=dovecot.ca), ask=ask) as reader:
        reader.servers.cancel()
        reader.do("reload")
        assert (asked, reader.message, reader.page.count) == ([(dovecot.host, user)], "", 3)


# -- News and folders ------------------------------------------------------------------------------------------------------

ARTICLE = b"From: Ada <a@example.org>\r\nNewsgroups: %s\r\nSubject: one\r\n\r\nhello\r\n.dot\r\n"


def test_news_are_read(inn: Inn) -> None:
    group = "local.t41"
    trust = prise.TLS(ca=inn.ca)
    with prise.open(inn.url(), tls=trust) as session:
        session.put(None, ARTICLE % group.encode())
    with reading(inn.url(), tls=trust) as reader:
        select(reader, group)
        reader.do("open")
        assert drawn(reader)[0].endswith("Ada                     one")
        reader.do("open")
        assert drawn(reader)[-2:] == ["hello", ".dot"]
        assert reader.page.place is not None
        assert reader.page.place.url == inn.url(f"{group}/1")
        reader.do("attachments")
        assert reader.message == "nothing is attached"


def test_folders_are_walked(proftpd: Proftpd) -> None:
    proftpd.place("reader/inner/a.txt", b"one\r\ntwo\r\n")
    where = proftpd.url("reader/", user=f"{proftpd.user}:{proftpd.password}") + "?tls=never"
    with reading(where) as reader:
        select(reader, "inner")
        reader.do("open")
        reader.do("open")
        assert drawn(reader) == ["one", "two"]
    said: list[str] = []
    with reading(where.replace("reader/", "reader/inner/a.txt")) as reader:
        assert reader.page.place is not None
        show(reader.servers, reader.page.place, said.append)
    assert said == ["one", "two"]


@contextmanager
def news(articles: int) -> Iterator[tuple[str, list[str]]]:
    """A news server that hangs up after each article; its URL, and what it was asked."""
    asked: list[str] = []

    def conversation(connection: prise.Connection) -> None:
        def say(*lines: str) -> None:
            connection.send("".join(f"{line}\r\n" for line in lines).encode())

        say("200 hello")
        rest = b""
        for data in connection:
            *lines, rest = (rest + data).split(b"\r\n")
            for line in lines:
                asked.append(line.decode())
                word, *arguments = line.decode().split()
                match word:
                    case "CAPABILITIES":
                        say("101 these", "VERSION 2", "READER", "OVER", ".")
                    case "GROUP":
                        say(f"211 {articles} 1 {articles} {arguments[0]}")
                    case "OVER":
                        first, last = map(int, arguments[0].split("-"))
                        there = (n for n in range(first, last + 1) if n > 5000 or n % 100 == 1)
                        say("224 these", *(f"{n}\tnumber {n}\ta@example.org\t\t<{n}@x>\t\t9\t1" for n in there), ".")
                    case "ARTICLE":
                        say(f"220 {arguments[0]} <{arguments[0]}@x>", "Subject: it", "", "text", ".")
                        return
                    case _:
                        say("500 what?")

    with prise.listen(conversation, "127.0.0.1:0", framing="chunks") as server:
        yield f"nntp://127.0.0.1:{server.address.port}/g?tls=never", asked


def test_a_large_group_comes_in_portions_the_newest_first() -> None:
    with news(100_000) as (url, asked), reading(url) as reader:
        assert reader.page.count == 1000
        assert drawn(reader)[0].endswith("number 100000")
        assert reader.page.position == "1/1000+"
        reader.do("end")
        assert (reader.page.count, reader.page.position) == (2000, "1000/2000+")
        assert [each for each in asked if each.startswith("OVER")] == ["OVER 99001-100000", "OVER 98001-99000"]


def test_where_most_articles_have_expired_the_portions_end_all_the_same() -> None:
    with news(5100) as (url, _asked), reading(url) as reader:
        for _press in range(8):
            reader.do("end")
        assert isinstance(reader.page, ListPage)
        assert (reader.page.more, reader.page.entries[-1].name, reader.page.count) == (None, "1", 150)


def test_a_server_that_has_hung_up_is_opened_again_and_nobody_is_told() -> None:
    with news(3) as (url, asked), reading(url) as reader:
        for _time in range(3):
            reader.do("open")
            assert (drawn(reader)[-1], reader.message) == ("text", "")
            reader.do("back")
        assert len([each for each in asked if each.startswith("ARTICLE")]) == 3


def test_without_a_screen_all_portions_are_printed() -> None:
    said: list[str] = []
    with news(2500) as (url, _asked), reading(url) as reader:
        assert reader.page.place is not None
        show(reader.servers, reader.page.place, said.append)
    assert [line.split()[-1] for line in said] == [str(n) for n in range(2500, 0, -1) if n % 100 == 1]


def test_pages_of_the_web_are_read_as_text(nginx: Nginx) -> None:
    nginx.place("reader/page.html", b"<title>no</title><h1>Hello</h1><p>a <a href=x>link</a>")
    with reading(nginx.url("reader/page.html")) as reader:
        assert drawn(reader) == ["Hello", "", "a link[1]", "", "[1] x"]


# -- Servers that mean no good ---------------------------------------------------------------------------------------------


@contextmanager
def saying(data: bytes, times: int = 1) -> Iterator[str]:
    """A server that says this, so often, to whatever it is asked, and hangs up."""

    def conversation(connection: prise.Connection) -> None:
        connection.receive()
        for _time in range(times):
            connection.send(data)

    with prise.listen(conversation, "127.0.0.1:0", framing="chunks") as server:
        yield f"gopher://127.0.0.1:{server.address.port}/"


def test_a_text_without_end_is_not_held_but_can_be_saved(gophernicus: Gophernicus, tmp_path: Path) -> None:
    with saying(b"x" * 65535 + b"\n", 80) as url, reading(gophernicus.url()) as reader:
        reader.do("go")
        reader.answer(f"{url}0/long.txt")
        assert reader.question is not None
        assert reader.question.text == "long.txt"
        reader.answer(str(tmp_path))
        assert (tmp_path / "long.txt").stat().st_size == 80 * 65536


def test_what_is_no_menu_is_told(gophernicus: Gophernicus) -> None:
    with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url, reading(gophernicus.url()) as reader:
        reader.do("go")
        reader.answer(url)
        assert "no line of a gopher menu" in reader.message
        select(reader, "A text")


def test_a_file_that_is_cut_short_is_not_kept(gophernicus: Gophernicus, tmp_path: Path) -> None:
    def cut(connection: prise.Connection) -> None:
        connection.send(b"200 hello\r\n")
        for data in connection:
            if data.startswith(b"ARTICLE"):
                connection.send(b"220 1 <1@x>\r\nSubject: it\r\n\r\nhalf of")
                return
            connection.send(b"211 1 1 1 g\r\n" if data.startswith(b"GROUP") else b"500 what?\r\n")

    with (
        prise.listen(cut, "127.0.0.1:0", framing="chunks") as server,
        reading(gophernicus.url()) as reader,
    ):
        place = Place.of(f"nntp://127.0.0.1:{server.address.port}/g/1?tls=never")
        (tmp_path / "1.eml").write_bytes(b"kept")
        with pytest.raises(prise.ConnectionLost):
            reader.servers.save(place, tmp_path / "1.eml")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("1.eml", b"kept")]


# -- The rest --------------------------------------------------------------------------------------------------------------


def test_the_help_names_every_key(gophernicus: Gophernicus) -> None:
    with reading(gophernicus.url()) as reader:
        reader.do("help")
        assert len(drawn(reader, lines=50)) == len(COMMANDS)
        for method in (each.method for each in COMMANDS if each.method not in ("help", "quit", "back")):
            reader.do(method)  # none of them fails where it makes no sense
            reader.answer(None)
        reader.do("quit")
        assert reader.ended


def test_what_was_given_up_changes_nothing_when_it_comes_after_all(gophernicus: Gophernicus) -> None:
    late: list[tuple[Callable[[], Any], Finish]] = []
    with reading(gophernicus.url()) as reader:
        reader._run = lambda job, finish: late.append((job, finish))
        select(reader, "A text")
        reader.do("open")
        assert reader.busy
        reader.do("cancel")
        assert (reader.busy, reader.message) == ("", "given up")
        at_once(*late.pop())
        assert len(reader.pages) == 1
        reader._run = at_once
        reader.do("open")
        assert drawn(reader) == ["hello gopher"]

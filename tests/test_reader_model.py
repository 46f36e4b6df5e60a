"""The reader without a screen: what each key does, against real servers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prise
from prise.reader.commands import COMMANDS
from prise.reader.model import Finish
from prise.reader.plain import show
from reader_support import at_once, drawn, reading, select, selected
from real_servers.dovecot import Dovecot
from real_servers.gophernicus import Gophernicus
from real_servers.inn import Inn
from real_servers.nginx import Nginx
from real_servers.proftpd import Proftpd

NAMES = itertools.count()


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
        for name in (tmp_path / ("x" * 300), "~nobody-of-that-name/x"):
            reader.do("save")
            reader.answer(str(name))
            assert "too long" in reader.message or "home" in reader.message
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
        assert "wants the password of" in reader.message


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
Content-Disposition: attachment; filename=~notes\r
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
        assert reader.question.text == "notes"  # never a path, such as somebody's home
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
    group = "local.t45"
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


def test_pages_of_the_web_are_read_as_text(nginx: Nginx) -> None:
    nginx.place("reader/page.html", b"<title>no</title><h1>Hello</h1><p>a <a href=x>link</a>")
    with reading(nginx.url("reader/page.html")) as reader:
        assert drawn(reader) == ["Hello", "", "a link[1]", "", "[1] x"]


# -- The rest --------------------------------------------------------------------------------------------------------------


def test_the_help_names_every_key(gophernicus: Gophernicus) -> None:
    with reading(gophernicus.url()) as reader:
        reader.do("help")
        assert len(drawn(reader, lines=50)) == len(COMMANDS)
        for answer in (None, ""):
            reader.do("find")
            reader.answer(answer)
            assert reader.question is None  # it is not asked for ever
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
        assert reader.servers._session is None  # and is no session of what comes next
        reader._run = at_once
        reader.do("open")
        assert drawn(reader) == ["hello gopher"]

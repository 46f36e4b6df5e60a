"""What the reader shows of messages, of HTML and of lists: as a person reads it, and harmless to the terminal."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise.cli.columns import Row, fitted, width
from prise.protocols.entry import Entry
from prise.reader import mail, markup
from prise.reader.markup import text_of
from prise.reader.portions import _with_header
from prise.reader.rows import author, letter_rows, row, text_rows, wrapped

HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

LETTER = b"""\
Received: from somewhere
 else
From: =?utf-8?q?Ad=C3=A9?= <a@example.org>
To: b@example.org
Subject: =?iso-8859-1?q?=E9t=E9?=
 and =?utf-8?b?aGl2ZXI=?=
Date: Sat, 21 Nov 2026 12:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=X

--X
Content-Type: multipart/alternative; boundary=Y

--Y
Content-Type: text/html

<p>no</p>
--Y
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

bonjour =E0 tous
--Y--
--X
Content-Type: application/pdf
Content-Disposition: attachment; filename*=utf-8''f%C3%A9.pdf
Content-Transfer-Encoding: base64

JVBERgA=
--X
Content-Type: message/rfc822

Subject: inside

text
--X--
"""


# -- Messages --------------------------------------------------------------------------------------------------------------


def test_a_message_is_taken_apart() -> None:
    letter = mail.read(LETTER)
    assert letter.header == [
        ("From", "Adé <a@example.org>"),
        ("To", "b@example.org"),
        ("Date", "Sat, 21 Nov 2026 12:00:00 +0000"),
        ("Subject", "été and hiver"),
    ]
    assert letter.full[0] == ("Received", "from somewhere else")
    assert letter.text == "bonjour à tous"
    pdf, inner = letter.attachments
    assert (pdf.name, pdf.kind, pdf.data) == ("fé.pdf", "application/pdf", b"%PDF\0")
    assert (inner.kind, b"Subject: inside" in inner.data) == ("message/rfc822", True)


def test_html_is_read_where_there_is_nothing_else() -> None:
    letter = mail.read(b"From: a@example.org\nContent-Type: text/html; charset=utf-8\n\n<b>caf\xc3\xa9</b><br>two")
    assert letter.text == "café\ntwo"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"From: a\nContent-Type: text/plain; charset=nonsense\n\ncaf\xe9", "café"),  # Latin-1 fits everything
        (b"From: a\nContent-Type: text/plain\n\ncaf\xc3\xa9", "café"),
        (b"no header at all", "no header at all"),
        (b"", ""),
        (b"Subject: =?utf-8?b?a?=\n\nno base64", "no base64"),
        (b"From: a\nContent-Type: text/html\n\n&#" + b"9" * 5000 + b";<p>b", "&#" + "9" * 5000 + ";\n\nb"),
    ],
    ids=range(6),
)
def test_what_is_broken_is_shown_as_far_as_it_goes(data: bytes, text: str) -> None:
    assert mail.read(data).text.strip() == text


def test_a_subject_in_bytes_that_nobody_declared_is_read_all_the_same() -> None:
    assert mail.read("Subject: été\n\n".encode()).header == [("Subject", "été")]
    assert mail.header("=?nonsense?q?a?=") == "a"
    assert mail.header("=?utf-8?b?a?=") == "=?utf-8?b?a?="  # no base64
    assert mail.text(b"+2AA-", "utf-7") == "?"  # half of a surrogate pair, which nothing could print


def test_parts_in_parts_without_end_do_no_harm() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(300))
    assert mail.read(b"From: a\n" + nested) is not None
    begun = time.perf_counter()
    assert mail.read(b"From: a\n" + nested + b"\n" * 1_000_000).text.startswith("From: a")  # shown as it is
    assert time.perf_counter() - begun < 5  # the parser would take half a minute
    many = b"From: a\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: a/b\n\nx\n" * 300
    assert len(mail.read(many).attachments) < 300
    assert mail.read(many).text == "[...]"


PIECES = [LETTER[at : at + 40] for at in range(0, len(LETTER), 40)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=20).map(b"".join))
def test_whatever_is_mailed_is_shown_and_moves_no_cursor(data: bytes) -> None:
    for shown in wrapped(letter_rows(mail.read(data), full=True), 60):
        assert not HARMFUL.search(shown.text)
        assert width(shown.text) <= 60


@pytest.mark.parametrize(
    "date",
    [b"1 Jan 99999999999999999999 00:00 +0000", b"1 Jan 2020 00:00 +9999999999999999999999", b"1 Jan 0001 00:00", b""],
)
def test_a_message_without_a_date_that_is_one_is_listed_all_the_same(date: bytes) -> None:
    assert _with_header(Entry("1", "message"), b"Date: %b\nSubject: it\n" % date).title == "it"


def test_a_listed_subject_in_bytes_that_nobody_declared_is_read_all_the_same() -> None:
    entry = _with_header(Entry("1", "message"), "From: Adé\nSubject: été\nSubject: no\n".encode())
    assert (entry.title, entry.facts["from"]) == ("été", "Adé")


# -- HTML ------------------------------------------------------------------------------------------------------------------


def test_html_becomes_text() -> None:
    html = """<html><head><title>no</title><style>p { a: b }</style></head><body><h1>Hello</h1>
    <p>one   <b>two</b> <a href='http://example.org/'>link</a> &amp; <a href=http://example.org/>again</a> 1 < 2
    <!-- no > --><script>if (a<b) no()</script>
    <ul><li>a<li>b<ol><li>c</ol></ul><blockquote>quoted<br>twice</blockquote><pre>as
      it is</pre><table><tr><td>x<td>y</table><img alt="a cat" src=no>"""
    assert text_of(html).split("\n") == [
        "Hello",
        "",
        "one two link[1] & again[1] 1 < 2",
        "",
        "* a",
        "* b",
        "",
        "  1. c",
        "",
        "> quoted",
        "> twice",
        "",
        "as",
        "      it is",
        "",
        "x y",
        "",
        "[a cat]",
        "",
        "[1] http://example.org/",
    ]


@pytest.mark.parametrize(
    "piece", ["<!--", "<a ", "<", "</", "<a href='", "<script>", "</script", "<blockquote>", "<ul>", "&", "<1>"]
)
def test_hostile_html_takes_no_more_time_than_its_length(piece: str) -> None:
    length = 400_000 if piece == "</script" else 100_000  # the one is searched for by a faster loop
    begun = time.perf_counter()
    text_of("<script>" * (piece == "</script") + piece * (length // len(piece)))
    assert time.perf_counter() - begun < 5  # with time as the square of the length it would be minutes


def test_many_signs_before_the_one_that_ends_a_tag_are_read_once() -> None:
    """Each "<" that begins no tag had the next ">" looked for anew."""
    looked_at = 0

    class Counting(str):
        __slots__ = ()

        def find(self, sub: str, start: Any = 0, end: Any = None) -> int:
            nonlocal looked_at
            found = str.find(self, sub, start)
            looked_at += (found if found >= 0 else len(self)) - start
            return found

    text = Counting("<" * 10_000 + ">")
    assert "".join(words for name, words in markup._pieces(text) if not name) == text
    assert looked_at < 4 * len(text)


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from(
            (
                "<p>",
                "</p>",
                "<a href=x>",
                "</a>",
                "<li>",
                "<!--",
                "-->",
                "<pre>",
                "<",
                ">",
                "a",
                "&lt;",
                "<ul>",
                "</ul>",
            )
        )
    )
)
def test_any_html_has_a_text(pieces: list[str]) -> None:
    assert "<script" not in text_of("".join(pieces))


# -- Rows ------------------------------------------------------------------------------------------------------------------


def test_entries_are_one_row_each() -> None:
    when = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    shown = when.astimezone().strftime("%Y-%m-%d %H:%M")
    facts = {"from": "Ada <a@example.org>", "flags": ["\\Flagged"]}
    assert row(Entry("7", "message", "Hi", 10, when, facts=facts), "imap") == Row(
        f"N! {shown}  Ada                     Hi", "bold"
    )
    assert row(Entry("7", "message", "Hi", 10, when, facts={"flags": ["\\Seen"]}), "imap").style == ""
    assert row(Entry("comp.x", "group", "About x", 120), "nntp").text == "     120  comp.x  About x"
    assert row(Entry("f", "folder", modified=when), "ftp").text == f"          {shown}  f/"
    assert row(Entry("a.bin", "file", size=1200, modified=when), "ftp").text == f"  1.2 kB  {shown}  a.bin"
    assert row(Entry("INBOX", "mailbox"), "imap").text == "INBOX/"
    assert row(Entry("9/x", "image", "A picture"), "gopher").text == "A picture [image]"
    assert row(Entry("u", "text", "Far", url="gopher://h/0u"), "gopher").text == "Far -> gopher://h/0u"
    assert row(Entry("", "info", "Read\x1b[2J me"), "gopher") == Row("Read^[[2J me", "dim")


def test_who_wrote_it() -> None:
    assert author("Ada <a@example.org>") == "Ada"
    assert author("a@example.org") == "a@example.org"
    assert author("Ada <a@example.org>, Ben <b@example.org>") == "Ada"
    assert author("") == ""
    assert author("(" * 5000)  # a comment in a comment in a comment...


def test_lines_are_broken_between_words_and_wide_characters_count_twice() -> None:
    assert [each.text for each in wrapped([Row("one two three")], 8)] == ["one two", "three"]
    assert [each.text for each in wrapped([Row("abcdefghij")], 4)] == ["abcd", "efgh", "ij"]
    assert [each.text for each in wrapped([Row("日本語です")], 4)] == ["日本", "語で", "す"]
    assert (fitted("日本語", 5), fitted("e\u0301a", 4)) == ("日本 ", "e\u0301a  ")
    assert [each.style for each in text_rows("a\n> b")] == ["", "dim"]


@settings(max_examples=50)
@given(st.text(max_size=80), st.integers(2, 30))
def test_wrapping_loses_nothing_but_the_spaces_it_breaks_at(text: str, columns: int) -> None:
    rows = wrapped(text_rows(text), columns)
    assert all(width(each.text) <= columns for each in rows)
    whole = "".join(each.text for each in text_rows(text)).replace(" ", "")
    assert "".join(each.text for each in rows).replace(" ", "") == whole

"""What the reader shows of lists and texts: pages that are turned, entries that are selected, and where they lead."""

from __future__ import annotations

import pytest

import prise
from prise.protocols.entry import Entry
from prise.reader.pages import ListPage, TextPage, page_of
from prise.reader.places import Place, file_name
from prise.reader.servers import Thing


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
    page.go(4)
    page.draw(80, 3)  # a lower window: what is selected stays in it
    assert (page.top, page.selected) == (2, 4)


def test_the_first_entry_below_a_long_text_is_not_passed_over() -> None:
    page = menu(*["info"] * 20, "text", "text")
    for _press in range(20):
        if page.top + 5 > 20:
            break
        page.move(1)
    assert page.selected == 20


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
    assert "found" not in [row.style for row in page.draw(20, 200)]  # the row of that number is another one now
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
        ("http://h/caf%E9/", Entry("c", "file"), "http://h/caf%E9/c"),  # not UTF-8, as old servers have it
        ("http://h/", Entry("\ud800", "file"), "http://h/%3F"),
        ("ftp://h/", Entry("caf\udce9", "file"), "ftp://h/caf%E9"),
        ("imap://a@h/", Entry("caf\udce9", "mailbox"), "imap://a@h/caf%E9"),
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
    assert file_name(place, "a\u202egpj.exe\x9b\ud800") == "a_gpj.exe__"  # nothing that a terminal would obey
    assert file_name(place, "\xe9" * 500 + ".txt") == "\xe9" * 98 + ".txt"


def test_where_there_is_nothing_to_read() -> None:
    with pytest.raises(prise.UsageError, match="nothing to read"):
        Place.of("telnet://example.org/")


def test_the_charset_that_a_server_tells_is_used() -> None:
    place = Place.of("http://h/a.html")
    page = page_of(place, Thing("<p>привет".encode("koi8-r"), "text/html; charset=KOI8-R"))
    assert page is not None
    assert [row.text for row in page.draw(80, 5)] == ["привет"]

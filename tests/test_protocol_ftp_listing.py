"""FTP's lists and addresses, as servers write them; no server is needed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise.errors import MessageTooLarge, ProtocolError
from prise.protocols.entry import Entry
from prise.protocols.ftp.control import join
from prise.protocols.ftp.data import elsewhere, extended_port, passive_address
from prise.protocols.ftp.listing import (
    LONGEST_LINE,
    Lines,
    read_entries,
    read_facts,
    read_line,
    read_size,
    read_time,
    write_time,
)
from prise.protocols.reply import Reply

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def line(text: str) -> Entry:
    entry = read_line(text, NOW)
    assert entry is not None
    return entry


def test_a_line_of_mlsd() -> None:
    entry = read_facts("Type=file;Size=1024990;Modify=20260102030405.5;Perm=r;UNIX.mode=0644; my  file; really.txt")
    assert entry is not None
    assert (entry.name, entry.kind, entry.size) == ("my  file; really.txt", "file", 1024990)
    assert entry.modified == datetime(2026, 1, 2, 3, 4, 5, 500000, UTC)
    assert entry.facts["unix.mode"] == "0644"


def test_the_kinds_of_mlsd() -> None:
    lines = [
        "type=cdir;modify=20260101000000; .",
        "type=pdir; ..",
        "type=dir;size=4096; folder",
        "type=OS.unix=slink:/else/Where; link",
        "type=OS.unix=symlink; other-link",
        "type=OS.unix=chr-1/2; device",
        " no facts",
        "",
        "nothing",
    ]
    entries = read_entries(lines)
    assert [(entry.name, entry.kind) for entry in entries] == [
        ("folder", "folder"),
        ("link", "link"),
        ("other-link", "link"),
        ("device", "other"),
        ("no facts", "file"),
    ]
    assert entries[0].size is None  # a folder's own bytes are of no use to anybody
    assert entries[1].facts["target"] == "/else/Where"


UNIX = [
    ("-rw-r--r--   1 u     users        10 Nov 21 18:50 hello.txt", "file", "hello.txt", 10, (2025, 11, 21, 18, 50)),
    ("-rw-r--r--    1 8        8              10 Mar 10 11:59 now", "file", "now", 10, (2026, 3, 10, 11, 59)),
    ("-rw-r--r--+ 1 u users 10 Mar 10 23:59 ahead of us", "file", "ahead of us", 10, (2026, 3, 10, 23, 59)),
    ("drwxr-xr-x   2 u     users      4096 Feb 29 10:00 leap", "folder", "leap", None, (2024, 2, 29, 10, 0)),
    ("-rwsr-Sr-t 1 u g 5 Jan  1  1999 old", "file", "old", 5, (1999, 1, 1)),
    ("-rw------- 1 u 5 Jan  1  1999 no group", "file", "no group", 5, (1999, 1, 1)),
    ("-rw-r--r-- 1 u g 5 2020-01-02 03:04 iso", "file", "iso", 5, (2020, 1, 2, 3, 4)),
    ("-rw-r--r-- 1 u g 5 Jan 11  2020  two  spaces ", "file", " two  spaces ", 5, (2020, 1, 11)),
    ("crw-rw-rw- 1 root root 1, 3 Jan 11  2020 null", "other", "null", None, (2020, 1, 11)),
    ("lrwxrwxrwx 1 u g 4 Jan 11  2020 here -> there -> or not", "link", "here", None, (2020, 1, 11)),
    ("-rw-r--r-- 1 u g 5 Foo 11  2020 odd", "file", "odd", 5, None),
    ("-rw-r--r-- 1 u g 5 Jan 41  2020 odd", "file", "odd", 5, None),
]


@pytest.mark.parametrize(("text", "kind", "name", "size", "modified"), UNIX)
def test_a_line_of_ls(text: str, kind: str, name: str, size: int | None, modified: tuple[int, ...] | None) -> None:
    entry = line(text)
    assert (entry.kind, entry.name, entry.size) == (kind, name, size)
    assert entry.modified == (None if modified is None else datetime(*modified, tzinfo=UTC))  # type: ignore[arg-type,misc]


def test_what_ls_says_besides() -> None:
    assert line("drwxr-x--- 2 ada users 4096 Jan 11  2020 x").facts == {
        "unix.mode": "rwxr-x---",
        "unix.owner": "ada",
        "unix.group": "users",
    }
    assert line("lrwxrwxrwx 1 u g 4 Jan 11  2020 here -> there").facts["target"] == "there"
    assert [read_line(text, NOW) for text in ("total 12", "Total 4k", "", "  ")] == [None] * 4
    for name in (".", ".."):
        assert read_line(f"drwxr-x--- 2 ada users 4096 Jan 11  2020 {name}", NOW) is None


DOS = [
    ("01-16-24  02:30PM       <DIR>          Program Files", "folder", "Program Files", None, (2024, 1, 16, 14, 30)),
    ("12-31-99  12:05AM              1,234 a.txt", "file", "a.txt", 1234, (1999, 12, 31, 0, 5)),
    ("2024-01-16  14:30        12 b.txt", "file", "b.txt", 12, (2024, 1, 16, 14, 30)),
    ("01-16-2024  02:30PM        12 c.txt", "file", "c.txt", 12, (2024, 1, 16, 14, 30)),
    ("13-16-2024  02:30PM        12 d.txt", "file", "d.txt", 12, None),
]


@pytest.mark.parametrize(("text", "kind", "name", "size", "modified"), DOS)
def test_a_line_of_dir(text: str, kind: str, name: str, size: int | None, modified: tuple[int, ...] | None) -> None:
    entry = line(text)
    assert (entry.kind, entry.name, entry.size) == (kind, name, size)
    assert entry.modified == (None if modified is None else datetime(*modified, tzinfo=UTC))  # type: ignore[arg-type,misc]


def test_a_line_that_nobody_understands_is_not_hidden() -> None:
    assert line("FILE.TXT;1 5 11-JAN-2020 [ADA] (RWED)") == Entry("FILE.TXT;1 5 11-JAN-2020 [ADA] (RWED)", "other")


def test_times_and_sizes() -> None:
    assert read_time("20260102030460") == datetime(2026, 1, 2, 3, 4, 59, tzinfo=UTC)  # a leap second
    assert [read_time(text) for text in ("", "2026", "20261302030405", "2026010203040x")] == [None] * 4
    assert read_size("12") == 12
    assert [read_size(text) for text in ("", "-1", "1.5", "9" * 20, "\u0663")] == [None] * 5
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read_time(write_time(moment)) == moment


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
@settings(max_examples=50)
def test_lines_do_not_depend_on_how_they_came(texts: list[bytes], step: int) -> None:
    stream = b"\r\n".join(texts)
    whole, pieces = Lines(), Lines()
    expected = whole.feed(stream) + whole.end()
    found = [each for at in range(0, len(stream), step) for each in pieces.feed(stream[at : at + step])] + pieces.end()
    assert found == expected
    assert [each.encode(errors="surrogateescape") for each in expected] == [
        each.removesuffix(b"\r")
        for each in (stream.split(b"\n") if stream.split(b"\n")[-1] else stream.split(b"\n")[:-1])
    ]


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    lines = Lines()
    with pytest.raises(MessageTooLarge):
        for _ in range(LONGEST_LINE):
            lines.feed(b"x" * 100)


@given(st.text())
@settings(max_examples=50)
def test_any_line_is_an_entry_or_nothing(text: str) -> None:
    for entry in (read_line(text, NOW), read_facts(text)):
        assert entry is None or entry.name


@given(st.from_regex(r"[-dlb][-rwx]{9} +[0-9 ]{1,20}[a-z ]{1,20}[0-9 ]{1,30}(Jan|2020-01-01) [0-9: ]{1,12} .{1,20}"))
@settings(max_examples=50)
def test_lines_that_are_nearly_right(text: str) -> None:
    read_line(text, NOW)


def test_a_line_made_to_be_slow_is_not() -> None:
    for text in ("-rw-r--r-- " + "1 " * 8000, "-rw-r--r-- " + " " * 16000 + "x", "01-01-20  10:10PM " + "1" * 16000):
        assert line(text).kind == "other"


def test_where_a_data_connection_leads() -> None:
    assert extended_port(Reply(229, ("Entering Extended Passive Mode (|||6446|)",))) == 6446
    assert extended_port(Reply(229, ("(!!!1!)",))) == 1
    assert passive_address(Reply(227, ("Entering Passive Mode (10,0,0,1,4,1).",))) == ("10.0.0.1", 1025)
    assert passive_address(Reply(227, ("=127,0,0,1,255,255",))) == ("127.0.0.1", 65535)


@pytest.mark.parametrize("text", ["", "(|||0|)", "(|||65536|)", "(|||x|)", "(||1|)", "(|||1!)", "(|||999999|)"])
def test_no_port(text: str) -> None:
    with pytest.raises(ProtocolError, match="no port"):
        extended_port(Reply(229, (text,)))


@pytest.mark.parametrize("text", ["", "1,2,3,4,5", "256,0,0,1,1,1", "1,2,3,4,0,0", "1,2,3,4,1,256", "a,b,c,d,e,f"])
def test_no_address(text: str) -> None:
    with pytest.raises(ProtocolError, match="no address"):
        passive_address(Reply(227, (text,)))


def test_another_public_address_is_elsewhere_and_an_inner_one_is_not() -> None:
    assert elsewhere("8.8.8.8", "127.0.0.1")
    assert elsewhere("8.8.8.8", "1.1.1.1")
    assert not elsewhere("8.8.8.8", "8.8.8.8")
    assert not elsewhere("192.168.0.2", "8.8.8.8")  # a server that does not know how it is seen from here
    assert not elsewhere("0.0.0.0", "8.8.8.8")
    for unknown in (None, "ftp.example.org"):  # behind a proxy
        assert not elsewhere("8.8.8.8", unknown)


def test_paths() -> None:
    assert join("", "a") == "a"
    assert join("/", "a") == "/a"
    assert join("a/b", "c") == "a/b/c"
    assert join("a", "") == "a"

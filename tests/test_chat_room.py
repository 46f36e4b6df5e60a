"""What is made of what people type, and how it reads: pure functions, no socket and no store."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from prise import lan
from prise.chat import bans, cleaning, joining, texts
from prise.chat.events import Joined, Message
from prise.chat.pace import Pace, Rate
from prise.chat.store import default_path

# -- What people type ----------------------------------------------------------------------------------------------------


@given(st.text())
def test_no_line_keeps_anything_that_acts_on_a_terminal(typed: str) -> None:
    line = cleaning.line(typed)
    assert all(character == "\t" or not (ord(character) < 32 or 127 <= ord(character) < 160) for character in line)
    prise.Lines().encode(line.encode())  # it is one line, and text


@pytest.mark.parametrize(
    "line", ["", "naïve café", "\ttab", "👩‍👩‍👧 👋🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "שלום", "مرحبا", "नमस्ते", "日本語", "a\u200db", "½ ﬁ ｆｕｌｌ"]
)
def test_what_people_write_stays_as_it_is(line: str) -> None:
    assert cleaning.line(line) == line


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("helo\blo", "hello"),
        ("\b\b\x7fa", "a"),
        ("forget this\x15that", "that"),
        ("forget this\x03that", "that"),
        ("\x1b]0;title\x07", "]0;title"),
        ("a\u202eb\u2066c\u2028d\r", "abcd"),
        ("bell\a", "bell"),
        ("\ud800", ""),
    ],
)
def test_keys_edit_the_line_and_the_rest_goes(typed: str, line: str) -> None:
    assert cleaning.line(typed) == line


@given(st.text())
def test_a_name_is_visible_short_and_the_same_when_it_is_typed_again(typed: str) -> None:
    try:
        name = cleaning.name(typed)
    except prise.UsageError:
        return
    assert cleaning.name(name) == name
    assert name.isprintable()
    assert 0 < len(name) <= cleaning.LONGEST_NAME
    assert not set(name) & set(" \t<>")


# -- How it reads ----------------------------------------------------------------------------------------------------------


def test_todays_events_have_the_time_and_older_ones_the_date_too() -> None:
    now = time.time()
    assert texts.line(Joined("salon", now, "alice")) == time.strftime("%H:%M * alice joined", time.localtime(now))
    older = now - 3 * 86_400
    assert texts.line(Message("salon", older, "bob", "1", "{hi}")) == time.strftime(
        "%Y-%m-%d %H:%M <bob> {hi}", time.localtime(older)
    )


def test_long_lists_of_names_are_cut() -> None:
    assert texts.enumerated(map(str, range(5)), most=3) == "0, 1, 2 and 2 more"
    assert texts.enumerated(["a", "b"]) == "a, b"


def commands_of(*addresses: str) -> list[str]:
    lines = joining.instructions(map(prise.Address.parse, addresses))
    return [line.strip() for line in lines if line.startswith(("    nc", "    prise", "    openssl"))]


def test_how_to_join_from_here_and_from_elsewhere() -> None:
    assert commands_of("127.0.0.1:6000") == ["nc 127.0.0.1 6000", "prise chat join 127.0.0.1:6000"]
    assert commands_of("[::1]:6000") == ["nc ::1 6000", "prise chat join [::1]:6000"]
    assert commands_of("[::1]:6000", "127.0.0.1:6000") == ["nc localhost 6000", "prise chat join localhost:6000"]
    assert commands_of("/run/chat.sock") == ["nc -U /run/chat.sock", "prise chat join unix:/run/chat.sock"]
    elsewhere = [f"nc {host} 6000" for host in lan.machine_addresses()]
    assert commands_of("0.0.0.0:6000", "[::]:6000") == [
        "nc localhost 6000",
        "prise chat join localhost:6000",
        *elsewhere,
    ]
    *_lines, last = joining.instructions([prise.Address.parse("0.0.0.0:6000")])
    assert "nothing is encrypted" in last


# -- Times and rates -------------------------------------------------------------------------------------------------------


def test_times_and_rates_are_written_as_people_do() -> None:
    assert [bans.seconds(text) for text in ("30s", "10m", "2H", " 7d ", "1w")] == [30, 600, 7200, 604_800, 604_800]
    assert Rate.parse("10/5s") == Rate(10, 0.5)
    assert Rate.parse("1/2") == Rate(1, 2.0)
    assert Rate.parse("none") is None
    for wrong in ("", "10", "m", "-1m", "0m", "1.5h", "1y", "9999999d"):
        with pytest.raises(prise.UsageError, match="not a time"):
            bans.seconds(wrong)
    for wrong in ("", "10", "/", "0/1s", "1/0s", "-1/1s", "x/1s", "1/x", "1/nans"):
        with pytest.raises(prise.UsageError, match="not a rate"):
            Rate.parse(wrong)


def test_so_many_at_once_then_so_many_a_second() -> None:
    pace = Pace(Rate(3, 0.5))
    assert [pace.wait(100.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert pace.wait(101.0) == 0.5
    assert pace.wait(110.0) == 0  # rested
    assert Pace(None).wait(0.0) == 0


# -- The store -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="XDG")
def test_the_default_store_is_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_path() == Path("/data/prise/chat.sqlite")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/alice")
    assert default_path() == Path("/home/alice/.local/share/prise/chat.sqlite")

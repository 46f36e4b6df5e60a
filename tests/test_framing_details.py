"""Each framing by itself: what is on the wire, and what is said about wrong bytes, with the place."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prise.codecs import json, msgpack, text
from prise.errors import FrameError, MessageTooLarge, UsageError
from prise.framing import Chunks, Cobs, Delimited, Fixed, Framing, Lines, Netstring, Prefixed, Slip, Varint
from prise.framing.textlines import TextLines


@pytest.mark.parametrize(
    ("framing", "message", "wire"),
    [
        (Lines(), b"hello", b"hello\n"),
        (Lines() | text(), "né", b"n\xc3\xa9\n"),
        (Lines() | json(), {"a": [1, None, "é\n"]}, '{"a":[1,null,"é\\n"]}\n'.encode()),
        (Delimited(b"\r\n\r\n"), b"hello", b"hello\r\n\r\n"),
        (Fixed(3), b"abc", b"abc"),
        (Prefixed(1), b"abc", b"\x03abc"),
        (Prefixed(2), b"abc", b"\x00\x03abc"),
        (Prefixed(4, "little"), b"abc", b"\x03\x00\x00\x00abc"),
        (Prefixed(8), b"", b"\x00" * 8),
        (Varint(), b"", b"\x00"),
        (Varint(), b"x" * 300, b"\xac\x02" + b"x" * 300),  # the example of the Protocol Buffers manual
        (Netstring(), b"hello world!", b"12:hello world!,"),  # the example of the specification
        (Netstring(), b"", b"0:,"),
        # The examples of the article on COBS in Wikipedia
        (Cobs(), b"", b"\x01\x00"),
        (Cobs(), b"\x00", b"\x01\x01\x00"),
        (Cobs(), b"\x00\x00", b"\x01\x01\x01\x00"),
        (Cobs(), b"\x00\x11\x00", b"\x01\x02\x11\x01\x00"),
        (Cobs(), b"\x11\x22\x00\x33", b"\x03\x11\x22\x02\x33\x00"),
        (Cobs(), b"\x11\x00\x00\x00", b"\x02\x11\x01\x01\x01\x00"),
        (Cobs(), bytes(range(1, 255)), b"\xff" + bytes(range(1, 255)) + b"\x00"),
        (Cobs(), bytes(range(255)), b"\x01\xff" + bytes(range(1, 255)) + b"\x00"),
        (Cobs(), bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff\x00"),
        (Cobs(), bytes(range(2, 256)) + b"\x00", b"\xff" + bytes(range(2, 256)) + b"\x01\x01\x00"),
        (Slip(), b"a\xc0b\xdbc", b"\xc0a\xdb\xdcb\xdb\xddc\xc0"),
        (Chunks(), b"abc", b"abc"),
    ],
    ids=str,
)
def test_on_the_wire(framing: Framing, message: Any, wire: bytes) -> None:
    assert framing.encode(message) == wire
    assert framing.decoder(1000).feed(wire) == [message]


@pytest.mark.parametrize(
    ("framing", "stream", "before", "offset", "says"),
    [
        (Prefixed(4), b"\x00\x00\x00\x01a\xff\xff\xff\xff", [b"a"], 5, "longer than the limit of 100 bytes"),
        (Prefixed(8), b"\xff" * 8, [], 0, "longer than the limit"),
        (Varint(), b"\x01a" + b"\x80" * 10, [b"a"], 11, "at most 10 bytes"),
        (Varint(), b"\x01a\xe5\x80", [b"a"], 2, "longer than the limit"),
        (Netstring(), b"1:a,1:bX", [b"a"], 7, "a comma must end the netstring at byte 7, not b'X'"),
        (Netstring(), b"1:a,x", [b"a"], 4, "byte 4 is neither"),
        (Netstring(), b"1:a,1x", [b"a"], 5, "byte 5 is neither"),
        (Netstring(), b":", [], 0, "byte 0 is neither"),
        (Netstring(), b"01:a,", [], 0, "must not begin with a zero"),
        (Netstring(), b"101:", [], 0, "longer than the limit"),
        (Netstring(), b"1000000000000000000000:", [], 0, "longer than the limit"),
        (Cobs(), b"\x02a\x00\x02a\x05b\x00", [b"a"], 5, "points 5 bytes ahead"),
        (Slip(), b"\xc0a\xc0\xc0b\xdbc\xc0", [b"a"], 5, "escape at byte 5"),
        (Slip(), b"\xc0b\xdb\xc0", [], 2, "escape at byte 2"),
        (Lines(), b"a\n" + b"b" * 101 + b"\n", [b"a"], 2, "longer than the limit"),
        (Lines() | text(), b"a\nb\xff\nc\n", ["a"], 3, "byte 3 is not valid utf-8 text"),
        (Lines() | text(), b"a\r\nb\r\n\xe2\x82\nc\n", ["a", "b"], 6, "byte 6 is not valid utf-8 text"),
        (Lines() | text(), b"a\nb\xe2\x82", ["a"], 3, "character at byte 3 is incomplete"),
        (Lines() | text("ascii"), b"a\r\nb\nc\xe9\n", ["a", "b"], 6, "byte 6 is not valid ascii text"),
        (Lines() | json(), b"1\r\n[2]\n[1 x]\n", [1, [2]], 10, "not valid JSON at byte 10"),
        (Lines() | json(), '"é" x\n'.encode(), [], 5, "Extra data"),
        (Lines() | json(), b"1\nNaN\n", [1], 2, "number out of range"),
        (Lines() | json(), b"1\n-Infinity", [1], 2, "number out of range"),
        (Lines() | json(), b"1\n[1e999]\n", [1], 2, "number out of range"),
        (Lines() | json(), b'1\n"\xff"\n', [1], 3, "byte 3 is not valid utf-8 text"),
        (Lines() | json(), b"\n", [], 0, "not valid JSON"),
        (Prefixed(1) | json(), b"\x011\x02[x", [1], 4, "not valid JSON at byte 4"),
        (Prefixed(1) | json(type=list[int]), b"\x02]1", [], 1, "JSON is malformed"),
        (Prefixed(1) | json(type=list[int]), b'\x05["a"]', [], 1, "Expected `int`, got `str`"),
        (Prefixed(1) | msgpack(), b"\x01\x01\x02\x01\x02", [1], 4, "ends before its message does, at byte 4"),
        (Prefixed(1) | msgpack(), b"\x01\x01\x01\xc1", [1], 3, "not a valid MessagePack message at byte 3"),
        (Prefixed(1) | msgpack(), b"\x03\x81\x01\x02", [], 1, "not a valid MessagePack message"),  # an integer key
        (Netstring() | text(), b"1:a,2:b\xff,", ["a"], 7, "byte 7"),
        (Cobs() | text(), b"\x02a\x00\x02b\x02\xff\x00", ["a"], 6, "byte 6"),
        (Slip() | text(), b"\xc0\xdb\xdd", [], 1, "inside the message that begins at byte 1, after 2 bytes"),
        (Delimited(b";") | text(), b"a;b\xff;", ["a"], 3, "byte 3"),
        (Chunks() | text(), b"ab\xffcd", ["ab"], 2, "byte 2 is not valid utf-8 text"),
        (Chunks() | text(), b"ab\xe2\x82", ["ab"], 2, "character at byte 2 is incomplete"),
        (Fixed(4), b"abcdef", [b"abcd"], 4, "the input ended inside the message that begins at byte 4, after 2 bytes"),
        (Delimited(b";"), b"a;b", [b"a"], 2, "the input ended inside the message that begins at byte 2"),
    ],
    ids=str,
)
def test_what_is_wrong_and_where(framing: Framing, stream: bytes, before: list[Any], offset: int, says: str) -> None:
    for pieces in ([stream], [bytes([byte]) for byte in stream]):
        messages: list[Any] = []
        with pytest.raises(FrameError) as caught:
            _decode(framing, pieces, messages)
        assert (["".join(messages)] if messages and framing.streaming else messages) == before
        assert caught.value.offset == offset
        assert says in str(caught.value)


def _decode(framing: Framing, pieces: list[bytes], messages: list[Any]) -> None:
    decoder = framing.decoder(100)
    for piece in pieces:
        messages += decoder.feed(piece)
        while decoder.more:
            messages += decoder.feed(b"")
    messages += decoder.end()


def test_lines_end_in_newline_or_carriage_return_and_newline_or_with_the_input() -> None:
    decoder = Lines().decoder(100)
    assert decoder.feed(b"one\ntwo\r\n\nthree\r\r\nfo\rur") == [b"one", b"two", b"", b"three\r"]
    assert decoder.pending == 5
    assert decoder.end() == [b"fo\rur"]
    assert decoder.pending == 0
    assert decoder.end() == []


def test_a_line_of_the_limit_may_end_in_carriage_return_and_newline() -> None:
    for ending in (b"\n", b"\r\n"):
        decoder = Lines().decoder(3)
        assert [message for byte in b"abc" + ending for message in decoder.feed(bytes([byte]))] == [b"abc"]
    decoder = Lines().decoder(3)
    assert decoder.feed(b"abc\r") == []
    assert decoder.end() == [b"abc"]
    decoder = Lines().decoder(3)
    assert decoder.feed(b"abcd") == []  # the fourth byte could have been the \r
    with pytest.raises(MessageTooLarge):
        decoder.end()


def test_a_line_is_too_large_without_waiting_for_its_end() -> None:
    decoder = Lines().decoder(3)
    decoder.feed(b"abcd")
    with pytest.raises(MessageTooLarge):
        decoder.feed(b"e")


@given(st.lists(st.sampled_from([1, 100, 4095, 4096, 10_000, 30_000]), min_size=1, max_size=12))
def test_a_long_line_comes_in_pieces_of_all_sizes(sizes: list[int]) -> None:
    long = bytes(random.Random(len(sizes)).choices(b"abc\r", k=sum(sizes) - 1)) + b"x"
    for framing, shown in ((Lines(), bytes), (TextLines(), bytes.decode)):
        decoder = framing.decoder(max(len(long), 5))
        at = 0
        for size in sizes:
            assert decoder.feed(long[at : at + size]) == []
            at += size
            assert (decoder.pending, decoder.held(), decoder.more) == (at, long[:at], False)
        assert decoder.feed(b"\r\nshort\nre") == [shown(long), shown(b"short")]
        assert (decoder.pending, decoder.held()) == (2, b"re")
        with pytest.raises(MessageTooLarge):
            decoder.feed(long + b"12345")


def test_bad_text_has_the_same_name_alone_and_among_others() -> None:
    """A character that a newline cuts off is not one that waits for more."""
    for before in ([], [b"good\n"]):
        for others in (b"", b"more\n"):
            decoder = TextLines().decoder(100)
            for data in before:
                decoder.feed(data)
            with pytest.raises(FrameError, match="is not valid utf-8 text"):
                decoder.feed(b"\xc7\n" + others)


def test_more_lines_than_asked_for_wait() -> None:
    decoder = (Lines() | text()).decoder(1000)
    assert decoder.feed(b"1\n2\n3\n4\n5", 2) == ["1", "2"]
    assert decoder.more
    assert decoder.feed(b"5\n6\n", 1) == ["3"]
    assert decoder.feed(b"", 3) == ["4", "55", "6"]
    assert not decoder.more


def test_the_end_gives_also_what_was_not_asked_for_in_time() -> None:
    for framing in (Lines() | text(), Delimited(b"\n") | text(), Lines() | text("latin-1")):
        decoder = framing.decoder(1000)
        assert decoder.feed(b"1\n2\n3\n", 1) == ["1"]
        assert decoder.end() == ["2", "3"]
    decoder = Delimited(b"\n").decoder(1000)
    assert decoder.feed(b"1\n2\n3", 1) == [b"1"]
    assert decoder.end() == [b"2"]
    assert decoder.more
    with pytest.raises(FrameError):
        decoder.feed(b"")


def test_an_error_is_final_whichever_way_it_is_asked_for() -> None:
    for framing in (Lines() | text(), Lines() | json(), Chunks() | text()):
        decoder = framing.decoder(1000)
        with pytest.raises(FrameError) as caught:
            decoder.feed(b"\xff\n")
        for again in (decoder.end, lambda decoder=decoder: decoder.feed(b"1\n")):
            with pytest.raises(FrameError) as same:
                again()
            assert same.value is caught.value


def test_the_end_gives_what_is_good_in_front_of_bad_text() -> None:
    decoder = (Chunks() | text()).decoder(1)
    assert decoder.feed(b"ab\xff", 1) == ["a"]
    assert decoder.end() == ["b"]
    assert decoder.more
    with pytest.raises(FrameError, match="byte 2 is not valid"):
        decoder.feed(b"")


def test_bytes_after_a_message_belong_to_the_next() -> None:
    decoder = Prefixed(2).decoder(100)
    assert decoder.feed(b"\x00\x01a\x00") == [b"a"]
    assert decoder.pending == 1
    assert decoder.feed(b"\x02b") == []
    assert decoder.feed(b"c\x00\x00") == [b"bc", b""]


def test_a_varint_may_be_longer_than_it_needs() -> None:
    assert Varint().decoder(100).feed(b"\x81\x80\x80\x00a") == [b"a"]


def test_empty_cobs_and_slip_frames_are_skipped() -> None:
    streams: list[tuple[Framing, bytes]] = [
        (Cobs(), b"\x00\x00\x02a\x00\x00\x00"),
        (Slip(), b"\xc0\xc0a\xc0\xc0\xc0"),
    ]
    for framing, stream in streams:
        decoder = framing.decoder(100)
        assert decoder.feed(stream) == [b"a"]
        assert decoder.pending == 0
        assert decoder.end() == []


def test_chunks_are_cut_at_the_limit() -> None:
    decoder = Chunks().decoder(3)
    assert decoder.feed(b"abcdefgh", 2) == [b"abc", b"def"]
    assert decoder.more
    assert decoder.pending == 0
    assert decoder.feed(b"") == [b"gh"]


@pytest.mark.parametrize(
    ("framing", "message", "says"),
    [
        (Lines(), b"a\nb", "cannot hold a newline"),
        (Lines(), b"a\r", "cannot end in a carriage return"),
        (Lines() | text(), "a\nb", "cannot hold a newline"),
        (Lines() | text(), "a\r", "cannot end in a carriage return"),
        (Lines() | text(), "a\ud800", r"'\\ud800' cannot be written in utf-8"),
        (Lines() | text(), b"a", "must be text \\(str\\), not bytes"),
        (Lines() | text("ascii"), "aé", "'é' cannot be written in ascii"),
        (Delimited(b"aa"), b"xa", "holds the delimiter b'aa'"),
        (Fixed(3), b"ab", "exactly 3 bytes, not 2"),
        (Prefixed(1), b"x" * 256, "256 bytes are too many"),
        (Slip(), b"", "empty message"),
    ],
    ids=str,
)
def test_what_cannot_be_carried_is_refused(framing: Framing, message: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        framing.encode(message)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delimited(b""),
        lambda: Delimited(";"),  # type: ignore[arg-type]
        lambda: Fixed(0),
        lambda: Fixed(1.5),  # type: ignore[arg-type]
        lambda: Prefixed(3),  # type: ignore[arg-type]
        lambda: Prefixed(4, "middle"),  # type: ignore[arg-type]
        lambda: Fixed(200).decoder(100),
        lambda: Lines() | text() | json(),
    ],
)
def test_what_cannot_work_is_refused_at_once(make: Any) -> None:
    with pytest.raises(UsageError):
        make()

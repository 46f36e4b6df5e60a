"""Packet forms of framings: the carrier keeps the boundaries, so a packet is a message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prise import FrameError, MessageTooLarge, UsageError, framing_of
from prise.codecs import text
from prise.framing import Chunks, Decoder, Fixed, Framing, Lines, Prefixed
from prise.framing.packets import is_text, packets

NAMES = [
    "lines",
    "lines:latin-1",
    "lines | bytes",
    "lines | json",
    "prefixed:4",
    "prefixed:2 | json",
    "netstring",
    "delimited:;",
    "varint",
    "cobs",
    "slip",
    "chunks",
    "chunks | text",
    "fixed:3",
]


def form(name: str, terminated: bool = True) -> Framing:
    return packets(framing_of(name), terminated=terminated)


def decode(framing: Framing, packet: bytes, limit: int = 1000) -> Any:
    decoder = framing.decoder(limit)
    messages = decoder.feed(packet)
    assert len(messages) == 1
    assert not decoder.more
    assert not decoder.pending
    assert decoder.end() == []
    return messages[0]


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (b"hello\n", "hello"),
        (b"hello\r\n", "hello"),
        (b"hello", "hello"),
        (b"hello\n\n", "hello\n"),
        (b"two\nlines\n", "two\nlines"),
        (b"hello\r", "hello\r"),
        (b"\n", ""),
        (b"\r\n", ""),
        (b"", ""),
        ("é\n".encode(), "é"),
    ],
)
def test_a_packet_is_a_line_whether_it_ends_like_one_or_not(packet: bytes, line: str) -> None:
    assert decode(form("lines"), packet) == line
    assert decode(form("lines | bytes"), packet) == line.encode()


def test_lines_are_terminated_where_people_read_them() -> None:
    assert form("lines").encode("hello") == b"hello\n"
    assert form("lines", terminated=False).encode("hello") == b"hello"
    assert form("lines | json").encode({"a": 1}) == b'{"a":1}\n'


@pytest.mark.parametrize("terminated", [True, False])
@given(line=st.text(alphabet=st.one_of(st.sampled_from("\r\n"), st.characters(codec="utf-8"))))
def test_every_line_comes_out_as_it_went_in(line: str, terminated: bool) -> None:
    """Also with newlines inside: what a peer sent can be sent on."""
    for framing in (form("lines", terminated), packets(Lines(), terminated=terminated)):
        message = line if is_text(framing) else line.encode()
        assert decode(framing, framing.encode(message), 10_000) == message


@pytest.mark.parametrize("name", ["prefixed:4", "netstring", "delimited:;", "varint", "cobs", "slip", "chunks"])
@given(message=st.binary())
def test_other_framings_have_no_header(name: str, message: bytes) -> None:
    framing = form(name)
    assert framing.encode(message) == message
    assert decode(framing, message) == message


@pytest.mark.parametrize("name", NAMES)
@given(packet=st.binary(max_size=40))
def test_any_packet_is_one_message_or_an_error_and_the_next_one_is_fine(name: str, packet: bytes) -> None:
    framing = form(name)
    decoder = framing.decoder(100)
    try:
        assert len(decoder.feed(packet)) == 1
    except FrameError:
        pass
    assert not decoder.more
    assert not decoder.pending
    value = {"a": [1]} if "json" in name else "abc" if is_text(framing) or "latin" in name else b"abc"
    assert decoder.feed(framing.encode(value)) == [value]


@pytest.mark.parametrize("name", [name for name in NAMES if "fixed" not in name])
def test_the_limit_counts_the_message(name: str) -> None:
    framing = form(name)
    ending = b"\r\n" if name.startswith("lines") else b""
    decoder = framing.decoder(5)
    assert decoder.feed(b"12345" + ending) in ([b"12345"], ["12345"], [12345])
    with pytest.raises(MessageTooLarge, match="limit of 5"):
        decoder.feed(b"123456" + ending)
    assert len(decoder.feed(b"1")) == 1


def test_a_fixed_size_is_kept() -> None:
    framing = form("fixed:3")
    assert decode(framing, b"abc") == b"abc"
    with pytest.raises(FrameError, match="3 bytes, and this one 4"):
        decode(framing, b"abcd")
    with pytest.raises(UsageError):
        framing.encode(b"ab")
    with pytest.raises(UsageError):
        framing.decoder(2)


@pytest.mark.parametrize(("name", "message"), [("lines", b"x"), ("prefixed:4", "x"), ("lines | json", {1, 2})])
def test_what_the_framing_cannot_carry_is_refused(name: str, message: Any) -> None:
    with pytest.raises(UsageError):
        form(name).encode(message)


def test_bad_text_is_located() -> None:
    with pytest.raises(FrameError, match="byte 2 is not valid utf-8") as caught:
        decode(form("lines"), b"ab\xff\n")
    assert caught.value.offset == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lines", True),
        ("chunks | text", True),
        ("prefixed:4 | json", True),
        ("lines:ascii", True),
        ("lines:latin-1", False),
        ("lines | bytes", False),
        ("prefixed:4", False),
        ("chunks", False),
    ],
)
def test_what_is_text(name: str, expected: bool) -> None:
    assert is_text(framing_of(name)) is is_text(form(name)) is expected


def test_text_that_may_hold_any_bytes_is_not_text() -> None:
    assert not is_text(Chunks() | text("utf-8", "surrogateescape"))


def test_equal_framings_share_their_packet_form() -> None:
    """A broadcast encodes once for all connections that have the same framing."""
    assert form("lines") is form("lines") is packets(form("lines"), terminated=True)
    assert form("prefixed:4 | json") is form("prefixed:4 | json")
    assert form("lines") is not form("lines", terminated=False)


class Pair(Framing):
    """Somebody's own framing, whose messages are no bytes, and which has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair)

    def decoder(self, limit: int) -> Decoder:
        return PairDecoder(Prefixed(1).decoder(limit))

    def encode(self, message: Any, /) -> bytes:
        return Prefixed(1).encode(bytes(message))


class PairDecoder(Decoder):
    def __init__(self, inner: Decoder) -> None:
        self._inner = inner
        self.more = False
        self.pending = 0

    def feed(self, data: bytes, most: int = 64, /) -> list[Any]:
        messages = [tuple(each) for each in self._inner.feed(data, most)]
        self.more, self.pending = self._inner.more, self._inner.pending
        return messages

    def end(self) -> list[Any]:
        return self._inner.end()


def test_a_framing_of_the_users_own_is_kept_in_each_packet() -> None:
    framing = packets(Pair(), terminated=True)
    assert framing.encode((1, 2)) == b"\x02\x01\x02"
    assert decode(framing, b"\x02\x01\x02") == (1, 2)
    for packet in (b"", b"\x02\x01", b"\x01\x01\x01\x02"):
        with pytest.raises(FrameError):
            decode(framing, packet)


def test_fixed_is_told_from_the_rest() -> None:
    assert packets(Fixed(3), terminated=True) is not packets(Fixed(4), terminated=True)

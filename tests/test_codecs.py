"""Codecs: what a framed message means."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from prise.codecs import Coded, json, msgpack, text
from prise.errors import FrameError, MessageTooLarge, MissingExtra, UsageError
from prise.framing import Chunks, Codec, Delimited, Framing, Lines, Prefixed
from prise.framing.base import Decoder
from prise.framing.textlines import TextLines


@dataclass
class Order:
    article: str
    count: int = 1


@pytest.mark.parametrize("framing", [Lines() | json(type=Order), Prefixed(2) | msgpack(type=Order)], ids=str)
def test_typed_messages(framing: Framing) -> None:
    order = Order("thé", 3)
    assert framing.decoder(1000).feed(framing.encode(order)) == [order]
    wrong = framing.encode({"article": 5})
    with pytest.raises(FrameError, match=r"Expected `str`, got `int` - at `\$.article`"):
        framing.decoder(1000).feed(wrong)


def test_json_is_compact_and_never_holds_a_newline() -> None:
    assert json().encode({"é": ["\n", "\r", "\u2028", 1.5]}) == '{"é":["\\n","\\r","\u2028",1.5]}'.encode()


def test_json_can_carry_half_of_a_surrogate_pair() -> None:
    framing = Lines() | json()
    assert framing.decoder(1000).feed(b'"\\ud800"\n') == ["\ud800"]
    assert framing.encode("\ud800") == b'"\\ud800"\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, ..., b"bytes"], ids=repr)
def test_json_refuses_what_it_cannot_carry(value: Any) -> None:
    with pytest.raises(UsageError, match="JSON cannot carry this"):
        json().encode([value])


@pytest.mark.parametrize("value", [{1: 2}, [{"a": {None: 1}}], {1, 2}, ..., 2**64, "\ud800"], ids=repr)
def test_msgpack_refuses_what_it_cannot_carry(value: Any) -> None:
    with pytest.raises(UsageError, match="MessagePack cannot carry this"):
        msgpack().encode(value)


@pytest.mark.parametrize(
    ("framing", "bomb"),
    [
        (Lines() | json(), b"[" * 100_000 + b"\n"),
        (Lines() | json(), b'{"a":' * 100_000 + b"\n"),
        (Lines() | json(type=list[Any]), b"[" * 100_000 + b"\n"),
        (Prefixed(4) | msgpack(), (100_000).to_bytes(4, "big") + b"\x91" * 100_000),
        (Prefixed(4) | msgpack(type=list[Any]), (100_000).to_bytes(4, "big") + b"\x91" * 100_000),
        (Prefixed(4) | msgpack(), (50_000).to_bytes(4, "big") + b"\xdd\x00\x00\xc3\x00" * 10_000),  # promises lists
        (Lines() | json(), b"1" * 100_000 + b"\n"),
    ],
    ids=["json lists", "json objects", "typed json", "msgpack", "typed msgpack", "msgpack promises", "json digits"],
)
def test_bombs_are_frame_errors(framing: Framing, bomb: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        framing.decoder(1_000_000).feed(bomb)
    assert caught.value.offset is not None


def test_a_value_that_holds_itself_cannot_be_encoded() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for codec in (json(), msgpack(), json(type=list[Any])):
        with pytest.raises(UsageError, match="cannot carry this list"):
            codec.encode(endless)


def test_a_character_is_never_split() -> None:
    decoder = (Chunks() | text()).decoder(1000)
    texts = [part for byte in "né 你好 🙂".encode() for part in decoder.feed(bytes([byte]))]
    assert texts == list("né 你好 🙂")
    assert decoder.end() == []


@pytest.mark.parametrize(
    ("encoding", "endless"), [("utf-7", b"+" + b"AOkA" * 8), ("unicode_escape", rb"\N{" + b"A" * 30)]
)
def test_a_streamed_character_that_does_not_end_is_refused(encoding: str, endless: bytes) -> None:
    """Some encodings could go on for ever, and Python's decoder would hold all of it, and look at it again each time."""
    decoder = (Chunks() | text(encoding)).decoder(1_000_000)
    decoder.feed(endless)
    with pytest.raises(MessageTooLarge, match="does not end within 4096 bytes"):
        for _ in range(1000):
            decoder.feed(b"AOkA" * 8)
            assert len(decoder.held()) < 5000


def test_text_may_be_decoded_with_replacement_characters() -> None:
    assert (Lines() | text("utf-8", "replace")).decoder(100).feed(b"a\xffb\n") == ["a\ufffdb"]
    decoder = (Chunks() | text(errors="replace")).decoder(100)
    assert decoder.feed(b"a\xff\xe2") == ["a\ufffd"]
    assert decoder.end() == ["\ufffd"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037"])
@pytest.mark.parametrize("framing", [Lines(), Delimited(b";")], ids=str)
def test_encodings_that_may_hold_a_newline_anywhere_are_refused_over_lines(framing: Framing, encoding: str) -> None:
    with pytest.raises(UsageError, match=f"use prefixed:4 | text:{encoding}"):
        framing | text(encoding)


@pytest.mark.parametrize("encoding", ["nonsense", "base64", "rot13", "a\x00b", ""])
def test_unknown_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(UsageError, match="unknown text encoding"):
        text(encoding)


def test_unknown_error_handlers_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown error handler 'nonsense'"):
        text("utf-8", "nonsense")


def test_a_type_that_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(UsageError, match="messages cannot be of the type"):
        json(type=list[int, int])  # type: ignore[misc]


def test_lines_of_utf8_are_the_hot_path_whatever_the_encoding_is_called() -> None:
    for name in ("utf-8", "UTF8", "u8"):
        assert isinstance(Lines() | text(name), TextLines)
    assert not isinstance(Lines() | text(errors="replace"), TextLines)
    assert Lines() | text() == Coded(Lines(), text())


@pytest.mark.parametrize(
    ("package", "extra", "make"),
    [
        ("msgpack", "msgpack", msgpack),
        ("msgspec", "typed", lambda: json(type=int)),
        ("msgspec", "typed", lambda: msgpack(type=int)),
    ],
)
def test_a_missing_extra_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, package: str, extra: str, make: Any
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what the import system takes for "not there"
    with pytest.raises(MissingExtra, match=rf"{package} is not installed; get it with: pip install 'prise\[{extra}\]'"):
        make()


# -- a codec and a framing of the user's own ---------------------------------------------------------------------------


class Hexadecimal:
    def check(self, framing: Framing) -> None: ...

    def decoder(self, framing: Framing) -> Any:
        def decode(message: bytes) -> int:
            try:
                return int(message, 16)
            except ValueError:
                raise FrameError("not hexadecimal at byte {offset}", offset=0) from None

        return decode

    def encode(self, value: Any, /) -> bytes:
        return b"%x" % value


class ForeignDecoder(Decoder):
    def __init__(self) -> None:
        self.more, self.pending = False, 0

    def feed(self, data: bytes, most: int = 64, /) -> list[Any]:
        return data.split()

    def end(self) -> list[Any]:
        return []


class Foreign(Framing):
    def decoder(self, limit: int) -> Decoder:
        return ForeignDecoder()

    def encode(self, message: Any, /) -> bytes:
        return bytes(message) + b" "


def test_a_codec_of_ones_own() -> None:
    codec: Codec = Hexadecimal()
    framing = Lines() | codec
    assert framing.encode(255) == b"ff\n"
    decoder = framing.decoder(100)
    assert decoder.feed(b"ff\n10\nxy\n") == [255, 16]
    with pytest.raises(FrameError, match="not hexadecimal at byte 6"):
        decoder.feed(b"")


def test_a_framing_of_ones_own_that_does_not_tell_where_messages_begin() -> None:
    decoder = (Foreign() | Hexadecimal()).decoder(100)
    assert decoder.feed(b"ff 10") == [255, 16]
    with pytest.raises(FrameError, match=r"not hexadecimal at byte \?") as caught:
        decoder.feed(b"xy")
    assert caught.value.offset is None

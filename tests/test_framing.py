"""What every framing promises (`prise.framing.base`), checked for all of them, bare and with a codec.

A new framing is one line in CASES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise.framing.buffered
from prise.codecs import Coded, json, msgpack, text
from prise.errors import FrameError, MessageTooLarge, UsageError
from prise.framing import Chunks, Cobs, Delimited, Fixed, Framing, Lines, Netstring, Prefixed, Slip, Varint
from prise.framing.base import Decoder

LIMIT = 300

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=4,
)
msgpack_values = json_values | st.dictionaries(st.binary(max_size=4), st.binary(max_size=8), max_size=3)
texts = st.text(max_size=40)
blobs = st.binary(max_size=60) | st.binary(min_size=250, max_size=LIMIT)


def line(message: Any) -> bool:
    newline, carriage_return = ("\n", "\r") if isinstance(message, str) else (b"\n", b"\r")
    return newline not in message and not message.endswith(carriage_return)


@dataclass(frozen=True)
class Case:
    """framing: what is tested; messages: what it can carry; bytes_of_interest: what random streams are made of.

    head: bytes in front of a message that do not count as a part of it yet.
    """

    framing: Framing
    messages: st.SearchStrategy[Any]
    bytes_of_interest: bytes = field(default=b"")
    head: int = 0

    def __str__(self) -> str:
        return re.sub(r"prise\.\w+\.|encoding=|errors=.strict.", "", repr(self.framing))


CASES = [
    Case(Lines(), blobs.filter(line), b"\r\n"),
    Case(Delimited(b";"), blobs.filter(lambda message: b";" not in message), b";"),
    Case(Delimited(b"aab"), blobs.filter(lambda message: b"aab" not in message + b"aa"), b"aab"),
    Case(Fixed(7), st.binary(min_size=7, max_size=7)),
    Case(Prefixed(1), st.binary(max_size=255), b"\x00\x01\x02\x03"),
    Case(Prefixed(2), blobs, b"\x00\x01\x02\x03"),
    Case(Prefixed(4, "little"), blobs, b"\x00\x01\x02\x03"),
    Case(Prefixed(8), blobs, b"\x00\x01\x02\x03"),
    Case(Varint(), blobs, b"\x00\x01\x02\x03\x80\x81"),
    Case(Netstring(), blobs, b"0012:,,"),
    Case(Cobs(), blobs | blobs.map(lambda message: message.replace(b"\x00", b"x")), b"\x00\x01\x02\x03"),
    Case(Slip(), blobs.filter(bool), b"\xc0\xdb\xdc\xdd", head=1),
    Case(Chunks(), blobs.filter(bool)),
    Case(Lines() | text(), texts.filter(line), b"\r\n\xc3\xa9\xe2\x82\xac"),
    Case(Coded(Lines(), text()), texts.filter(line), b"\r\n\xc3\xa9\xe2\x82\xac"),
    Case(Lines() | text("latin-1"), st.text(st.characters(max_codepoint=255), max_size=40).filter(line), b"\r\n"),
    Case(Lines() | json(), json_values, b'\r\n"[]{}:,01e-NaN \\u\xc3\xa9'),
    Case(Delimited(b"\x00") | text(), texts.filter(lambda message: "\x00" not in message), b"\x00\xc3\xa9"),
    Case(Prefixed(4) | json(), json_values, b"\x00\x01\x02"),
    Case(Prefixed(2) | msgpack(), msgpack_values, b"\x00\x01\x02\xc7\xd5\x82\x92"),
    Case(Prefixed(1) | text("utf-16"), texts, b"\x00\x01\x02\x04\xd8"),
    Case(Varint() | json(type=list[int]), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), b"\x02\x03[],1"),
    Case(Netstring() | msgpack(type=dict[str, float]), st.dictionaries(words, numbers.map(float)), b"012:,\x80\x81"),
    Case(Cobs() | text(), texts, b"\x00\x01\x02\x03\xc3\xa9"),
    Case(Slip() | text(), texts.filter(bool), b"\xc0\xdb\xdc\xdd\xc3\xa9", head=1),
    Case(Chunks() | text(), texts.filter(bool), b"\xc3\xa9\xe2\x82\xac\xf0\x9f"),
    Case(Chunks() | text("utf-16-le"), texts.filter(bool), b"\x00\xd8\x00\xdc"),
]  # fmt: skip
WITH_BOUNDARIES = [case for case in CASES if not case.framing.streaming]
BARE = [case for case in WITH_BOUNDARIES if not isinstance(case.framing, Coded)]
SIZED = [case for case in BARE if not isinstance(case.framing, Fixed)]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_case_with_boundaries = pytest.mark.parametrize("case", WITH_BOUNDARIES, ids=str)
every_bare_case = pytest.mark.parametrize("case", BARE, ids=str)
every_sized_case = pytest.mark.parametrize("case", SIZED, ids=str)
some = settings(deadline=None, max_examples=30)


def feed(decoder: Decoder, pieces: Iterable[bytes], messages: list[Any], most: int = 64) -> FrameError | None:
    """Gives the pieces to the decoder as a server does, and collects the messages. Returns what was wrong, if anything."""
    try:
        for piece in pieces:
            messages += decoder.feed(piece, most)
            while decoder.more:
                assert decoder.pending == 0
                messages += decoder.feed(b"", most)
    except FrameError as error:
        return error
    return None


def decode(framing: Framing, pieces: list[bytes], most: int = 64, limit: int = LIMIT) -> tuple[list[Any], str | None]:
    """All messages of a stream that arrives in these pieces and ends, and what was wrong with it, if anything."""
    decoder = framing.decoder(limit)
    messages: list[Any] = []
    problem = feed(decoder, pieces, messages, most)
    if problem is None:
        try:
            messages += decoder.end()
        except FrameError as error:
            problem = error
    assert not decoder.more
    assert decoder.pending == 0
    if problem is None:
        return messages, None
    assert problem.offset is not None
    assert 0 <= problem.offset <= sum(map(len, pieces))
    with pytest.raises(FrameError) as again:
        decoder.feed(b"more")
    assert again.value is problem
    assert not decoder.more
    return messages, f"{type(problem).__name__}: {problem}"


def joined(framing: Framing, messages: list[Any]) -> list[Any]:
    """Where a framing keeps no boundaries, only the whole counts."""
    if framing.streaming and messages:
        return [type(messages[0])().join(messages)]
    return messages


def streams(case: Case) -> st.SearchStrategy[bytes]:
    """Good frames, noise, and good frames damaged by noise."""
    frame = case.messages.map(case.framing.encode)
    noise = st.binary(max_size=12)
    if case.bytes_of_interest:
        noise |= st.lists(st.sampled_from(list(case.bytes_of_interest)), max_size=40).map(bytes)
    cut = st.tuples(frame, st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])
    return st.lists(frame | noise | cut, max_size=6).map(b"".join)


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:stop] for start, stop in pairwise(places)]


# -- 1. Any split of a stream gives the same --------------------------------------------------------------------------


@every_case
@some
@given(data=st.data())
def test_any_split_of_any_stream_decodes_the_same(case: Case, data: st.DataObject) -> None:
    stream = data.draw(streams(case))
    cuts = data.draw(st.lists(st.integers(0, 10_000), max_size=8))
    limit = data.draw(st.sampled_from([7, 10, 40, LIMIT]))
    whole, problem = decode(case.framing, [stream], limit=limit)
    ways = [(pieces_of(stream, cuts), most) for most in (1, 3, 64)]
    ways += [([stream[:1], b"", stream[1:]], most) for most in (1, 3)]
    ways += [([bytes([byte]) for byte in stream], 1)]  # one byte ends one message at the most
    for pieces, most in ways:
        messages, same_problem = decode(case.framing, pieces, most, limit)
        assert joined(case.framing, messages) == joined(case.framing, whole)
        assert same_problem == problem


# -- 2. Encode then decode is the identity ----------------------------------------------------------------------------


@every_case
@some
@given(data=st.data())
def test_what_was_encoded_is_what_is_decoded(case: Case, data: st.DataObject) -> None:
    messages = data.draw(st.lists(case.messages, max_size=6))
    stream = b"".join(map(case.framing.encode, messages))
    decoded = decode(case.framing, [stream], limit=10_000)
    assert decoded[1] is None
    assert joined(case.framing, decoded[0]) == joined(case.framing, messages)


@every_case
@some
@given(data=st.data())
def test_encode_takes_any_message_or_refuses_it(case: Case, data: st.DataObject) -> None:
    message = data.draw(
        json_values | st.text(st.characters(), max_size=8) | blobs | st.just(float("nan")) | st.just(object())
    )
    try:
        frame = case.framing.encode(message)
    except UsageError:
        return
    if "type=" not in str(case):  # the type is that of received messages; answers often differ
        decoded, problem = decode(case.framing, [frame], limit=10_000)
        assert problem is None
        if not isinstance(case.framing, Coded):
            assert joined(case.framing, decoded) == ([message] if message or not case.framing.streaming else [])


# -- 3. The limit -----------------------------------------------------------------------------------------------------


@every_sized_case
@pytest.mark.parametrize("limit", [1, 2, 7, 127, 128, 200, 253, 254, 255])
@pytest.mark.parametrize("fill", [b"x", b"\x00", b"\xc0", b"\xdb"])
def test_the_limit_is_exact(case: Case, limit: int, fill: bytes) -> None:
    framing = case.framing
    longest, too_long = fill * limit, fill * (limit + 1)
    assert decode(framing, [framing.encode(longest) * 2], limit=limit) == ([longest, longest], None)
    if case.framing == Prefixed(1) and limit == 255:
        return  # nothing longer can be written
    first = framing.encode(b"x")
    for pieces in ([first + framing.encode(too_long)], [first, *(bytes([byte]) for byte in framing.encode(too_long))]):
        messages: list[bytes] = []
        error = feed(framing.decoder(limit), pieces, messages)
        assert messages == [b"x"]
        assert isinstance(error, MessageTooLarge)
        assert error.offset == len(first) + case.head


@every_sized_case
def test_too_large_is_said_as_soon_as_it_is_certain(case: Case) -> None:
    decoder = case.framing.decoder(100)
    frame = case.framing.encode(b"x" * 255)
    error = feed(decoder, [bytes([byte]) for byte in frame[: 100 + 4]], [])
    assert isinstance(error, MessageTooLarge)


@every_sized_case
def test_random_bytes_are_never_held_far_beyond_the_limit(case: Case) -> None:
    for noise in (b"x", b"\x00", b"\xff", b"\x01", b"\xdb", b"\xc0", b"\x80", b"0", b"\r", b"a"):
        decoder = case.framing.decoder(50)
        try:
            for _ in range(400):
                decoder.feed(noise)
                assert decoder.pending <= 2 * 50 + 10
        except FrameError:
            pass


class Counting(bytearray):
    """A buffer that counts how many of its bytes are looked at."""

    looked_at = 0

    def find(self, what: Any, start: Any = 0, stop: Any = None) -> int:
        stop = len(self) if stop is None else min(stop, len(self))
        found = super().find(what, start, stop)
        Counting.looked_at += (stop if found < 0 else found + 1) - start
        return found

    def rfind(self, what: Any, *where: Any) -> int:
        found = super().rfind(what, *where)
        Counting.looked_at += len(self) - max(found, 0)
        return found

    def count(self, what: Any, start: Any = 0, stop: Any = None) -> int:
        stop = len(self) if stop is None else stop
        Counting.looked_at += stop - start
        return super().count(what, start, stop)

    def __getitem__(self, where: Any) -> Any:
        part = super().__getitem__(where)
        Counting.looked_at += len(part) if isinstance(part, bytearray) else 1
        return part


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    monkeypatch.setattr(prise.framing.buffered, "bytearray", Counting, raising=False)
    monkeypatch.setattr(Counting, "looked_at", 0)
    return Counting


@every_sized_case
def test_a_long_message_byte_by_byte_takes_linear_work(case: Case, counting: type[Counting]) -> None:
    size = 255 if case.framing == Prefixed(1) else 5_000
    message = b"x" * size
    decoder = case.framing.decoder(size)
    messages = []
    for byte in case.framing.encode(message):
        messages += decoder.feed(bytes([byte]))
    assert messages == [message]
    assert 0 < counting.looked_at < 40 * size  # quadratic work would be thousands of times the size


@every_bare_case
def test_a_crowd_of_tiny_messages_takes_linear_work(case: Case, counting: type[Counting]) -> None:
    message = b"x" * 7 if isinstance(case.framing, Fixed) else b"x"
    stream = case.framing.encode(message) * 10_000
    decoder = case.framing.decoder(100)
    count = len(decoder.feed(stream[:3])) + len(decoder.feed(stream[3:]))  # in two pieces: it has to be held
    while decoder.more:
        count += len(decoder.feed(b""))
    count += len(decoder.end())
    assert count == 10_000
    assert counting.looked_at < 40 * len(stream)


# -- 4. Messages before the damage, and then the error ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("framing", "damage"),
    [
        (Prefixed(4), b"\xff\xff\xff\xff"),
        (Varint(), b"\xff" * 11),
        (Netstring(), b"nonsense"),
        (Cobs(), b"\x09xy\x00"),
        (Slip(), b"\xc0\xdbx\xc0"),
        (Lines(), b"x" * 400),
        (Lines() | text(), b"\xff\n"),
        (Lines() | json(), b"{]\n"),
        (Prefixed(2) | msgpack(), b"\x00\x01\xc1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("good", [1, 63, 64, 65, 200])
def test_messages_before_the_damage_are_delivered(framing: Framing, damage: bytes, good: int) -> None:
    message = framing.encode("x" if isinstance(framing, Coded) else b"x")
    messages, problem = decode(framing, [message * good + damage + message])
    assert len(messages) == good
    assert problem is not None


# -- What the decoder says about itself -------------------------------------------------------------------------------


@every_case_with_boundaries
@some
@given(data=st.data())
def test_more_is_true_exactly_when_more_is_ready(case: Case, data: st.DataObject) -> None:
    messages = data.draw(st.lists(case.messages, max_size=6))
    most = data.draw(st.integers(1, 7))
    decoder = case.framing.decoder(10_000)
    first = decoder.feed(b"".join(map(case.framing.encode, messages)), most)
    assert first == messages[:most]
    assert decoder.more == (len(messages) > most)
    assert decoder.pending == 0


@every_case_with_boundaries
@some
@given(data=st.data())
def test_pending_counts_the_bytes_of_the_incomplete_message(case: Case, data: st.DataObject) -> None:
    frame = case.framing.encode(data.draw(case.messages))
    cut = data.draw(st.integers(0, len(frame) - 1))
    decoder = case.framing.decoder(10_000)
    before = decoder.feed(case.framing.encode(data.draw(case.messages)) + frame[:cut])
    assert len(before) == 1
    assert not decoder.more
    assert decoder.pending == max(0, cut - case.head)
    assert len(decoder.feed(frame[cut:])) == 1
    assert decoder.pending == 0


def test_pending_of_streamed_text_is_the_character_that_waits() -> None:
    decoder = (Chunks() | text()).decoder(LIMIT)
    assert decoder.feed("a€".encode()[:-1]) == ["a"]
    assert decoder.pending == 2
    assert decoder.feed(b"") == []
    assert decoder.feed("€".encode()[-1:]) == ["€"]
    assert decoder.pending == 0


@every_case
def test_an_empty_stream_has_no_messages(case: Case) -> None:
    assert decode(case.framing, []) == ([], None)
    assert decode(case.framing, [b""]) == ([], None)


@every_bare_case
@some
@given(data=st.data())
def test_the_end_inside_a_message_is_an_error_except_for_lines(case: Case, data: st.DataObject) -> None:
    frame = case.framing.encode(data.draw(case.messages))
    cut = data.draw(st.integers(0, len(frame) - 1))
    messages, problem = decode(case.framing, [frame + frame[:cut]])
    if cut <= case.head:
        assert (len(messages), problem) == (1, None)
    elif case.framing == Lines():
        assert messages[1] == frame[:cut].removesuffix(b"\r")
    else:
        assert len(messages) == 1
        assert f"begins at byte {len(frame) + case.head}" in str(problem)


@every_bare_case
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_framing_without_a_codec_carries_bytes_of_any_kind(case: Case, kind: Callable[[bytes], Any]) -> None:
    assert case.framing.encode(kind(b"1234567")) == case.framing.encode(b"1234567")


@every_bare_case
def test_a_framing_without_a_codec_refuses_text(case: Case) -> None:
    with pytest.raises(UsageError, match="carries bytes, not str; add a codec"):
        case.framing.encode("1234567")


@every_case
def test_a_server_shares_one_framing_among_its_connections(case: Case) -> None:
    one, other = case.framing.decoder(LIMIT), case.framing.decoder(LIMIT)
    one.feed(b"0")
    assert other.pending == 0
    assert hash(case.framing) == hash(case.framing)
    assert case.framing == case.framing

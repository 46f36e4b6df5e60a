"""Framings, codecs and packet forms: bytes to messages (prise/framing, prise/codecs.py)."""

from __future__ import annotations

from typing import Any

from fuzz.target import Given, must, outcome, seed, target, told
from prise.codecs import json, msgpack
from prise.errors import FrameError, UsageError
from prise.framing.base import MOST_MESSAGES, Framing
from prise.framing.names import framing_of
from prise.framing.packets import packets

LIMITS = (64, 5, 1024, 1_000_000)

FRAMINGS = [
    framing_of(name)
    for name in (
        "lines | bytes", "delimited:;", "delimited:\\r\\n\\r\\n", "delimited:aab", "fixed:3", "prefixed:1",
        "prefixed:2,little", "prefixed:4", "prefixed:8", "varint", "netstring", "cobs", "slip", "chunks",
    )
]  # fmt: skip
CODED = [
    *(
        framing_of(name)
        for name in (
            "lines", "lines:latin-1", "lines | json", "prefixed:2 | json", "prefixed:1 | msgpack",
            "netstring | msgpack",
            "chunks | text", "prefixed:1 | text:utf-16", "chunks | text:utf-16-le", "cobs | text", "slip | json",
            "delimited:\\0 | text:shift-jis", "chunks | text:utf-7",
        )
    ),
    framing_of("prefixed:1") | json(type=dict[str, list[int]]),
    framing_of("prefixed:1") | msgpack(type=list[float | str]),
]  # fmt: skip
PACKETS = [packets(each, terminated=bool(number & 1)) for number, each in enumerate((*FRAMINGS, *CODED))]


def decoded(framing: Framing, limit: int, pieces: Any) -> tuple[list[Any], str]:
    """All messages of a stream, and the error that ended it, if any."""
    decoder = framing.decoder(limit)
    messages: list[Any] = []
    longest = 0
    try:
        for piece in pieces:
            longest = max(longest, len(piece))
            found = decoder.feed(piece)
            must(len(found) <= MOST_MESSAGES, "too many messages at once:", len(found))
            messages += found
            while decoder.more:
                messages += decoder.feed(b"")
            must(
                len(decoder.held()) <= 2 * limit + longest + 32, "more is held than may be:", len(decoder.held()), limit
            )
        messages += decoder.end()
    except FrameError as error:
        must(not decoder.more, "there is more behind the error")
        return messages, f"{type(error).__name__} {error.offset} {told(error)}"
    return messages, ""


def same(one: Any, other: Any) -> bool:
    """Equal, or both not a number."""
    return bool(one == other) or repr(one) == repr(other)


def check(given: Given, framing: Framing, limit: int) -> None:
    """One stream: however it is cut it means the same, and what it means can be sent again."""
    whole, error = decoded(framing, limit, [given.data])
    pieces, other = decoded(framing, limit, given.pieces())
    if framing.streaming:  # it keeps no boundaries
        empty = whole[0][:0] if whole else b""
        whole, pieces = ([empty.join(each)] if each else [] for each in (whole, pieces))
        if error != other:  # of text, the place of the fault is known; how much came before it depends on the cut
            must(bool(error) and bool(other), "an error depends on how bytes arrive:", error, other)
            return
        if error:
            return
    must(same(whole, pieces), "the messages depend on how bytes arrive:", whole, pieces)
    must(error == other, "the error depends on how bytes arrive:", error, other)
    for message in whole:
        try:
            sent = framing.encode(message)
        except UsageError as refusal:  # a line that ends in a carriage return, say
            told(refusal)
            continue
        again, error = decoded(framing, 1_000_000, [sent])
        must(not error and (same(again, [message]) or not message), "does not come back:", message, again, error)


STREAMS = (
    b"one\ntwo\r\n\nthree", b"one;two;;", b"a\r\n\r\nb\r\n\r\n", b"aaaab", b"abcdef", b"\3abc\0\1x", b"\3\0abc\0\0",
    b"\0\0\0\3abc\0\0\0\0", b"\0\0\0\0\0\0\0\3abc", b"\3abc\x80\1" + b"x" * 128, b"3:abc,0:,12:hello world!,",
    b"\4abc\0\2a\1\0", b"\xc0abc\xc0\xdb\xdc\xc0", b"anything",
)  # fmt: skip


@target(
    *(seed(stream, number, cut) for number, stream in enumerate(STREAMS) for cut in (0, 0x11)),
    words=(b"\r\n", b"\n", b";", b"aab", b"12:", b"\xc0", b"\xdb\xdc", b"\xdb\xdd", b"\x80\x01"),
)
def framing(given: Given) -> None:
    check(given, given.among(FRAMINGS), LIMITS[given.choice // len(FRAMINGS) % len(LIMITS)])


@target(
    seed("été\nb\n".encode(), 0, 0x11), seed(b"\xe9t\xe9\n", 1),
    seed(b'{"a": [1, 2.5e3, "\\ud83d\\ude00"]}\n[]\n', 2, 0x33),
    seed(b'\0\4null\0\2""', 3), seed(b"\4\x81\xa1a\x01\1\xc0", 4), seed(b"4:\x93\1\2\3,", 5),
    seed("né…😀".encode(), 6, 0x11),
    seed(b"\6\xff\xfea\0b\0", 7), seed("né😀".encode("utf-16-le"), 8, 0x31), seed(b"\4abc\0", 9),
    seed(b"\xc0[1]\xc0", 10),
    seed("日本\0".encode("shift-jis"), 11), seed(b"a+AOk-b", 12, 0x11), seed(b'\x0a{"a": [1]}', 13),
    seed(b"\3\x92\1\xa0", 14),
    words=(b'{"', b'":', b"\\u", b"\\ud800", b"NaN", b"1e999", b"true", b"null", b"\xff\xfe", b"\xef\xbb\xbf",
        b"\xd9\x01",
           b"\xdd\xff\xff\xff\xff", b"\xc9", b"\xd6\xff", b"\xcb", b"+AOk-"),
)  # fmt: skip
def codecs(given: Given) -> None:
    check(given, given.among(CODED), LIMITS[given.choice // len(CODED) % len(LIMITS)])


@target(
    seed(b"a line\r\n"), seed(b"abc", 4), seed("é\n".encode(), 14), seed(b'{"a":1}', 16), seed(b"\x93\1\2\3", 18),
    words=(b"\r\n", b'{"', b"\xff\xfe"), raises=(FrameError,),
)  # fmt: skip
def packet_forms(given: Given) -> None:
    """A packet is one message, and an error in one is nothing to the next."""
    framing = given.among(PACKETS)
    decoder = framing.decoder(64)

    def first() -> Any:
        (message,) = decoder.feed(given.data)
        return message

    message = outcome(first, FrameError)
    again = outcome(first, FrameError)
    must(same(message, again), "a packet means another thing the second time", message, again)
    must(not decoder.more and not decoder.pending and decoder.end() == [], "something is held between packets")
    (message,) = decoder.feed(given.data)
    sent = framing.encode(message)
    must(same(framing.decoder(1000).feed(sent), [message]), "does not come back:", message, sent)

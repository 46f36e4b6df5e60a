r"""The telnet layer: the protocol's bytes are answered and removed, everything else passes, however the reads were split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import prise
from prise.layers.telnet import MOST_ANSWERS, MOST_SUBNEGOTIATION, Telnet

IAC, DONT, DO, WONT, WILL, SB, SE = (bytes((code,)) for code in (255, 254, 253, 252, 251, 250, 240))

# Bytes as telnet has them: mostly text, with commands, negotiations and line ends among it.
pieces = st.lists(
    st.one_of(
        st.binary(max_size=4),
        st.sampled_from([IAC, IAC + IAC, b"\r", b"\n", b"\0", b"\r\n", b"\r\0", IAC + SB, IAC + SE, IAC + b"\xf4"]),
        st.builds(
            lambda verb, option: IAC + verb + option, st.sampled_from([WILL, WONT, DO, DONT]), st.binary(max_size=1)
        ),
        st.text(max_size=8).map(str.encode),
    ),
    max_size=30,
).map(b"".join)


def passed(*reads: bytes) -> tuple[bytes, bytes]:
    """What comes out of the layer inside, and what it says to the outside."""
    layer = Telnet()
    inside = b"".join(layer.receive(read) for read in reads)
    return inside, layer.output()


@pytest.mark.parametrize(
    ("data", "inside", "answer"),
    [
        (b"hello\r\n", b"hello\r\n", b""),
        (b"hello\r\0", b"hello\r\n", b""),  # RFC 1123 §3.3.1: CR NUL must act as CR LF does
        (b"\0hello\n", b"\0hello\n", b""),
        (IAC + WILL + b"\x1f" + b"hi", b"hi", IAC + DONT + b"\x1f"),
        (IAC + DO + b"\x01" + IAC + DO + b"\x03" + b"hi", b"hi", IAC + WONT + b"\x01" + IAC + WONT + b"\x03"),
        (
            IAC + WONT + b"\x1f" + IAC + DONT + b"\x01" + b"hi",
            b"hi",
            b"",
        ),  # agreed: an answer would be the start of a loop
        (IAC + DO + IAC + b"hi", b"hi", IAC + WONT + IAC),  # option 255 (RFC 861) is an option as any other
        (b"a" + IAC + SB + b"\x18\0xterm" + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + SB + b"\x1f\0" + IAC + IAC + b"\0\x18" + IAC + SE + b"b", b"ab", b""),
        (b"a" + IAC + IAC + b"b", b"a\xffb", b""),
        (b"ab" + IAC + b"\xf7" + b"c" + IAC + b"\xf8" + b"d", b"ab\bc\x15d", b""),  # EC, EL
        (b"oops" + IAC + b"\xf4" + IAC + DO + b"\x06", b"oops\x03", IAC + WONT + b"\x06"),  # IP and timing mark: Ctrl-C
        (IAC + b"\xf6", b"", b"[yes]\r\n"),  # AYT
        (b"a" + IAC + b"\xf1" + IAC + b"\xf2" + IAC + b"\xf9" + IAC + SE + b"b", b"ab", b""),  # NOP, DM, GA, a stray SE
        (IAC + b"hello", b"hello", b""),  # urgent data took the byte between
    ],
)
def test_what_passes_and_what_is_answered(data: bytes, inside: bytes, answer: bytes) -> None:
    assert passed(data) == (inside, answer)
    assert passed(*(bytes((byte,)) for byte in data)) == (inside, answer)


@given(pieces, st.lists(st.integers(0, 400), max_size=8))
@example(b"\r\0", [1])
@example(IAC + SB + IAC + SE, [1, 3])
def test_any_split_gives_the_same(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reads = [data[begin:end] for begin, end in pairwise(places)]
    assert passed(*reads) == passed(data)


@given(
    st.lists((st.text().map(str.encode) | st.binary()).map(lambda data: data.replace(b"\xff", b"").replace(b"\0", b"")))
)
def test_to_who_does_not_speak_telnet_it_is_invisible(reads: list[bytes]) -> None:
    layer = Telnet()
    for read in reads:
        assert layer.receive(read) == read, "each read passes at once, as it is"
        assert layer.send(read) == read
    assert layer.ready
    assert (layer.output(), layer.end()) == (b"", b"")


@given(st.lists(st.binary(max_size=300) | pieces, max_size=30))
def test_random_bytes_raise_nothing_but_frame_errors_and_nothing_grows(reads: list[bytes]) -> None:
    layer = Telnet()
    try:
        for read in reads:
            assert len(layer.receive(read)) <= len(read)
            assert len(layer.output()) <= 4 * len(read)
    except prise.FrameError:
        pass


def test_a_subnegotiation_that_does_not_end_is_an_error() -> None:
    layer = Telnet()
    layer.receive(IAC + SB + b"x" * MOST_SUBNEGOTIATION)
    with pytest.raises(prise.FrameError, match="a telnet subnegotiation is longer than 4096 bytes"):
        layer.receive(b"x")
    with pytest.raises(prise.FrameError, match="longer"):
        passed(IAC + SB + IAC * 2 * MOST_SUBNEGOTIATION + b"xx")


def test_answers_that_nobody_takes_are_bounded() -> None:
    layer = Telnet()
    with pytest.raises(prise.FrameError, match="the telnet negotiation does not end"):
        layer.receive((IAC + WILL + b"\x01") * MOST_ANSWERS)
    assert len(layer.output()) <= MOST_ANSWERS


def test_byte_255_is_doubled_on_the_way_out() -> None:
    assert Telnet().send(b"a\xffb") == b"a\xff\xffb"


def test_a_server_with_the_layer_answers_and_hears_the_text_alone() -> None:
    def greet(connection: prise.GeneratorConnection):
        name = yield "Name?"
        return f"Hello {name}"

    with prise.listen(greet, "127.0.0.1:0", layers=[Telnet]) as server:
        with prise.connect(server.address, framing="chunks") as connection:
            connection.send(IAC + WILL + b"\x1f" + b"al" + IAC + b"\xf1" + b"ice\r\0")
            connection.send_eof()
            heard = b"".join(connection)
    assert heard.replace(IAC + DONT + b"\x1f", b"") == b"Name?\nHello alice\n"
    assert heard.count(IAC) == 1

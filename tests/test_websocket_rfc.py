"""RFC 6455, sections 5 to 7, case by case, on a real port: what a server and a client must take, what they must refuse, and the
code with which they close. Every case also byte by byte."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from prise import FrameError, Limits, MessageTooLarge
from websocket_support import (
    BINARY,
    CLOSE,
    CONT,
    MASK,
    PATIENCE,
    PING,
    PONG,
    TEXT,
    Got,
    Raw,
    closing,
    frame,
    key_in,
    parse,
    response,
)

LIMIT = 200_000
STEPS = pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytes"])


def echo(connection: Any) -> Any:
    message = None
    while True:
        message = yield message


@pytest.fixture(scope="module")
def server() -> Iterator[prise.Server]:
    limits = Limits(message_size=LIMIT, linger_time=0.2)
    with prise.listen(echo, "ws://127.0.0.1:0", framing="chunks", model="select", limits=limits) as server:
        yield server


def talk(server: prise.Server, data: bytes, step: int = 0) -> list[Got]:
    """Everything that the server says until it ends the connection."""
    with Raw(server.address, step=step) as raw:
        raw.write(data)
        return raw.all()


def taken(server: prise.Server, data: bytes, messages: list[bytes], step: int = 0) -> None:
    """The server echoes these messages, and closes in peace when it is asked to."""
    got = talk(server, data + closing(), step)
    assert [each.data for each in got[:-1] if each.opcode != PONG] == messages
    assert all(not each.masked and each.reserved == 0 and each.fin for each in got)
    assert got[-1].code == 1000


def refused(server: prise.Server, data: bytes, code: int, step: int = 0, messages: list[bytes] | None = None) -> None:
    """The server closes with this code, after the messages before the fault."""
    got = talk(server, data, step)
    assert [each.data for each in got[:-1] if each.opcode != PONG] == (messages or [])
    assert got[-1].opcode == CLOSE
    assert got[-1].code == code
    assert not got[-1].masked
    assert len(got[-1].data) <= 125
    got[-1].data[2:].decode()


# -- §5.2: lengths -----------------------------------------------------------------------------------------------------

LENGTHS = [0, 1, 125, 126, 127, 128, 1000, 65535, 65536, 131072, LIMIT]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_every_length(server: prise.Server, opcode: int, length: int) -> None:
    message = random.Random(length).randbytes(length) if opcode == BINARY else b"a" * length
    taken(server, frame(opcode, message), [message], step=997)


@pytest.mark.parametrize("length", [length for length in LENGTHS if length <= 1000])
def test_every_short_length_byte_by_byte(server: prise.Server, length: int) -> None:
    taken(server, frame(BINARY, b"\xfe" * length), [b"\xfe" * length], step=1)


def test_too_long(server: prise.Server) -> None:
    refused(server, frame(BINARY, b"x" * (LIMIT + 1)), 1009)
    head = frame(BINARY, b"x" * (LIMIT + 1))[:10]  # the head alone is enough
    refused(server, head, 1009)
    refused(server, frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONT, b"x"), 1009)
    refused(server, b"\x82\xff" + struct.pack("!Q", 2**63 - 1), 1009)


def test_the_first_bit_of_a_long_length_must_be_0(server: prise.Server) -> None:
    got = talk(server, b"\x82\xff" + struct.pack("!Q", 2**63))
    assert got[-1].code in (1002, 1009)


@STEPS
def test_lengths_that_could_be_shorter_do_no_harm(server: prise.Server, step: int) -> None:
    """ "The minimal number of bytes MUST be used", says §5.2 to who sends."""
    got = talk(server, frame(TEXT, b"a", size=2) + frame(TEXT, b"b", size=8) + closing(), step)
    assert got[-1].code in (1000, 1002)
    assert [each.data for each in got[:-1]] == ([b"a", b"b"] if got[-1].code == 1000 else [])


@STEPS
def test_many_small_messages(server: prise.Server, step: int) -> None:
    messages = [b"%d" % number for number in range(300)]
    taken(server, b"".join(frame(TEXT, each) for each in messages), messages, step)


def test_every_mask(server: prise.Server) -> None:
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\2\3\4"):
        taken(server, frame(BINARY, b"masked message", mask=mask), [b"masked message"])


# -- §5.2: reserved bits and opcodes, masks ----------------------------------------------------------------------------


@STEPS
@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_reserved_bits(server: prise.Server, opcode: int, reserved: int, step: int) -> None:
    data = struct.pack("!H", 1000) if opcode == CLOSE else b"data"
    refused(server, frame(TEXT, b"good") + frame(opcode, data, reserved=reserved), 1002, step, [b"good"])


@STEPS
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("data", [b"", b"data"])
def test_reserved_opcodes(server: prise.Server, opcode: int, data: bytes, step: int) -> None:
    refused(server, frame(TEXT, b"good") + frame(opcode, data), 1002, step, [b"good"])


@STEPS
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONT, PING, PONG, CLOSE])
def test_a_client_must_mask(server: prise.Server, opcode: int, step: int) -> None:
    refused(server, frame(opcode, b"", mask=None), 1002, step)


# -- §5.4: fragments ---------------------------------------------------------------------------------------------------


@STEPS
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    "parts",
    [
        [b"one ", b"two"],
        [b"", b""],
        [b"", b"two"],
        [b"one", b""],
        [b"", b"", b"x", b"", b""],
        [b"x"] * 50,
        [b"y" * 126] * 3,
    ],
)
def test_fragments(server: prise.Server, opcode: int, parts: list[bytes], step: int) -> None:
    taken(server, fragments(opcode, parts), [b"".join(parts)], step)


def fragments(opcode: int, parts: list[bytes], between: bytes = b"") -> bytes:
    last = len(parts) - 1
    return between.join(frame(CONT if n else opcode, part, fin=n == last) for n, part in enumerate(parts))


def test_large_fragments(server: prise.Server) -> None:
    parts = [b"z" * 65536] * 3
    taken(server, fragments(BINARY, parts), [b"".join(parts)])


@STEPS
def test_several_fragmented_messages(server: prise.Server, step: int) -> None:
    data = fragments(TEXT, [b"a", b"b"]) + frame(BINARY, b"c") + fragments(BINARY, [b"d", b"e"]) + frame(TEXT, b"f")
    taken(server, data, [b"ab", b"c", b"de", b"f"], step)


@STEPS
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("before", [b"", frame(TEXT, b"good"), fragments(TEXT, [b"go", b"od"])])
def test_a_continuation_of_nothing(server: prise.Server, before: bytes, fin: bool, step: int) -> None:
    refused(server, before + frame(CONT, b"x", fin=fin), 1002, step, [b"good"] if before else [])


@STEPS
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_a_new_message_inside_a_fragmented_one(server: prise.Server, opcode: int, fin: bool, step: int) -> None:
    refused(server, frame(TEXT, b"half", fin=False) + frame(opcode, b"new", fin=fin), 1002, step)


# -- §5.5: control frames ----------------------------------------------------------------------------------------------


@STEPS
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_are_whole(server: prise.Server, opcode: int, step: int) -> None:
    refused(server, frame(opcode, b"", fin=False), 1002, step)


@STEPS
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("length", [126, 1000, 70_000])
def test_control_frames_are_short(server: prise.Server, opcode: int, length: int, step: int) -> None:
    refused(server, frame(opcode, struct.pack("!H", 1000) + b"x" * (length - 2)), 1002, step * 13)


@STEPS
@pytest.mark.parametrize("data", [b"", b"hello", b"\0\xff\xfe", b"x" * 125])
def test_a_ping_is_answered_with_its_data(server: prise.Server, data: bytes, step: int) -> None:
    pong, close = talk(server, frame(PING, data) + closing(), step)
    assert (pong.opcode, pong.data) == (PONG, data)
    assert close.code == 1000


@STEPS
def test_pings_and_pongs_between_fragments(server: prise.Server, step: int) -> None:
    data = fragments(TEXT, [b"a", b"b", b"c"], between=frame(PING, b"?") + frame(PONG, b"!")) + frame(PING, b"last")
    got = talk(server, data + closing(), step)
    assert [each.data for each in got if each.opcode == PONG] == [b"?", b"?", b"last"]
    assert [each.data for each in got if each.opcode == BINARY] == [b"abc"]
    assert got[-1].code == 1000


@STEPS
def test_ten_pings(server: prise.Server, step: int) -> None:
    got = talk(server, b"".join(frame(PING, b"%d" % n) for n in range(10)) + closing(), step)
    assert [each.data for each in got[:-1]] == [b"%d" % n for n in range(10)]


@STEPS
def test_a_pong_needs_no_ping(server: prise.Server, step: int) -> None:
    taken(server, frame(PONG) + frame(PONG, b"unasked") + frame(TEXT, b"x"), [b"x"], step)


# -- §5.6, §8.1: UTF-8 -------------------------------------------------------------------------------------------------

GOOD_TEXT = [
    b"",
    "κόσμε".encode(),
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",  # the last before the surrogates
    b"\xee\x80\x80",  # the first behind them
    b"\xef\xbb\xbf",  # the mark of byte order is data
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",  # "non-characters" may be sent
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf0\x9f\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
]

BAD_TEXT = [
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\xc0\xaf",  # "/" written too long
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xed\xa0\x80",  # surrogates
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",  # above U+10FFFF
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce",  # cut short
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xe2\x82 ",
    "κόσμε".encode() + b"\xed\xa0\x80" + b"edited",
]


@STEPS
@pytest.mark.parametrize("text", GOOD_TEXT)
def test_good_text(server: prise.Server, text: bytes, step: int) -> None:
    taken(server, frame(TEXT, text), [text], step)


@pytest.mark.parametrize("text", GOOD_TEXT)
def test_good_text_in_fragments_of_one_byte(server: prise.Server, text: bytes) -> None:
    """So that characters are split between frames."""
    taken(server, fragments(TEXT, [text[n : n + 1] for n in range(len(text))] or [b""]), [text])


@STEPS
@pytest.mark.parametrize("text", BAD_TEXT)
def test_bad_text(server: prise.Server, text: bytes, step: int) -> None:
    refused(server, frame(TEXT, b"good") + frame(TEXT, text), 1007, step, [b"good"])


@pytest.mark.parametrize("text", BAD_TEXT)
def test_bad_text_in_fragments_of_one_byte(server: prise.Server, text: bytes) -> None:
    refused(server, fragments(TEXT, [text[n : n + 1] for n in range(len(text))]), 1007)


@STEPS
def test_bad_text_is_not_waited_for(server: prise.Server, step: int) -> None:
    """The fault is in the first fragment; nothing more needs to come."""
    refused(server, frame(TEXT, b"good \xff bad", fin=False), 1007, step)


@STEPS
def test_bad_text_with_more_behind_it(server: prise.Server, step: int) -> None:
    """The first fault counts, also where another, or a Close, came in the same packet."""
    for behind in (frame(TEXT, b"more"), frame(PING), closing(), frame(3), frame(TEXT, b"x" * (LIMIT + 1))):
        got = talk(server, frame(TEXT, b"\xff") + behind, step * 101)
        assert [each.opcode for each in got if each.opcode != PONG] == [CLOSE]
        assert got[-1].code == 1007


@STEPS
def test_binary_is_any_bytes(server: prise.Server, step: int) -> None:
    for data in BAD_TEXT:
        taken(server, frame(BINARY, data), [data], step)


# -- §5.5.1, §7.4: closing ---------------------------------------------------------------------------------------------


@STEPS
@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_a_good_code_is_echoed(server: prise.Server, code: int, step: int) -> None:
    (close,) = talk(server, closing(code), step)
    assert close.code == code
    (close,) = talk(server, closing(code, b"because"), step)
    assert close.code == code


@STEPS
@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_a_bad_code(server: prise.Server, code: int, step: int) -> None:
    refused(server, closing(code), 1002, step)
    refused(server, closing(code, b"because"), 1002, step)


@STEPS
def test_a_close_without_a_code(server: prise.Server, step: int) -> None:
    (close,) = talk(server, closing(None), step)
    assert close.data == b""


@STEPS
def test_half_a_code(server: prise.Server, step: int) -> None:
    refused(server, frame(CLOSE, b"\x03"), 1002, step)


@STEPS
def test_the_longest_reason(server: prise.Server, step: int) -> None:
    (close,) = talk(server, closing(1000, b"x" * 123), step)
    assert close.code == 1000
    refused(server, closing(1000, b"x" * 124), 1002, step)


@STEPS
@pytest.mark.parametrize("reason", [each for each in BAD_TEXT if len(each) < 120])
def test_a_reason_that_is_not_text(server: prise.Server, reason: bytes, step: int) -> None:
    refused(server, closing(1000, reason), 1007, step)


@STEPS
@pytest.mark.parametrize("behind", [frame(TEXT, b"x"), frame(PING), closing(1001), b"\xff\xff\xff", frame(3)])
def test_whatever_comes_after_a_close(server: prise.Server, behind: bytes, step: int) -> None:
    (close,) = talk(server, closing() + behind, step)
    assert close.code == 1000


@STEPS
def test_a_close_inside_of_a_fragmented_message(server: prise.Server, step: int) -> None:
    """Not forbidden by §5.4, since control frames may come between fragments; but the message is cut short."""
    (close,) = talk(server, frame(TEXT, b"half", fin=False) + closing(), step)
    assert close.code in (1000, 1002)


def test_answers_come_before_the_close(server: prise.Server) -> None:
    messages = [b"%d" % n for n in range(500)]
    taken(server, b"".join(frame(BINARY, each) for each in messages), messages)


def test_the_server_ends_the_connection_first(server: prise.Server) -> None:
    """§7.1.1: the server closes, so that the TIME_WAIT is its own."""
    with Raw(server.address) as raw:
        raw.write(closing())
        assert [each.code for each in raw.all()] == [1000]


# -- The other side: rules for servers, which a client checks --------------------------------------------------------------


def told(data: bytes, step: int = 0) -> tuple[list[bytes], Any, list[Got]]:
    """A client gets these bytes from its server. Its messages, its error, and the frames that it sends."""
    got: list[Got] = []

    def serve_once() -> None:
        sock, _ = listening.accept()
        with sock:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(65536)
            head, _, rest = head.partition(b"\r\n\r\n")
            sock.sendall(response(key_in(head)))
            size = step or len(data) or 1
            try:
                for position in range(0, len(data), size):
                    sock.sendall(data[position : position + size])
                while CLOSE not in [each.opcode for each in parse(rest)[0]]:
                    some = sock.recv(65536)
                    if not some:
                        break
                    rest += some
            except (BrokenPipeError, ConnectionResetError):
                pass  # a client does not linger: what we still say is answered with a reset
            got.extend(parse(rest)[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        thread = threading.Thread(target=serve_once)
        thread.start()
        messages: list[bytes] = []
        error: Any = None
        address = f"ws://127.0.0.1:{listening.getsockname()[1]}"
        limits = Limits(message_size=LIMIT, linger_time=0.2)
        try:
            with prise.connect(address, framing="chunks", limits=limits, timeout=PATIENCE) as client:
                while (message := client.receive(timeout=PATIENCE)) is not None:
                    messages.append(message)
                error = client.lost
        except FrameError as raised:
            error = raised
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return messages, error, got


def plain(opcode: int, data: bytes = b"", **options: Any) -> bytes:
    return frame(opcode, data, mask=None, **options)


@STEPS
def test_a_client_takes_messages(step: int) -> None:
    data = plain(TEXT, b"a") + plain(PING, b"?") + plain(BINARY, b"b" * 126, fin=False) + plain(CONT, b"c")
    messages, error, got = told(data + closing(mask=None), step)
    assert messages == [b"a", b"b" * 126 + b"c"]
    assert error is None
    assert [(each.opcode, each.data) for each in got] == [(PONG, b"?"), (CLOSE, struct.pack("!H", 1000))]
    assert all(each.masked for each in got)


@STEPS
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"masked", mask=MASK), 1002),  # §5.1: a server must not
        (plain(TEXT, b"x", reserved=4), 1002),
        (plain(3), 1002),
        (plain(CONT, b"x"), 1002),
        (plain(TEXT, b"a", fin=False) + plain(TEXT, b"b"), 1002),
        (plain(PING, b"x" * 126), 1002),
        (plain(PING, fin=False), 1002),
        (plain(TEXT, b"\xff"), 1007),
        (plain(CLOSE, b"\x03"), 1002),
        (plain(CLOSE, struct.pack("!H", 1005)), 1002),
        (plain(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    ],
)
def test_a_client_refuses(data: bytes, code: int, step: int) -> None:
    messages, error, got = told(plain(TEXT, b"good") + data, step)
    assert messages == [b"good"]
    assert isinstance(error, FrameError)
    assert "WebSocket" in str(error)
    if got or not step:  # a reset may have destroyed it where we still wrote
        assert [each.code for each in got] == [code]
        assert got[0].masked


def test_a_client_has_a_limit() -> None:
    messages, error, got = told(plain(TEXT, b"good") + plain(BINARY, b"x" * (LIMIT + 1))[:10])  # its head is enough
    assert messages == [b"good"]
    assert isinstance(error, MessageTooLarge)
    assert [each.code for each in got] == [1009]


# -- Anything ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.binary(max_size=300))
def test_random_bytes_hurt_nobody_else(server: prise.Server, data: bytes) -> None:
    with Raw(server.address) as neighbour:
        neighbour.write(frame(TEXT, b"before"))
        assert neighbour.receive() == Got(True, 0, BINARY, b"before")
        with Raw(server.address) as raw:
            raw.write(data)
            raw.sock.shutdown(socket.SHUT_WR)
            parse(raw.rest())
        neighbour.write(frame(TEXT, b"after"))
        assert neighbour.receive() == Got(True, 0, BINARY, b"after")


@settings(max_examples=60)
@given(data=st.binary(max_size=300))
def test_random_bytes_in_place_of_a_handshake(server: prise.Server, data: bytes) -> None:
    with Raw(server.address, asked=b"") as raw:
        raw.write(data)
        raw.sock.shutdown(socket.SHUT_WR)
        answer = raw.rest()
        assert not answer or answer.startswith(b"HTTP/1.1 ")

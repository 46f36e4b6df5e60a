"""The bytes of a handover: what one side encodes the other decodes, in any pieces, and nothing else passes."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise.errors import HandoverProtocolError, TooSlow, UsageError
from prise.handover.frame import LENGTH, MOST_HEADER, MOST_PENDING, TAKEN, decoded, encoded, header_size
from prise.handover.wire import Frame, NothingYet, drive, read, write

PATIENCE = 10.0

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def header_of(frame: bytes) -> dict[str, Any]:
    assert header_size(frame[: LENGTH.size]) == len(frame) - LENGTH.size
    return decoded(frame[LENGTH.size :])


def framed(header: Any) -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return LENGTH.pack(len(data)) + data


# -- headers ------------------------------------------------------------------------------------------------------------


@given(values)
def test_a_state_arrives_as_it_was(state: Any) -> None:
    header = header_of(encoded("handover", kind="stream", state=state))
    assert header == {"v": 1, "type": "handover", "kind": "stream", "state": state, "pending": 0}


def test_the_acknowledgement_is_these_very_bytes() -> None:
    assert TAKEN == b'\0\0\0\x1e{"v":1,"type":"ack","ok":true}'


def test_pending_bytes_are_counted_and_bounded() -> None:
    assert header_of(encoded("handover", b"seven b"))["pending"] == 7
    with pytest.raises(UsageError, match="pending"):
        encoded("handover", bytes(MOST_PENDING + 1))


@pytest.mark.parametrize("state", [{1, 2}, b"bytes", float("nan"), float("inf"), "\ud800", "x" * MOST_HEADER])
def test_what_json_cannot_say_is_the_callers_mistake(state: Any) -> None:
    with pytest.raises(UsageError):
        encoded("handover", state=state)


def test_a_state_without_a_bottom_is_the_callers_mistake() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UsageError):
        encoded("handover", state=deep)
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(UsageError):
        encoded("handover", state=circle)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b"null",
        b'"handover"',
        b'{"v":1}',
        b'{"v":1,"type":1}',
        b'{"type":"handover"}',
        b'{"v":2,"type":"handover"}',
        b'{"v":"1","type":"handover"}',
        b'{"v":null,"type":"handover"}',
        b'{"v":1,"type":"handover","pending":-1}',
        b'{"v":1,"type":"handover","pending":1.5}',
        b'{"v":1,"type":"handover","pending":true}',
        b'{"v":1,"type":"handover","pending":"7"}',
        b'{"v":1,"type":"handover","pending":67108865}',
        b'{"v":1,"type":"handover","pending":' + b"9" * 10_000 + b"}",
        b'{"v":1,"type":"handover","state":NaN}',
        b'{"v":1,"type":"handover","state":-Infinity}',
        b'{"v":1,"type":"handover","state":"\xff"}',
        b'\xef\xbb\xbf{"v":1,"type":"handover"}',
        '{"v":1,"type":"handover"}'.encode("utf-16"),
        b'{"v":1,"type":"handover"} and more',
        b'{"v":1,"type":"handover","state":' + b"[" * 200_000,
        b'{"v":1,"type":"handover","state":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
)
def test_what_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(HandoverProtocolError) as caught:
        decoded(header)
    assert len(str(caught.value)) < 300  # it goes back as an answer, and into logs


def test_unknown_fields_are_ignored() -> None:
    assert decoded(b'{"v":1,"type":"handover","color":"blue"}')["color"] == "blue"


@given(st.binary(max_size=200))
def test_random_bytes_never_do_anything_else_than_being_refused(data: bytes) -> None:
    try:
        header = decoded(data)
    except HandoverProtocolError:
        return
    assert header["v"] == 1
    assert isinstance(header["type"], str)


@given(st.integers(0, 2**32 - 1))
def test_a_length_is_sensible_or_refused(size: int) -> None:
    if 2 <= size <= MOST_HEADER:
        assert header_size(LENGTH.pack(size)) == size
    else:
        with pytest.raises(HandoverProtocolError, match="no sensible length"):
            header_size(LENGTH.pack(size))


# -- on the wire ----------------------------------------------------------------------------------------------------------


def arrived(data: bytes, shortest: int = LENGTH.size) -> Frame | None:
    """What is read where these bytes came, and then the end."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        return drive(read(near, shortest), near, PATIENCE)


@settings(deadline=None, max_examples=30)
@given(values, st.binary(max_size=100), st.lists(st.integers(1, 40), max_size=10))
def test_a_frame_arrives_in_any_pieces(state: Any, pending: bytes, sizes: list[int]) -> None:
    data = encoded("handover", pending, state=state) + pending
    near, far = socket.socketpair()
    with near, far:

        def dribble() -> None:
            rest = data
            for size in sizes:
                far.send(rest[:size])
                rest = rest[size:]
            far.sendall(rest)

        thread = threading.Thread(target=dribble)
        thread.start()
        frame = drive(read(near), near, PATIENCE)
        thread.join()
    assert frame is not None
    assert (frame.header["state"], frame.pending, frame.descriptors) == (state, pending, [])


@pytest.mark.parametrize("shortest", [LENGTH.size, len(TAKEN)])
def test_byte_by_byte_and_nothing_is_read_beyond(shortest: int) -> None:
    frames = [encoded("handover", b"abc", state=1) + b"abc", TAKEN, encoded("ack", ok=False, error="no")]
    near, far = socket.socketpair()
    with near, far:
        for data in frames:
            steps = read(near, shortest)
            for number in range(len(data)):
                next(steps)
                far.send(data[number : number + 1])
            with pytest.raises(StopIteration) as stopped:
                next(steps)
            assert stopped.value.value.header["type"] in ("handover", "ack")
        far.sendall(b"".join(frames))
        for _ in frames:
            assert drive(read(near, shortest), near, PATIENCE) is not None
        with pytest.raises(NothingYet):
            drive(read(near, shortest, patient=False), near, PATIENCE)


@pytest.mark.parametrize("shortest", [LENGTH.size, len(TAKEN)])
def test_cut_short_anywhere_is_an_error_except_between_frames(shortest: int) -> None:
    data = encoded("handover", b"pending", state="a state") + b"pending"
    assert arrived(b"", shortest) is None
    for size in range(1, len(data)):
        with pytest.raises(HandoverProtocolError, match="ended in the middle"):
            arrived(data[:size], shortest)
    assert arrived(data, shortest) is not None


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60))
def test_random_bytes_on_the_wire_are_refused(data: bytes) -> None:
    for shortest in (LENGTH.size, len(TAKEN)):
        try:
            frame = arrived(data, shortest)
        except HandoverProtocolError:
            continue
        assert frame is not None


def test_an_answer_that_is_shorter_than_any_is_refused() -> None:
    with pytest.raises(HandoverProtocolError, match="too short"):
        arrived(framed(b'{"v":1,"type":"ack"}') + framed(b'{"v":1,"type":"ack"}'), len(TAKEN))


def test_waiting_ends_in_time_and_what_was_received_is_closed() -> None:
    near, far = socket.socketpair()
    before = len(os.listdir("/proc/self/fd"))
    with near, far:
        socket.send_fds(far, [TAKEN[:10]], [0, 0])
        with pytest.raises(TooSlow):
            drive(read(near), near, 0.01)
        assert len(os.listdir("/proc/self/fd")) == before
        with pytest.raises(NothingYet):
            drive(read(near, patient=False), near, None)


def test_a_large_frame_goes_through_a_small_buffer() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        pending = os.urandom(1 << 20)
        head = encoded("handover", pending, state="x" * 100_000)
        thread = threading.Thread(target=lambda: drive(write(far, head, pending, [0]), far, PATIENCE))
        thread.start()
        frame = drive(read(near), near, PATIENCE)
        thread.join()
        assert frame is not None
        assert frame.pending == pending
        assert len(frame.descriptors) == 1
        os.close(frame.descriptors[0])

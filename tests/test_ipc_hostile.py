"""`prise.ipc` against a peer that does what it should not: every byte and every descriptor from it is looked at first."""

from __future__ import annotations

import array
import fcntl
import gc
import mmap
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prise.core.limits import Limits
from prise.errors import ConnectionLost, FrameError, MessageTooLarge
from prise.ipc import Connection, Sharing, memory
from prise.ipc.frame import DESCRIPTOR, HEAD, SHAPED, Announced, Decoder, head, shape_of, shaped

needs_memory = pytest.mark.skipif(not memory.SUPPORTED, reason="shared memory that can be sealed is Linux's")
LIMITS = Limits(idle_time=None, message_time=5.0, message_size=1_000_000)
PATIENCE = 10.0


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    gc.freeze()  # what was there before need not be searched: a third of a second, each time
    before = set(os.listdir("/dev/fd"))
    yield
    gc.collect()
    gc.unfreeze()
    assert set(os.listdir("/dev/fd")) == before


@pytest.fixture
def enemy() -> Iterator[socket.socket]:
    """The other end of `victim`."""
    global victim
    near, far = socket.socketpair()
    with near, Connection(far, LIMITS, Sharing(largest=1_000_000)) as victim:
        yield near


victim: Connection


def memfd(size: int, seals: int) -> int:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def send(sock: socket.socket, data: bytes, *descriptors: int) -> None:
    """With these descriptors, which are closed here."""
    rights = array.array("i", descriptors).tobytes()
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    for each in descriptors:
        os.close(each)


def take() -> Any:
    return victim.receive(PATIENCE)


def refused(match: str) -> None:
    with pytest.raises(FrameError, match=match) as caught:
        victim.receive(PATIENCE)
    assert caught.value.peer == victim.peer
    with pytest.raises(FrameError):  # and there is no way on
        victim.receive(PATIENCE)
    with pytest.raises(FrameError):
        victim.send(b"?")


ALL = memory.SEALS
NEEDED = memory.NEEDED


@needs_memory
def test_sealed_memory_of_the_right_size_is_taken(enemy: socket.socket) -> None:
    send(enemy, head(5000, descriptor=True), memfd(5000, ALL))
    send(enemy, head(5000, descriptor=True), memfd(5000, NEEDED))
    assert [take(), take()] == [bytes(5000), bytes(5000)]


@needs_memory
@pytest.mark.parametrize("missing", ["SHRINK", "GROW", "WRITE"])
def test_memory_that_could_still_change_is_refused(enemy: socket.socket, missing: str) -> None:
    send(enemy, head(5000, descriptor=True), memfd(5000, NEEDED & ~getattr(fcntl, f"F_SEAL_{missing}")))
    refused("not sealed memory")


@needs_memory
def test_memory_that_its_sender_can_write_to_is_refused(enemy: socket.socket) -> None:
    """F_SEAL_FUTURE_WRITE, which is to be had while a writable mapping exists, is not enough."""
    descriptor = memfd(5000, 0)
    future_write = getattr(fcntl, "F_SEAL_FUTURE_WRITE", 0x10)
    with mmap.mmap(descriptor, 5000):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | future_write)
        send(enemy, head(5000, descriptor=True), descriptor)
        refused("not sealed memory")


@needs_memory
@pytest.mark.parametrize("size", [0, 1, 4999, 5001, 100_000])
def test_memory_of_another_size_is_refused(enemy: socket.socket, size: int) -> None:
    send(enemy, head(5000, descriptor=True), memfd(size, ALL))
    refused(f"of 5000 bytes is announced, its shared memory has {size}")


def test_what_is_no_memory_at_all_is_refused(enemy: socket.socket) -> None:
    for number in (os.open("/etc/passwd", os.O_RDONLY), os.dup(enemy.fileno())):
        near, far = socket.socketpair()
        with near, Connection(far, LIMITS) as connection:
            send(near, head(5000, descriptor=True), number)
            with pytest.raises(FrameError, match="not sealed memory"):
                connection.receive(PATIENCE)


def test_an_unlinked_file_is_refused(enemy: socket.socket) -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(5000)
        send(enemy, head(5000, descriptor=True), os.dup(file.fileno()))
    refused("not sealed memory")


@needs_memory
@pytest.mark.parametrize("count", [2, 3, 100, 253])
def test_several_descriptors_for_one_message_are_refused(enemy: socket.socket, count: int) -> None:
    send(enemy, head(5000, descriptor=True), *(memfd(5000, ALL) for _ in range(count)))
    refused("more than one descriptor")


def test_a_message_without_its_descriptor_is_refused(enemy: socket.socket) -> None:
    enemy.send(head(5000, descriptor=True))
    refused("without its descriptor")


@needs_memory
@pytest.mark.parametrize("data", [head(3) + b"abc", head(3), head(3) + b"a", head(100_000) + b"a"])
def test_a_descriptor_that_belongs_to_nothing_is_refused(enemy: socket.socket, data: bytes) -> None:
    send(enemy, data, memfd(5000, ALL))
    if data == head(3) + b"abc":
        assert take() == b"abc"
    refused("a descriptor came with a message that is not in shared memory")


@needs_memory
def test_a_descriptor_in_the_middle_of_a_message_is_refused(enemy: socket.socket) -> None:
    enemy.send(head(100_000) + bytes(10))
    send(enemy, bytes(10), memfd(5000, ALL))
    enemy.send(bytes(99_980))
    refused("a descriptor came")


@needs_memory
def test_a_head_in_pieces_with_its_descriptor_is_fine(enemy: socket.socket) -> None:
    data = head(5000, ("d", (5, 125)), descriptor=True)
    send(enemy, data[:1], memfd(5000, ALL))
    for at in range(1, len(data)):
        enemy.send(data[at : at + 1])
    message = take()
    assert message.shape == (5, 125)


@needs_memory
def test_a_second_descriptor_before_the_head_is_complete_is_refused(enemy: socket.socket) -> None:
    data = head(5000, descriptor=True)
    send(enemy, data[:4], memfd(5000, ALL))
    send(enemy, data[4:], memfd(5000, ALL))
    refused("more than one descriptor")


def test_a_peer_that_goes_after_half_a_head_with_a_descriptor_leaves_nothing(enemy: socket.socket) -> None:
    send(enemy, head(5000, descriptor=True)[:4], os.dup(0))
    enemy.close()
    with pytest.raises(ConnectionLost, match="middle of a message"):
        take()


def test_a_connection_that_is_closed_with_descriptors_unread_leaves_nothing(enemy: socket.socket) -> None:
    for _ in range(10):
        send(enemy, head(5000, descriptor=True), os.dup(0))


@pytest.mark.parametrize("flag", [0, DESCRIPTOR, SHAPED, DESCRIPTOR | SHAPED])
@pytest.mark.parametrize("size", [1_000_001, (1 << 62) - 1])
def test_a_size_over_the_limit_is_refused_before_anything_is_reserved(
    enemy: socket.socket, flag: int, size: int
) -> None:
    enemy.send(HEAD.pack(size | flag))
    with pytest.raises(MessageTooLarge, match=f"{size} bytes is announced, 1000000 is the limit"):
        take()


@needs_memory
def test_shared_memory_of_nothing_is_refused(enemy: socket.socket) -> None:
    send(enemy, HEAD.pack(DESCRIPTOR), memfd(0, ALL))
    refused("without a byte")


@pytest.mark.parametrize(
    "description",
    [
        b"x\1" + struct.pack("!Q", 8),
        b"\xff\0",
        b"B\x41",
        b"d\1" + struct.pack("!Q", 2),
        b"d\2" + struct.pack("!2Q", 1 << 63, 1 << 63),
        b"d\2" + struct.pack("!2Q", 0, 1 << 60),
        b"B\0",
    ],
)
def test_an_array_that_cannot_be_is_refused(enemy: socket.socket, description: bytes) -> None:
    enemy.send(HEAD.pack(8 | SHAPED) + description + bytes(8))
    refused("an array")


# -- The decoder, without any socket -----------------------------------------------------------------------------------

plain = st.binary(max_size=300).map(lambda data: (head(len(data)) + data, memoryview(data)))
numbers = st.lists(st.integers(0, 2**31 - 1), max_size=12).map(lambda each: memoryview(array.array("i", each)))


def _framed(view: memoryview) -> tuple[bytes, memoryview]:
    return head(view.nbytes, shape_of(view)) + view.tobytes(), view


def _tabled(view: memoryview) -> memoryview:
    return view.cast("B").cast("i", (2, len(view) // 2)) if len(view) and not len(view) % 2 else view


shaped_ones = numbers.map(_tabled).map(_framed)
announced = st.integers(1, 1000).map(lambda size: (head(size, descriptor=True), Announced(size, ("B", ()))))


def fed(decoder: Decoder, data: bytes, cuts: list[int]) -> list[memoryview | Announced]:
    """As a connection does it, in pieces."""
    found: list[memoryview | Announced] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        piece = data[begin:end]
        while piece and decoder.error is None:
            rest = decoder.rest
            if rest is None:
                found += decoder.feed(piece)
                break
            count = min(len(rest), len(piece))
            rest[:count] = piece[:count]
            message = decoder.filled(count)
            found += [] if message is None else [message]
            piece = piece[count:]
    return found


@given(st.lists(plain | shaped_ones | announced, max_size=8), st.lists(st.integers(0, 10_000), max_size=20))
def test_messages_in_any_pieces_are_the_messages(sent: list[tuple[bytes, object]], cuts: list[int]) -> None:
    decoder = Decoder(1000, 1000)
    found = fed(decoder, b"".join(data for data, _ in sent), cuts)
    assert decoder.error is None
    assert not decoder.pending
    assert found == [message for _, message in sent]


@given(st.lists(plain | shaped_ones, max_size=4))
def test_messages_byte_by_byte_are_the_messages(sent: list[tuple[bytes, object]]) -> None:
    decoder = Decoder(1000, 1000)
    data = b"".join(data for data, _ in sent)
    assert fed(decoder, data, list(range(len(data)))) == [message for _, message in sent]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_random_bytes_end_in_messages_or_a_frame_error(data: bytes, cuts: list[int]) -> None:
    decoder = Decoder(64, 64)
    for each in fed(decoder, data, cuts):
        assert (each.size if isinstance(each, Announced) else each.nbytes) <= 64
    assert decoder.error is None or isinstance(decoder.error, FrameError)


@given(
    st.integers(0, 2), st.sampled_from("Bdx?\0"), st.lists(st.sampled_from([0, 1, 2, 8, 1 << 32, (1 << 64) - 1]), max_size=3),
    st.sampled_from([0, 1, 8, 16, 64]), st.booleans(),
)  # fmt: skip
def test_random_descriptions_end_in_messages_or_a_frame_error(
    extra: int, format: str, dimensions: list[int], size: int, descriptor: bool
) -> None:
    decoder = Decoder(64, 64)
    data = head(size, (format, tuple(dimensions)), descriptor=descriptor) + bytes(size + extra)
    for each in decoder.feed(data):
        if isinstance(each, Announced):
            shaped(memoryview(bytes(each.size)), each.shape)  # whatever is announced can be shown


def test_what_was_complete_before_the_error_counts() -> None:
    decoder = Decoder(64, 64)
    assert decoder.feed(head(3) + b"abc" + head(65)) == [memoryview(b"abc")]
    assert isinstance(decoder.error, MessageTooLarge)
    assert decoder.error.offset == 11
    assert decoder.feed(head(3) + b"abc") == []
    assert decoder.single(head(3) + b"abc") is None

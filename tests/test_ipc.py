"""`prise.ipc`, one connection: what is sent arrives as it was, small through the socket and large in shared memory."""

from __future__ import annotations

import array
import gc
import mmap
import os
import resource
import select
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest

from prise import ipc
from prise.core.limits import Limits
from prise.errors import ConnectError, ConnectionLost, TooSlow, UsageError
from prise.ipc import Buffer, Connection, Sharing, memory

needs_memory = pytest.mark.skipif(not memory.SUPPORTED, reason="shared memory that can be sealed is Linux's")
PATIENCE = 10.0
THRESHOLD = Sharing().threshold or 0


def descriptors() -> set[str]:
    gc.collect()
    return set(os.listdir("/dev/fd"))


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    gc.freeze()  # what was there before need not be searched: a third of a second, each time
    before = descriptors()
    yield
    after = descriptors()
    gc.unfreeze()
    assert after == before


@contextmanager
def connected(sharing: Sharing | None = None, **limits: Any) -> Iterator[tuple[Connection, Connection]]:
    bounds = Limits(**{"idle_time": None, "message_size": 8 << 20} | limits)
    near, far = ipc.pair(limits=bounds, sharing=sharing)
    with near as left, far as right:
        yield left, right


def in_shared_memory(message: memoryview | None) -> bool:
    assert message is not None
    return isinstance(message.obj, mmap.mmap)


def take(connection: Connection) -> Any:
    return connection.receive(PATIENCE)


def send_all(connection: Connection, messages: Iterable[Any]) -> None:
    for each in messages:
        connection.send(each)


def ask(left: Connection, right: Connection, message: Any) -> Any:
    """There, from a thread, since what does not fit into the socket waits for the reader."""
    thread = threading.Thread(target=left.send, args=(message,))
    thread.start()
    received = take(right)
    thread.join()
    assert received is not None
    return received


# -- Round trips -------------------------------------------------------------------------------------------------------

SIZES = (0, 1, 100, 16_383, 16_384, 16_385, 65_527, 65_528, 65_529, THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 5_000_000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sharing", [Sharing(), Sharing(threshold=None)], ids=["shared", "inline"])
def test_bytes_of_every_size_arrive_as_they_were(size: int, sharing: Sharing) -> None:
    data = os.urandom(size)
    with connected(sharing) as (left, right):
        received = ask(left, right, data)
        assert received == data
        assert bytes(received) == data
        assert (received.readonly, received.format, received.ndim) == (True, "B", 1)
        assert in_shared_memory(received) == (
            memory.SUPPORTED and sharing.threshold is not None and size >= sharing.threshold
        )


def test_small_and_large_messages_keep_their_order() -> None:
    messages = [os.urandom(size) for size in (1, 300_000, 0, 5, 20_000, 400_000, 400_000, 7, 70_000, 3)]
    with connected() as (left, right):
        thread = threading.Thread(target=send_all, args=(left, messages))
        thread.start()
        assert [take(right) for _ in messages] == messages
        thread.join()


def test_a_thousand_messages_are_read_many_at_once() -> None:
    with connected() as (left, right):
        for number in range(200):
            left.send(b"%d" % number)
        assert [int(bytes(right.receive(0) or b"")) for _ in range(200)] == list(range(200))


def test_both_sides_talk_and_iteration_ends_with_the_peer() -> None:
    with connected() as (left, right):
        left.send(b"one")
        left.send(bytes(300_000))
        left.send_eof()
        assert [len(message) for message in right] == [3, 300_000]
        right.send(b"an answer is still possible")
        assert take(left) == b"an answer is still possible"
        with pytest.raises(UsageError, match="closed already"):
            left.send(b"more")


def test_ask_answers() -> None:
    with connected() as (left, right):
        thread = threading.Thread(target=lambda: send_all(right, (bytes(message).upper() for message in right)))
        thread.start()
        assert bytes(left.ask(b"hello", timeout=PATIENCE)) == b"HELLO"
        assert left.ask(b"a" * 300_000, timeout=PATIENCE) == b"A" * 300_000
        left.send_eof()
        thread.join()
        right.close()
        with pytest.raises(UsageError):
            left.ask(b"too late")


# -- Arrays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [3, 100_000])
@pytest.mark.parametrize("kind", "bBhHiIlLqQfd")
def test_arrays_of_the_standard_library_keep_their_elements(kind: str, length: int) -> None:
    numbers = array.array(kind, [1, 2, 3] * (length // 3))
    with connected() as (left, right):
        received = ask(left, right, numbers)
        assert (received.format, received.shape) == (kind, (len(numbers),))
        assert received.tolist() == numbers.tolist()


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (50, 40, 100)])
@pytest.mark.parametrize("kind", ["f8", "f4", "i8", "u2", "?", "i1"])
def test_numpy_arrays_arrive_without_a_copy(shape: tuple[int, ...], kind: str) -> None:
    sent = (numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape) % 2).astype(kind)
    with connected() as (left, right):
        message = ask(left, right, sent)
        received = numpy.asarray(message)
        assert received.dtype == sent.dtype
        assert received.shape == sent.shape
        assert (received == sent).all()
        assert not received.flags.writeable
        assert in_shared_memory(message) == (memory.SUPPORTED and sent.nbytes >= THRESHOLD)
        del message  # the array keeps the memory
        assert received.sum() == sent.sum()


def test_slices_and_transposed_arrays_are_sent_in_their_order() -> None:
    table = numpy.arange(100_000.0).reshape(100, 1000)
    with connected() as (left, right):
        assert (numpy.asarray(ask(left, right, table[::2, 1::3])) == table[::2, 1::3]).all()
        assert (numpy.asarray(ask(left, right, table.T)) == table.T).all()


def test_an_array_without_elements_keeps_their_kind_but_one_dimension() -> None:
    with connected() as (left, right):
        received = numpy.asarray(ask(left, right, numpy.zeros((0, 3))))
        assert (received.shape, received.dtype) == ((0,), numpy.dtype("f8"))


@pytest.mark.parametrize(
    "message", ["text", 5, None, numpy.zeros(3, "c16"), numpy.zeros(3, "f2"), numpy.zeros(3, ">f8")], ids=repr
)
def test_what_is_no_buffer_of_native_numbers_is_refused_and_nothing_is_sent(message: object) -> None:
    with connected() as (left, right):
        with pytest.raises(UsageError, match=r"encode|send it as bytes"):
            left.send(message)
        left.send(b"fine")
        assert take(right) == b"fine"


# -- Made in place -----------------------------------------------------------------------------------------------------


@needs_memory
def test_a_buffer_is_sent_without_a_copy_and_may_be_sent_again() -> None:
    with connected() as (left, right), left.allocate((100, 200), "d") as buffer:
        table = numpy.asarray(buffer.view())
        table[:] = numpy.arange(20_000.0).reshape(100, 200)
        with pytest.raises(UsageError, match="still uses the buffer"):
            left.send(buffer)
        del table
        left.send(buffer)
        left.send(buffer)
        first, second = take(right), take(right)
        assert first.shape == (100, 200)
        assert numpy.asarray(first)[99, 199] == 19_999
        assert first == second
        with pytest.raises(ValueError, match="closed"):
            buffer[0] = 1


@needs_memory
def test_a_small_buffer_travels_in_memory_too_and_like_a_bytearray() -> None:
    with connected() as (left, right):
        with Buffer(5) as buffer:
            buffer[:] = b"hello"
            assert (len(buffer), bytes(buffer[1:3])) == (5, b"el")
            left.send(buffer)
        message = take(right)
        assert message == b"hello"
        assert in_shared_memory(message)
        with pytest.raises(UsageError, match="closed"):
            left.send(buffer)


@pytest.mark.parametrize(("shape", "format"), [(0, "B"), (-1, "B"), ((2, 0), "d"), (3, "x"), (3, "dd"), (3, "")])
def test_a_buffer_of_no_size_or_format_is_refused(shape: Any, format: str) -> None:
    with pytest.raises(UsageError):
        Buffer(shape, format)


def test_a_buffer_that_is_forgotten_leaves_nothing() -> None:
    for _ in range(100):
        Buffer(100)


# -- Where there is no shared memory -----------------------------------------------------------------------------------


def test_without_memfd_everything_goes_through_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SUPPORTED", False)
    with connected() as (left, right), Buffer((300, 200), "d") as buffer:
        numpy.asarray(buffer.view())[:] = 2.5
        received = ask(left, right, buffer)
        assert not in_shared_memory(received)
        assert (received.shape, received[299, 199]) == ((300, 200), 2.5)
        assert ask(left, right, bytes(1_000_000)) == bytes(1_000_000)
        assert ask(left, right, buffer) == received  # again


def test_over_tcp_everything_goes_through_the_socket() -> None:
    with ipc.Listener("127.0.0.1:0") as listener, ipc.connect(listener.address) as left:
        with listener.accept(PATIENCE) as right, Buffer(300_000) as buffer:
            buffer[:3] = b"abc"
            assert ask(left, right, buffer)[:4] == b"abc\0"
            assert not in_shared_memory(ask(left, right, bytes(1_000_000)))
            assert left.peer == right.local == listener.address
            assert left.credentials is None


# -- Addresses ---------------------------------------------------------------------------------------------------------


def test_a_unix_socket_between_strangers(tmp_path: Path) -> None:
    place = f"unix,mode=600:{tmp_path}/s"
    with ipc.Listener(place) as listener:
        assert oct((tmp_path / "s").stat().st_mode & 0o777) == "0o600"
        with ipc.connect(listener.address) as left, listener.accept(PATIENCE) as right:
            received = ask(left, right, bytes(1_000_000))
            assert in_shared_memory(received) == memory.SUPPORTED
            assert left.peer == listener.address
            credentials = right.credentials
            assert credentials is not None
            assert credentials.uid == os.geteuid()
            assert select.select([left], [], [], 0)[0] == []
            assert "unix:" in repr(right)
        with pytest.raises(TooSlow, match="nobody came"):
            listener.accept(timeout=0)
    with pytest.raises(UsageError, match="closed"):
        listener.accept()
    with pytest.raises(ConnectError), ipc.connect(place):
        pass


def test_layers_and_packets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="layers"):
        ipc.connect("ws://127.0.0.1:1/")
    for address in (f"unix,type=seqpacket:{tmp_path}/s", "udp:127.0.0.1:0"):
        with pytest.raises(UsageError, match="stream"):
            ipc.Listener(address)
        with pytest.raises(UsageError, match="stream"):
            ipc.connect(address)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other, pytest.raises(UsageError, match="stream"), ipc.connect(f"fd:{one.fileno()}"):
        pass


# -- Limits ------------------------------------------------------------------------------------------------------------


def test_a_message_over_the_limit_is_not_sent() -> None:
    with connected(Sharing(threshold=None), message_size=1000) as (left, right):
        with pytest.raises(UsageError, match="1001 bytes is more than the limit of 1000"):
            left.send(bytes(1001))
        left.send(bytes(1000))
        assert take(right) == bytes(1000)


@needs_memory
def test_a_shared_message_has_a_limit_of_its_own() -> None:
    with connected(Sharing(threshold=10, largest=5000), message_size=1000) as (left, right):
        left.send(bytes(5000))
        with pytest.raises(UsageError, match="5001 bytes"):
            left.send(bytes(5001))
        with Buffer(5001) as buffer, pytest.raises(UsageError, match="5001 bytes"):
            left.send(buffer)
        assert take(right) == bytes(5000)


@needs_memory
@pytest.mark.parametrize("sharing", [Sharing(in_flight=3), Sharing(in_flight_size=900_000)], ids=["count", "size"])
def test_no_more_shared_memory_is_on_its_way_than_allowed(sharing: Sharing) -> None:
    """A descriptor costs the socket nothing, so that without this a slow reader would be owed gigabytes."""
    with connected(sharing, write_time=0.05) as (left, right):
        for _ in range(3):
            left.send(bytes(300_000))
        with pytest.raises(TooSlow, match=r"took nothing for 0\.05 s"):
            left.send(bytes(300_000))
        assert len(take(right)) == 300_000
        assert len(take(right)) == 300_000
        left.send(bytes(300_001))  # nothing broke
        left.send(b"and the socket is as wide as before")
        assert [len(take(right)) for _ in range(3)] == [300_000, 300_001, 35]


def test_one_message_may_be_larger_than_what_may_be_on_its_way() -> None:
    with connected(Sharing(in_flight_size=1000)) as (left, right):
        assert len(ask(left, right, bytes(1_000_000))) == 1_000_000
        assert len(ask(left, right, bytes(1_000_000))) == 1_000_000


def test_a_peer_that_takes_nothing_is_given_up() -> None:
    with connected(Sharing(threshold=None), write_time=0.05) as (left, _right):
        with pytest.raises(TooSlow, match=r"took nothing for 0\.05 s"):
            left.send(bytes(8_000_000))
        with pytest.raises(TooSlow):  # half a message is out
            left.send(b"more")


def test_receiving_has_its_time_limits() -> None:
    with connected(idle_time=0.05) as (left, right):
        with pytest.raises(TooSlow, match="in the time given"):
            right.receive(timeout=0)
        with pytest.raises(TooSlow, match="in the time given"):
            right.receive(timeout=0.01)
        left.send(b"then")
        assert take(right) == b"then"
        with pytest.raises(TooSlow, match=r"nothing arrived for 0\.05 s"):
            right.receive()
        for message in (b"small", bytes(300_000)):  # there is no way on
            with pytest.raises(TooSlow, match="nothing arrived"):
                right.send(message)


def test_half_a_message_has_a_time_limit() -> None:
    near, far = socket.socketpair()
    with near, Connection(far, Limits(idle_time=None, message_time=0.05)) as right:
        near.send(b"\0\0\0\0\0\0\0\5abc")
        with pytest.raises(TooSlow, match=r"not complete after 0\.05 s"):
            right.receive()


@pytest.mark.parametrize("options", [{"threshold": 0}, {"largest": None}, {"in_flight": 1.5}, {"in_flight_size": True}])
def test_sharing_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="whole number"):
        Sharing(**options)


# -- Lifetime ----------------------------------------------------------------------------------------------------------


def test_a_message_lives_longer_than_the_connection() -> None:
    data = os.urandom(1_000_000)
    with connected() as (left, right):
        small, large = ask(left, right, b"small"), ask(left, right, data)
    assert small == b"small"
    assert large == data


@needs_memory
def test_descriptors_and_memory_go_with_the_messages() -> None:
    with connected() as (left, right):
        before = descriptors()
        for _ in range(300):
            left.send(bytes(300_000))
            assert take(right) is not None
        assert descriptors() == before
        kept = [ask(left, right, bytes(300_000)) for _ in range(5)]
        assert len(descriptors() - before) <= 5
        for each in kept:
            with pytest.raises(TypeError):
                each[0] = 1
        kept.clear()
        del each
        assert descriptors() == before


def test_what_was_sent_arrives_although_the_sender_has_closed() -> None:
    with connected() as (left, right):
        left.send(b"small")
        left.send(bytes(300_000))
        left.close()
        left.close()
        assert [len(message) for message in right] == [5, 300_000]
        assert right.receive() is None
        assert right.lost is None


def test_the_peer_is_gone() -> None:
    with connected() as (left, right):
        right.close()
        for message in (b"small", bytes(100_000), bytes(1_000_000)):
            with pytest.raises(ConnectionLost):
                left.send(message)
        assert left.receive() is None
        with pytest.raises(ConnectionLost):
            left.ask(b"?")


def test_the_peer_is_gone_in_the_middle_of_a_message() -> None:
    near, far = socket.socketpair()
    with Connection(far) as right:
        near.send(b"\0\0\0\0\0\0\0\5hello\0\0\0\0\0\0\0\5abc")
        near.close()
        assert take(right) == b"hello"
        with pytest.raises(ConnectionLost, match="middle of a message"):
            right.receive()


def test_abort_wakes_who_receives() -> None:
    with connected() as (left, _right):
        thread = threading.Thread(target=left.abort)
        thread.start()
        assert left.receive() is None
        thread.join()


# -- Nothing left ------------------------------------------------------------------------------------------------------


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Not one more can be opened meanwhile."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(each) for each in os.listdir("/dev/fd"))
    holes = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        while True:
            try:
                holes.append(os.dup(0))
            except OSError:
                break
        yield
    finally:
        for each in holes:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@needs_memory
def test_a_sender_without_descriptors_says_so_and_goes_on() -> None:
    data = bytes(300_000)
    with connected() as (left, right):
        with no_descriptor_left():
            with pytest.raises(UsageError, match="no descriptor is left for 300000 bytes"):
                left.send(data)
            with pytest.raises(UsageError, match="no descriptor is left"):
                Buffer(1000)
            left.send(b"small")
            assert take(right) == b"small"
        left.send(data)
        assert take(right) == data


@needs_memory
def test_a_receiver_without_descriptors_says_so_and_ends() -> None:
    with connected() as (left, right):
        left.send(b"small")
        left.send(bytes(300_000))
        with no_descriptor_left():
            assert take(right) == b"small"
            with pytest.raises(ConnectionLost, match="no descriptor left"):
                right.receive()
        with pytest.raises(ConnectionLost):
            right.receive()
        with pytest.raises(ConnectionLost):
            left.send(b"anybody there?")


@needs_memory
def test_memory_that_cannot_be_had_is_an_error() -> None:
    too_much = sys.maxsize // 2
    with pytest.raises(UsageError, match="no shared memory for"):
        Buffer(too_much)

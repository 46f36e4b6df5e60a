"""Handovers that go wrong, on purpose or by accident: each has a named error, and the connection lives on one side or on none.

The other side is a bare socket here, which can say anything, or a process that is killed. Around each test the descriptors of
this process are counted.
"""

from __future__ import annotations

import array
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from prise.errors import HandoverError, HandoverProtocolError, HandoverRefused, HandoverUncertain, TooSlow
from prise.handover import Channel, adopt
from prise.handover.frame import TAKEN, encoded

PATIENCE = 10.0
SOON = 0.05
"""Seconds for a wait that is to be in vain."""

HELLO = encoded("handover", kind="stream", state=None)
NO = encoded("ack", ok=False, error="no room")
LONG = os.environ.get("PRISE_LONG_TESTS") == "1"


def descriptors(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before  # a thread of an earlier test may have closed its own


@contextmanager
def talk() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the peer, and our end."""
    peer, ours = socket.socketpair()
    peer.settimeout(PATIENCE)
    with peer, ours:
        yield peer, ours


@contextmanager
def against() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and a bare socket at its other end."""
    near, far = socket.socketpair()
    far.settimeout(PATIENCE)
    with Channel(near) as channel, far:
        yield channel, far


def give(far: socket.socket, data: bytes, *given: int) -> int:
    """Sends bytes with descriptors on the first of them."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))] if given else []
    return far.sendmsg([data], rights)


def answer_of(far: socket.socket) -> Any:
    """What the channel answers; None where it says nothing and closes."""
    length = far.recv(4)
    return json.loads(far.recv(struct.unpack(">I", length)[0])) if length else None


def ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def alive(peer: socket.socket, ours: socket.socket) -> bool:
    """True where the connection is still ours, and nobody else has a copy: the end comes when we close it."""
    ours.settimeout(PATIENCE)
    ours.sendall(b"still here")
    assert peer.recv(100) == b"still here"
    ours.close()
    return ended(peer)


def whole(channel: Channel, far: socket.socket) -> bool:
    """True when the next handover over this channel goes well."""
    with talk() as (peer, ours):
        give(far, HELLO, ours.fileno())
        ours.close()
        received = channel.receive(PATIENCE)
        assert received is not None
        with received:
            assert answer_of(far) == {"v": 1, "type": "ack", "ok": True}
            received.socket.sendall(b"hello")
        return peer.recv(10) == b"hello" and ended(peer)


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Runs it; what is returned waits for what came of it."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE)
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    return result


# -- what a receiver is given -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 2, 16])
def test_anything_but_one_descriptor_is_refused_and_the_channel_goes_on(count: int) -> None:
    with against() as (channel, far), talk() as (peer, ours):
        give(far, HELLO, *[ours.fileno()] * count)
        ours.close()
        with pytest.raises(HandoverProtocolError, match=f"exactly one socket, got {count}"):
            channel.receive(PATIENCE)
        assert f"got {count}" in answer_of(far)["error"]
        assert ended(peer)
        assert whole(channel, far)


@pytest.mark.parametrize("count", [17, 253])
def test_too_many_descriptors_close_the_channel(count: int) -> None:
    with against() as (channel, far), talk() as (peer, ours):
        give(far, HELLO, *[ours.fileno()] * count)
        ours.close()
        with pytest.raises(HandoverProtocolError, match="more than 16"):
            channel.receive(PATIENCE)
        assert channel.closed
        assert "more than 16" in answer_of(far)["error"]
        assert ended(far)
        assert ended(peer)  # those for which there was no room the kernel has closed


def test_more_than_253_descriptors_the_kernel_does_not_send() -> None:
    with against() as (channel, far):
        with pytest.raises(OSError, match="Invalid argument"):
            give(far, HELLO, *[far.fileno()] * 254)
        assert whole(channel, far)


def test_descriptors_on_every_byte_of_the_length_are_all_closed() -> None:
    with against() as (channel, far), talk() as (peer, ours):
        for number in range(4):
            give(far, HELLO[number : number + 1], *[ours.fileno()] * 16)
        ours.close()
        far.sendall(HELLO[4:])
        with pytest.raises(HandoverProtocolError, match="got 64"):
            channel.receive(PATIENCE)
        assert ended(peer)


def kinds() -> dict[str, Callable[[ExitStack, Path], int]]:
    def pipe(stack: ExitStack, folder: Path) -> int:
        ends = os.pipe()
        for each in ends:
            stack.callback(os.close, each)
        return ends[0]

    def opened(path: str, flags: int = os.O_RDONLY) -> Callable[[ExitStack, Path], int]:
        def open_it(stack: ExitStack, folder: Path) -> int:
            descriptor = os.open(path or folder, flags)
            stack.callback(os.close, descriptor)
            return descriptor

        return open_it

    def epoll(stack: ExitStack, folder: Path) -> int:
        return stack.enter_context(select.epoll()).fileno()

    def eventfd(stack: ExitStack, folder: Path) -> int:
        descriptor = os.eventfd(0)
        stack.callback(os.close, descriptor)
        return descriptor

    return {
        "a file": opened("/etc/hostname"),
        "a pipe": pipe,
        "a device": opened("/dev/null"),
        "a folder": opened(""),
        "something else": epoll,
        "something else, an eventfd": eventfd,
    }


@pytest.mark.parametrize("what", kinds())
def test_what_is_no_socket_is_refused(what: str, tmp_path: Path) -> None:
    with against() as (channel, far), ExitStack() as stack:
        give(far, HELLO, kinds()[what](stack, tmp_path))
        with pytest.raises(HandoverProtocolError, match=f"no socket but {what.partition(',')[0]}"):
            channel.receive(PATIENCE)
        assert "no socket" in answer_of(far)["error"]
        assert whole(channel, far)


def test_a_descriptor_on_the_pending_bytes_is_dropped_by_the_kernel() -> None:
    with against() as (channel, far), talk() as (peer, ours):
        far.sendall(encoded("handover", b"pending", kind="stream", state=None))
        give(far, b"pending", ours.fileno())
        ours.close()
        with pytest.raises(HandoverProtocolError, match="got 0"):
            channel.receive(PATIENCE)
        assert ended(peer)
        assert answer_of(far)["ok"] is False
        assert whole(channel, far)


def test_cut_short_at_every_byte_nothing_is_received() -> None:
    frame = encoded("handover", b"abc", kind="stream", state="x") + b"abc"
    for size in range(len(frame)):
        with against() as (channel, far), talk() as (peer, ours):
            if size:
                give(far, frame[:size], ours.fileno())
            ours.close()
            far.close()
            if size:
                with pytest.raises(HandoverProtocolError, match="in the middle"):
                    channel.receive(PATIENCE)
                assert channel.closed
            else:
                assert channel.receive(PATIENCE) is None
            assert ended(peer)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        struct.pack(">I", 1 << 20) + b"[" * (1 << 20),
        struct.pack(">I", 6) + b"garble",
        struct.pack(">I", 29) + b'{"v":9,"type":"handover"}    ',
        struct.pack(">I", 1 << 20)
        + (b'{"v":1,"type":"handover","pending":"' + b"x" * (1 << 20))[: (1 << 20) - 2]
        + b'"}',
    ],
    ids=["http", "huge", "empty", "deep", "no JSON", "version 9", "a long word for a number"],
)
def test_garbage_is_refused_and_closes_the_channel(data: bytes) -> None:
    with against() as (channel, far), talk() as (peer, ours):

        def attack() -> None:
            sent = give(far, data, ours.fileno())
            if sent < len(data):
                far.sendall(data[sent:])

        attacked = in_thread(attack)
        with pytest.raises(HandoverProtocolError) as caught:
            channel.receive(PATIENCE)
        attacked()
        assert len(str(caught.value)) < 300
        assert channel.closed
        assert answer_of(far)["ok"] is False
        ours.close()
        assert ended(peer)


def test_an_unknown_type_is_refused_and_the_channel_goes_on() -> None:
    with against() as (channel, far):
        far.sendall(encoded("dance"))
        with pytest.raises(HandoverProtocolError, match="'dance' came"):
            channel.receive(PATIENCE)
        assert answer_of(far)["ok"] is False
        assert whole(channel, far)


def test_an_answer_that_nobody_asked_for_is_not_answered() -> None:
    """Else two receivers would tell each other for ever that they were not asked."""
    with against() as (channel, far):
        far.sendall(TAKEN)
        with pytest.raises(HandoverProtocolError, match="'ack' came"):
            channel.receive(PATIENCE)
        assert answer_of(far) is None


def test_who_stops_in_the_middle_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prise.handover.channel.TIMEOUT", SOON)
    with against() as (channel, far), talk() as (peer, ours):
        give(far, HELLO[:-1], ours.fileno())
        ours.close()
        with pytest.raises(HandoverProtocolError, match="stopped in the middle"):
            channel.receive(PATIENCE)
        assert channel.closed
        assert ended(peer)
        with pytest.raises(HandoverError, match="closed"):
            channel.receive(PATIENCE)


def test_who_does_not_take_the_acknowledgement_has_given_it_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prise.handover.channel.TIMEOUT", SOON)
    with against() as (channel, far), talk() as (peer, ours), socket.socket(fileno=os.dup(channel.fileno())) as same:
        with pytest.raises(BlockingIOError):
            while True:
                same.send(bytes(4096))  # until no more answer fits
        give(far, HELLO, ours.fileno())
        ours.close()
        with pytest.raises(HandoverProtocolError, match="stopped in the middle"):
            channel.receive(PATIENCE)
        assert channel.closed
        assert ended(peer)


def test_without_a_free_descriptor_it_stays_with_the_sender() -> None:
    ours_channel, theirs = Channel.pair()
    with ours_channel, theirs, talk() as (peer, ours):
        outcome = in_thread(lambda: ours_channel.send(ours))
        assert select.select([theirs], [], [], PATIENCE)[0]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(HandoverProtocolError, match="ulimit"):
                theirs.receive(PATIENCE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with pytest.raises(HandoverRefused, match="no room"):
            outcome()
        assert alive(peer, ours)


# -- what a sender is answered ----------------------------------------------------------------------------------------------


def refused(
    say: Callable[[socket.socket], None], error: type[HandoverError], match: str, timeout: float = 5.0
) -> Channel:
    """A handover to somebody who reads it and then does this. Checks that the connection is ours, or nobody's."""
    with against() as (channel, far), talk() as (peer, ours):

        def behave() -> None:
            socket.recv_fds(far, 4, 0)  # the descriptor is dropped by the kernel
            far.recv(1 << 16)
            say(far)

        behaved = in_thread(behave)
        with pytest.raises(error, match=match):
            channel.send(ours, timeout=timeout)
        behaved()
        if error is HandoverUncertain:
            assert channel.closed
            assert ours.fileno() == -1
            assert ended(peer)
        else:
            assert alive(peer, ours)
        return channel


def test_a_refusal_leaves_it_here_and_the_channel_open() -> None:
    for answer, reason in (
        (NO, "no room"),
        (encoded("ack", ok=False, error=["x"] * 99), "-"),
        (encoded("ack", ok=1, x="x"), "-"),
    ):
        refused(lambda far, answer=answer: far.sendall(answer), HandoverRefused, reason)  # type: ignore[misc]


def test_an_end_without_an_answer_leaves_it_here() -> None:
    channel = refused(lambda far: far.close(), HandoverRefused, "without taking")
    assert channel.closed


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (b"", "did not answer within"),
        (TAKEN[:-1], "did not answer within"),
        (b"\xff" * 40, "no sensible length"),
        (struct.pack(">I", 40) + b"x" * 40, "not JSON"),
        (HELLO, "acknowledgement was due"),
        (encoded("ack", ok=True).replace(b'"v":1', b'"v":2'), "version 2"),
    ],
)
def test_an_answer_that_is_none_leaves_it_nowhere(said: bytes, match: str) -> None:
    refused(lambda far: far.sendall(said), HandoverUncertain, match, timeout=SOON if "within" in match else 5.0)


def test_a_truncated_answer_leaves_it_nowhere() -> None:
    def say(far: socket.socket) -> None:
        far.sendall(TAKEN[:-1])
        far.close()

    refused(say, HandoverUncertain, "in the middle")


def test_descriptors_that_come_with_an_answer_are_closed() -> None:
    with against() as (channel, far), talk() as (peer, ours), talk() as (other, extra):
        give(far, b"")
        behaved = in_thread(lambda: (socket.recv_fds(far, 1 << 16, 0), give(far, TAKEN, extra.fileno())))
        channel.send(ours)
        behaved()
        extra.close()
        assert ended(other)
        assert ended(peer)


@pytest.mark.parametrize("more", [TAKEN, NO, HELLO, b"garbage"])
def test_what_is_said_behind_an_answer_is_not_taken_for_the_next_one(more: bytes) -> None:
    """An answer has no number: the second of two would stand for a handover that is yet to come, and lose it."""
    with against() as (channel, far), talk() as (peer, ours):
        with talk() as (_, first):
            behaved = in_thread(lambda: (socket.recv_fds(far, 1 << 16, 0), far.send(TAKEN + more)))
            channel.send(first)
            behaved()
        with pytest.raises(HandoverProtocolError, match="said something already"):
            channel.send(ours)
        assert alive(peer, ours)


def test_a_channel_that_the_other_side_has_closed_takes_nothing() -> None:
    with against() as (channel, far), talk() as (peer, ours):
        far.close()
        with pytest.raises(HandoverRefused, match="closed"):
            channel.send(ours)
        with pytest.raises(HandoverError, match="channel broke"):
            channel.send(ours)  # closed on this side too, by now
        assert alive(peer, ours)


def test_a_receiver_that_never_reads_is_given_nothing() -> None:
    """A large state does not fit into the channel, so it is sure that nobody has it all."""
    with against() as (channel, far), talk() as (peer, ours):
        with pytest.raises(HandoverError, match="still ours") as caught:
            channel.send(ours, state="x" * 900_000, timeout=SOON)
        assert isinstance(caught.value.__cause__, TooSlow)
        assert type(caught.value) is HandoverError
        assert channel.closed
        with Channel(far.dup()) as late, pytest.raises(HandoverProtocolError, match="in the middle"):
            late.receive(PATIENCE)
        assert alive(peer, ours)


def test_pending_bytes_that_do_not_fit_stay_with_the_connection() -> None:
    pending = b"".join(b"%07d\n" % number for number in range(100_000))
    with against() as (channel, _), talk() as (_, ours), adopt(ours, pending=pending) as connection:
        assert connection.receive() == "0000000"
        with pytest.raises(HandoverError, match="still ours"):
            connection.hand_over(channel, timeout=SOON)
        assert [connection.receive() for _ in range(99_999)] == [f"{number:07}" for number in range(1, 100_000)]


def test_a_receiver_that_reads_too_late_does_not_keep_it() -> None:
    """A small frame fits: it may still be read. But the acknowledgement is not heard any more, so nobody has it."""
    with against() as (channel, far), talk() as (peer, ours):
        with pytest.raises(HandoverUncertain, match="our copy is closed"):
            channel.send(ours, timeout=SOON)
        assert ours.fileno() == -1
        with Channel(far.dup()) as late, pytest.raises(HandoverError, match="channel broke"):
            late.receive(PATIENCE)
        assert ended(peer)


# -- processes that are killed ------------------------------------------------------------------------------------------------


@contextmanager
def child(program: str) -> Iterator[tuple[Channel, subprocess.Popen[str]]]:
    """A program with the other end of a channel, as `channel`."""
    head = """
        import os, signal, socket, sys, threading
        from prise.handover import Channel
        from prise.handover.frame import encoded
        from prise.handover.wire import drive, read, write
        channel = Channel.inherited(int(sys.argv[1]))
    """
    ours, theirs = Channel.pair()
    command = [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(program), str(theirs.fileno())]
    with (
        ours,
        subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True) as process,
    ):
        theirs.close()
        try:
            yield ours, process
        finally:
            process.kill()


def test_a_receiver_killed_between_receipt_and_acknowledgement_has_not_got_it() -> None:
    program = """
        frame = drive(read(channel._sock), channel._sock, 10)
        assert len(frame.descriptors) == 1
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with child(program) as (channel, process), talk() as (peer, ours):
        with pytest.raises(HandoverRefused, match="without taking"):
            channel.send(ours)
        assert process.wait(PATIENCE) == -signal.SIGKILL
        assert alive(peer, ours)


def test_a_receiver_killed_in_the_middle_of_a_large_frame_has_not_got_it() -> None:
    program = """
        socket.recv_fds(channel._sock, 4, 16, socket.MSG_WAITALL)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with child(program) as (channel, process), talk() as (peer, ours):
        channel._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with pytest.raises(HandoverError, match="channel broke"):
            channel.send(ours, state="x" * 900_000)
        assert process.wait(PATIENCE) == -signal.SIGKILL
        assert alive(peer, ours)


def test_a_receiver_killed_after_the_acknowledgement_takes_it_along() -> None:
    program = """
        received = channel.receive(10)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with child(program) as (channel, process), talk() as (peer, ours):
        channel.send(ours)
        assert process.wait(PATIENCE) == -signal.SIGKILL
        assert ours.fileno() == -1
        assert ended(peer)


def test_a_sender_killed_before_the_acknowledgement_has_given_it_to_nobody() -> None:
    """The frame is here, whole. But whether the sender knows that it arrived, it can say no more."""
    program = """
        peer, ours = socket.socketpair()
        drive(write(channel._sock, encoded("handover", kind="stream"), b"", [peer.fileno()]), channel._sock, 10)
        drive(write(channel._sock, encoded("handover", kind="stream"), b"", [ours.fileno()]), channel._sock, 10)
        print("sent", flush=True)
        signal.pause()
    """
    with child(program) as (channel, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "sent\n"
        received = channel.receive(PATIENCE)  # it lives, but does not listen for the answer to this one
        assert received is not None
        with received:
            process.kill()
            process.wait(PATIENCE)
            with pytest.raises(HandoverError, match="channel broke"):
                channel.receive(PATIENCE)
            assert channel.closed
            assert ended(received.socket)


def test_a_sender_killed_in_the_middle_has_given_nothing() -> None:
    program = """
        peer, ours = socket.socketpair()
        socket.send_fds(channel._sock, [encoded("handover", kind="stream")[:20]], [ours.fileno()])
        print("sent", flush=True)
        signal.pause()
    """
    with child(program) as (channel, process):
        assert process.stdout is not None
        assert process.stdout.readline() == "sent\n"
        process.kill()
        with pytest.raises(HandoverProtocolError, match="in the middle"):
            channel.receive(PATIENCE)


# -- nothing leaks ------------------------------------------------------------------------------------------------------------


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """For this process and those that it starts: to wake another CPU costs more than a whole handover."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("handovers", [2_000, pytest.param(100_000, marks=pytest.mark.skipif(not LONG, reason="10 s"))])
def test_one_connection_changes_hands_many_times_and_nothing_leaks(handovers: int) -> None:
    """To another process and back, with bytes pending and a state; the descriptors of both are counted at the end."""
    program = """
        while received := channel.receive(10):
            number, count = received.state
            channel.send(received.socket, state=[number + 1, len(os.listdir("/proc/self/fd")) if count else 0])
    """
    with on_one_cpu(), child(program) as (channel, process), talk() as (peer, ours):
        sock, number = ours, 0
        counts: list[tuple[int, int]] = []
        while number < handovers:
            count = number < 10 or number >= handovers - 10
            channel.send(sock, state=[number + 1, count])
            received = channel.receive(PATIENCE)
            assert received is not None
            sock, state = received.socket, list(received.state or ())
            number = state[0]
            if count:
                counts.append((descriptors(), state[1]))
        assert len(set(counts)) == 1
        assert alive(peer, sock)
        channel.close()
        assert process.wait(PATIENCE) == 0


def test_refusals_do_not_leak_either() -> None:
    with against() as (channel, far):
        for _ in range(500):
            give(far, HELLO, 0, 1)
            with pytest.raises(HandoverProtocolError):
                channel.receive(PATIENCE)
            assert answer_of(far)["ok"] is False

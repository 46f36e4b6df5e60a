"""A blocking connection: what arrives, what is sent, who may wait how long, and how it ends."""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from blocking_support import PATIENCE, PATIENT, RESET, read_all, talk
from prise import Connection, ConnectionLost, FrameError, Limits, TooSlow, UsageError, framing_of
from prise.core.pipeline import Pipeline
from prise.layers.base import Layer


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def busy(seconds: float) -> None:
    """The conversation does something else for a while."""
    threading.Event().wait(seconds)


def arrived(connection: Connection) -> None:
    """Returns when something can be received."""
    assert select.select([connection], [], [], PATIENCE)[0]


def poll(connection: Connection) -> str:
    """Receives with short timeouts until something other than the caller's own patience ends it; what that was."""
    while True:
        try:
            return str(connection.receive(timeout=0.02))
        except TooSlow as late:
            if "no message" not in str(late):
                return str(late)


# The caller's own timeout


def test_a_timeout_of_0_takes_what_is_there():
    with talk() as (connection, peer):
        with pytest.raises(TooSlow):
            connection.receive(timeout=0)
        peer.sendall(b"here\n")
        arrived(connection)
        assert connection.receive(timeout=0) == "here"


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_message_that_is_late_is_not_lost(timeout):
    with talk() as (connection, peer):
        peer.sendall(b"two hal")
        arrived(connection)
        with pytest.raises(TooSlow, match="no message in the time given"):
            connection.receive(timeout)
        peer.sendall(b"ves\n")
        assert connection.receive(PATIENCE) == "two halves"
        connection.send("and it goes on")
        assert peer.recv(100) == b"and it goes on\n"


def test_a_timeout_does_not_outlive_its_call(background):
    with talk() as (connection, peer):
        with pytest.raises(TooSlow):
            connection.receive(timeout=0.01)
        waiting = background.submit(connection.receive)
        busy(0.05)
        peer.sendall(b"later\n")
        assert waiting.result(PATIENCE) == "later"


def test_signals_do_not_prolong_a_timeout():
    ticks = []
    before = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        with talk() as (connection, _):
            began = time.monotonic()
            with pytest.raises(TooSlow):
                connection.receive(timeout=0.2)
            assert time.monotonic() - began < PATIENCE / 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ticks


# The limits


def test_a_silent_peer_is_too_slow_for_good():
    with talk(limits=Limits(idle_time=0.05)) as (connection, peer):
        with pytest.raises(TooSlow, match=r"nothing arrived for 0\.05 s"):
            connection.receive()
        peer.sendall(b"too late\n")
        with pytest.raises(TooSlow):
            connection.receive()


def test_the_idle_time_adds_up_over_short_timeouts():
    with talk(limits=Limits(idle_time=0.2)) as (connection, _):
        assert "nothing arrived for 0.2 s" in poll(connection)


def test_what_is_sent_counts_against_silence():
    with talk(limits=Limits(idle_time=0.2)) as (connection, _):
        for _ in range(30):
            connection.send("still here?")
            with pytest.raises(TooSlow, match="no message"):
                connection.receive(timeout=0.02)


def test_what_others_post_counts_against_silence(background):
    with talk(limits=Limits(idle_time=0.3)) as (connection, peer):
        waiting = background.submit(connection.receive)
        for _ in range(20):
            assert connection.post("news")
            busy(0.03)
        peer.sendall(b"thanks\n")
        assert waiting.result(PATIENCE) == "thanks"


def test_time_spent_elsewhere_is_not_the_peers():
    with talk(limits=Limits(idle_time=0.3, message_time=0.1)) as (connection, peer):
        peer.sendall(b"first\nsec")
        assert connection.receive() == "first"
        peer.sendall(b"ond\n")
        busy(0.4)
        assert connection.receive() == "second"


def test_a_byte_now_and_then_is_not_progress(background):
    stop = threading.Event()

    def trickle(peer: socket.socket) -> None:
        while not stop.wait(0.01):
            peer.send(b"x")

    with talk(limits=Limits(message_time=0.15)) as (connection, peer):
        done = background.submit(trickle, peer)
        try:
            with pytest.raises(TooSlow, match=r"a message was not complete after 0\.15 s"):
                connection.receive()
        finally:
            stop.set()
        done.result()


def test_short_timeouts_do_not_hide_a_trickle(background):
    stop = threading.Event()

    def trickle(peer: socket.socket) -> None:
        while not stop.wait(0.01):
            peer.send(b"x")

    with talk(limits=Limits(message_time=0.3)) as (connection, peer):
        done = background.submit(trickle, peer)
        try:
            assert "a message was not complete after 0.3 s" in poll(connection)
        finally:
            stop.set()
        done.result()


@pytest.mark.parametrize("unix", [False, True])
def test_the_write_deadline_is_for_the_whole_message(unix, background):
    stop = threading.Event()

    def sip(peer: socket.socket) -> None:
        while not stop.wait(0.02):
            peer.recv(20_000)

    with talk(limits=Limits(write_time=0.3), unix=unix) as (connection, peer):
        done = background.submit(sip, peer)
        began = time.monotonic()
        try:
            with pytest.raises(TooSlow, match=r"the peer took nothing for 0\.3 s"):
                connection.send("x" * 20_000_000)
        finally:
            stop.set()
            done.result(PATIENCE)
            peer.close()
        assert time.monotonic() - began < PATIENCE / 2
        with pytest.raises((TooSlow, ConnectionLost)):
            connection.send("half a message is out: nothing can follow it")


def test_limits_of_thousands_of_years():
    forever = Limits(idle_time=1e12, message_time=1e12, write_time=1e12)
    with talk(limits=forever) as (connection, peer):
        peer.sendall(b"a\n")
        assert connection.receive() == "a"
        peer.sendall(b"half")
        with pytest.raises(TooSlow):
            connection.receive(timeout=0.01)
        peer.sendall(b" a line\n")
        assert connection.receive(timeout=1e12) == "half a line"


# The end, and what is not the end


def test_the_input_ends_and_answers_are_still_sent():
    with talk() as (connection, peer):
        peer.sendall(b"a\nb")
        peer.shutdown(socket.SHUT_WR)
        assert list(connection) == ["a", "b"]
        assert connection.receive() is None
        connection.send("2 lines")
        connection.send_eof()
        connection.send_eof()
        assert read_all(peer) == b"2 lines\n"


def test_after_its_own_end_one_still_receives():
    with talk() as (connection, peer):
        connection.send_eof()
        assert read_all(peer) == b""
        peer.sendall(b"answer\n")
        assert connection.receive(PATIENCE) == "answer"
        with pytest.raises(UsageError, match="the sending side is closed already"):
            connection.send("more")


def test_half_a_line_before_a_reset_is_not_a_message():
    with talk() as (connection, peer):
        peer.sendall(b"transfer 10\ntransfer 1")
        arrived(connection)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        assert list(connection) in (["transfer 10"], [])  # what a reset leaves of it is the system's choice
        assert connection._counters.error_lost == 1


def test_half_a_message_at_the_end_says_where():
    with talk("prefixed:4") as (connection, peer):
        peer.sendall(b"\0\0\0\2ok\0\0\0\5hel")
        peer.shutdown(socket.SHUT_WR)
        assert connection.receive() == b"ok"
        with pytest.raises(FrameError) as caught:
            connection.receive()
        assert (caught.value.operation, caught.value.transport) == ("receive", "tcp")
        assert (caught.value.local, caught.value.peer) == (connection.local, connection.peer)
        assert str(caught.value).startswith(f"receive tcp {connection.peer}: the input ended inside the message")
        with pytest.raises(FrameError):
            connection.receive()


def test_when_we_end_the_input_what_has_arrived_is_received_but_no_half_line():
    with talk() as (connection, peer):
        peer.sendall(b"whole\nhalf a l")
        arrived(connection)
        connection.end_input()
        assert list(connection) == ["whole"]
        connection.send("goodbye")
        connection.close()
        assert read_all(peer) == b"goodbye\n"


def test_ending_the_input_wakes_who_waits(background):
    with talk() as (connection, _):
        waiting = background.submit(list, connection)
        connection.end_input()
        assert waiting.result(PATIENCE) == []


@pytest.mark.parametrize("receive", [lambda one: one.receive(), lambda one: one.receive(timeout=60)])
def test_abort_wakes_who_receives(receive: Callable[[Connection], object], background):
    with talk() as (connection, peer):
        waiting = background.submit(receive, connection)
        connection.abort()
        assert waiting.result(PATIENCE) is None
        assert not connection.post("never sent")
        assert read_all(peer) == b""


def test_abort_wakes_who_sends(background):
    with talk() as (connection, peer):
        sending = background.submit(connection.send, "x" * 100_000_000)
        assert peer.recv(1) == b"x"
        connection.abort()
        with pytest.raises(ConnectionLost):
            sending.result(PATIENCE)


def test_what_arrived_before_an_abort_does_not_keep_the_conversation():
    with talk() as (connection, peer):
        peer.sendall(b"1\n" * 100)
        assert connection.receive() == "1"
        connection.abort()
        assert len(list(connection)) < 64


# A peer that is gone


def test_sending_to_nobody_is_an_error_that_says_who():
    with talk() as (connection, peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        with pytest.raises(ConnectionLost) as caught:
            for _ in range(1000):
                connection.send("x" * 1000)
        error = caught.value
        assert str(error).startswith(f"send tcp {connection.peer}: the peer is gone (")
        assert (error.local, error.peer, error.transport) == (connection.local, connection.peer, "tcp")
        assert list(connection) == []  # to the one who listens it is simply the end
        assert connection._counters.error_lost == 1


def test_what_a_gone_peer_said_is_still_heard():
    with talk() as (connection, peer):
        peer.sendall(b"last words\n")
        peer.close()
        with pytest.raises(ConnectionLost):
            for _ in range(1000):
                connection.send("x" * 1000)
        assert list(connection) in (["last words"], [])  # a reset may take it away, but it is never an error


# ask


def test_ask():
    with talk() as (connection, peer):
        peer.sendall(b"Leo\n")
        assert connection.ask("name?", timeout=PATIENCE) == "Leo"
        assert peer.recv(100) == b"name?\n"
        with pytest.raises(TooSlow):
            connection.ask("and now?", timeout=0.01)
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionLost, match="without an answer"):
            connection.ask("hello?")


# close


def test_closing_with_bytes_unread_does_not_destroy_the_answer():
    with talk() as (connection, peer):
        peer.sendall(b"question\n" + b"and more that nobody reads\n" * 1000)
        assert connection.receive() == "question"
        connection.send("answer")
        connection.close()
        assert read_all(peer) == b"answer\n"  # and not a reset


def test_a_server_waits_a_little_for_the_peers_end(background):
    with talk(linger=PATIENCE) as (connection, peer):
        connection.send("answer")
        closing = background.submit(connection.close)
        assert read_all(peer) == b"answer\n"
        peer.sendall(b"more that nobody reads\n")  # would be answered with a reset, were it closed
        assert not closing.done()
        peer.close()
        closing.result(PATIENCE)


def test_it_does_not_wait_for_ever():
    with talk(linger=0.1) as (connection, peer):
        began = time.monotonic()
        connection.close()
        assert 0.1 <= time.monotonic() - began < PATIENCE
        assert read_all(peer) == b""


def test_the_answers_before_a_broken_message_arrive(background):
    stop = threading.Event()

    def babble(peer: socket.socket) -> None:
        try:
            while not stop.is_set():
                peer.sendall(b"x" * 1000)
        except OSError:
            pass

    with talk(limits=Limits(message_size=100), linger=0.2) as (connection, peer):
        peer.sendall(b"question\n")
        assert connection.receive() == "question"
        connection.send("answer")
        done = background.submit(babble, peer)
        with pytest.raises(FrameError, match="longer than the limit of 100 bytes"):
            connection.receive()
        closing = background.submit(connection.close)
        assert peer.recv(100) == b"answer\n"
        assert peer.recv(100) == b""
        stop.set()
        closing.result(PATIENCE)
        done.result(PATIENCE)


def test_after_close():
    with talk() as (connection, _):
        assert not connection.closed
        connection.close()
        connection.close()
        assert connection.closed
        assert connection.fileno() == -1
        assert "closed" in repr(connection)
        assert list(connection) == []
        assert not connection.post("x")
        connection.abort()
        connection.end_input()
        for use in (lambda: connection.send("x"), lambda: connection.ask("x")):
            with pytest.raises(UsageError, match="the connection is closed"):
                use()


def test_a_loop_over_messages_may_close():
    with talk() as (connection, peer):
        peer.sendall(b"FIN\n")
        for line in connection:
            assert line == "FIN"
            connection.close()


def test_closing_ends_it_even_where_a_forked_process_has_a_copy():
    with talk() as (connection, peer), socket.socket(fileno=socket.dup(connection.fileno())):
        connection.abort()
        connection.close()
        assert read_all(peer) == b""


# Two threads, and layers


def test_one_thread_may_receive_while_another_sends(background):
    count = 2000
    with talk() as (connection, peer):
        sender = background.submit(lambda: [connection.send(f"{number}") for number in range(count)])  # type: ignore[func-returns-value]
        echo = background.submit(lambda: peer.sendall(b"".join(b"%d\n" % number for number in range(count))))
        received = background.submit(lambda: [connection.receive() for _ in range(count)])
        lines = peer.makefile("rb")
        with lines:
            assert [int(lines.readline()) for _ in range(count)] == list(range(count))
        assert received.result(PATIENCE) == [str(number) for number in range(count)]
        sender.result(PATIENCE)
        echo.result(PATIENCE)


class Polite(Layer):
    """Thanks for each piece of bytes."""

    def __init__(self) -> None:
        self._thanks = b""

    def receive(self, data: bytes) -> bytes:
        self._thanks += b"thanks\n"
        return data

    def send(self, data: bytes) -> bytes:
        return data

    def output(self) -> bytes:
        thanks, self._thanks = self._thanks, b""
        return thanks

    def end(self) -> bytes:
        return b"bye\n"


@contextmanager
def layered() -> Iterator[tuple[Connection, socket.socket]]:
    left, right = socket.socketpair()
    with right, Connection(left, Pipeline(framing_of("lines"), 1000, [Polite]), PATIENT) as connection:
        yield connection, right


def test_a_layer_answers_by_itself():
    with layered() as (connection, peer):
        peer.sendall(b"hello\n")
        assert connection.receive() == "hello"
        connection.close()
        assert read_all(peer) == b"thanks\nbye\n"


def test_messages_are_received_even_if_the_layer_cannot_answer():
    with layered() as (connection, peer):
        peer.sendall(b"hello\n")
        peer.close()
        assert list(connection) == ["hello"]

"""`post` and `broadcast`: from any thread, never waiting, bounded; and the flusher behind them."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, PATIENT, read_all, talk, until
from prise import Connection, Limits, TooSlow
from prise.connection import flusher
from prise.connection.bridged import converse

BIG = "x" * 99_999


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def fill(connection: Connection) -> int:
    """Posts until much is left that the peer does not take (the system's buffers grow a little); how many bytes it were."""
    posted = 0
    while connection._posted_size < 10_000_000:
        assert connection.post(BIG)
        posted += len(BIG) + 1
    return posted


def roomy(**limits: Any) -> Limits:
    return Limits(idle_time=None, outbox_size=100_000_000, **limits)


# From many threads


@pytest.mark.parametrize("unix", [False, True])
def test_posts_of_many_threads_arrive_whole_and_each_threads_in_order(unix, background):
    threads, count = 8, 500
    with talk(unix=unix, limits=roomy()) as (connection, peer):

        def shout(who: int) -> None:
            for number in range(count):
                assert connection.post(f"{who} {number} " + "." * (number % 300))

        def send() -> None:
            for number in range(count):
                connection.send(f"owner {number}")

        shouting = [background.submit(shout, who) for who in range(threads)]
        shouting.append(background.submit(send))
        lines = peer.makefile("rb")
        with lines:
            seen: dict[bytes, list[int]] = {}
            for _ in range((threads + 1) * count):
                who, number, *_ = lines.readline().split()
                seen.setdefault(who, []).append(int(number))
        for each in shouting:
            each.result(PATIENCE)
        assert set(seen) == {b"owner", *(b"%d" % who for who in range(threads))}
        assert all(numbers == list(range(count)) for numbers in seen.values())
        assert connection._counters.messages_sent == (threads + 1) * count


def test_a_post_does_not_wait_for_the_owner_who_is_sending(background):
    with talk(limits=roomy()) as (connection, peer):
        sending = background.submit(connection.send, "y" * 20_000_000)
        assert peer.recv(1) == b"y"  # it has begun
        for number in range(100):
            assert connection.post(f"post {number}")
        assert not sending.done()
        received = b"y"
        while not received.endswith(b"post 99\n"):
            received += peer.recv(1_000_000)
        assert received == b"y" * 20_000_000 + b"\n" + b"".join(b"post %d\n" % number for number in range(100))
        sending.result(PATIENCE)


def test_opened_used_and_closed_under_fire(background):
    """Posts and aborts that meet a closing connection never reach the one that gets its descriptor next."""
    stop, current = threading.Event(), list[Connection]()
    lost = []

    def fire() -> None:
        while not stop.is_set():
            for connection in list(current):
                connection.post(f"for {connection.id}")

    firing = [background.submit(fire) for _ in range(3)]
    for _ in range(50):
        with talk(unix=True, limits=roomy()) as (connection, peer):
            reading = background.submit(read_all, peer)
            current[:] = [connection]
            connection.send(f"for {connection.id}")
            connection.close()
            lost += [line for line in reading.result().splitlines() if line != b"for %d" % connection.id]
    stop.set()
    for each in firing:
        each.result(PATIENCE)
    assert not lost


# A peer that is behind


@pytest.mark.parametrize("unix", [False, True])
def test_what_the_peer_does_not_take_at_once_follows_when_it_does(unix):
    with talk(unix=unix, limits=roomy()) as (connection, peer):
        posted = fill(connection)
        received = 0
        while received < posted:
            received += len(peer.recv(1_000_000))
        until(lambda: not connection._flusher_has_it, "the flusher lets go")
        assert connection.post("and on")
        assert peer.recv(100) == b"and on\n"


def test_a_peer_that_stays_behind_is_given_up():
    with talk(limits=Limits(outbox_size=500_000)) as (connection, peer):
        results = [connection.post(BIG) for _ in range(200)]
        assert results.index(False) < 150, "bounded by what the system keeps, and the outbox"
        assert not any(results[results.index(False) :])
        with pytest.raises(TooSlow, match=r"the peer left .* bytes unread") as caught:
            connection.receive()
        assert (caught.value.operation, caught.value.peer) == ("post", connection.peer)
        with pytest.raises(TooSlow):
            connection.send("x")
        assert len(read_all(peer)) < 200 * len(BIG)


def test_giving_up_wakes_the_owner(background):
    with talk(limits=Limits(outbox_size=500_000)) as (connection, _):
        waiting = background.submit(connection.receive)
        while connection.post(BIG):
            pass
        with pytest.raises(TooSlow):
            waiting.result(PATIENCE)


def test_what_was_posted_has_a_deadline_too(background):
    with talk(limits=roomy(write_time=0.2)) as (connection, _):
        waiting = background.submit(connection.receive)
        fill(connection)
        with pytest.raises(TooSlow, match=r"the peer took nothing for 0\.2 s"):
            waiting.result(PATIENCE)
        assert not connection.post("x")


def test_a_peer_that_keeps_up_slowly_is_not_given_up(background):
    stop = threading.Event()

    def sip(peer: socket.socket) -> int:
        taken = 0
        while not stop.wait(0.01):
            taken += len(peer.recv(400_000))
        return taken

    with talk(unix=True, limits=roomy(write_time=0.5)) as (connection, peer):
        sipping = background.submit(sip, peer)
        until_then = time.monotonic() + 1.5
        while time.monotonic() < until_then:  # there is always something left, and always something new
            if connection._posted_size + len(connection._unsent) < 500_000:
                assert connection.post(BIG)
        stop.set()
        assert sipping.result(PATIENCE) > 1_000_000
        connection.abort()


def test_a_stuck_peer_delays_nobody():
    with talk(limits=roomy()) as (stuck, _), talk() as (quick, peer):
        fill(stuck)
        for number in range(100):
            assert prise.broadcast([stuck, quick], f"news {number}") == 2
        lines = peer.makefile("rb")
        with lines:
            assert [lines.readline() for _ in range(100)] == [b"news %d\n" % number for number in range(100)]
        stuck.abort()


def test_broadcast_tells_how_many_took_it():
    with talk() as (one, peer), talk("prefixed:4") as (other, other_peer), talk() as (gone, _):
        gone.close()
        assert prise.broadcast([one, gone], "hello") == 1
        assert prise.broadcast([other], b"hello") == 1
        assert peer.recv(100) == b"hello\n"
        assert other_peer.recv(100) == b"\0\0\0\5hello"


# The end


def test_after_the_end_nothing_is_posted():
    with talk() as (connection, peer):
        assert connection.post("before")
        connection.send_eof()
        assert not connection.post("after")
        assert read_all(peer) == b"before\n"


@pytest.mark.parametrize("end", [Connection.close, Connection.send_eof])
def test_what_was_posted_is_sent_before_the_end(end: Callable[[Connection], None], background):
    with talk(limits=roomy()) as (connection, peer):
        posted = fill(connection)
        ending = background.submit(end, connection)
        assert len(read_all(peer)) == posted
        ending.result(PATIENCE)


def test_a_descriptor_that_is_used_again_gets_nothing_of_its_predecessor():
    for _ in range(20):
        with talk(unix=True, limits=roomy()) as (stuck, _):
            fill(stuck)
            number = stuck.fileno()
            stuck.abort()
            stuck.close()
            with talk(unix=True) as (fresh, peer):
                same = number in (fresh.fileno(), peer.fileno())
                assert fresh.post("only this")
                fresh.close()
                assert read_all(peer) == b"only this\n"
                assert same, "this test needs the system to give the lowest free descriptor"


def test_the_flusher_goes_when_it_has_nothing_to_do():
    with talk(limits=roomy()) as (connection, peer):
        posted = fill(connection)
        assert any(thread.name == "prise-flusher" for thread in threading.enumerate())
        while posted:
            posted -= len(peer.recv(1_000_000))
        until(lambda: flusher._flusher is None, "the flusher ends")
        until(lambda: all(thread.name != "prise-flusher" for thread in threading.enumerate()), "its thread too")
        posted = fill(connection)  # and another begins
        while posted:
            posted -= len(peer.recv(1_000_000))


def test_a_closed_connection_is_not_kept_by_the_flusher():
    with talk(limits=roomy()) as (connection, peer):
        fill(connection)
        connection.abort()
        connection.close()
        until(lambda: flusher._flusher is None, "the flusher has nothing left")
        with pytest.raises(ConnectionResetError):  # not an end: the peer must not take the half of it for the whole
            read_all(peer)


def test_in_a_forked_process_there_is_a_flusher_too():
    with talk(limits=roomy()) as (ours, _), talk(limits=roomy()) as (connection, peer):
        fill(ours)  # ours runs when the child is made
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: it has threads
            pid = os.fork()
        if not pid:
            try:
                posted = fill(connection)
                connection.close()
                os._exit(0 if posted else 1)
            finally:
                os._exit(2)
        connection._sock.close()  # our copy
        assert len(read_all(peer)) > len(BIG)
        assert os.waitpid(pid, 0)[1] == 0
        ours.abort()


# Between conversations, in every model and spelling


def gossip_function(connection: Any) -> None:
    here.append(connection)
    for line in connection:
        prise.broadcast(here, line)


def gossip_generator(connection: Any) -> Any:
    here.append(connection)
    while True:
        prise.broadcast(here, (yield None))


async def gossip_coroutine(connection: Any) -> None:
    here.append(connection)
    async for line in connection:
        prise.broadcast(here, line)


here: list[Any] = []


@pytest.mark.parametrize(
    ("model", "conversation"),
    [
        ("threads", gossip_function),
        ("threads", gossip_generator),
        ("threads", gossip_coroutine),
        ("select", gossip_generator),
        ("select", gossip_coroutine),
        ("asyncio", gossip_generator),
        ("asyncio", gossip_coroutine),
    ],
)
def test_conversations_post_to_each_other_and_so_do_others(model, conversation):
    here.clear()
    with prise.listen(conversation, "127.0.0.1:0", model=model) as server:
        clients = [prise.connect(server.address).open() for _ in range(5)]
        until(lambda: len(here) == 5, "all are there")
        for client in clients:
            client.send(f"hello from {client.id}")
        for client in clients:
            heard = {client.receive(PATIENCE) for _ in clients}
            assert heard == {f"hello from {each.id}" for each in clients}
        assert prise.broadcast(here, "from outside") == 5
        assert {client.receive(PATIENCE) for client in clients} == {"from outside"}
        for client in clients:
            client.close()
        until(lambda: server.stats().open == 0, "all have gone")
        assert prise.broadcast(here, "nobody hears it") == 0


def test_what_a_generator_posts_to_itself_comes_in_order():
    def countdown(connection: Any) -> Any:
        for number in range(3):
            reply = yield None
            connection.send(f"sent {number}")
            connection.post(f"posted {number}")
            yield f"replied to {reply}"

    with talk(limits=PATIENT) as (connection, peer):
        peer.sendall(b"a\n-\nb\n-\nc\n-\n")
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            assert selector.select(PATIENCE)
        converse(countdown, "generator", connection, "threads")
        connection.close()
        assert read_all(peer).decode().split("\n") == [
            "sent 0",
            "posted 0",
            "replied to a",
            "sent 1",
            "posted 1",
            "replied to b",
            "sent 2",
            "posted 2",
            "replied to c",
            "",
        ]

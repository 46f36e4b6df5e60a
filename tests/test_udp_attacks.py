"""What a stranger may do to a datagram server: everybody else goes on being served, and memory stays bounded.

On loopback the addresses cannot be forged, but a peer is an address and a port, and one machine has many of both.
"""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import prise
from blocking_support import PATIENCE, until
from prise import Limits

LOOPED = ["select", "asyncio"]
MODELS = [*LOOPED, "threads"]


def echo(connection: Any) -> Any:
    reply = None
    while True:
        reply = yield reply


def serve(model: str, framing: str = "lines", **limits: Any) -> Any:
    return prise.listen(
        echo, "udp:127.0.0.1:0", model=model, framing=framing, limits=Limits(linger_time=0.2, **limits), drain_time=1
    )


@contextmanager
def peer(server: Any, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.bind((host, 0))
        sock.connect(("127.0.0.1", server.address.port))
        yield sock


def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return sock.recv(65536)


def flood(server: Any, count: int, each: int = 1, data: bytes = b"x") -> None:
    """Datagrams from so many addresses, most of them new: 250 ports of 127.1.0.x at a time."""
    where = ("127.0.0.1", server.address.port)
    for number in range(count // 250):
        socks = []
        try:
            for _ in range(250):
                socks.append(sock := socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sock.bind((f"127.1.{number % 40}.1", 0))
                for _ in range(each):
                    sock.sendto(data, where)
        finally:
            for sock in socks:
                sock.close()


@pytest.mark.parametrize("model", MODELS)
def test_ten_thousand_peers(model: str) -> None:
    """The table takes what it may, the rest is dropped and counted; who was there before goes on."""
    most = 20 if model == "threads" else 500
    with serve(model, connections=most) as server, peer(server) as honest:
        assert ask(honest, b"before") == b"before\n"
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for turn in range(10):
                flood(server, 1000)
                while True:  # the kernel's queue is full of strangers: a datagram may be lost, as always
                    honest.settimeout(0.2)
                    try:
                        assert ask(honest, b"turn %d" % turn) in {b"turn %d\n" % n for n in range(turn + 1)}
                        break
                    except TimeoutError:
                        continue
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        stats = server.stats()
        assert stats.open == stats.total == most
        assert stats.refused["sessions"] > 1000
        assert stats.refused["sessions"] + stats.messages_received <= 10_000 + 200
        each = 100_000 if model == "threads" else 20_000  # a thread that waits has a buffer in its hands
        assert grown < most * each + 1_000_000, f"{grown} bytes for {most} sessions"
        assert not any(stats.errors.values())


@pytest.mark.parametrize("model", LOOPED)
def test_peers_that_go_silent_make_room(model: str) -> None:
    """The table is emptied by time: a flood does not shut others out for ever."""
    with serve(model, connections=100, idle_time=0.2) as server, peer(server) as late:
        flood(server, 250)
        until(lambda: server.stats().refused["sessions"] == 150, "the table is full")
        assert server.stats().open <= 100
        until(lambda: server.stats().open == 0, "they are gone")
        assert ask(late, b"room for me") == b"room for me\n"


@pytest.mark.parametrize("model", MODELS)
def test_one_peer_that_never_reads_its_answers(model: str) -> None:
    """They are lost in the peer's own socket; nothing waits for them here."""
    with serve(model) as server, peer(server) as rude, peer(server) as honest:
        for _ in range(2000):
            rude.send(b"x" * 1400)
        honest.settimeout(0.5)
        for _ in range(20):  # what the kernel had no room for is lost
            try:
                assert ask(honest, b"y") == b"y\n"
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("not served")
        assert not any(server.stats().errors.values())


@pytest.mark.parametrize("model", ["select", "threads"])
def test_a_small_question_is_no_lever(model: str) -> None:
    """Whatever the conversation says, the address that asked gets no more than so many times what it sent."""

    def verbose(connection: Any) -> Any:
        while True:
            yield None
            for _ in range(100):
                connection.send("x" * 1000)

    with (
        prise.listen(verbose, "udp:127.0.0.1:0", model=model, limits=Limits(amplification=10)) as server,
        peer(server) as forged,
    ):
        sent = 0
        for _ in range(100):
            forged.send(b"ANY?")
            sent += 4 + 28
        until(lambda: server.stats().messages_received == 100, "all taken")
        until(lambda: sum(server.stats().dropped.values()) > 9900, "most dropped")
        forged.setblocking(False)
        got = count = 0
        try:
            while True:
                got += len(forged.recv(65536)) + 28
                count += 1
        except BlockingIOError:
            pass
        assert 0 < got <= 10 * sent
        assert server.stats().dropped["amplification"] == 100 * 100 - count


FRAMINGS = ["lines", "lines | json", "prefixed:4 | json", "fixed:8", "chunks", "cobs"]


@pytest.mark.parametrize("model", ["select", "threads"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_garbage(model: str, framing: str) -> None:
    """Each datagram is a message, or is dropped and counted; nothing ends, and the counts add up."""
    with serve(model, framing, amplification=None) as server, peer(server) as stranger:
        good = {"fixed:8": b"12345678"}.get(framing, b"[]")
        answered = sent = 0

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.lists(st.binary(max_size=50) | st.sampled_from([b"", b"\n", b"[1]\n", b"\xff", b"{" * 2000]), max_size=8)
        )
        def throw(datagrams: list[bytes]) -> None:
            nonlocal answered, sent
            for data in datagrams:
                stranger.send(data)
            stranger.send(good)
            sent += len(datagrams) + 1
            marker = good if framing in ("fixed:8", "chunks", "cobs", "prefixed:4 | json") else good + b"\n"
            while True:
                answered += 1
                if stranger.recv(65536) == marker and answered + dropped_now() == sent:
                    break

        def dropped_now() -> int:
            return sum(server.stats().dropped.values()) if model == "select" else sent - answered

        throw()
        until(lambda: server.stats().messages_received + sum(server.stats().dropped.values()) == sent, "all counted")
        stats = server.stats()
        assert stats.dropped["queue"] == stats.dropped["amplification"] == 0
        assert (stats.open, stats.total) == (1, 1)
        assert not any(stats.errors.values())


@pytest.mark.parametrize("model", MODELS)
def test_oversized(model: str) -> None:
    """They cost no more than a read, and count."""
    with serve(model, message_size=100) as server, peer(server) as stranger:
        for _ in range(30):
            stranger.send(bytes(60_000))
            stranger.send(b"")  # so that the next one finds room in the kernel's queue
            assert stranger.recv(100) == b"\n"
        until(lambda: server.stats().dropped["too_large"] == 30, "counted")
        until(lambda: server.stats().bytes_received == 30 * 60_000, "all bytes counted")
        until(lambda: server.stats().messages_sent == 30, "all answers counted")
        stats = server.stats()
        assert (stats.messages_received, stats.open) == (30, 1)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_said_about_garbage_is_bounded(model: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line a second, whoever sends it: a log is memory too."""
    with serve(model) as server, peer(server) as stranger:
        for _ in range(100):
            stranger.send(b"\xff")
        assert ask(stranger, b"x") == b"x\n"
        until(lambda: server.stats().dropped["malformed"] == 100, "counted")
    assert sum("a datagram was dropped" in each.message for each in caplog.records) <= 3

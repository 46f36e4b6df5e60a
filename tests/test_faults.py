"""`prise.testing.faults`: what each fault does to the bytes, seen from both ends."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from prise.testing import faults
from prise.testing.conformance import echo_function, echo_generator
from prise.testing.faultproxy import Proxy
from tls_support import client_tls, server_tls

PATIENCE = 10.0
TEXT = bytes(range(256)) * 4


@contextmanager
def ends(
    *chosen: faults.Fault, seed: int | None = None, unix: Path | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and the server's, with the proxy between them."""
    if unix is None:
        listener = socket.create_server(("127.0.0.1", 0))
        target: object = listener.getsockname()
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(unix))
        listener.listen()
        target = unix
    listener.settimeout(PATIENCE)
    with listener, faults.proxy(target, *chosen, seed=seed) as address:  # type: ignore[arg-type]
        family = socket.AF_INET if unix is None else socket.AF_UNIX
        with socket.socket(family) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", address.port) if unix is None else address.path)  # type: ignore[arg-type]
            server, _ = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                yield client, server


def everything(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def is_silent(sock: socket.socket, seconds: float = 0.05) -> bool:
    return not select.select([sock], [], [], seconds)[0]


# -- streams -------------------------------------------------------------------------------------------------------------

GENTLE = {
    "none": (),
    "split": (faults.Split(1),),
    "split at random": (faults.Split(1, 100),),
    "coalesce": (faults.Coalesce(300, 0.01),),
    "delay": (faults.Delay(0.01, jitter=0.01),),
    "throttle": (faults.Throttle(100_000),),
    "all": (faults.Coalesce(100, 0.01), faults.Delay(0.005), faults.Split(3, 40), faults.Throttle(200_000)),
}


@pytest.mark.parametrize("chosen", GENTLE.values(), ids=GENTLE)
def test_what_only_takes_its_time_loses_nothing_and_passes_the_end_on(chosen: tuple[faults.Fault, ...]) -> None:
    with ends(*chosen) as (client, server):
        client.sendall(TEXT)
        client.shutdown(socket.SHUT_WR)
        assert everything(server) == TEXT
        server.sendall(TEXT[::-1])
        server.close()
        assert everything(client) == TEXT[::-1]


def test_a_delay_delays() -> None:
    with ends(faults.Delay(0.1)) as (client, server):
        began = time.monotonic()
        client.sendall(b"slow")
        assert server.recv(100) == b"slow"
        assert time.monotonic() - began >= 0.1


def test_a_fault_may_have_one_direction_only() -> None:
    with ends(faults.Delay(60, only="up")) as (client, server):
        client.sendall(b"in a minute")
        server.sendall(b"now")
        assert client.recv(100) == b"now"
        assert is_silent(server, 0)


def test_split_writes_so_many_bytes_at_a_time() -> None:
    split = faults.Split(4, pause=0.5)
    assert list(split.put(10.0, b"abcdef")) == [(10.0, b"abcd"), (10.5, b"ef")]
    assert list(split.put(10.0, b"ghij")) == [(11.0, b"gh"), (11.5, b"ij")]  # parts follow from the stream
    at_random = list(faults.Split(2, 5).fresh(Random(1)).put(0.0, TEXT))
    assert b"".join(part for _, part in at_random if isinstance(part, bytes)) == TEXT
    assert {len(part) for _, part in at_random[:-1] if isinstance(part, bytes)} == {2, 3, 4, 5}


def test_coalesce_waits_for_more() -> None:
    with ends(faults.Coalesce(6, seconds=60)) as (client, server):
        for part in (b"ab", b"cd"):
            client.sendall(part)
            assert is_silent(server, 0.01)
        client.sendall(b"ef")
        assert server.recv(100) == b"abcdef"


def test_coalesce_does_not_wait_for_ever() -> None:
    with ends(faults.Coalesce(6, seconds=0.1)) as (client, server):
        began = time.monotonic()
        client.sendall(b"gh")
        assert server.recv(100) == b"gh"
        assert time.monotonic() - began >= 0.1


def test_throttle_keeps_to_its_rate() -> None:
    with ends(faults.Throttle(10_000)) as (client, server):
        began = time.monotonic()
        client.sendall(bytes(2000))
        assert len(exactly(server, 2000)) == 2000
        assert time.monotonic() - began >= 0.18


def test_truncate_ends_the_one_direction_after_so_many_bytes() -> None:
    with ends(faults.Truncate(10, only="up")) as (client, server):
        client.sendall(TEXT)
        assert everything(server) == TEXT[:10]
        server.sendall(b"still here")
        assert exactly(client, 10) == b"still here"
        client.sendall(TEXT)  # goes nowhere
        server.close()
        assert everything(client) == b""


def test_reset_is_a_reset_on_both_sides() -> None:
    with ends(faults.Reset(10, only="down")) as (client, server):
        client.sendall(TEXT)
        assert exactly(server, len(TEXT)) == TEXT  # the other direction does not count
        server.sendall(TEXT)
        for sock in (client, server):
            with pytest.raises(ConnectionResetError):
                assert len(everything(sock)) <= 10


def test_a_reset_unix_socket_has_ended(tmp_path: Path) -> None:
    with ends(faults.Reset(3), unix=tmp_path / "server") as (client, server):
        client.sendall(b"abcdef")
        assert exactly(server, 100) == b"abc"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(2):
                server.sendall(b"x")
                assert everything(client) == b""


def test_half_open_says_nothing_to_nobody() -> None:
    with ends(faults.HalfOpen(3)) as (client, server):
        client.sendall(b"abcdef")
        assert exactly(server, 3) == b"abc"
        server.sendall(b"answer")
        client.shutdown(socket.SHUT_WR)
        assert is_silent(client)
        assert is_silent(server, 0)


def test_half_open_takes_no_more_than_buffers_hold() -> None:
    with ends(faults.HalfOpen(0)) as (client, _):
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.sendall(bytes(65536))


def test_who_does_not_read_is_not_read_for() -> None:
    """The proxy keeps little itself: backpressure goes through it."""
    with ends() as (client, server):
        client.settimeout(0.1)
        sent = 0
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                sent += client.send(bytes(65536))
        assert sent < 1000 * 65536
        client.shutdown(socket.SHUT_WR)
        assert len(everything(server)) >= sent


def test_a_reset_of_one_side_reaches_the_other() -> None:
    with ends() as (client, server):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ConnectionResetError):
            server.recv(1)


def test_nobody_listens_behind_it() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with (
            faults.proxy(free.getsockname()) as address,
            socket.create_connection(("127.0.0.1", address.port)) as client,
            pytest.raises(ConnectionResetError),
        ):
            client.recv(1)


@settings(max_examples=50)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=20),
    chosen=st.lists(
        st.sampled_from(
            [
                faults.Split(1),
                faults.Split(2, 9, pause=0.001),
                faults.Coalesce(7),
                faults.Delay(0.1, 0.1),
                faults.Throttle(500),
            ]
        ),
        max_size=4,
    ),
    most=st.none() | st.integers(0, 100),
    seed=st.integers(0, 9),
)
def test_whatever_is_combined_a_stream_stays_a_stream(
    chunks: list[bytes], chosen: list[faults.Fault], most: int | None, seed: int
) -> None:
    """No sockets here: a fault is arithmetic."""
    stages = [fault.fresh(Random(seed)) for fault in [*chosen, *([] if most is None else [faults.Truncate(most)])]]

    def through(pieces: list[faults.Timed], rest: list[faults.Fault]) -> list[faults.Timed]:
        for fault in rest:
            pieces = [out for at, piece in pieces for out in fault.put(at, piece)] + list(fault.late())
        return pieces

    now = 1000.0
    given_pieces: list[faults.Timed] = [(now + number / 10, chunk) for number, chunk in enumerate(chunks)]
    out = through([*given_pieces, (now + len(chunks), faults.Sign.END)], stages)
    data = b"".join(piece for _, piece in out if isinstance(piece, bytes))
    assert data == b"".join(chunks)[:most]
    assert [piece for _, piece in out if not isinstance(piece, bytes)] == [faults.Sign.END]
    assert out[-1][1] is faults.Sign.END
    assert all(at >= now for at, _ in out)


# -- prise through it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["127.0.0.1:0", "[::1]:0", "localhost:0", ":0", "tls:localhost:0", "ws:localhost:0/x"]
)
def test_the_address_is_that_of_the_server_with_another_port(address: str) -> None:
    tls = server_tls() if address.startswith("tls") else None
    with (
        prise.listen(echo_function, address, tls=tls) as server,
        faults.proxy(server.addresses[0], faults.Split(1, 20)) as through,
        prise.connect(through, tls=client_tls() if tls else None) as connection,
    ):
        assert through.scheme == server.addresses[0].scheme
        assert through.port != server.addresses[0].port
        assert connection.ask("hello", timeout=PATIENCE) == "hello"


def test_a_unix_path(tmp_path: Path) -> None:
    with (
        prise.listen(echo_function, f"unix:{tmp_path}/s") as server,
        faults.proxy(server.address, faults.Split(1)) as through,
        prise.connect(through) as connection,
    ):
        assert connection.ask("hello", timeout=PATIENCE) == "hello"
    assert through.path is not None
    assert not os.path.exists(through.path)


def test_many_connections_at_once_each_with_its_own_count() -> None:
    with (
        prise.listen(echo_generator, "127.0.0.1:0") as server,
        faults.proxy(server.address, faults.Truncate(8, only="down")) as through,
    ):
        connections = [prise.connect(through).open() for _ in range(20)]
        for connection in connections:
            assert connection.ask("one", timeout=PATIENCE) == "one"
        for connection in connections:
            with connection:
                connection.send("two")
                connection.send("three")
                assert list(connection) == ["two"]


# -- datagrams -----------------------------------------------------------------------------------------------------------


@contextmanager
def datagram_ends(*chosen: faults.Fault, seed: int | None = None) -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE)
        with (
            faults.proxy(f"udp:127.0.0.1:{server.getsockname()[1]}", *chosen, seed=seed) as address,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", address.port))
            yield client, server


def carried(seed: int, *chosen: faults.Fault) -> list[int]:
    """The numbers of 100 datagrams as they arrive; the last, 255, is sent until it comes."""
    with datagram_ends(*chosen, seed=seed) as (client, server):
        for number in range(100):
            client.send(bytes([number]))
        heard: list[int] = []
        while 255 not in heard:
            if is_silent(server, 0.1):
                client.send(b"\xff")
            else:
                heard.append(server.recv(10)[0])
        return heard[: heard.index(255)]


def test_datagrams_pass_and_are_answered() -> None:
    with datagram_ends(faults.Delay(0.01)) as (client, server):
        client.send(b"ask")
        data, sender = server.recvfrom(100)
        server.sendto(data.upper(), sender)
        assert client.recv(100) == b"ASK"


def test_drop_loses_some_and_the_same_with_the_same_seed() -> None:
    heard = carried(1, faults.Drop(0.3))
    assert 40 < len(heard) < 95
    assert heard == sorted(set(heard)) == carried(1, faults.Drop(0.3))
    assert heard != carried(2, faults.Drop(0.3))


def test_duplicate_brings_some_twice() -> None:
    heard = carried(1, faults.Duplicate(0.3))
    assert sorted(set(heard)) == list(range(100))
    assert 105 < len(heard) < 160


def test_reorder_lets_some_be_overtaken() -> None:
    heard = carried(1, faults.Reorder(0.3, 0.02))
    assert sorted(heard) == list(range(100))
    assert heard != sorted(heard)


def test_half_open_datagrams() -> None:
    with datagram_ends(faults.HalfOpen(3)) as (client, server):
        client.send(b"abc")
        assert server.recv(10) == b"abc"
        client.send(b"def")
        assert is_silent(server)


# -- the proxy itself ----------------------------------------------------------------------------------------------------


def test_the_seed_is_told_with_whatever_goes_wrong() -> None:
    proxy = faults.proxy("127.0.0.1:1", faults.Split(1, 9), seed=7)
    assert repr(proxy) == "faults.proxy('127.0.0.1:1', Split(only=None, size=1, most=9, pause=0.0), seed=7)"
    with pytest.raises(RuntimeError) as caught, proxy:
        raise RuntimeError("a test that fails")
    assert caught.value.__notes__ == [f"through {proxy!r}"]


def test_it_leaves_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd")), threading.active_count()
    with prise.listen(echo_generator, "127.0.0.1:0") as server:
        with faults.proxy(server.address, faults.HalfOpen(5), faults.Delay(60)) as through:
            clients = [socket.create_connection(("127.0.0.1", through.port)) for _ in range(10)]
            for client in clients:
                client.sendall(b"on its way for a minute")
        for client in clients:
            client.close()
    assert (set(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_more_connections_than_it_has_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prise.testing.faultproxy.MOST", 2)
    with prise.listen(echo_generator, "127.0.0.1:0") as server, faults.proxy(server.address) as through:
        with prise.connect(through) as one, prise.connect(through) as two:
            assert one.ask("1", timeout=PATIENCE) == two.ask("1", timeout=PATIENCE) == "1"
            three = prise.connect(through).open()
            three.send("3")
            with pytest.raises(prise.TooSlow):
                three.receive(timeout=0.05)
        with three:
            assert three.receive(timeout=PATIENCE) == "3"


@pytest.mark.parametrize(
    "make",
    [
        lambda: faults.proxy("mem:x"),
        lambda: faults.proxy("unix,type=dgram:/x"),
        lambda: faults.proxy("127.0.0.1:1", faults.Drop(0.5)),
        lambda: faults.proxy("udp:127.0.0.1:1", faults.Split(1)),
        lambda: faults.Split(0),
        lambda: faults.Split(5, 4),
        lambda: faults.Delay(-1),
        lambda: faults.Throttle(0),
        lambda: faults.Truncate(-1),
        lambda: faults.Drop(1.5),
        lambda: faults.Coalesce(0),
    ],
)
def test_what_cannot_be_is_refused(make: object) -> None:
    with pytest.raises(prise.UsageError):
        make()  # type: ignore[operator]


def test_a_fault_of_ones_own() -> None:
    class Shout(faults.Fault):
        def put(self, at: float, piece: faults.Piece) -> list[faults.Timed]:
            return [(at, piece.upper() if isinstance(piece, bytes) else piece)]

    with ends(Shout(only="up")) as (client, server):
        client.sendall(b"hello")
        assert server.recv(100) == b"HELLO"


def test_what_it_returns_is_a_proxy() -> None:
    assert isinstance(faults.proxy("127.0.0.1:1"), Proxy)

"""`server.stats()`: what is counted, in every model, over threads, children and workers, also after a crash."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, RESET, until
from prise import Limits, Stats
from prise.core.counters import FIELDS, Counters
from prise.servers.board import Board
from prise.servers.threads import SharedAcceptor

LIMITS = Limits(linger_time=0.2)
Listen = Callable[..., prise.Server]


async def echo(connection: Any) -> None:
    async for line in connection:
        if line == "crash":
            raise RuntimeError("crash")
        if line == "kill":
            os.kill(os.getpid(), 9)
        await connection.send(line)


@pytest.fixture(
    params=[(model, workers) for model in ("threads", "processes", "select", "asyncio") for workers in (1, 2)],
    ids=lambda each: f"{each[0]}-{each[1]}",
)
def listen(request: pytest.FixtureRequest) -> Listen:
    model, workers = request.param
    return lambda **options: prise.listen(
        echo, "127.0.0.1:0", **{"model": model, "workers": workers, "limits": LIMITS, **options}
    )


def raw(server: prise.Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.address.port or 0)), timeout=PATIENCE)


def test_what_goes_on_is_counted_while_it_goes_on(listen):
    with listen() as server:
        with ExitStack() as stack:
            clients = [stack.enter_context(prise.connect(server.address)) for _ in range(3)]
            for client in clients:
                assert client.ask("12345", timeout=PATIENCE) == "12345"
            until(lambda: server.stats().bytes_sent == 18 and server.stats().total == 3, "all is counted")
            stats = server.stats()
            assert (stats.open, stats.total) == (3, 3)
            assert (stats.messages_received, stats.bytes_received, stats.messages_sent) == (3, 18, 3)
        until(lambda: server.stats().open == 0, "they are gone")
    assert server.stats().total == 3
    assert server.stats().bytes_sent == 18


@pytest.mark.usefixtures("caplog")
def test_what_goes_wrong_is_counted_once_and_by_its_cause(listen):
    with listen(limits=Limits(linger_time=0.2, message_size=100, message_time=0.2)) as server:
        with prise.connect(server.address) as client:
            client.send("crash")
            assert list(client) == []
        with raw(server) as client:
            client.sendall(b"x" * 200)
            assert client.recv(1) == b""
        with raw(server) as client:
            client.sendall(b"half")
            assert client.recv(1) == b""
        with raw(server) as client:
            client.sendall(b"a\n")
            assert client.recv(10) == b"a\n"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        until(lambda: server.stats().open == 0 and sum(server.stats().errors.values()) == 4, "four errors")
        expected = {"conversation": 1, "frame": 1, "handshake": 0, "too_slow": 1, "lost": 1}
        assert server.stats().errors == expected
    assert server.stats().errors == expected


def test_a_peer_that_leaves_is_no_error(listen, caplog):
    with listen() as server:
        for ending in (b"", b"a\n", b"half a line"):
            with raw(server) as client:
                client.sendall(ending)
                client.shutdown(socket.SHUT_WR)
                while client.recv(100):
                    pass
        until(lambda: server.stats().open == 0 and server.stats().total == 3, "all have gone")
        assert not any(server.stats().errors.values())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_conversation_that_dies_in_its_process_is_counted(workers, capfd):
    with prise.listen(echo, "127.0.0.1:0", model="processes", workers=workers, limits=LIMITS) as server:
        with prise.connect(server.address) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
            client.send("kill")
            assert list(client) == []
        until(lambda: server.stats().total == 1 and server.stats().open == 0, "it is gone")
        stats = server.stats()
        assert (stats.total, stats.messages_received, stats.errors["conversation"]) == (1, 2, 1)
        with prise.connect(server.address) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
    assert server.stats().total == 2


@pytest.mark.parametrize("model", ["threads", "select", "asyncio"])
def test_the_counts_of_a_worker_that_dies_go_on(model, capfd):
    with prise.listen(echo, "127.0.0.1:0", model=model, workers=2, limits=LIMITS) as server:
        for total in (1, 2, 3):
            with prise.connect(server.address) as client:
                assert client.ask("hello", timeout=PATIENCE) == "hello"
                until(lambda total=total: server.stats().messages_sent == total, "it is published")  # type: ignore[misc]
                client.send("kill")
                assert list(client) == []
        with prise.connect(server.address, retry=20) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
    stats = server.stats()
    assert (stats.total, stats.messages_sent, stats.open) == (4, 4, 0)


def test_no_count_goes_down_while_conversations_come_and_go():
    """Counts move from a thread's own to the server's; nobody may see them in both places, or in none."""
    stop = threading.Event()

    def watch(server: prise.Server) -> list[Stats]:
        seen = [server.stats()]
        while not stop.is_set():
            seen.append(server.stats())
        return seen

    with prise.listen(echo, "127.0.0.1:0", model="threads", limits=LIMITS) as server, ThreadPoolExecutor() as pool:
        watching = pool.submit(watch, server)
        for _ in range(60):
            with prise.connect(server.address) as client:
                assert client.ask("hello", timeout=PATIENCE) == "hello"
        stop.set()
        seen = watching.result(PATIENCE)
    for before, after in itertools.pairwise(seen):
        assert before.total <= after.total
        assert before.messages_received <= after.messages_received
        assert before.bytes_sent <= after.bytes_sent
        assert after.open >= 0
    assert server.stats().messages_received == 60


def test_those_over_the_limit_per_peer_are_counted_apart(listen):
    with listen(workers=1, limits=Limits(linger_time=0.2, connections_per_peer=1)) as server:
        with prise.connect(server.address) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
            for _ in range(3):
                with prise.connect(server.address) as other:
                    assert list(other) == []
        until(lambda: server.stats().open == 0, "it is gone")
    stats = server.stats()
    assert (stats.total, dict(stats.refused)) == (1, {"per_peer": 3, "resources": 0, "sessions": 0})


# The board


def test_a_board_sums_what_processes_write_into_their_rows():
    board = Board(3)
    assert board.sum().values() == (0,) * len(FIELDS)
    for row in range(3):
        pid = os.fork()
        if not pid:
            shared = board.shared(row)
            for _ in range(100):
                shared.accepted += 1
            shared.error_lost += 10**12
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert board.read(0).accepted == 100
    assert board.sum().accepted == 300
    assert board.sum().error_lost == 3 * 10**12
    board.write(0, Counters())
    assert board.sum().accepted == 200


def test_the_stats_of_counters():
    counters = Counters(range(1, len(FIELDS) + 1))
    stats = Stats.of(counters)
    assert stats.open == counters.accepted - counters.closed
    assert set(stats.refused) == {"per_peer", "resources", "sessions"}
    assert set(stats.errors) == {"conversation", "frame", "handshake", "too_slow", "lost"}
    assert Counters.sum([counters, counters]).values() == tuple(2 * value for value in counters.values())
    assert Counters.sum([]).values() == (0,) * len(FIELDS)


def test_a_thread_that_has_ended_and_its_connection_are_counted_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a drain could be over between the two, and keep an open connection in its last counts for ever."""
    release = SharedAcceptor.release
    alone: list[bool] = []

    def watched(acceptor: SharedAcceptor, key: str | None) -> None:
        with ThreadPoolExecutor(1) as other:
            alone.append(not other.submit(acceptor._lock.acquire, blocking=False).result())
        release(acceptor, key)

    monkeypatch.setattr(SharedAcceptor, "release", watched)
    with prise.listen(echo, "127.0.0.1:0", model="threads", limits=LIMITS) as server:
        with prise.connect(server.address) as client:
            assert client.ask("a") == "a"
    assert alone == [True]
    assert (server.stats().open, server.stats().total) == (0, 1)

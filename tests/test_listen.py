"""`prise.listen`: a server in the background, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, children, until
from prise import BindError, Limits, UsageError

LIMITS = Limits(linger_time=0.2)
MODELS = ["threads", "processes", "select", "asyncio"]
Listen = Callable[..., prise.Server]


async def echo(connection: Any) -> None:
    async for line in connection:
        await connection.send(line)


def stubborn(connection: Any) -> None:
    for line in connection:
        connection.send(line)
    threading.Event().wait(60)


@pytest.fixture(
    params=[(model, workers) for model in MODELS for workers in (1, 2)], ids=lambda each: f"{each[0]}-{each[1]}"
)
def listen(request: pytest.FixtureRequest) -> Listen:
    """`prise.listen` with an echo, in every model, with and without workers."""
    model, workers = request.param

    def listen(*addresses: str, **options: Any) -> prise.Server:
        options = {"model": model, "workers": workers, "limits": LIMITS, **options}
        return prise.listen(echo, *(addresses or ("127.0.0.1:0",)), **options)

    return listen


def works(server: prise.Server) -> bool:
    with prise.connect(server.address) as client:
        return client.ask("hello", timeout=PATIENCE) == "hello"


def is_refused(address: prise.Address) -> bool:
    try:
        prise.connect(address).open().close()
    except prise.ConnectError:
        return True
    return False


# From start to end


def test_it_serves_in_a_with_block_and_then_no_more(listen):
    with listen() as server:
        assert works(server)
        where = server.address
    assert is_refused(where)
    assert server.stats().total == 1
    assert server.stats().open == 0


def test_the_counts_and_the_addresses_stay_when_it_is_over(listen):
    server = listen("127.0.0.1:0", "127.0.0.1:0").start()
    addresses = server.addresses
    assert len(addresses) == 2
    assert all(address.port for address in addresses)
    assert works(server)
    stats = server.drain()
    assert stats == server.stats() == server.drain() == server.stop() == server.drain(0)
    assert (stats.total, stats.messages_received, stats.bytes_sent) == (1, 1, 6)
    assert server.addresses == addresses


def test_it_starts_only_once(listen):
    with listen() as server:
        for again in (server.start, server.__enter__):
            with pytest.raises(UsageError, match="call listen\\(\\) again"):
                again()
        assert works(server)
    with pytest.raises(UsageError, match="call listen\\(\\) again"):
        server.start()


def test_what_is_not_started_can_be_stopped(listen):
    server = listen()
    assert server.addresses == []
    with pytest.raises(UsageError, match="the server is not started"):
        server.address
    assert server.stop().total == server.drain().total == server.stats().total == 0
    with server:  # and started after all
        assert works(server)


def test_what_cannot_be_bound_can_be_started_later(listen, tmp_path):
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = listen(f"unix:{path}", f"127.0.0.1:{port}")
        for _ in range(2):
            with pytest.raises(BindError):
                server.start()
            assert not path.exists(), "all or nothing"
    with server:
        assert works(server)
    assert not path.exists()


def test_an_exception_in_the_block_ends_the_server_and_comes_out(listen):
    with pytest.raises(ZeroDivisionError), listen() as server:
        where = server.address
        1 / 0
    assert is_refused(where)


def test_a_drain_ends_the_input_and_a_stop_does_not_ask(listen):
    for end in (prise.Server.drain, prise.Server.stop):
        server = listen().start()
        with prise.connect(server.address) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
            end(server)
            assert list(client) == []


@pytest.mark.parametrize("model", ["threads", "processes"])
def test_a_drain_may_be_hastened_from_another_thread(model):
    server = prise.listen(stubborn, "127.0.0.1:0", model=model, limits=LIMITS).start()
    with prise.connect(server.address) as client, ThreadPoolExecutor() as pool:
        assert client.ask("hello", timeout=PATIENCE) == "hello"
        draining = pool.submit(server.drain, 60)
        until(lambda: is_refused(server.address), "it accepts no more")
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < PATIENCE
        assert draining.result(PATIENCE) == server.stats()


def test_while_it_drains_newcomers_are_refused(listen):
    with ThreadPoolExecutor() as pool:
        server = listen().start()
        with prise.connect(server.address) as client:
            client.send("hello")
            assert client.receive(PATIENCE) == "hello"
            draining = pool.submit(server.drain, PATIENCE)
            assert list(client) == []
            until(lambda: is_refused(server.address), "it accepts no more")
        draining.result(PATIENCE)


# Unix paths


def test_the_path_is_removed_at_the_end(listen, tmp_path):
    path = tmp_path / "s"
    with listen(f"unix:{path}") as server:
        assert path.is_socket()
        assert works(server)
        assert path.is_socket()  # children that end do not take it with them
    assert not path.exists()


def test_but_not_if_it_is_anothers_by_then(listen, tmp_path):
    path = tmp_path / "s"
    with listen(f"unix:{path}"):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


# async with


def test_async_with_works_for_every_model(listen):
    async def main() -> None:
        async with listen() as server:
            async with prise.connect(server.address) as client:
                assert await client.ask("hello", timeout=PATIENCE) == "hello"
            where = server.address
        assert server.stats().total == 1
        with pytest.raises(prise.ConnectError):
            await prise.connect(where)
        with pytest.raises(UsageError, match="serves once"):
            await server.__aenter__()

    asyncio.run(main())


@pytest.mark.parametrize("order", [prise.Server.drain, prise.Server.stop])
def test_in_an_async_with_block_it_can_be_told_to_end(order, listen):
    async def main() -> None:
        async with listen() as server:
            client = await prise.connect(server.address)
            assert await client.ask("hello", timeout=PATIENCE) == "hello"
            order(server)
            assert await client.receive(PATIENCE) is None
            await client.close()
        assert server.stats().open == 0
        assert server.stats().total == 1

    asyncio.run(main())


def test_an_exception_in_an_async_block_comes_out(listen):
    async def main() -> None:
        async with listen():
            1 / 0

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_what_cannot_be_bound_asynchronously(tmp_path):
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = prise.listen(echo, f"unix:{tmp_path / 's'}", f"127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(BindError):
                await server.__aenter__()
        assert not (tmp_path / "s").exists()
        async with server:
            pass

    asyncio.run(main())


# Side by side


def test_servers_side_by_side_end_in_any_order():
    servers = [
        prise.listen(echo, "127.0.0.1:0", model=model, workers=workers, limits=LIMITS).start()
        for model in MODELS
        for workers in (1, 2)
    ]
    for server in servers:
        assert works(server)
    for server in servers:  # the first ones first: those that were forked later had copies of what they listen on
        server.drain()
        assert is_refused(server.address)


@pytest.fixture
def threads() -> Iterator[None]:
    """Other threads run in this process, of which a fork must not complain (Python 3.12 and later)."""
    stop = threading.Event()
    others = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in others:
        thread.start()
    yield
    stop.set()
    for thread in others:
        thread.join()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("model", ["processes", "select"])
def test_in_a_process_that_has_threads(model):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with prise.listen(echo, "127.0.0.1:0", model=model, workers=2) as server:
            assert works(server)
    assert [str(each.message) for each in seen] == []


def test_from_another_thread_than_the_main_one(listen):
    def run() -> int:
        with listen() as server:
            assert works(server)
        return server.stats().total

    with ThreadPoolExecutor() as pool:
        assert pool.submit(run).result(PATIENCE) == 1


def test_it_leaves_no_descriptors_and_no_processes(listen):
    def used() -> int:
        return len(os.listdir("/proc/self/fd"))

    started = children()
    with listen() as server:
        assert works(server)
    before = used()
    for _ in range(3):
        with listen() as server:
            assert works(server)
    assert used() == before
    assert children() == started


# When it goes wrong


def test_a_server_that_fails_says_so_at_once_and_again_at_the_end(monkeypatch, caplog):
    import prise.servers.threads as threads

    def fail(work: Any) -> None:
        raise RuntimeError("broken inside")

    monkeypatch.setattr(threads, "run", fail)
    server = prise.listen(print, "127.0.0.1:0").start()
    until(lambda: "the server failed" in caplog.text, "it is logged")
    until(lambda: is_refused(server.address), "nobody waits for it")
    with pytest.raises(RuntimeError, match="broken inside"):
        server.stop()
    assert server.stop().total == 0


def test_a_server_process_that_is_killed_is_noted(caplog):
    server = prise.listen(echo, "127.0.0.1:0", workers=2).start()
    assert works(server)
    os.kill(server._pid, 9)
    with caplog.at_level(logging.ERROR):
        server.stop()  # its workers end by themselves, a moment later
    assert "ended with signal 9" in caplog.text


def test_children_that_somebody_else_has_reaped_do_no_harm():
    import signal

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps, as some programs wish
    try:
        with prise.listen(echo, "127.0.0.1:0", model="processes", workers=2) as server:
            for _ in range(3):
                assert works(server)
            until(lambda: server.stats().open == 0, "all are counted as closed")
        assert server.stats().total == 3
    finally:
        signal.signal(signal.SIGCHLD, before)

"""`prise.connect`: one name for both colours, attempts and pauses, and what it refuses."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, read_all
from prise import ConnectError, Fixed, Limits, ResolveError, Retry, TooSlow, UsageError


def echo(connection: Any) -> None:
    for line in connection:
        connection.send(line)


@pytest.fixture
def server() -> Iterator[prise.Server]:
    with prise.listen(echo, "127.0.0.1:0", limits=Limits(linger_time=0.2)) as server:
        yield server


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# Both colours


def test_the_keyword_decides(server):
    with prise.connect(server.address) as connection:
        assert isinstance(connection, prise.Connection)
        assert connection.ask("hello", timeout=PATIENCE) == "hello"
        assert (connection.peer, connection.local.scheme) == (server.address, "tcp")
    assert connection.closed

    async def main() -> None:
        async with prise.connect(server.address) as connection:
            assert isinstance(connection, prise.AsyncConnection)
            assert await connection.ask("hello", timeout=PATIENCE) == "hello"
        assert connection.closed
        connection = await prise.connect(server.address)
        await connection.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "spell", [lambda where: where, str, lambda where: (where.host, where.port), lambda where: f"tcp://{where}"]
)
def test_every_spelling_of_an_address(spell, server):
    with prise.connect(spell(server.address)) as connection:
        assert connection.ask("hello", timeout=PATIENCE) == "hello"


def test_a_connector_may_be_used_again(server):
    connector = prise.connect(server.address)
    for _ in range(2):
        with connector as connection:
            assert connection.ask("hello", timeout=PATIENCE) == "hello"


def test_nothing_happens_before_it_is_entered(closed_port):
    prise.connect(f"127.0.0.1:{closed_port}")


def test_without_a_with_it_is_opened_and_closed_by_hand(server):
    connection = prise.connect(server.address).open()
    assert connection.ask("hello", timeout=PATIENCE) == "hello"
    connection.close()


def test_an_exception_in_the_block_closes_and_comes_out():
    with prise.Listener("127.0.0.1:0") as listener:
        with pytest.raises(ZeroDivisionError), prise.connect(listener.address) as client:
            client.send("so far")
            1 / 0
        with listener.accept(PATIENCE) as connection:
            assert list(connection) == ["so far"]


def test_what_was_sent_arrives_even_if_the_answers_are_not_read():
    with prise.Listener("127.0.0.1:0") as listener:
        with prise.connect(listener.address) as client:
            connection = listener.accept(PATIENCE)
            connection.send("an answer that nobody reads")
            client.send("order")
        with connection:
            assert list(connection) == ["order"]
            assert connection._counters.error_lost == 0


# Where a colour does not belong


def test_blocking_in_a_running_loop_is_refused_with_the_cure(server):
    async def main() -> None:
        with (
            pytest.raises(UsageError, match=r"use `async with prise\.connect\(\.\.\.\)`"),
            prise.connect(server.address),
        ):
            pass

    asyncio.run(main())


def test_asynchronous_without_a_loop_is_refused_with_the_cure(server):
    coroutine = prise.connect(server.address).open_async()
    with pytest.raises(UsageError, match=r"asyncio\.run"):
        coroutine.send(None)


def test_a_conversation_on_asyncio_that_blocks_is_told(server):
    seen: list[Any] = []

    async def proxy(connection: prise.AsyncConnection) -> None:
        try:
            prise.connect(server.address).open()
        except UsageError as error:
            seen.append(error)
        async with prise.connect(server.address) as upstream:
            async for line in connection:
                await connection.send(await upstream.ask(line))

    with prise.listen(proxy, "127.0.0.1:0") as front, prise.connect(front.address) as client:
        assert client.ask("through", timeout=PATIENCE) == "through"
    assert "a blocking client inside a running asyncio loop" in str(seen[0])


# Nobody answers


def test_nobody_listens(closed_port):
    with pytest.raises(ConnectError) as caught, prise.connect(f"localhost:{closed_port}"):
        pass
    error = caught.value
    assert str(error).startswith(f"connect tcp localhost:{closed_port}: connection refused (tried ")
    assert f"nothing listens on port {closed_port}" in str(error)
    assert (error.operation, error.transport, str(error.peer)) == ("connect", "tcp", f"localhost:{closed_port}")
    assert error.exit_code == 4


def full_listener() -> socket.socket:
    """A server whose queue is full, so that a new connection gets no answer."""
    return socket.create_server(("127.0.0.1", 0), backlog=0)


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_nobody_answers_in_time(timeout):
    with full_listener() as listener, socket.create_connection(listener.getsockname()):
        with pytest.raises(TooSlow, match="no answer within") as caught:
            prise.connect(listener.getsockname(), timeout=timeout).open()
        assert caught.value.exit_code == 5


def test_no_such_name():
    with pytest.raises(ResolveError) as caught:
        prise.connect("nobody.invalid:80", retry=3, timeout=5).open()
    assert caught.value.exit_code == 3


# Trying again


def test_it_tries_again_until_somebody_listens():
    with socket.create_server(("127.0.0.1", 0)) as reserve:
        address = reserve.getsockname()

    def listen_later(ready: threading.Event) -> None:
        with prise.Listener(address) as listener:
            ready.set()
            with listener.accept(PATIENCE) as connection:
                connection.send("at last")

    ready = threading.Event()
    later = threading.Timer(0.1, listen_later, [ready])
    later.start()
    with prise.connect(address, retry=Retry(attempts=100, first=0.01, longest=0.05)) as connection:
        assert ready.is_set()
        assert connection.receive(PATIENCE) == "at last"
    later.join()


def test_it_tries_as_often_as_it_may(closed_port, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(ConnectError):
        prise.connect(f"127.0.0.1:{closed_port}", retry=4).open()
    assert len(pauses) == 3

    async def main() -> None:
        with pytest.raises(ConnectError):
            await prise.connect(f"127.0.0.1:{closed_port}", retry=Retry(attempts=3, first=0.001))

    asyncio.run(main())


def test_the_pauses_grow_differ_and_are_bounded():
    retry = Retry(attempts=3000, first=0.2, longest=10)
    pauses = list(retry.pauses())
    assert len(pauses) == 2999
    for attempt, pause in enumerate(pauses):
        full = min(0.2 * 2 ** min(attempt, 50), 10)
        assert full / 2 <= pause <= full
    assert len(set(pauses)) > 2900
    assert list(Retry(attempts=1).pauses()) == []


@pytest.mark.parametrize("retry", [0, -1, Retry(attempts=0)])
def test_no_attempt_at_all_is_refused(retry):
    with pytest.raises(UsageError, match="retry must allow at least 1 attempt"):
        prise.connect(":1", retry=retry)


@pytest.mark.parametrize(
    "options",
    [{"framing": "tins"}, {"framing": Fixed(2_000_000)}, {"framing": Fixed(11), "limits": Limits(message_size=10)}],
)
def test_what_cannot_work_is_refused_before_it_connects(options):
    with pytest.raises(UsageError):
        prise.connect(":1", **options)


# Its limits


def test_a_client_waits_for_its_server_as_long_as_it_likes():
    with prise.Listener("mem:patient") as listener, prise.connect("mem:patient") as client, listener.accept():
        assert client._limits.idle_time is None
        with pytest.raises(TooSlow):
            client.receive(timeout=0.01)


def test_a_server_that_does_not_read_is_too_slow():
    with prise.Listener("mem:deaf") as listener:
        with prise.connect("mem:deaf", limits=Limits(write_time=0.1)) as client, listener.accept() as connection:
            with pytest.raises(TooSlow, match=r"the peer took nothing for 0\.1 s"):
                client.send("x" * 50_000_000)
            client.close()
            assert read_all(connection._sock)


def test_a_client_does_not_import_asyncio():
    program = """if True:
        import sys, prise
        with prise.Listener("mem:x") as listener, prise.connect("mem:x") as client, listener.accept() as connection:
            client.send("hello")
            assert connection.receive() == "hello"
        assert "asyncio" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)

"""Connections for `await`: clients and conversations on asyncio, its own loop and uvloop's, with all of its cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import prise
from prise import AsyncConnection, Limits
from prise.layers.telnet import Telnet
from prise.servers.server import Server
from prise.testing.conformance import echo_coroutine, echo_generator

PATIENCE = 10.0
QUICK = Limits(linger_time=0.2)
NO_END = Limits(linger_time=0.2, idle_time=None)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on each kind of loop, for so long at the most."""
    factory = None if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await main

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(bounded())

    return run


def serving(conversation: Any, limits: Limits = QUICK, **options: Any) -> Server:
    """A server on the running loop."""
    return prise.listen(conversation, "127.0.0.1:0", model="asyncio", limits=limits, drain_time=5.0, **options)


def raw_client(server: Server) -> socket.socket:
    return socket.create_connection((str(server.address.host), int(server.address.port or 0)), timeout=PATIENCE)


def reset(client: socket.socket) -> None:
    """Breaks a connection instead of ending it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def read(client: socket.socket) -> bytes:
    """What the peer sees until the end."""

    def whole() -> bytes:
        data = b""
        try:
            while part := client.recv(65536):
                data += part
        except ConnectionError:
            pass
        return data

    return await asyncio.to_thread(whole)


# -- the client ----------------------------------------------------------------------------------------------------------


def test_a_client_asks_iterates_and_closes(run: Run) -> None:
    async def main() -> None:
        async with serving(echo_generator) as server:
            async with prise.connect(server.address) as client:
                assert await client.ask("un") == "un"
                await client.send("deux")
                await client.send("trois")
                assert await client.receive() == "deux"
                await client.send_eof()
                assert [message async for message in client] == ["trois"]
                assert await client.receive() is None
            assert client.closed

    run(main())


def test_await_connects_too(run: Run) -> None:
    async def main() -> None:
        async with serving(echo_coroutine) as server:
            client = await prise.connect(server.address)
            assert await client.ask("bonjour", timeout=PATIENCE) == "bonjour"
            await client.close()
            await client.close()  # closing twice is harmless

    run(main())


def test_many_clients_at_once(run: Run) -> None:
    async def talk(server: Server, name: int) -> None:
        async with prise.connect(server.address) as client:
            for number in range(20):
                assert await client.ask(f"{name} {number}") == f"{name} {number}"

    async def main() -> None:
        async with serving(echo_coroutine) as server, asyncio.TaskGroup() as group:
            for name in range(30):
                group.create_task(talk(server, name))

    run(main())


def test_a_message_that_comes_too_late_is_not_lost(run: Run) -> None:
    async def later(connection: AsyncConnection) -> None:
        async for message in connection:
            await go_on.wait()
            await connection.send(message)

    go_on = asyncio.Event()

    async def main() -> None:
        async with serving(later) as server, prise.connect(server.address) as client:
            await client.send("patience")
            with pytest.raises(prise.TooSlow, match="no message in the time given"):
                await client.receive(timeout=0.02)
            with pytest.raises(prise.TooSlow):
                await client.ask("et puis", timeout=0.02)
            go_on.set()
            assert await client.receive() == "patience"
            assert await client.receive(timeout=PATIENCE) == "et puis"

    run(main())


def test_a_null_message_is_not_the_end(run: Run) -> None:
    async def main() -> None:
        async with (
            serving(echo_coroutine, framing="lines | json") as server,
            prise.connect(server.address, framing="lines | json") as client,
        ):
            assert await client.ask(None, timeout=PATIENCE) is None
            await client.send(None)
            await client.send([None])
            await client.send_eof()
            assert [message async for message in client] == [None, [None]]

    run(main())


def test_asking_a_peer_that_leaves(run: Run) -> None:
    async def rude(connection: AsyncConnection) -> None:
        await connection.receive()

    async def main() -> None:
        async with serving(rude) as server, prise.connect(server.address) as client:
            with pytest.raises(prise.ConnectionLost, match="closed without an answer"):
                await client.ask("hello?")

    run(main())


def test_what_was_sent_arrives_before_the_close(run: Run) -> None:
    big = "x" * 1_000_000
    heard: list[str] = []

    async def listener(connection: AsyncConnection) -> None:
        heard.extend([message async for message in connection])

    async def main() -> None:
        async with serving(listener) as server, prise.connect(server.address) as client:
            for _ in range(5):
                await client.send(big)
            await client.close()
            await until(lambda: server.stats().open == 0)

    run(main())
    assert heard == [big] * 5


def test_receiving_after_the_close_ends(run: Run) -> None:
    """Also when more messages had arrived than were decoded: those are not handed out any more, and nobody hangs."""

    async def many(connection: AsyncConnection) -> None:
        connection.post("\n" * 199)

    async def main() -> None:
        async with serving(many, framing="chunks | text") as server:
            client = await prise.connect(server.address)
            assert await client.receive() == ""
            assert client._decoder.more
            await client.close()
            assert [message async for message in client] == [""] * 63
            assert await client.receive() is None
            assert await client.receive(timeout=PATIENCE) is None
            with pytest.raises(prise.ConnectionLost, match="the connection is closed"):
                await client.send("too late")

    run(main())


def test_closing_from_two_tasks(run: Run) -> None:
    async def stuck(connection: AsyncConnection) -> None:
        await connection.receive()
        await go_on.wait()
        async for _ in connection:
            pass

    go_on = asyncio.Event()

    async def main() -> None:
        async with serving(stuck) as server:
            client = await prise.connect(server.address)
            await client.send("x" * 1000)
            client.post("x" * 900_000)  # more than the kernel takes: the close has to wait
            closing = [asyncio.create_task(client.close()) for _ in range(3)]
            await asyncio.sleep(0.02)
            go_on.set()
            await asyncio.gather(*closing)
            assert client.closed

    run(main())


def test_a_client_with_both_sides_ended_costs_nothing(run: Run) -> None:
    """A socket that is shut on both sides is "ready" for ever; nobody may be called for that."""

    async def main() -> None:
        async with serving(echo_coroutine) as server, prise.connect(server.address) as client:
            await client.send_eof()
            assert await client.receive() is None
            before = time.process_time()
            await asyncio.sleep(0.3)
            assert time.process_time() - before < 0.1

    run(main())


def test_outside_of_a_loop() -> None:
    connector = prise.connect("127.0.0.1:9").open_async()
    with pytest.raises(prise.UsageError, match="needs a running asyncio loop"):
        connector.send(None)


def test_nobody_listens(run: Run) -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(prise.ConnectError):
                await prise.connect(taken.getsockname(), retry=prise.Retry(attempts=2, first=0.01))

    run(main())


def test_a_layer_that_cannot_be_made_leaves_no_socket_behind(run: Run) -> None:
    def broken() -> Any:
        raise RuntimeError("no layer today")

    async def main() -> None:
        async with serving(echo_coroutine) as server:
            with pytest.raises(RuntimeError, match="no layer today"):
                await prise.connect(server.address, layers=[broken])

    run(main())


# -- cancellation --------------------------------------------------------------------------------------------------------


def test_a_timeout_around_receive_loses_nothing(run: Run) -> None:
    """Timeouts that hit at the very moment when messages arrive: each message comes once, in order."""

    async def counter(connection: AsyncConnection) -> None:
        for number in range(200):
            await connection.send(str(number))
            await asyncio.sleep(0.001)

    async def main() -> list[str]:
        heard: list[str] = []
        async with serving(counter) as server, prise.connect(server.address) as client:
            while len(heard) < 200:
                try:
                    async with asyncio.timeout(0.001):
                        message = await client.receive()
                except TimeoutError:
                    continue
                assert message is not None
                heard.append(message)
        return heard

    assert run(main()) == [str(number) for number in range(200)]


@pytest.mark.parametrize("wait", ["wait_for receive", "wait_for anext", "receive(timeout)"])
def test_other_ways_to_lose_patience(run: Run, wait: str) -> None:
    async def counter(connection: AsyncConnection) -> None:
        for number in range(50):
            await connection.send(str(number))
            await asyncio.sleep(0.001)

    def one(client: AsyncConnection) -> Awaitable[Any]:
        if wait == "receive(timeout)":
            return client.receive(timeout=0.001)
        return asyncio.wait_for(client.receive() if wait == "wait_for receive" else anext(client), 0.001)

    async def main() -> list[str]:
        heard: list[str] = []
        async with serving(counter) as server, prise.connect(server.address) as client:
            while len(heard) < 50:
                try:
                    heard.append(await one(client))
                except TimeoutError:  # which TooSlow is, too
                    continue
        return heard

    assert run(main()) == [str(number) for number in range(50)]


def test_a_cancelled_task_stops_waiting(run: Run) -> None:
    async def main() -> None:
        async with serving(echo_coroutine) as server, prise.connect(server.address) as client:
            task = asyncio.create_task(client.receive())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await client.ask("still there?") == "still there?"

    run(main())


def test_cancelled_and_answered_in_the_same_moment(run: Run) -> None:
    async def main() -> None:
        async with serving(echo_coroutine) as server, prise.connect(server.address) as client:
            for number in range(50):
                await client.send(str(number))
                task = asyncio.create_task(client.receive())
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                answer = await client.receive() if task.cancelled() else task.result()
                assert answer == str(number)

    run(main())


def test_receive_and_send_in_two_tasks(run: Run) -> None:
    """More in flight than the kernel holds, so that both tasks have to wait for each other's progress."""
    count, message = 300, "x" * 10_000

    async def main() -> int:
        async with serving(echo_coroutine) as server, prise.connect(server.address) as client:

            async def send() -> None:
                for _ in range(count):
                    await client.send(message)
                await client.send_eof()

            async def receive() -> int:
                return len([heard async for heard in client if heard == message])

            return (await asyncio.gather(send(), receive()))[1]

    assert run(main()) == count


def test_a_reset_reaches_the_task_that_sends_and_the_one_that_receives(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = await prise.connect(listening.getsockname())
            peer, _ = listening.accept()

            async def receive() -> Any:
                return await client.receive()

            async def send() -> None:
                await asyncio.sleep(0)
                reset(peer)
                while True:
                    await client.send("x" * 100_000)  # the error is found in the middle of this task

            receiving, sending = asyncio.create_task(receive()), asyncio.create_task(send())
            assert await receiving is None  # for the one who listens the peer has left
            with pytest.raises(prise.ConnectionLost, match="the peer is gone"):
                await sending
            await client.close()

    run(main())


def test_several_tasks_may_send(run: Run) -> None:
    async def sink(connection: AsyncConnection) -> None:
        await go_on.wait()
        heard.extend([message async for message in connection])

    go_on = asyncio.Event()
    heard: list[str] = []

    async def main() -> None:
        async with serving(sink) as server, prise.connect(server.address) as client:

            async def send(letter: str) -> None:
                for _ in range(20):
                    await client.send(letter * 100_000)

            async with asyncio.TaskGroup() as group:
                for letter in "abc":
                    group.create_task(send(letter))
                await asyncio.sleep(0.02)
                go_on.set()
            await client.close()
            await until(lambda: server.stats().open == 0)

    run(main())
    assert sorted(heard) == [letter * 100_000 for letter in "abc" for _ in range(20)]


def test_two_tasks_cannot_receive(run: Run) -> None:
    async def main() -> None:
        async with serving(echo_coroutine) as server, prise.connect(server.address) as client:
            first = asyncio.create_task(client.receive(timeout=0.1))
            await asyncio.sleep(0)
            for second in (client.receive(), client.receive(timeout=5.0), client.__anext__(), client.ask("b")):
                with pytest.raises(prise.UsageError, match="another task waits for this connection already"):
                    await second
            assert await first == "b"  # what `ask` sent was sent
            first = asyncio.create_task(client.receive(timeout=0.05))
            await asyncio.sleep(0)
            with pytest.raises(prise.UsageError):
                await client.receive(timeout=100.0)
            with pytest.raises(prise.TooSlow):
                await first  # the refusal has not taken its time from it

    run(main())


def test_a_cancelled_send_has_sent_a_whole_message(run: Run) -> None:
    async def sink(connection: AsyncConnection) -> None:
        await go_on.wait()
        sizes.extend([len(message) async for message in connection])

    go_on = asyncio.Event()
    sizes: list[int] = []

    async def main() -> None:
        async with serving(sink) as server, prise.connect(server.address) as client:
            try:
                async with asyncio.timeout(0.1):
                    while True:
                        await client.send("x" * 500_000)
            except TimeoutError:
                go_on.set()
            await client.send("last")
            await client.close()
            await until(lambda: server.stats().open == 0)

    run(main())
    assert sizes.pop() == 4
    assert set(sizes) == {500_000}


def test_a_cancelled_block_does_not_wait_for_a_stuck_peer(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), prise.connect(listening.getsockname()) as client:
                    while True:
                        await client.send("x" * 500_000)
            assert time.monotonic() - began < 5
            assert client.closed

    run(main())


# -- conversations -------------------------------------------------------------------------------------------------------


def test_a_conversation_may_await_anything(run: Run) -> None:
    async def slow_echo(connection: AsyncConnection) -> None:
        async for message in connection:
            await asyncio.sleep(0.001)
            async with asyncio.timeout(5):
                await connection.send(await asyncio.to_thread(str.upper, message))

    async def main() -> None:
        async with serving(slow_echo) as server, prise.connect(server.address) as client:
            for number in range(20):
                await client.send(f"m{number}")
            assert [await client.receive() for _ in range(20)] == [f"M{number}" for number in range(20)]

    run(main())


def test_a_conversation_may_be_a_client(run: Run) -> None:
    async def main() -> None:
        async with serving(echo_coroutine) as behind:

            async def front(connection: AsyncConnection) -> None:
                async with prise.connect(behind.address) as upstream:
                    async for message in connection:
                        await connection.send("> " + await upstream.ask(message))

            async with serving(front) as server, prise.connect(server.address) as client:
                for number in range(50):
                    assert await client.ask(str(number)) == f"> {number}"

    run(main())


def test_a_relay_in_two_tasks(run: Run) -> None:
    async def main() -> None:
        async with serving(echo_coroutine) as behind:

            async def relay(connection: AsyncConnection) -> None:
                async with prise.connect(behind.address) as upstream, asyncio.TaskGroup() as group:

                    async def pump(source: AsyncConnection, target: AsyncConnection) -> None:
                        async for message in source:
                            await target.send(message)
                        await target.send_eof()

                    group.create_task(pump(connection, upstream))
                    group.create_task(pump(upstream, connection))

            async with serving(relay) as server, prise.connect(server.address) as client:
                for number in range(500):
                    await client.send("x" * number)
                await client.send_eof()
                assert [len(message) async for message in client] == list(range(500))

    run(main())


def test_a_peer_that_pipelines_is_not_read_further_while_the_conversation_is_elsewhere(run: Run) -> None:
    """64 messages are 128 bytes here, and a read is 64 KiB: one read per batch would pile up without end."""

    async def elsewhere(connection: AsyncConnection) -> None:
        taken = 0
        while taken < 64 * 60:
            assert await connection.receive() == ""
            taken += 1
            if taken % 64 == 0:  # nothing is left in front of the conversation, and it listens no more
                await connection.send("so far")
                await asyncio.sleep(0.001)
        done.append(server.stats().bytes_received)
        connection.abort()

    done: list[int] = []
    server: Any = None

    async def main() -> None:
        nonlocal server
        async with serving(elsewhere) as server:
            with raw_client(server) as client:

                def pour() -> None:
                    try:
                        while not done:
                            client.send(b"\n" * 65536)
                    except (ConnectionError, TimeoutError):
                        pass

                client.settimeout(0.5)
                pouring = asyncio.create_task(asyncio.to_thread(pour))
                await until(lambda: bool(done))
                await pouring

    run(main())
    assert done[0] <= 3 * 65536


@pytest.mark.parametrize("listens", [True, False])
def test_a_reset_while_the_conversation_is_elsewhere_costs_nothing(run: Run, listens: bool) -> None:
    async def elsewhere(connection: AsyncConnection) -> None:
        if listens:
            await connection.receive()
        here.set()
        await go_on.wait()
        ends.append(await connection.receive())

    here, go_on = asyncio.Event(), asyncio.Event()
    ends: list[Any] = []

    async def main() -> prise.Stats:
        async with serving(elsewhere) as server:
            client = raw_client(server)
            client.sendall(b"hello\n")
            await here.wait()
            reset(client)
            await asyncio.sleep(0.05)
            before = time.process_time()
            await asyncio.sleep(0.3)
            assert time.process_time() - before < 0.1, "it spins"
            go_on.set()
        return server.stats()

    stats = run(main())
    assert ends == ([None] if listens else ["hello"])
    assert stats.errors == {"conversation": 0, "frame": 0, "handshake": 0, "too_slow": 0, "lost": 1 if listens else 0}


def test_a_peer_that_is_gone_is_not_too_slow_as_well(run: Run) -> None:
    async def elsewhere(connection: AsyncConnection) -> None:
        await connection.receive()
        connection.post("x" * 6_000_000)
        await go_on.wait()
        ends.append(await connection.receive())

    go_on = asyncio.Event()
    ends: list[Any] = []

    async def main() -> prise.Stats:
        limits = Limits(write_time=0.1, linger_time=0.2, outbox_size=8_000_000, outbox_mark=8_000_000)
        async with serving(elsewhere, limits) as server:
            client = raw_client(server)
            client.sendall(b"go\n")
            await until(lambda: server.stats().messages_sent == 1)
            reset(client)
            await asyncio.sleep(0.3)
            go_on.set()
        return server.stats()

    assert run(main()).errors == {"conversation": 0, "frame": 0, "handshake": 0, "too_slow": 0, "lost": 1}
    assert ends == [None]


def test_a_lost_connection_is_counted_once(run: Run) -> None:
    async def talker(connection: AsyncConnection) -> None:
        while True:
            await connection.send("x" * 10_000)
            await asyncio.sleep(0)

    async def main() -> prise.Stats:
        async with serving(talker) as server:
            client = raw_client(server)
            await asyncio.to_thread(client.recv, 10)
            reset(client)
            await until(lambda: server.stats().open == 0)
        return server.stats()

    assert run(main()).errors == {"conversation": 0, "frame": 0, "handshake": 0, "too_slow": 0, "lost": 1}


def test_messages_before_a_reset_are_taken(run: Run) -> None:
    heard: list[str] = []

    async def slow(connection: AsyncConnection) -> None:
        async for message in connection:
            heard.append(message)
            here.set()
            await go_on.wait()

    here, go_on = asyncio.Event(), asyncio.Event()

    async def main() -> None:
        async with serving(slow) as server:
            client = raw_client(server)
            client.sendall(b"".join(b"%d\n" % number for number in range(200)))
            await here.wait()
            reset(client)
            await asyncio.sleep(0.02)
            go_on.set()
            await until(lambda: server.stats().open == 0)

    run(main())
    # A reset may destroy what the kernel still held, never what was read.
    assert heard == [str(number) for number in range(len(heard))]
    assert len(heard) >= 64


def test_a_last_word_after_a_frame_error(run: Run) -> None:
    async def polite(connection: AsyncConnection) -> None:
        try:
            async for message in connection:
                await connection.send(message)
        except prise.MessageTooLarge as error:
            assert error.peer == connection.peer
            await connection.send("too long for me")

    async def main() -> bytes:
        async with serving(polite, Limits(message_size=100, linger_time=0.2)) as server:
            with raw_client(server) as client:
                client.sendall(b"fine\n" + b"x" * 100_000)
                return await read(client)

    assert run(main()) == b"fine\ntoo long for me\n"


def test_answers_in_front_of_a_bad_frame_reach_a_peer_that_reads_late(run: Run) -> None:
    """The outbox is blocked, below its mark, when the damage is read: what is in it is still sent."""

    async def echo_big(connection: AsyncConnection) -> None:
        async for message in connection:
            await connection.send("x" * int(message))

    async def main() -> int:
        limits = Limits(message_size=100, outbox_mark=8_000_000, outbox_size=8_000_000, linger_time=0.2)
        async with serving(echo_big, limits) as server:
            with raw_client(server) as client:
                client.sendall(b"7500000\n")
                await until(lambda: server.stats().messages_sent == 1)
                client.sendall(b"x" * 1000)
                await until(lambda: server.stats().errors["frame"] == 1)
                return len(await read(client))

    assert run(main()) == 7_500_001


def test_too_slow_while_the_conversation_is_elsewhere_is_counted(run: Run) -> None:
    """Its peer takes nothing: the connection is closed, the conversation cancelled, and the reason counted."""

    async def elsewhere(connection: AsyncConnection) -> None:
        await connection.receive()
        connection.post("x" * 900_000)
        connection.post("x" * 900_000)
        try:
            await asyncio.sleep(3600)
        finally:
            cleaned.append(connection.closed)

    cleaned: list[bool] = []

    async def main() -> prise.Stats:
        limits = Limits(write_time=0.1, linger_time=0.2, outbox_size=8_000_000, outbox_mark=1000)
        async with serving(elsewhere, limits) as server:
            with raw_client(server) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sendall(b"".join(b"go\n" for _ in range(1)))
                await until(lambda: server.stats().messages_sent == 2)
                for connection in list(connections):
                    connection.post("x" * 6_000_000)
                await until(lambda: server.stats().open == 0)
        return server.stats()

    connections: list[Any] = []
    original = elsewhere

    async def remembered(connection: AsyncConnection) -> None:
        connections.append(connection)
        await original(connection)

    elsewhere = remembered
    assert run(main()).errors == {"conversation": 0, "frame": 0, "handshake": 0, "too_slow": 1, "lost": 0}
    assert cleaned == [True]


def test_silence_does_not_count_while_the_conversation_is_elsewhere(run: Run) -> None:
    """The peer waits for its answer, or for nothing; afterwards it gets the whole idle time again."""

    async def thinker(connection: AsyncConnection) -> None:
        async for message in connection:
            await asyncio.sleep(1.0)
            if message != "think":
                await connection.send(message)

    async def main() -> None:
        async with (
            serving(thinker, Limits(idle_time=0.6, linger_time=0.2)) as server,
            prise.connect(server.address) as client,
        ):
            await client.send("think")
            await asyncio.sleep(1.4)
            assert await client.ask("say") == "say"
            await asyncio.sleep(0.3)
            assert await client.ask("again") == "again"

    run(main())


def test_a_message_that_began_before_the_conversation_went_elsewhere_still_has_its_time(run: Run) -> None:
    async def slow(connection: AsyncConnection) -> None:
        async for message in connection:
            await asyncio.sleep(0.15)
            await connection.send(message)

    async def main() -> tuple[bytes, prise.Stats]:
        async with serving(slow, Limits(message_time=0.3, linger_time=0.2)) as server:
            with raw_client(server) as client:
                client.sendall(b"a\nb\nc\nhalf")
                await until(lambda: server.stats().messages_sent == 3)
                client.sendall(b" and half\nnever ended")  # 0.45 s after its beginning
                return await read(client), server.stats()

    heard, stats = run(main())
    assert heard == b"a\nb\nc\nhalf and half\n"
    assert stats.errors["too_slow"] == 1


def test_each_conversation_has_its_own_context(run: Run) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

    async def who(connection: AsyncConnection) -> None:
        async for message in connection:
            before = name.get()
            name.set(message)
            await connection.send(before)

    async def main() -> None:
        async with serving(who) as server:
            async with prise.connect(server.address) as one, prise.connect(server.address) as other:
                assert [await one.ask("Zoé"), await other.ask("Léo")] == ["nobody", "nobody"]
                assert [await one.ask("-"), await other.ask("-")] == ["Zoé", "Léo"]

    run(main())


def test_a_conversation_that_cancels_itself(run: Run) -> None:
    async def quitter(connection: AsyncConnection) -> None:
        await connection.send("I leave")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await connection.receive()

    async def main() -> None:
        async with serving(quitter) as server, prise.connect(server.address) as client:
            assert [message async for message in client] == ["I leave"]
            assert not any(server.stats().errors.values())

    run(main())


# -- ending --------------------------------------------------------------------------------------------------------------


def test_a_drain_with_conversations_in_every_state(run: Run) -> None:
    """Listening, elsewhere, stuck on its peer, lingering: all are gone when the drain is over."""

    async def any_state(connection: AsyncConnection) -> None:
        match await connection.receive():
            case "listen":
                async for _ in connection:
                    pass
                await connection.send("last word")
            case "elsewhere":
                await asyncio.sleep(3600)
            case "stuck":
                while True:
                    await connection.send("x" * 100_000)
            case "linger":
                await connection.send("bye")
            case "spawn":
                await asyncio.gather(connection.receive(), asyncio.sleep(3600))

    async def main() -> prise.Stats:
        server = serving(any_state, Limits(linger_time=60.0))
        server._server.drain_time = 0.3
        clients = {}
        async with server:
            for state in ("listen", "elsewhere", "stuck", "linger", "spawn", "silent"):
                clients[state] = raw_client(server)
                if state != "silent":
                    clients[state].sendall(state.encode() + b"\n")
            await until(lambda: server.stats().messages_received == 5)
            await asyncio.sleep(0.05)
        assert await read(clients["listen"]) == b"last word\n"
        assert await read(clients["linger"]) == b"bye\n"
        assert await read(clients["silent"]) == b""
        for client in clients.values():
            client.close()
        return server.stats()

    stats = run(main())
    assert (stats.total, stats.open, stats.errors["conversation"]) == (6, 0, 0)


@pytest.mark.parametrize("framing", ["lines", "prefixed:4", "netstring | text"])
@pytest.mark.parametrize("spelling", ["coroutine", "generator"])
def test_a_drain_does_not_take_half_a_message_for_a_whole_one(run: Run, framing: str, spelling: str) -> None:
    heard: list[Any] = []

    async def coroutine(connection: AsyncConnection) -> None:
        heard.extend([message async for message in connection])

    def generator(connection: prise.GeneratorConnection) -> Any:
        while True:
            heard.append((yield None))

    conversation: Any = coroutine if spelling == "coroutine" else generator
    whole = {"lines": "rm -r /old", "prefixed:4": b"rm -r /old", "netstring | text": "rm -r /old"}[framing]

    async def main() -> prise.Stats:
        async with serving(conversation, framing=framing) as server:
            client = raw_client(server)
            data = prise.framing_of(framing).encode(whole)
            client.sendall(data + data[:-5])
            await until(lambda: server.stats().messages_received == 1)
        client.close()
        return server.stats()

    assert not any(run(main()).errors.values())
    assert heard == [whole]


def test_a_cancelled_server_cuts_its_conversations(run: Run) -> None:
    """What happens at Ctrl-C under asyncio.run: the server's own task is cancelled while conversations wait."""
    ended: list[str] = []

    async def listener(connection: AsyncConnection) -> None:
        try:
            async for _ in connection:
                pass
        finally:
            ended.append("listener")

    async def main() -> None:
        server = serving(listener)
        clients: list[Any] = []
        with pytest.raises(asyncio.CancelledError):
            async with server:
                clients.extend([await prise.connect(server.address) for _ in range(3)])
                await until(lambda: server.stats().total == 3)
                server._task.cancel()
        for client in clients:
            assert await client.receive() is None
            await client.close()

    run(main())
    assert ended == ["listener"] * 3


def test_descriptors_used_again_during_a_drain_stay_watched(run: Run) -> None:
    """A listener is closed when the drain begins, and its number is given to the next socket: a client of this program."""

    async def last_call(connection: AsyncConnection) -> None:
        async for _ in connection:
            pass
        clients.extend([await prise.connect(elsewhere.address) for _ in range(4)])

    clients: list[AsyncConnection] = []
    elsewhere: Any = None

    async def main() -> None:
        nonlocal elsewhere
        async with serving(echo_coroutine) as elsewhere:
            server = prise.listen(last_call, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", model="asyncio", limits=QUICK)
            async with server:
                waiting = await prise.connect(server.address)
                await until(lambda: server.stats().total == 1)
            assert await waiting.receive() is None
            await waiting.close()
            for client in clients:
                assert await client.ask("are you heard?", timeout=2) == "are you heard?"
                await client.close()

    run(main())
    assert len(clients) == 4


def test_abort_ends_now_and_is_no_error_of_the_peer(run: Run) -> None:
    async def main() -> prise.Stats:
        connections: list[AsyncConnection] = []

        async def talkative(connection: AsyncConnection) -> None:
            connections.append(connection)
            async for _ in connection:
                pass
            await connection.send("you will not hear this")

        async with serving(talkative) as server:
            client = await prise.connect(server.address)
            await until(lambda: len(connections) == 1)
            connections[0].abort()
            assert await client.receive() is None
            await client.close()
            await until(lambda: server.stats().open == 0)
        return server.stats()

    assert not any(run(main()).errors.values())


def test_post_and_abort_from_another_thread(run: Run) -> None:
    async def main() -> None:
        connections: list[AsyncConnection] = []

        async def listener(connection: AsyncConnection) -> None:
            connections.append(connection)
            async for _ in connection:
                pass

        async with serving(listener) as server, prise.connect(server.address) as client:
            await until(lambda: len(connections) == 1)
            connection = connections[0]
            thread = threading.Thread(target=lambda: [connection.post(str(number)) for number in range(100)])
            thread.start()
            assert [await client.receive() for _ in range(100)] == [str(number) for number in range(100)]
            thread.join()
            await asyncio.to_thread(connection.abort)
            assert await client.receive() is None
            await until(lambda: connection.closed)
            assert not await asyncio.to_thread(connection.post, "too late")
            assert not connection.post("too late")

    run(main())


def test_what_other_threads_post_is_bounded_while_the_loop_is_busy(run: Run) -> None:
    async def main() -> None:
        connections: list[AsyncConnection] = []

        async def listener(connection: AsyncConnection) -> None:
            connections.append(connection)
            async for _ in connection:
                pass

        async with serving(listener, Limits(outbox_size=100_000, linger_time=0.2)) as server:
            async with prise.connect(server.address) as client:
                await until(lambda: len(connections) == 1)
                taken: list[bool] = []
                thread = threading.Thread(
                    target=lambda: taken.extend(connections[0].post("x" * 999) for _ in range(500))
                )
                thread.start()
                thread.join()  # the loop stands still meanwhile
                assert taken.count(True) == 100
                heard = [message async for message in client]
                assert len(heard) <= 100
            await until(lambda: server.stats().open == 0)
            assert server.stats().errors["too_slow"] == 1

    run(main())


def test_a_burst_of_posts_does_not_cut_a_peer_that_reads(run: Run) -> None:
    """More than the outbox holds, posted in one turn of the loop: only what the peer does not take counts against it."""

    async def main() -> None:
        connections: list[AsyncConnection] = []

        async def listener(connection: AsyncConnection) -> None:
            connections.append(connection)
            async for _ in connection:
                pass

        async with serving(listener, Limits(outbox_size=10_000, linger_time=0.2)) as server:
            async with prise.connect(server.address) as client:
                await until(lambda: len(connections) == 1)
                assert all(prise.broadcast(connections, "x" * 999) == 1 for _ in range(100))
                assert connections[0].post("y" * 50_000)
                heard = [await client.receive() for _ in range(101)]
                assert heard == ["x" * 999] * 100 + ["y" * 50_000]

    run(main())


def test_what_is_posted_to_be_flushed_is_out_when_the_call_returns(run: Run) -> None:
    """While nothing waits before it; behind what waits it keeps its place, as does what the peer did not take at once."""

    async def main() -> None:
        connections: list[AsyncConnection] = []

        async def listener(connection: AsyncConnection) -> None:
            connections.append(connection)
            async for _ in connection:
                pass

        async with serving(listener, Limits(outbox_size=8_000_000, linger_time=0.2)) as server:
            with raw_client(server) as client:
                await until(lambda: len(connections) == 1)
                (connection,) = connections
                assert connection.post_encoded(b"at once\n", flush=True)
                assert client.recv(100) == b"at once\n"  # our loop has had no turn since
                assert connection.post("first")
                assert connection.post_encoded(b"second\n", flush=True)
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(100)
                loop = asyncio.get_running_loop()
                assert await loop.sock_recv(client, 100) == b"first\nsecond\n"
                large = b"x" * 6_000_000 + b"\n"
                assert connection.post_encoded(large, flush=True)
                assert connection.post_encoded(b"last\n", flush=True)
                received = b""
                while not received.endswith(b"last\n"):
                    received += await loop.sock_recv(client, 1 << 20)
                assert received == large + b"last\n"

    run(main())


@pytest.mark.parametrize("layer", [False, True])
def test_what_is_flushed_to_a_peer_that_is_gone_ends_only_that_conversation(run: Run, layer: bool) -> None:
    async def main() -> None:
        connections: list[AsyncConnection] = []

        async def listener(connection: AsyncConnection) -> None:
            connections.append(connection)
            async for _ in connection:
                pass

        layers = [Telnet] if layer else []
        async with serving(listener, Limits(linger_time=0.2), layers=layers) as server:
            with raw_client(server) as stays, raw_client(server) as goes:
                await until(lambda: len(connections) == 2)
                (gone,) = (each for each in connections if each.peer.port == goes.getsockname()[1])
                reset(goes)
                for connection in connections:
                    connection.post_encoded(b"still here\n", flush=True)
                assert stays.recv(100) == b"still here\n"
                await until(lambda: gone.closed)
                assert server.stats().open == 1

    run(main())


@pytest.mark.parametrize("spelling", ["coroutine", "generator"])
def test_posting_to_a_stuck_peer_gives_it_up_once(run: Run, spelling: str) -> None:
    connections: list[Any] = []

    async def coroutine(connection: AsyncConnection) -> None:
        connections.append(connection)
        async for _ in connection:
            pass

    def generator(connection: prise.GeneratorConnection) -> Any:
        connections.append(connection)
        while True:
            yield None

    async def main() -> prise.Stats:
        conversation: Any = coroutine if spelling == "coroutine" else generator
        async with serving(conversation, Limits(outbox_size=100_000, linger_time=0.2)) as server:
            with raw_client(server):
                await until(lambda: len(connections) == 1)
                while connections[0].post("x" * 9_999):
                    pass
                assert not connections[0].post("x")
                await until(lambda: server.stats().open == 0)
        return server.stats()

    assert run(main()).errors == {"conversation": 0, "frame": 0, "handshake": 0, "too_slow": 1, "lost": 0}


def test_an_error_in_a_conversation_is_logged_with_its_connection(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(connection: AsyncConnection) -> None:
        raise ValueError("ouch")

    async def main() -> None:
        async with serving(broken) as server, prise.connect(server.address) as client:
            assert await client.receive() is None

    with caplog.at_level(logging.ERROR, "prise"):
        run(main())
    (record,) = caplog.records
    assert "127.0.0.1" in record.getMessage()
    assert "broken failed" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)

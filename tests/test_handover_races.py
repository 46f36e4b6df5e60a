"""Handovers while something else happens: other threads and tasks, cancellation, a drain, a peer that leaves.

The receiver is a bare socket, so that a test decides when it answers.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import prise
from prise import Limits
from prise.errors import HandoverError, HandoverProtocolError, HandoverRefused, HandoverUncertain
from prise.handover import AsyncChannel, Channel, adopt
from prise.handover.frame import TAKEN, encoded

PATIENCE = 10.0
NO = encoded("ack", ok=False, error="no room")


@contextmanager
def against() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and a bare socket at its other end."""
    near, far = socket.socketpair()
    far.settimeout(PATIENCE)
    with Channel(near) as channel, far:
        yield channel, far


def take(far: socket.socket) -> socket.socket:
    """Receives what is given, without an answer."""
    _, (descriptor,), _, _ = socket.recv_fds(far, 1 << 16, 1)
    sock = socket.socket(fileno=descriptor)
    sock.settimeout(PATIENCE)
    return sock


def ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    """For what has no event to wait for: looks again and again, for a while."""
    done = threading.Event()
    for _ in range(1000):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("it did not happen")


# -- threads that share a channel ---------------------------------------------------------------------------------------------


def test_threads_share_a_channel_in_both_roles() -> None:
    """Each handover is answered to whoever made it, and each is received once."""
    givers, each, takers = 6, 30, 3
    ours, theirs = Channel.pair()
    found: list[Any] = []
    errors: list[BaseException] = []

    def giving(first: int) -> None:
        try:
            for number in range(each):
                peer, conn = socket.socketpair()
                peer.settimeout(PATIENCE)
                with peer:
                    ours.send(conn, state=first + number, timeout=PATIENCE)
                    assert int(peer.recv(20)) == first + number
        except BaseException as error:
            errors.append(error)

    def taking() -> None:
        try:
            while received := theirs.receive(PATIENCE):
                with received:
                    found.append(received.state)
                    received.socket.sendall(str(received.state).encode())
        except BaseException as error:
            errors.append(error)

    with ours, theirs:
        threads = [threading.Thread(target=giving, args=(each * number,)) for number in range(givers)]
        others = [threading.Thread(target=taking) for _ in range(takers)]
        for thread in (*threads, *others):
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        ours.close()
        for thread in others:
            thread.join(PATIENCE)
    assert not errors
    assert sorted(found) == list(range(givers * each))


@pytest.mark.parametrize("kind", [Channel, AsyncChannel])
def test_a_listener_that_has_much_to_do_is_waited_for(kind: type[Any], tmp_path: Path) -> None:
    path = str(tmp_path / "take")

    def connect(timeout: float) -> Any:
        if kind is Channel:
            return Channel.connect(path, timeout)

        async def main() -> AsyncChannel:
            return await AsyncChannel.connect(path, timeout)

        return asyncio.run(main())

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with connect_now(path) as waiting:
            assert waiting.fileno() >= 0
            with pytest.raises(HandoverError, match="too many wait"):
                connect(0.03)
            found: list[Any] = []
            thread = threading.Thread(target=lambda: found.append(connect(PATIENCE)))
            thread.start()
            listener.accept()[0].close()
            thread.join(PATIENCE)
            assert found[0].credentials.pid == os.getpid()
            found[0].close()


def connect_now(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


# -- `await hand_over`, cancelled ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def client() -> AsyncIterator[tuple[prise.AsyncConnection, socket.socket]]:
    """An asynchronous connection, and its peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = await prise.connect(f"127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        with peer:
            peer.settimeout(PATIENCE)
            async with connection:
                yield connection, peer


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def talks(connection: prise.AsyncConnection, peer: socket.socket) -> bool:
    """True where the connection goes on here, with nothing lost."""
    peer.sendall(b"e\ntwo\n")
    heard = [await connection.receive(PATIENCE) for _ in range(2)]
    await connection.send("here")
    await asyncio.sleep(0)
    return heard == ["one", "two"] and await asyncio.to_thread(peer.recv, 100) == b"here\n"


async def begin(connection: prise.AsyncConnection, peer: socket.socket) -> None:
    """Has something pending: half a message."""
    peer.sendall(b"first\non")
    assert await connection.receive(PATIENCE) == "first"


KINDS: list[type[Any]] = [Channel, AsyncChannel]


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_before_anything_is_sent_it_is_still_ours(kind: type[Any]) -> None:
    """It waits for another handover over the same channel, which does not mind."""

    async def main() -> None:
        near, far = socket.socketpair()
        far.settimeout(PATIENCE)
        async with client() as (other, _), client() as (connection, peer):
            await begin(connection, peer)
            channel = kind(near)
            first = asyncio.create_task(other.hand_over(channel))
            taken = await asyncio.to_thread(take, far)
            second = asyncio.create_task(connection.hand_over(channel))
            for _ in range(5):
                await asyncio.sleep(0)
            await cancelled(second)
            assert not channel.closed
            far.sendall(TAKEN)
            await first
            assert await talks(connection, peer)
            taken.close()
            channel.close()
            far.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answers", [False, True])
def test_cancelled_while_the_answer_is_awaited_it_is_not_ours_any_more(kind: type[Any], answers: bool) -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        far.settimeout(PATIENCE)
        async with client() as (connection, peer):
            channel = kind(near)
            task = asyncio.create_task(connection.hand_over(channel))
            taken = await asyncio.to_thread(take, far)
            await cancelled(task)
            assert connection.closed
            assert channel.closed
            if answers:
                try:
                    far.sendall(TAKEN)
                    taken.sendall(b"theirs")
                    assert await asyncio.to_thread(peer.recv, 100) == b"theirs"
                except BrokenPipeError:
                    pass  # who cannot say that it has it, has not
            taken.close()
            assert await asyncio.to_thread(ended, peer)
            far.close()

    asyncio.run(main())


def test_cancelled_when_the_answer_is_there_but_not_looked_at_it_is_theirs_alone() -> None:
    """The thread that talks has heard it; the loop has not yet come round to it."""

    async def main() -> None:
        near, far = socket.socketpair()
        far.settimeout(PATIENCE)
        async with client() as (connection, peer):
            channel = Channel(near)
            task = asyncio.create_task(connection.hand_over(channel))
            taken = await asyncio.to_thread(take, far)
            talker = next(thread for thread in threading.enumerate() if thread.name == "prise-handover")
            far.sendall(TAKEN)
            talker.join(PATIENCE)
            await cancelled(task)
            assert connection.closed
            assert not channel.closed
            taken.sendall(b"theirs")
            assert await asyncio.to_thread(peer.recv, 100) == b"theirs"
            taken.close()
            assert await asyncio.to_thread(ended, peer)
            channel.close()
            far.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_or_late_in_the_middle_of_sending_it_is_ours_or_nobodys(kind: type[Any]) -> None:
    """With a thread in between nobody knows how far that is; without, it is known that nobody has it."""

    async def main() -> None:
        near, far = socket.socketpair()
        async with client() as (connection, peer):
            await begin(connection, peer)
            channel = kind(near)
            task = asyncio.create_task(connection.hand_over(channel, state="x" * 900_000))
            await asyncio.to_thread(far.recv, 4)  # which drops the descriptor
            await cancelled(task)
            assert channel.closed
            if connection.closed:
                assert kind is Channel
                far.close()
                assert await asyncio.to_thread(ended, peer)
            else:
                assert kind is AsyncChannel
                far.close()
                assert await talks(connection, peer)

    asyncio.run(main())


def test_a_task_that_waits_for_a_message_hears_of_the_end_when_another_gives_the_connection_away() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        far.settimeout(PATIENCE)
        async with client() as (connection, _), AsyncChannel(near) as channel:
            reader = asyncio.create_task(connection.receive())
            await asyncio.sleep(0)
            task = asyncio.create_task(connection.hand_over(channel))
            with await asyncio.to_thread(take, far):
                far.sendall(TAKEN)
                await task
                assert await asyncio.wait_for(reader, PATIENCE) is None
            far.close()

    asyncio.run(main())


def test_a_task_that_waits_for_a_message_goes_on_waiting_when_nobody_took_it() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        far.settimeout(PATIENCE)
        async with client() as (connection, peer), AsyncChannel(near) as channel:
            reader = asyncio.create_task(connection.receive())
            await asyncio.sleep(0)
            task = asyncio.create_task(connection.hand_over(channel))
            (await asyncio.to_thread(take, far)).close()
            peer.sendall(b"meanwhile\n")
            far.sendall(NO)
            with pytest.raises(HandoverRefused):
                await task
            assert await asyncio.wait_for(reader, PATIENCE) == "meanwhile"
            far.close()

    asyncio.run(main())


def test_two_tasks_do_not_wait_for_the_same_channel() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        async with client() as (connection, peer), AsyncChannel(near) as channel:
            await begin(connection, peer)
            first = asyncio.create_task(channel.receive())
            await asyncio.sleep(0)
            with pytest.raises(prise.UsageError, match="waits already"):
                await channel.receive()
            with pytest.raises(prise.UsageError, match="waits already"):
                await connection.hand_over(channel)
            assert await talks(connection, peer)
            far.close()
            assert await first is None

    asyncio.run(main())


# -- shared connections -----------------------------------------------------------------------------------------------------


def test_a_read_that_finds_nothing_on_a_shared_connection_is_no_time_limit_that_has_passed() -> None:
    """Whoever keeps the connection may make it non-blocking, for all its copies."""
    ours, theirs = Channel.pair()
    peer, conn = socket.socketpair()
    with ours, theirs, peer, conn:
        conn.settimeout(PATIENCE)
        thread = threading.Thread(target=ours.send, args=(conn,), kwargs={"keep": True})
        thread.start()
        received = theirs.receive(PATIENCE)
        thread.join(PATIENCE)
        assert received is not None
        with received.connection() as shared:
            conn.settimeout(PATIENCE)
            assert not os.get_blocking(shared.fileno())
            threading.Timer(0.05, lambda: peer.sendall(b"later\n")).start()
            assert shared.receive() == "later"


def test_who_adopts_a_descriptor_does_not_hurry_its_owner() -> None:
    peer, owner = socket.socketpair()
    with peer, owner, adopt(owner, limits=Limits(idle_time=5.0)) as connection:
        peer.sendall(b"hello\n")
        assert connection.receive() == "hello"
        assert owner.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == bytes(16)
        owner.setblocking(False)
        threading.Timer(0.05, lambda: peer.sendall(b"later\n")).start()
        assert connection.receive() == "later"


# -- a drain, a peer that leaves, posts ---------------------------------------------------------------------------------------


MODELS = [("select", "coroutine"), ("asyncio", "coroutine"), ("select", "generator")]
BLOCKING = [("threads", "coroutine"), ("threads", "generator")]


def giving(channel: Channel, spelling: str, told: list[Any]) -> Any:
    """A conversation that hears one line, gives the connection away, and tells what came of it."""

    async def coroutine(connection: prise.AsyncConnection) -> None:
        if await connection.receive() is None:
            return  # somebody who only looked whether we still listen
        try:
            await connection.hand_over(channel)
        except HandoverError as error:
            told.append(error)
            await connection.send("still here")
            told.append([line async for line in connection])
        else:
            told.append(await connection.receive())

    def generator(connection: Any) -> Any:
        yield None
        told.append(None)
        return prise.HandOver(channel)

    return coroutine if spelling == "coroutine" else generator


@pytest.mark.parametrize(("model", "spelling"), [*MODELS, *BLOCKING])
def test_a_drain_in_the_middle_does_not_end_it_for_those_who_take_it(model: str, spelling: str) -> None:
    with against() as (channel, far):
        told: list[Any] = []
        server = prise.listen(giving(channel, spelling, told), "127.0.0.1:0", model=model)
        with server, prise.connect(server.address) as peer:
            peer.send("go")
            with take(far) as taken:
                threading.Thread(target=server.drain, args=(PATIENCE,)).start()
                wait_until(lambda: refuses(server.address))
                far.sendall(TAKEN)
                wait_until(lambda: server.stats().open == 0)
                threading.Timer(0.02, lambda: peer.send("for them")).start()
                assert taken.recv(100) == b"for them\n"


@pytest.mark.parametrize(("model", "spelling"), [*MODELS[:2], BLOCKING[0]])
def test_a_drain_in_the_middle_is_made_up_for_when_nobody_took_it(model: str, spelling: str) -> None:
    with against() as (channel, far):
        told: list[Any] = []
        server = prise.listen(giving(channel, spelling, told), "127.0.0.1:0", model=model)
        with server, prise.connect(server.address) as peer:
            peer.send("go")
            take(far).close()
            threading.Thread(target=server.drain, args=(3 * PATIENCE,)).start()  # longer than we wait
            wait_until(lambda: refuses(server.address))
            far.sendall(NO)
            assert peer.receive(PATIENCE) == "still here"
            assert peer.receive(PATIENCE) is None
        assert isinstance(told[0], HandoverRefused)
        assert told[1] == []


def refuses(address: prise.Address) -> bool:
    """True where nobody listens any more."""
    with socket.socket() as probe:
        probe.settimeout(PATIENCE)
        return probe.connect_ex((str(address.host), int(address.port or 0))) != 0


@pytest.mark.parametrize(("model", "spelling"), [*MODELS, ("threads", "coroutine"), ("threads", "generator")])
@pytest.mark.parametrize("takes", [True, False])
def test_a_peer_that_is_gone_in_the_middle_is_found_gone_by_whoever_has_it(
    model: str, spelling: str, takes: bool
) -> None:
    with against() as (channel, far):
        told: list[Any] = []
        with prise.listen(giving(channel, spelling, told), "127.0.0.1:0", model=model) as server:
            with socket.create_connection((str(server.address.host), int(server.address.port or 0))) as peer:
                peer.sendall(b"go\n")
                with take(far) as taken:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.close()  # a reset
                    if takes:
                        far.sendall(TAKEN)
                        assert ended(taken)
                    else:
                        far.sendall(NO)
                    wait_until(lambda: server.stats().open == 0)
            assert told


def test_what_is_posted_in_the_middle_is_not_sent_and_says_so() -> None:
    with against() as (channel, far):
        peer, conn = socket.socketpair()
        with peer, conn:
            connection = adopt(conn)
            outcome: list[BaseException] = []

            def hand_over() -> None:
                try:
                    connection.hand_over(channel)
                except BaseException as error:
                    outcome.append(error)

            thread = threading.Thread(target=hand_over)
            thread.start()
            take(far).close()
            assert connection.post("in the middle") is False
            with pytest.raises(prise.UsageError, match="already"):
                connection.hand_over(channel)
            far.sendall(NO)
            thread.join(PATIENCE)
            assert isinstance(outcome[0], HandoverRefused)
            assert connection.post("afterwards") is True
            assert peer.recv(100) == b"afterwards\n"
            connection.close()


def test_what_the_flusher_still_holds_goes_out_before_the_connection_goes() -> None:
    """Much was posted to a peer that did not read: the thread that sends it and the one that hands over are not the same."""
    with against() as (channel, far):
        peer, conn = socket.socketpair()
        peer.settimeout(PATIENCE)
        with peer:
            connection = adopt(conn, "chunks", Limits(outbox_size=8 << 20))
            conn.close()
            posted = os.urandom(1 << 20)
            for _ in range(4):
                assert connection.post(posted)
            thread = threading.Thread(target=connection.hand_over, args=(channel,))
            thread.start()
            got = b""
            while len(got) < 4 << 20:
                got += peer.recv(1 << 16)
            with take(far) as taken:
                far.sendall(TAKEN)
                thread.join(PATIENCE)
                taken.sendall(b"theirs")
                assert peer.recv(100) == b"theirs"
            assert got == posted * 4


def test_a_conversation_that_is_cut_in_the_middle_hears_of_its_end() -> None:
    with against() as (channel, far):
        told: list[Any] = []
        server = prise.listen(giving(channel, "coroutine", told), "127.0.0.1:0", model="asyncio")
        with server, prise.connect(server.address) as peer:
            peer.send("go")
            take(far).close()
            server.stop()
            assert peer.receive(PATIENCE) is None
            assert channel.closed


def test_what_comes_to_a_sender_from_both_sides_at_once_is_lost_to_neither() -> None:
    """Each gives while the other does: whoever sees it beforehand keeps its own, and can receive the other's."""
    ours, theirs = Channel.pair()
    with ours, theirs:
        peer, conn = socket.socketpair()
        other, another = socket.socketpair()
        with peer, conn, other, another:
            thread = threading.Thread(target=theirs.send, args=(another,))
            thread.start()
            assert select.select([ours], [], [], PATIENCE)[0]
            with pytest.raises(HandoverProtocolError, match="receive"):
                ours.send(conn)
            received = ours.receive(PATIENCE)
            thread.join(PATIENCE)
            assert received is not None
            received.close()
            with pytest.raises(HandoverUncertain):
                ours.send(conn, timeout=0.01)

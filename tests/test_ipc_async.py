"""`prise.ipc.AsyncConnection`: the same promises, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest

from prise import ipc
from prise.core.limits import Limits
from prise.errors import ConnectionLost, FrameError, TooSlow, UsageError
from prise.ipc import AsyncConnection, Buffer, Sharing, memory
from prise.ipc.frame import head

needs_memory = pytest.mark.skipif(not memory.SUPPORTED, reason="shared memory that can be sealed is Linux's")
PATIENCE = 10.0


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    gc.freeze()  # what was there before need not be searched: a third of a second, each time
    before = set(os.listdir("/dev/fd"))
    yield
    gc.collect()
    gc.unfreeze()
    assert set(os.listdir("/dev/fd")) == before


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


@asynccontextmanager
async def connected(
    sharing: Sharing | None = None, **limits: Any
) -> AsyncIterator[tuple[AsyncConnection, AsyncConnection]]:
    bounds = Limits(**{"idle_time": None, "message_size": 8 << 20} | limits)
    near, far = ipc.pair(limits=bounds, sharing=sharing)
    async with near as left, far as right:
        yield left, right


async def ask(left: AsyncConnection, right: AsyncConnection, message: Any) -> Any:
    _, received = await asyncio.gather(left.send(message), right.receive(PATIENCE))
    return received


@pytest.mark.parametrize("sharing", [Sharing(), Sharing(threshold=None)], ids=["shared", "inline"])
def test_bytes_of_every_size_arrive_as_they_were(sharing: Sharing) -> None:
    async def main() -> None:
        async with connected(sharing) as (left, right):
            for size in (0, 1, 65_527, 65_528, 65_529, 262_143, 262_144, 1_048_576, 5_000_000):
                data = os.urandom(size)
                assert bytes(await ask(left, right, data)) == data

    run(main())


@needs_memory
def test_arrays_and_buffers() -> None:
    async def main() -> None:
        async with connected() as (left, right):
            table = numpy.arange(200_000.0).reshape(2, 100_000)
            assert (numpy.asarray(await ask(left, right, table)) == table).all()
            with Buffer(3, "i") as buffer:
                buffer.view()[1] = 5
                assert (await ask(left, right, buffer)).tolist() == [0, 5, 0]

    run(main())


def test_many_tasks_send_at_once_and_messages_stay_whole() -> None:
    async def main() -> None:
        async with connected() as (left, right):
            sizes = [10, 100_000, 300_000, 2_000_000] * 5
            sending = asyncio.gather(*(left.send(bytes([number]) * size) for number, size in enumerate(sizes)))
            for number, size in enumerate(sizes):
                assert bytes(await right.receive(PATIENCE) or b"") == bytes([number]) * size
            await sending
            await left.send_eof()
            assert [message async for message in right] == []
            with pytest.raises(UsageError, match="closed already"):
                await left.send(b"more")
            await right.send(b"still")
            assert bytes(await left.receive(PATIENCE) or b"") == b"still"

    run(main())


def test_ask() -> None:
    async def main() -> None:
        async with connected() as (left, right):

            async def answer() -> None:
                async for message in right:
                    await right.send(bytes(message).upper())

            task = asyncio.create_task(answer())
            assert bytes(await left.ask(b"hello", timeout=PATIENCE)) == b"HELLO"
            await left.send_eof()
            await task
            await right.close()
            assert await left.receive() is None

    run(main())


def test_the_loop_goes_on_while_a_large_message_is_sent() -> None:
    async def main() -> None:
        async with connected(Sharing(threshold=None), message_size=64 << 20) as (left, right):
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count())
            await ask(left, right, bytes(20_000_000))
            counting.cancel()
            assert turns > 20

    run(main())


@needs_memory
def test_no_more_shared_memory_is_on_its_way_than_allowed() -> None:
    async def main() -> None:
        async with connected(Sharing(in_flight=2), write_time=0.05) as (left, right):
            for _ in range(2):
                await left.send(bytes(300_000))
            with pytest.raises(TooSlow, match="took nothing"):
                await left.send(bytes(300_000))
            waiting = asyncio.create_task(left.send(bytes(300_001)))
            assert [len(await right.receive(PATIENCE) or b"") for _ in range(3)] == [300_000, 300_000, 300_001]
            await waiting

    run(main())


def test_time_limits() -> None:
    async def main() -> None:
        async with connected(Sharing(threshold=None), idle_time=0.05, write_time=0.05) as (left, right):
            with pytest.raises(TooSlow, match="in the time given"):
                await right.receive(timeout=0.01)
            await left.send(b"then")
            assert bytes(await right.receive(PATIENCE) or b"") == b"then"
            with pytest.raises(TooSlow, match="nothing arrived"):
                await right.receive()
            with pytest.raises(TooSlow, match="took nothing"):
                await left.send(bytes(5_000_000))
            with pytest.raises(TooSlow):
                await left.send(b"more")

    run(main())


def test_half_a_message_has_a_time_limit() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        with near:
            async with AsyncConnection(far, Limits(idle_time=None, message_time=0.05)) as right:
                near.send(b"\0\0\0\0\0\0\0\5abc")
                with pytest.raises(TooSlow, match="not complete"):
                    await right.receive()

    run(main())


def test_the_peer_is_gone() -> None:
    async def main() -> None:
        async with connected() as (left, right):
            waiting = asyncio.create_task(left.receive())
            await right.close()
            assert await waiting is None
            with pytest.raises(ConnectionLost):
                await left.send(b"small")
            with pytest.raises(ConnectionLost):
                await left.send(bytes(1_000_000))
            with pytest.raises(ConnectionLost):
                await left.ask(b"?")

    run(main())


def test_the_peer_is_gone_in_the_middle_of_a_message() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        async with AsyncConnection(far) as right:
            near.send(b"\0\0\0\0\0\0\0\5abc")
            near.close()
            with pytest.raises(ConnectionLost, match="middle"):
                await right.receive()

    run(main())


def test_closing_wakes_who_receives() -> None:
    async def main() -> None:
        async with connected() as (left, _right):
            waiting = asyncio.create_task(left.receive())
            await asyncio.sleep(0)
            await left.close()
            await left.close()
            assert await waiting is None
            with pytest.raises(UsageError, match="closed"):
                await left.send(b"x")

    run(main())


def test_a_descriptor_that_is_no_memory_is_refused() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        with near:
            async with AsyncConnection(far) as right:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, near.fileno().to_bytes(4, "little"))]
                near.sendmsg([head(500, descriptor=True)], rights)
                with pytest.raises(FrameError, match="not sealed"):
                    await right.receive()
                with pytest.raises(FrameError):
                    await right.send(b"?")

    run(main())


def test_cancelled_within_a_message_the_connection_breaks_off() -> None:
    async def main() -> None:
        async with connected(Sharing(threshold=None)) as (left, right):
            sending = asyncio.create_task(left.send(bytes(5_000_000)))
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            with pytest.raises(ConnectionLost):
                await right.receive(PATIENCE)

    run(main())


@needs_memory
def test_cancelled_while_a_thread_copies_nothing_is_sent_and_nothing_left() -> None:
    async def main() -> None:
        async with connected() as (left, right):
            sending = asyncio.create_task(left.send(bytes(30_000_000)))
            await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await left.send(b"fine")
            assert bytes(await right.receive(PATIENCE) or b"") == b"fine"
            await asyncio.get_running_loop().shutdown_default_executor()
            await asyncio.sleep(0)

    run(main())


def test_a_listener(tmp_path: Path) -> None:
    async def main() -> None:
        with ipc.Listener(f"{tmp_path}/s") as listener:
            with pytest.raises(TooSlow, match="nobody came"):
                await listener.accept_async(timeout=0.01)
            accepting = asyncio.create_task(listener.accept_async(PATIENCE))
            async with ipc.connect(listener.address) as left:
                async with await accepting as right:
                    assert len(await ask(left, right, bytes(1_000_000))) == 1_000_000

    run(main())

"""Ways to give a connection to another process, acknowledged: `python -m benchmarks.peers.handover_ways WAY one|two SECONDS`.

The other process is forked (or is PHP), and is on the same CPU or on the other. What is given is a fresh duplicate each time,
made before the clock is looked at; it ends when the other process has said that it has it and our copy is closed.
The other process closes its own.

A way is a function that gives one socket, with what was read from it already, and one that takes. Prints the median in µs, for
no bytes that were read already and for 4 KiB of them.
"""

from __future__ import annotations

import array
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing import reduction
from typing import Any

import prise
from benchmarks.harness import FOLDER, LOAD_CPU, SERVER_CPU
from prise.handover import AsyncChannel, Channel, adopt

PENDING = 4096
SIZES = (0, PENDING)
WARM, LEAST = 200, 500
INT = array.array("i").itemsize


def bare(sock: socket.socket, pending: bytes, channel: socket.socket) -> None:
    """As little as the system allows: a length, the bytes, one byte back."""
    data = len(pending).to_bytes(4, "big") + pending
    channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])
    channel.recv(1)
    sock.close()


def take_bare(channel: socket.socket) -> None:
    while True:
        length, ancillary, _, _ = channel.recvmsg(4, socket.CMSG_SPACE(INT), socket.MSG_CMSG_CLOEXEC)
        if not length:
            return
        if size := int.from_bytes(length, "big"):
            channel.recv(size, socket.MSG_WAITALL)
        taken = socket.socket(fileno=array.array("i", ancillary[0][2])[0])
        channel.send(b"!")
        taken.close()


def standard(sock: socket.socket, pending: bytes, channel: Any) -> None:
    channel.send_bytes(pending)
    reduction.send_handle(channel, sock.fileno(), os.getpid())
    channel.recv_bytes()
    sock.close()


def take_standard(channel: Any) -> None:
    while True:
        try:
            channel.recv_bytes()
        except EOFError:
            return
        taken = socket.socket(fileno=reduction.recv_handle(channel))
        channel.send_bytes(b"!")
        taken.close()


def prise_socket(sock: Any, pending: bytes, channel: Channel) -> None:
    channel.send(sock)


def take_prise(channel: Channel) -> None:
    while received := channel.receive(30.0):
        received.close()


def connection_of(sock: socket.socket, pending: bytes) -> prise.Connection:
    with sock:
        return adopt(sock, pending=pending)


WAYS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[[Any], None]]] = {
    "bare": (socket.socketpair, bare, take_bare),
    "multiprocessing": (multiprocessing.Pipe, standard, take_standard),
    "python": (Channel.pair, prise_socket, take_prise),
    "connection": (Channel.pair, prise_socket, take_prise),
    "asyncio": (AsyncChannel.pair, prise_socket, take_prise),
    "php": (Channel.pair, prise_socket, take_prise),
}


def forked(take: Callable[[Any], None], ours: Any, theirs: Any, cpu: int) -> None:
    if os.fork() == 0:
        os.sched_setaffinity(0, {cpu})
        ours.close()
        take(theirs)
        os._exit(0)
    theirs.close()


def started(theirs: Any, cpu: int) -> subprocess.Popen[bytes]:
    """PHP, with the channel as descriptor 3."""

    def prepare() -> None:
        os.sched_setaffinity(0, {cpu})
        os.dup2(number, 3)

    number = theirs.fileno()
    with theirs:
        program = ["php", str(FOLDER / "peers" / "handover_taker.php")]
        return subprocess.Popen(program, preexec_fn=prepare, pass_fds=(3,))


def timed(
    give: Callable[[Any, bytes, Any], None], make: Callable[[bytes], Any], channel: Any, pending: bytes, seconds: float
) -> float:
    turns: list[float] = []
    clock = time.perf_counter
    until = clock() + seconds
    while len(turns) < WARM + LEAST or clock() < until:
        given = make(pending)
        begun = clock()
        give(given, pending, channel)
        turns.append(clock() - begun)
    return statistics.median(turns[WARM:]) * 1e6


async def timed_on_asyncio(
    make: Callable[[bytes], Awaitable[prise.AsyncConnection]], channel: AsyncChannel, pending: bytes, seconds: float
) -> float:
    turns: list[float] = []
    clock = time.perf_counter
    until = clock() + seconds
    while len(turns) < WARM + LEAST or clock() < until:
        connection = await make(pending)
        begun = clock()
        await connection.hand_over(channel)
        turns.append(clock() - begun)
    return statistics.median(turns[WARM:]) * 1e6


def main() -> None:
    way, place, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    cpu = LOAD_CPU if place == "one" else SERVER_CPU
    prepare, give, take = WAYS[way]
    _peer, conn = socket.socketpair()
    if way == "asyncio":
        asyncio.run(on_asyncio(place, cpu, seconds))
        return
    ours, theirs = prepare()
    php = started(theirs, cpu) if way == "php" else None
    if php is None:
        forked(take, ours, theirs, cpu)
    os.sched_setaffinity(0, {LOAD_CPU})

    def make(pending: bytes) -> Any:
        if way == "connection" or (pending and way in ("python", "php")):
            return connection_of(conn.dup(), pending)
        return conn.dup()

    figures = {f"{place} {size}": timed(give, make, ours, b"x" * size, seconds) for size in SIZES}
    ours.close()
    if php is not None:
        php.wait()
    else:
        os.wait()
    print(json.dumps(figures))


async def on_asyncio(place: str, cpu: int, seconds: float) -> None:
    ours, theirs = socket.socketpair()
    forked(lambda sock: take_prise(Channel(sock)), ours, theirs, cpu)
    os.sched_setaffinity(0, {LOAD_CPU})
    peer, conn = socket.socketpair()

    async def make(pending: bytes) -> prise.AsyncConnection:
        connection = await prise.connect(f"fd:{conn.dup().detach()}")
        peer.sendall(b"x\n" + pending)
        await connection.receive()
        return connection

    channel = AsyncChannel(ours)
    figures = {f"{place} {size}": await timed_on_asyncio(make, channel, b"x" * size, seconds) for size in SIZES}
    channel.close()
    await asyncio.to_thread(os.wait)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Ways from one process to another of one machine, each with the same three words: `python -m benchmarks.peers.ipc_ways WAY`.

The other process is forked, on the other CPU. For each size that is asked for: how long a message takes there and one of the
same size back (median), and how many bytes a second arrive when one side only sends. Whoever receives touches every page of
what it has got, so that memory which was only promised counts as little as it is worth.

A way gives, for each of the two processes, a `send` of a message that lies ready, and a `receive` of the next one as a buffer.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import LOAD_CPU, SERVER_CPU
from prise import Limits, ipc

Send = Callable[[Any], Any]
Receive = Callable[[], Any]
HEAD = struct.Struct("!I")
LATENCY, STREAM, STOP, END = b"latency", b"stream", b"stop", b"end"
WARM = 20  # turns
LEAST, MOST = 5, 20_000  # turns, and messages between two looks at the clock
PAGE = 4096
HIGH_WATER = 16
"""Messages that ZeroMQ may keep. With its 1,000 it would take gigabytes for large ones, and is no faster for small ones."""


def _prefixed(write: Callable[[Any], int], read: Callable[[Any], int]) -> tuple[Send, Receive]:
    """Messages behind their length, into one buffer that is used again: as little work as the calls of the system allow."""
    kept = bytearray(16)

    def exactly(size: int) -> memoryview:
        nonlocal kept
        if len(kept) < size:
            kept = bytearray(size)
        view = memoryview(kept)[:size]
        at = 0
        while at < size:
            at += read(view[at:])
        return view

    def send(message: bytes) -> None:
        head = HEAD.pack(len(message))
        if len(message) <= 16384:
            write(head + message)
            return
        rest = memoryview(message)
        write(head)
        while rest:
            rest = rest[write(rest) :]

    return send, lambda: exactly(HEAD.unpack(exactly(HEAD.size))[0])


def pipe(child: bool, ends: Any) -> tuple[Send, Receive]:
    (there, to), (back, answer) = ends
    reader, writer = (there, answer) if child else (back, to)
    return _prefixed(lambda data: os.write(writer, data), lambda view: os.readv(reader, [view]))


def stream(child: bool, ends: Any) -> tuple[Send, Receive]:
    sock = ends[child]
    return _prefixed(sock.send, sock.recv_into)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for each in (near, far):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def standard(child: bool, ends: Any) -> tuple[Send, Receive]:
    connection = ends[child]
    return connection.send_bytes, connection.recv_bytes


def zeromq(child: bool, ends: Any) -> tuple[Send, Receive]:
    import zmq

    sock = zmq.Context().socket(zmq.PAIR)
    sock.set_hwm(HIGH_WATER)
    if child:
        sock.connect(ends)
    else:
        sock.bind(ends)
    return lambda message: sock.send(message, copy=False), lambda: sock.recv(copy=False).buffer


def prise(child: bool, ends: Any) -> tuple[Send, Receive]:
    connection = ends[child].open()
    return connection.send, connection.receive


def zeromq_place() -> str:
    return f"ipc://{tempfile.mkdtemp()}/s"


LARGE = Limits(message_size=1 << 30, idle_time=None)
WAYS: dict[str, tuple[Callable[[], Any], Callable[[bool, Any], tuple[Send, Receive]]]] = {
    "pipe": (lambda: (os.pipe(), os.pipe()), pipe),
    "unix": (socket.socketpair, stream),
    "tcp": (tcp_pair, stream),
    "multiprocessing": (multiprocessing.Pipe, standard),
    "zeromq": (zeromq_place, zeromq),
    "inline": (lambda: ipc.pair(limits=LARGE, sharing=ipc.Sharing(threshold=None)), prise),
    "shared": (ipc.pair, prise),
    "in-place": (ipc.pair, prise),
}


def touch(message: Any) -> None:
    sum(memoryview(message)[::PAGE])


def answer(send: Send, receive: Receive, make: Callable[[int], Any]) -> None:
    """The other process: does what it is told."""
    while (order := bytes(receive())) != END:
        if order == LATENCY:
            mine = make(len(receive()))
            send(b"ready")
            while len(message := receive()) != len(STOP):
                touch(message)
                send(mine)
        else:
            while len(message := receive()) != len(STOP):
                touch(message)
            send(b"done")


def latency(send: Send, receive: Receive, message: Any, size: int, seconds: float) -> float:
    """Microseconds for one turn."""
    send(LATENCY)
    send(bytes(size))
    receive()
    turns: list[float] = []
    clock = time.perf_counter
    until = clock() + seconds
    while len(turns) < WARM + LEAST or clock() < until:
        begun = clock()
        send(message)
        touch(receive())
        turns.append(clock() - begun)
    send(STOP)
    return statistics.median(turns[WARM:]) * 1e6


def throughput(send: Send, receive: Receive, message: Any, size: int, seconds: float) -> float:
    """GB/s."""
    send(STREAM)
    batch = min(max(1, (64 << 20) // size), MOST)
    sent = 0
    begun = time.perf_counter()
    while sent < 2 or time.perf_counter() - begun < seconds:
        for _ in range(batch):
            send(message)
        sent += batch
    send(STOP)
    receive()
    return sent * size / (time.perf_counter() - begun) / 1e9


def main() -> None:
    way, seconds = sys.argv[1], float(sys.argv[2])
    wanted = [each.split("=") for each in sys.argv[3:]]
    prepare, open_one = WAYS[way]

    def make(size: int) -> Any:
        """A message that lies ready: made once and sent again and again, by all ways alike."""
        if way != "in-place" or size < 65536:
            return os.urandom(min(size, 65536)) * max(1, size // 65536)
        buffer = ipc.Buffer(size)
        buffer[:] = os.urandom(65536) * (size // 65536)
        return buffer

    ends = prepare()
    if os.fork() == 0:
        os.sched_setaffinity(0, {SERVER_CPU})
        answer(*open_one(True, ends), make)
        os._exit(0)
    os.sched_setaffinity(0, {LOAD_CPU})
    send, receive = open_one(False, ends)
    figures = {}
    for kind, number in wanted:
        size = int(number)
        message = make(size)
        if kind == "latency":
            figures[f"{kind} {size}"] = latency(send, receive, message, size, seconds)
        else:
            throughput(send, receive, message, size, seconds / 5)
            figures[f"{kind} {size}"] = throughput(send, receive, message, size, seconds)
        if isinstance(message, ipc.Buffer):
            message.close()
    send(END)
    os.wait()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

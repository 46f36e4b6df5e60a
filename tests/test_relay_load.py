"""A relay under a thousand connections, some of whose ends are stuck: the others go on, and nothing grows."""

from __future__ import annotations

import hashlib
import os
import resource
import selectors
import socket
import threading
from collections.abc import Iterator

import pytest

import prise
from cli_process import PATIENCE, Running
from prise.relay import splice as splicing

pytest.importorskip("click")

COUNT = 1000
MEGABYTE = 1024 * 1024
BIG = 20 * MEGABYTE
MOST_MEMORY = 250 * MEGABYTE
"""Of the relay's process with a thousand connections, whose bytes all go through it."""


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """Both ends of each connection are ours as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = COUNT * 2 + 500
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip("too few descriptors are allowed here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=["kernel", "process"])
def options(request) -> list[str]:
    """Each way that bytes can take: a rate has them go through the process."""
    if request.param == "kernel":
        if not splicing.available():
            pytest.skip("no splice(2) here")
        return []
    return ["--rate", "1G"]


def memory(process: int) -> int:
    """Bytes of memory that are its own now (VmRSS, proc(5))."""
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def accept(listener: socket.socket) -> socket.socket:
    sock = listener.accept()[0]
    sock.settimeout(PATIENCE)
    return sock


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := sock.recv(count - len(data))):
        data += piece
    return data


def fill(sock: socket.socket) -> int:
    """Sends until nothing is taken for a while: the other end is stuck."""
    sock.settimeout(0.2)
    sent = 0
    with pytest.raises(TimeoutError):
        while True:
            sent += sock.send(b"x" * MEGABYTE)
            assert sent < 64 * MEGABYTE
    sock.settimeout(PATIENCE)
    return sent


def test_a_thousand_with_ends_that_are_stuck(options):
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.settimeout(PATIENCE)
        b = f"127.0.0.1:{listener.getsockname()[1]}"
        with Running("relay", "127.0.0.1:0", b, "--max-connections", "none", *options) as relay:
            port = relay.port()
            pairs = []
            for _ in range(COUNT):
                client = connect(port)
                pairs.append((client, accept(listener)))

            # One client reads nothing of what its server floods it with, and one server nothing of what its client says.
            stuck = [(pairs[0][0], fill(pairs[0][1])), (pairs[1][1], fill(pairs[1][0]))]

            # Everybody else talks, all at once and again.
            for turn in range(2):
                for number, (client, _) in enumerate(pairs[2:]):
                    client.sendall(b"%06d" % (number + turn))
                for number, (_, far) in enumerate(pairs[2:]):
                    assert exactly(far, 6) == b"%06d" % (number + turn)
                    far.sendall(b"%06d" % number)
                for number, (client, _) in enumerate(pairs[2:]):
                    assert exactly(client, 6) == b"%06d" % number
            assert memory(relay.process.pid) < MOST_MEMORY

            # The directions that nobody holds up go on as well: who does not read can still be heard.
            pairs[0][0].sendall(b"still here")
            assert exactly(pairs[0][1], 10) == b"still here"

            # And those who were stuck miss nothing once they read.
            for sock, sent in stuck:
                count = 0
                while count < sent:
                    count += len(sock.recv(MEGABYTE))
            for pair in pairs:
                for sock in pair:
                    sock.close()


def test_a_hundred_that_are_stuck_hold_a_bounded_memory(options):
    count = 100
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.settimeout(PATIENCE)
        b = f"127.0.0.1:{listener.getsockname()[1]}"
        with Running("relay", "127.0.0.1:0", b, *options) as relay, selectors.DefaultSelector() as selector:
            port = relay.port()
            pairs = []
            for _ in range(count):
                client = connect(port)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                pairs.append((client, accept(listener)))
                pairs[-1][1].setblocking(False)
                pairs[-1][1].setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, 65536
                )  # the kernel's memory is not in question
                selector.register(pairs[-1][1], selectors.EVENT_WRITE, pairs[-1][1])
            before = memory(relay.process.pid)
            data = bytes(MEGABYTE)
            while ready := selector.select(0.3):
                for key, _ in ready:
                    try:
                        key.data.send(data)
                    except BlockingIOError:
                        pass
            # An outbox of 256 KiB and one read for each, at the most, and what Python's memory has between them.
            assert memory(relay.process.pid) - before < count * MEGABYTE
            with connect(port) as client, accept(listener) as far:
                client.sendall(b"hello")
                assert exactly(far, 5) == b"hello"
            for pair in pairs:
                for sock in pair:
                    sock.close()


def test_much_arrives_whole_both_ways(options):
    """20 MB each way at once, compared by their checksums."""
    data = os.urandom(MEGABYTE) * (BIG // MEGABYTE)
    wanted = hashlib.sha256(data).digest()
    found: dict[str, bytes] = {}

    def write(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def read(name: str, sock: socket.socket) -> None:
        digest = hashlib.sha256()
        while piece := sock.recv(200_000):
            digest.update(piece)
        found[name] = digest.digest()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with Running("relay", "127.0.0.1:0", f"127.0.0.1:{listener.getsockname()[1]}", *options) as relay:
            with connect(relay.port()) as client, accept(listener) as far:
                threads = [threading.Thread(target=write, args=(sock,)) for sock in (client, far)]
                threads += [threading.Thread(target=read, args=each) for each in (("client", client), ("far", far))]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(PATIENCE)
    assert found == {"client": wanted, "far": wanted}


def test_a_burst_of_clients_is_one_look_up_each_served():
    """Many at the same moment, towards a name: all are joined."""

    def once(connection: prise.Connection) -> None:
        connection.send(connection.receive().upper())

    with prise.listen(once, "127.0.0.1:0") as server:
        with Running("relay", "127.0.0.1:0", f"localhost:{server.address.port}") as relay:
            port = relay.port()
            clients = [connect(port) for _ in range(200)]
            for number, client in enumerate(clients):
                client.sendall(b"line %d\n" % number)
            for number, client in enumerate(clients):
                with client:
                    assert client.makefile("rb").readline() == b"LINE %d\n" % number

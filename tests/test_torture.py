"""What a server meets in the wild: no descriptors left, hostile and careless peers, signals and killed workers.

Each server runs in a process of its own (tests/torture_server.py), so that its memory, its descriptors and its CPU time can be
watched from outside.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PATIENCE = 20.0
MIB = 1024 * 1024
MODELS = [("threads", "function"), ("processes", "function"), ("select", "generator"), ("asyncio", "coroutine")]
HERE = Path(__file__).parent


class Server:
    """A served echo in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def answers(self) -> bool:
        """True when a new client gets its echo."""
        with self.connect() as client:
            client.sendall(b"are you there?\n")
            return read_line(client) == b"are you there?\n"

    def memory(self) -> int:
        """Bytes of resident memory of the server process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def stop(self) -> str:
        """SIGTERM; returns what was said on stderr. Fails when it does not end well."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, errors
        return errors


@contextmanager
def serving(model: str, spelling: str, *options: str, descriptors: int | None = None) -> Iterator[Server]:
    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    process = subprocess.Popen(
        [sys.executable, str(HERE / "torture_server.py"), model, spelling, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        # Thousands of children: to count the coverage of each would be what is measured.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        start_new_session=True,  # so that forked children can be ended with it
    )
    try:
        yield Server(process)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def read_line(client: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (data := client.recv(65536)):
        line += data
    return line


def ended(client: socket.socket) -> bool:
    """Reads to the end of the stream; True when it came as an end or a reset, and not as a timeout."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.01)


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_out_of_descriptors_neither_ends_nor_spins_the_server(model: str, spelling: str) -> None:
    with ExitStack() as stack, serving(model, spelling, descriptors=64) as server:
        clients = [stack.enter_context(server.connect()) for _ in range(300)]
        clients[0].sendall(b"first\n")
        assert read_line(clients[0]) == b"first\n"
        before, began = server.cpu(), time.monotonic()
        clients[-1].settimeout(1.0)
        clients[-1].sendall(b"x\n")
        with pytest.raises(TimeoutError):  # it waits in the kernel's queue: that is the time we watch
            clients[-1].recv(1)
        assert server.cpu() - before < 0.5 * (time.monotonic() - began), "it spins"
        for client in clients:
            client.close()
        assert server.answers()
        errors = server.stop()
        if model != "processes":  # there the limit is the parent's pipes: the same, with other words
            assert "Too many open files" in errors
        assert errors.count("pausing") < 10, "said once a second, not each time"


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_a_byte_a_second_is_not_progress(model: str, spelling: str) -> None:
    with serving(model, spelling, "message_time=0.3") as server, server.connect() as client:
        client.settimeout(0.1)
        began = time.monotonic()
        gone = False
        while not gone:
            assert time.monotonic() - began < PATIENCE, "one byte now and then keeps the connection for ever"
            try:
                client.send(b"x")
                gone = client.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                gone = True
        assert server.answers()


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_a_peer_that_never_reads_costs_little_memory(model: str, spelling: str) -> None:
    with serving(model, spelling, "write_time=0.3") as server, server.connect() as client:
        assert server.answers()
        before = server.memory()
        client.settimeout(PATIENCE)
        try:
            for _ in range(2000):  # 128 MB, were it not for backpressure
                client.sendall(b"x" * 65535 + b"\n")
        except (ConnectionError, TimeoutError):
            pass
        assert server.memory() - before < 16 * MIB
        assert server.answers()


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_two_gigabytes_without_a_newline(model: str, spelling: str) -> None:
    with serving(model, spelling) as server, server.connect() as client:
        assert server.answers()
        before = server.memory()
        block = b"x" * MIB
        sent = 0
        try:
            while sent < 2048 * MIB:
                sent += client.send(block)
        except ConnectionError:
            pass
        assert sent < 64 * MIB, "the server reads on and on"
        assert server.memory() - before < 16 * MIB
        assert server.answers()


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_random_bytes(model: str, spelling: str) -> None:
    dice = random.Random(50000)
    with serving(model, spelling) as server:
        for size in (1, 10, 100, 1000, 100_000):
            for _ in range(5):
                with server.connect() as client:
                    try:
                        client.sendall(dice.randbytes(size))
                        client.shutdown(socket.SHUT_WR)
                    except ConnectionError:
                        pass
                    assert ended(client)
        assert server.answers()
        assert "Traceback" not in server.stop()


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_thousands_of_connections_opened_and_dropped(model: str, spelling: str) -> None:
    count = {"processes": 500, "threads": 2000}.get(model, 5000)  # as many processes or threads: a second of work
    with serving(model, spelling) as server:
        for _ in range(50):
            server.connect().close()
        assert server.answers()
        before = server.memory()
        for number in range(count):
            client = server.connect()
            if number % 3 == 0:
                client.send(b"half a li")
            if number % 2 == 0:  # a reset instead of an end
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        assert server.answers()
        assert server.memory() - before < 16 * MIB * max(count, 2000) / 5000
        until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) < 40, "the descriptors are closed")
        assert "Traceback" not in server.stop()


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_sigterm_gives_a_hundred_conversations_their_last_reply(model: str, spelling: str) -> None:
    with ExitStack() as stack, serving(model, spelling, "last_word") as server:
        clients = [stack.enter_context(server.connect()) for _ in range(100)]
        for client in clients:
            client.sendall(b"one\n")
        for client in clients:
            assert read_line(client) == b"one\n"
        for client in clients:
            client.sendall(b"two\n")  # may still be on its way when the signal comes
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert b"".join(iter(lambda client=client: client.recv(65536), b"")) == b"two\ngoodbye\n"  # type: ignore[misc]
            client.close()
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("model", "spelling"), [pair for pair in MODELS if pair[1] != "generator"])
def test_a_second_signal_cuts(model: str, spelling: str) -> None:
    with serving(model, spelling, "stubborn", "drain_time=60") as server, server.connect() as client:
        client.sendall(b"hello\n")
        assert read_line(client) == b"hello\n"
        server.process.send_signal(signal.SIGINT)
        until(lambda: refused(server.port), "it accepts no more")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_a_killed_worker_is_replaced_and_the_others_go_on(model: str, spelling: str) -> None:
    with serving(model, spelling, "workers=2") as server:
        assert server.answers()
        until(lambda: len(server.children()) == 2, "two workers")
        first, second = server.children()
        os.kill(first, signal.SIGKILL)
        until(lambda: len(server.children()) == 2 and first not in server.children(), "a new worker")
        assert second in server.children()
        for _ in range(20):
            assert server.answers()
        assert "ended with signal 9" in server.stop()


def test_workers_drain_when_their_supervisor_is_killed() -> None:
    with serving("select", "generator", "workers=2", "drain_time=1") as server, server.connect() as client:
        client.sendall(b"hello\n")
        assert read_line(client) == b"hello\n"
        until(lambda: len(server.children()) == 2, "two workers")
        workers = server.children()
        server.process.kill()
        assert ended(client)
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers), "no orphan keeps the port")

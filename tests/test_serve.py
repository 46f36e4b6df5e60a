"""`prise.serve`: it owns the process. Signals, several addresses, workers; and what is refused before anything is bound."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import prise
from blocking_support import read_all, until
from prise import BindError, Fixed, Limits, SpellingError, UsageError
from prise.servers.service import Service

PATIENCE = 20.0
SERVED = Path(__file__).with_name("served.py")
MODELS = ["threads", "processes", "select", "asyncio"]
BLOCKING = ["threads", "processes"]


class Served:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def connect(self, port: int | str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE)

    def end(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        """Sends a signal and returns what was said on stdout and stderr until the end."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, errors
        return out, errors

    def alive(self) -> set[int]:
        """All processes of its session."""
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.add(int(entry.name))
        return found


@contextmanager
def served(*arguments: str, **options: Any) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, str(SERVED), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, as at a terminal, that can be signalled and ended as a whole
        **options,
    )
    try:
        yield Served(process)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def ask(client: socket.socket, line: bytes = b"hello") -> bytes:
    client.sendall(line + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        data = client.recv(1000)
        assert data, answer
        answer += data
    return answer.rstrip(b"\n")


# Addresses


@pytest.mark.parametrize("workers", [[], ["workers"]])
@pytest.mark.parametrize("model", BLOCKING)
def test_several_addresses_one_server(model, workers, tmp_path):
    path = tmp_path / "s"
    with served("several", str(path), model, *workers) as server:
        addresses = server.line().split()
        assert addresses[-1] == f"unix:{path}"
        for address in addresses:
            with prise.connect(address) as client:
                assert client.ask(f"on {address}", timeout=PATIENCE) == f"on {address}"
                client.send_eof()
                assert list(client) == ["goodbye"]
        out, errors = server.end()
        count = len(addresses)
        assert out.split() == [str(count), "0", str(count), str(2 * count)]
        assert not errors
        assert not path.exists()


@pytest.mark.parametrize("workers", [[], ["workers"]])
@pytest.mark.parametrize("model", MODELS[:2])
def test_while_it_drains_newcomers_are_refused_and_the_path_is_gone(model, workers, tmp_path):
    path = tmp_path / "s"
    with served("several", str(path), model, *workers) as server:
        port = int(server.line().split()[0].rpartition(":")[2])
        with server.connect(port) as client:
            assert ask(client) == b"hello"
            client.sendall(b"x" * 10)  # half a message keeps nobody
            server.process.send_signal(signal.SIGTERM)
            assert read_all(client) == b"goodbye\n"
            until(lambda: not path.exists(), "the path is removed")
            until(lambda: refused(port), "it accepts no more")
        assert server.process.wait(PATIENCE) == 0


def test_a_taken_address_leaves_nothing_bound(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        free_port = free.getsockname()[1]
        free.close()
        path = tmp_path / "s"
        with pytest.raises(BindError, match="something already listens on port"):
            prise.serve(print, f":{free_port}", f"unix:{path}", f"127.0.0.1:{taken.getsockname()[1]}")
        assert not path.exists()
        with socket.create_server(("127.0.0.1", free_port)):
            pass


# Signals


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("model", MODELS)
def test_a_signal_that_comes_while_it_gets_ready_is_not_lost(model, workers, tmp_path):
    with served("signalled_when_ready", str(tmp_path / "s"), model, workers) as server:
        out, errors = server.process.communicate(timeout=PATIENCE)
        assert out.split() == ["drained", "False"], errors


@pytest.mark.parametrize("model", ["threads", "select", "asyncio"])
def test_a_signal_wakes_a_server_that_is_about_to_wait(model, tmp_path):
    """Its handler would run after the wait; that a byte is written at once ends it."""
    wakers = []

    def quiet(connection):
        yield None

    def ready(addresses):
        wakers.append(signal.set_wakeup_fd(-1))
        signal.set_wakeup_fd(wakers[0])
        os.write(wakers[0], bytes([signal.SIGTERM]))  # as Python does, from the very signal; nothing comes of it alone
        os.kill(os.getpid(), signal.SIGTERM)

    prise.serve(quiet, f"unix:{tmp_path}/s", model=model, ready=ready)
    assert wakers[0] >= 0
    assert signal.set_wakeup_fd(-1) == -1  # as it was


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("model", BLOCKING)
def test_ctrl_c_reaches_the_whole_group_and_drains_once(model, workers):
    with served("plain", "echo", model, workers) as server:
        port = server.line()
        clients = [server.connect(port) for _ in range(5)]
        for client in clients:
            assert ask(client) == b"hello"
        os.killpg(server.process.pid, signal.SIGINT)
        for client in clients:
            with client:
                assert read_all(client) == b"goodbye\n"
        _, errors = server.process.communicate(timeout=PATIENCE)
        assert server.process.returncode == 0
        assert not errors


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("model", BLOCKING)
def test_a_second_ctrl_c_cuts_and_leaves_no_process(model, workers):
    with served("plain", "stubborn", model, workers, "60") as server:
        port = server.line()
        with server.connect(port) as client:
            assert ask(client) == b"hello"
            os.killpg(server.process.pid, signal.SIGINT)
            until(lambda: refused(port), "it accepts no more")
            os.killpg(server.process.pid, signal.SIGINT)
            assert server.process.wait(PATIENCE) == 0
            until(lambda: not server.alive(), "all its processes are gone")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("model", BLOCKING)
def test_the_drain_has_a_deadline(model, workers):
    with served("plain", "stubborn", model, workers, "0.5") as server, server.connect(server.line()) as client:
        assert ask(client) == b"hello"
        began = time.monotonic()
        server.end()
        assert time.monotonic() - began < PATIENCE / 2
        until(lambda: not server.alive(), "all its processes are gone")


def test_sigterm_to_the_whole_group_drains():
    with served("plain", "echo", "processes", "2") as server, server.connect(server.line()) as client:
        assert ask(client) == b"hello"
        os.killpg(server.process.pid, signal.SIGTERM)
        assert read_all(client) == b"goodbye\n"
        assert server.process.wait(PATIENCE) == 0


def refused(port: int | str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def test_outside_the_main_thread_it_serves_without_signals():
    with served("in_a_thread") as server:
        with server.connect(server.line()) as client:
            assert ask(client) == b"hello"
            assert server.process.communicate(timeout=PATIENCE) == ("the main thread ends\n", "")
        assert server.process.returncode == 0


# Processes: what they inherit, and what they leave


def test_the_children_end_when_the_server_is_killed():
    with served("plain", "who", "processes") as server, server.connect(server.line()) as client:
        child, parent = map(int, ask(client).split())
        assert parent == server.process.pid
        server.process.kill()
        assert read_all(client) == b"goodbye\n"
        until(lambda: child not in server.alive(), "the child ends")


def test_a_killed_worker_is_replaced_even_while_its_children_talk():
    with served("plain", "who", "processes", "1") as alone:
        assert alone.line()
    with served("plain", "who", "processes", "2") as server:
        port = server.line()
        with server.connect(port) as client:
            _, worker = map(int, ask(client).split())
            os.kill(worker, signal.SIGKILL)
            assert read_all(client) == b"goodbye\n"
        until(lambda: len(server.alive()) == 3, "there are two workers again")
        assert worker not in server.alive()
        with server.connect(port) as client:
            assert ask(client)
        _, errors = server.end()
        assert "ended with signal 9" in errors


def test_a_process_left_behind_by_a_conversation_does_not_count_as_it():
    with served("one_at_a_time") as server:
        port = server.line()
        for _ in range(3):
            with server.connect(port) as client:
                assert read_all(client) == b"left one behind\n"
        server.end()


def test_children_do_not_inherit_the_pipes_of_their_brothers():
    with served("plain", "hoarder", "processes") as server:
        port = server.line()
        clients = [server.connect(port) for _ in range(20)]
        counts = {int(ask(client)) for client in clients}
        for client in clients:
            client.close()
        assert len(counts) == 1, "the later ones have more"
        server.end()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_buffered_is_written_once(workers, tmp_path):
    path = tmp_path / "s"
    with served("buffered", "processes", workers, str(path)) as server:
        until(path.exists, "it listens")
        for _ in range(3):
            with prise.connect(f"unix:{path}", retry=10) as client:
                assert client.ask("hello", timeout=PATIENCE) == "hello"
        out, _ = server.end()
        assert out == "written once\n"


def test_it_serves_on_when_nobody_reads_its_output():
    with served("no_output") as server:
        assert server.process.stderr is not None
        with server.connect(server.process.stderr.readline()) as client:
            assert ask(client) == b"hello"
        _, errors = server.end()
        assert not errors


@pytest.mark.parametrize("model", BLOCKING)
def test_a_server_in_the_background_ends_with_its_program(model):
    with served("forgotten", model) as server, server.connect(server.line()) as client:
        assert ask(client)
        assert len(server.alive()) > 2
        server.process.kill()
        assert read_all(client) == b"goodbye\n"
        until(lambda: not server.alive(), "all its processes are gone")


# Refused before anything is bound


def function(connection: Any) -> None: ...


def generator(connection: Any) -> Any:
    yield None


async def coroutine(connection: Any) -> None: ...


def test_the_model_follows_from_the_spelling():
    assert [Service.of(each).model for each in (function, generator, coroutine)] == ["threads", "select", "asyncio"]
    assert Service.of(generator, model="processes").model == "processes"


class Unmakeable:
    def __init__(self) -> None:
        raise UsageError("no such certificate")


@pytest.mark.parametrize(
    ("conversation", "options", "error", "says"),
    [
        (function, {"model": "select"}, SpellingError, "use model='threads' or 'processes'"),
        (function, {"model": "fibres"}, UsageError, "unknown model 'fibres'; the models are threads"),
        (function, {"workers": 0}, UsageError, "workers must be a whole number from 1 on, not 0"),
        (function, {"framing": "tins"}, UsageError, "tins"),
        (function, {"framing": Fixed(2_000_000)}, UsageError, r"raise Limits\(message_size=...\)"),
        (function, {"framing": Fixed(20), "limits": Limits(message_size=10)}, UsageError, "cannot pass a limit of 10"),
        (function, {"layers": [Unmakeable]}, UsageError, "no such certificate"),
        (lambda: None, {}, SpellingError, "must take one argument, the connection"),
        ("echo", {}, SpellingError, "a conversation is a function"),
    ],
)
@pytest.mark.parametrize("start", [prise.serve, prise.listen])
def test_what_cannot_work_is_refused_at_once(start, conversation, options, error, says, tmp_path):
    path = tmp_path / "s"
    with pytest.raises(error, match=says) as caught:
        start(conversation, f"unix:{path}", **options)
    assert caught.value.exit_code == 2
    assert not path.exists()


def test_in_a_running_loop_it_would_stop_everything(tmp_path):
    async def main() -> None:
        prise.serve(coroutine, f"unix:{tmp_path / 's'}")

    with pytest.raises(UsageError, match=r"use `async with prise\.listen"):
        asyncio.run(main())

"""A new release takes over from an old one: real processes, and clients that talk all the while."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prise
from prise.handover.succession import restart

PATIENCE = 20.0

COUNTER = """
import os, sys, prise

async def coroutine(connection):
    total = connection.state or 0
    connection.state = total
    async for line in connection:
        total += int(line)
        connection.state = total
        await connection.send(f"{total} {os.getpid()}")

def generator(connection):
    total = connection.state or 0
    answer = None
    while True:
        connection.state = total
        line = yield answer
        total += int(line)
        answer = f"{total} {os.getpid()}"

def function(connection):
    total = 0
    for line in connection:
        total += int(line)
        connection.send(f"{total} {os.getpid()}")

def ready(addresses):
    print(*addresses, flush=True)

if os.path.exists(sys.argv[4]):
    sys.exit(7)      # the new release is broken
prise.serve(globals()[sys.argv[1]], sys.argv[2], model=sys.argv[3], handover=sys.argv[5], ready=ready,
            workers=int(sys.argv[6]), drain_time=5.0)
"""


class Run:
    """A server and its successors. Their output comes through one pipe."""

    def __init__(self, folder: Path, spelling: str, address: str, model: str, workers: int = 1) -> None:
        program = folder / "counter.py"
        program.write_text(textwrap.dedent(COUNTER))
        self.broken = folder / "broken"
        self.path = str(folder / "take")
        self.process = subprocess.Popen(
            [
                sys.executable, str(program), spelling, address, model, str(self.broken), self.path, str(workers),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.pids = {self.process.pid}
        assert self.process.stdout is not None
        self.address = prise.Address.parse(self.process.stdout.readline().split()[0])

    def restart(self) -> int:
        pid = restart(self.path, PATIENCE)
        assert pid is not None
        self.pids.add(pid)
        assert self.process.stdout is not None
        assert prise.Address.parse(self.process.stdout.readline().split()[0]) == self.address
        return pid

    def stop(self) -> str:
        """Ends whoever serves now, and returns what all of them said."""
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        _, said = self.process.communicate(timeout=PATIENCE)  # the pipes end when the last of them has
        return said


@contextmanager
def serving(folder: Path, spelling: str, model: str, address: str = "127.0.0.1:0", workers: int = 1) -> Iterator[Run]:
    run = Run(folder, spelling, address, model, workers)
    try:
        yield run
    finally:
        said = run.stop()
        print(said)
    assert "Traceback" not in said


MOVING = [("coroutine", "asyncio"), ("coroutine", "select"), ("generator", "asyncio"), ("generator", "select")]


@pytest.mark.parametrize(("spelling", "model"), MOVING)
def test_connections_go_on_in_the_new_release(tmp_path: Path, spelling: str, model: str) -> None:
    with serving(tmp_path, spelling, model) as run, prise.connect(run.address) as client:
        total, old = client.ask("1", timeout=PATIENCE).split()
        assert (total, int(old)) == ("1", run.process.pid)
        new = run.restart()
        assert client.ask("2", timeout=PATIENCE) == f"3 {new}"
        assert run.process.wait(PATIENCE) == 0  # the old one has nobody left
        with prise.connect(run.address) as another:
            assert another.ask("5", timeout=PATIENCE) == f"5 {new}"
        newer = run.restart()
        assert client.ask("4", timeout=PATIENCE) == f"7 {newer}"


@pytest.mark.parametrize(("spelling", "model"), MOVING)
def test_those_who_talk_all_the_while_lose_nothing(tmp_path: Path, spelling: str, model: str) -> None:
    """Pipelined messages, cut anywhere by the restart: every answer comes, once and in order."""
    with serving(tmp_path, spelling, model) as run:
        problems: list[object] = []
        going_on = threading.Event()
        moved = threading.Barrier(9)

        def talk() -> None:
            try:
                with socket.create_connection((str(run.address.host), int(run.address.port or 0)), PATIENCE) as sock:
                    with sock.makefile("rw", newline="\n") as file:
                        total = sent = 0
                        while not going_on.is_set() or sent % 50:
                            for _ in range(10):
                                file.write("1\n")
                                sent += 1
                            file.flush()
                            for _ in range(10):
                                total += 1
                                assert file.readline().split()[0] == str(total)
                            if sent == 50:
                                moved.wait(PATIENCE)
            except BaseException as error:
                problems.append(error)
                moved.abort()

        threads = [threading.Thread(target=talk) for _ in range(8)]
        for thread in threads:
            thread.start()
        moved.wait(PATIENCE)
        for _ in range(3):
            run.restart()
        going_on.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert problems == []


def test_half_a_line_goes_along(tmp_path: Path) -> None:
    with serving(tmp_path, "coroutine", "asyncio") as run:
        with socket.create_connection((str(run.address.host), int(run.address.port or 0)), PATIENCE) as sock:
            sock.sendall(b"1\n1")
            assert sock.recv(100).startswith(b"1 ")
            new = run.restart()
            sock.sendall(b"1\n")
            assert sock.recv(100) == b"12 %d\n" % new


@pytest.mark.parametrize(("spelling", "model"), MOVING[:2])
def test_a_new_release_that_crashes_at_its_start_changes_nothing(tmp_path: Path, spelling: str, model: str) -> None:
    with serving(tmp_path, spelling, model) as run, prise.connect(run.address) as client:
        assert client.ask("1", timeout=PATIENCE) == f"1 {run.process.pid}"
        run.broken.touch()
        with pytest.raises(prise.handover.HandoverRefused, match="exit code 7; the old one goes on"):
            restart(run.path, PATIENCE)
        assert client.ask("1", timeout=PATIENCE) == f"2 {run.process.pid}"
        run.broken.unlink()
        new = run.restart()
        assert client.ask("1", timeout=PATIENCE) == f"3 {new}"


@pytest.mark.parametrize(("spelling", "model"), MOVING[:3])
def test_a_successor_that_dies_before_it_is_ready_changes_nothing(tmp_path: Path, spelling: str, model: str) -> None:
    """It had everything already, and never said `ready`."""
    with serving(tmp_path, spelling, model) as run, prise.connect(run.address) as client:
        assert client.ask("1", timeout=PATIENCE) == f"1 {run.process.pid}"
        inheritance = prise.handover.inherit(run.path)
        assert inheritance is not None
        assert len(inheritance.listeners) == len(inheritance.connections) == 1
        client.send("1")
        inheritance.close()
        assert client.receive(PATIENCE) == f"2 {run.process.pid}"
        with prise.connect(run.address) as another:
            assert another.ask("5", timeout=PATIENCE) == f"5 {run.process.pid}"
        run.restart()


@pytest.mark.parametrize(("model", "workers"), [("threads", 1), ("processes", 1), ("threads", 2)])
def test_in_other_models_the_listeners_move_and_the_conversations_end_in_peace(
    tmp_path: Path, model: str, workers: int
) -> None:
    with serving(tmp_path, "function", model, workers=workers) as run, prise.connect(run.address) as client:
        client.ask("1", timeout=PATIENCE)
        new = run.restart()
        assert client.receive(PATIENCE) is None
        assert run.process.wait(PATIENCE) == 0
        with prise.connect(run.address) as another:
            answer = another.ask("5", timeout=PATIENCE)
            assert answer.startswith("5 ")
            assert model != "threads" or workers > 1 or answer == f"5 {new}"


def test_a_unix_path_stays_and_is_removed_at_the_end(tmp_path: Path) -> None:
    place = tmp_path / "chat"
    with serving(tmp_path, "coroutine", "asyncio", f"unix:{place}") as run, prise.connect(run.address) as client:
        client.ask("1", timeout=PATIENCE)
        new = run.restart()
        assert client.ask("1", timeout=PATIENCE) == f"2 {new}"
        assert run.process.wait(PATIENCE) == 0
        with prise.connect(run.address) as another:
            assert another.ask("5", timeout=PATIENCE) == f"5 {new}"
    assert not place.exists()
    assert not (tmp_path / "take").exists()


def test_what_leads_to_it_stays_the_same(tmp_path: Path) -> None:
    """A socket knows nothing of WebSocket and its path. `restart` compares the addresses."""
    with (
        serving(tmp_path, "coroutine", "asyncio", "ws://127.0.0.1:0/count") as run,
        prise.connect(run.address) as client,
    ):
        client.ask("1", timeout=PATIENCE)
        new = run.restart()
        assert client.ask("1", timeout=PATIENCE) == f"2 {new}"


def test_sigusr2_restarts(tmp_path: Path) -> None:
    with serving(tmp_path, "coroutine", "asyncio") as run, prise.connect(run.address) as client:
        client.ask("1", timeout=PATIENCE)
        os.kill(run.process.pid, signal.SIGUSR2)
        assert run.process.wait(PATIENCE) == 0
        total, new = client.ask("1", timeout=PATIENCE).split()
        assert total == "2"
        run.pids.add(int(new))


def test_where_nobody_serves_nothing_is_restarted(tmp_path: Path) -> None:
    with pytest.raises(prise.HandoverError, match="nobody"):
        restart(str(tmp_path / "take"))


@pytest.mark.parametrize(("spelling", "model"), [*MOVING, ("function", "threads")])
def test_a_udp_socket_moves_without_its_sessions(tmp_path: Path, spelling: str, model: str) -> None:
    with serving(tmp_path, spelling, model, "udp:127.0.0.1:0") as run, prise.connect(run.address) as client:
        assert client.ask("1", timeout=PATIENCE) == f"1 {run.process.pid}"
        new = run.restart()
        assert client.ask("5", timeout=PATIENCE) == f"5 {new}"

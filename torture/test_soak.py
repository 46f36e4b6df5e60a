"""Hours of comings and goings in seconds: what a server holds afterwards is what it held when it had warmed up.

The number of Python's memory blocks is exact: one object kept for each connection is one block, and a hundred times what is
allowed here. Memory outside of Python's own heap shows in the resident set, which is coarser.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from websockets.exceptions import InvalidMessage

from blocking_support import RESET, until
from chat_live import PATIENCE, SECONDS
from chat_support import Bot
from test_torture import MODELS

HERE = Path(__file__).parent
KIB = 1024
STAYING = 30  # connections that are open all the while
LINES = b"".join(b"line %d\n" % number for number in range(20))
MANY = b"x" * 4000 + b"\n"


@dataclass(frozen=True)
class Level:
    """What a server holds. events: what has happened to it so far; connections: of these."""

    blocks: int
    threads: int
    descriptors: int
    children: int
    resident: int
    connections: int
    events: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in vars(self).items())


class Soaked:
    """A server in a process of its own, and what it says of itself."""

    def __init__(self, process: subprocess.Popen[str], said: IO[str]) -> None:
        self.process = process
        self.said = said
        self.connections = self.events = 0

    def level(self) -> Level:
        self.process.send_signal(signal.SIGUSR1)
        line = self.said.readline()
        status = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        resident = int(status.split("Rss:")[1].split()[0]) * KIB
        return Level(
            **json.loads(line),
            descriptors=self.descriptors(),
            children=len(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()),
            resident=resident,
            connections=self.connections,
            events=self.events,
        )

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextmanager
def soaked(*arguments: str) -> Iterator[Soaked]:
    read, write = os.pipe()
    with open(read) as said:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "soak_server.py"), str(write), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if arguments[0] == "chat" else subprocess.DEVNULL,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
            pass_fds=(write,),
            start_new_session=True,
        )
        os.close(write)
        try:
            yield Soaked(process, said)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def flat(levels: list[Level], play: int = 150) -> bool:
    """Whether nothing has grown with what has happened in between. play: blocks that are sometimes there, and sometimes not.

    The resident set grows by a step now and then (malloc(3) gives a thread an arena); what leaks grows all the time.
    """
    before, between, after = levels
    connections = after.connections - before.connections
    return (
        after.blocks - before.blocks < play + connections / 20
        and min(between.resident - before.resident, after.resident - between.resident) < 512 * KIB
        and after.descriptors <= before.descriptors
        and after.threads <= before.threads
        and after.children <= before.children
    )


def soak(server: Soaked, happens: Callable[[], None], settle: Callable[[], None], least: int) -> list[Level]:
    """Has things happen for SECONDS, and looks three times: when it has warmed up, in between, and at the end.

    least: connections until each, so that there is something to see on a busy machine, too.
    """
    levels = []
    for third in range(1, 4):
        end = time.monotonic() + SECONDS / 3
        while time.monotonic() < end or server.connections < third * least:
            happens()
        settle()
        levels.append(server.level())
    return levels


class Crowd:
    """Clients of an echo server: each does one of the things that clients do."""

    def __init__(self, server: Soaked, stack: ExitStack) -> None:
        self._port = int(server.said.readline())
        self._server = server
        self._dice = random.Random(8)
        self._staying = [stack.enter_context(self._connect()) for _each in range(STAYING)]
        self._ways = (
            self._talks,
            self._talks,
            self._breaks_off,
            self._says_half,
            self._says_nothing,
            self._never_reads,
        )
        for client in self._staying:
            self._hello(client)
        self._quiet = server.descriptors()

    def happens(self) -> None:
        for way in self._ways:
            with self._connect() as client:
                way(client)
        self._hello(self._dice.choice(self._staying))
        self._server.connections += len(self._ways)

    def settle(self) -> None:
        until(lambda: self._server.descriptors() <= self._quiet, "all is closed that came meanwhile")
        for client in self._staying:
            self._hello(client)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), PATIENCE)

    def _hello(self, client: socket.socket) -> None:
        client.sendall(b"still here\n")
        assert client.recv(100) == b"still here\n"
        self._server.events += 2

    def _talks(self, client: socket.socket) -> None:
        client.sendall(LINES)
        left = len(LINES)
        while left:
            left -= len(client.recv(65536))
        self._server.events += 2 + 2 * 20

    def _breaks_off(self, client: socket.socket) -> None:
        client.sendall(LINES)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._server.events += 22

    def _says_half(self, client: socket.socket) -> None:
        client.sendall(b"half a line")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) in (b"", b"half a line\n")
        self._server.events += 3

    def _says_nothing(self, client: socket.socket) -> None:
        self._server.events += 2

    def _never_reads(self, client: socket.socket) -> None:
        client.setblocking(False)
        with suppress(BlockingIOError):
            for _each in range(20):
                client.sendall(MANY)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._server.events += 22


# In a loop's table of deadlines some connections are there for a while after their end: see core/deadlines.py.
PLAY = {"select": 1500, "asyncio": 1500}


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_a_server_holds_no_more_after_hours(model: str, spelling: str) -> None:
    with ExitStack() as stack, soaked(model, spelling) as server:
        crowd = Crowd(server, stack)
        play = PLAY.get(model, 150)
        levels = soak(server, crowd.happens, crowd.settle, least=play)
        print(*levels, sep="\n")
        assert flat(levels, play), "\n".join(map(str, levels))


def test_a_hundred_bytes_for_each_connection_would_be_noticed() -> None:
    with ExitStack() as stack, soaked("select", "generator", "leak") as server:
        crowd = Crowd(server, stack)
        levels = soak(server, crowd.happens, crowd.settle, least=2 * PLAY["select"])
        assert not flat(levels, PLAY["select"]), "\n".join(map(str, levels))


class Party:
    """People in a chat: they come by all ways, speak, and go by all ways; some stay and listen."""

    def __init__(self, server: Soaked, stack: ExitStack) -> None:
        assert server.process.stderr is not None
        while "127.0.0.1" not in (line := server.process.stderr.readline()):
            assert line, "it has ended"
        self._port = int(line.split()[-1])
        self._server = server
        self._stack = stack
        self._count = 0
        self._staying = [self._stays() for _each in range(STAYING)]
        self._watcher = stack.enter_context(Bot(self._port, name="watcher", bot=True))
        self._watcher.meanwhile()
        self._ways = (self._line_person, self._program, self._cut, self._breaks_off)

    def happens(self) -> None:
        for way in self._ways:
            self._count += 1
            way(f"guest{self._count}")
            self._server.connections += 1
        for client in self._staying:
            self._listen(client)
        self._watcher.meanwhile()
        del self._watcher.seen[:]

    def settle(self) -> None:
        """Who was cut is gone for good."""

        def alone() -> bool:
            for client in self._staying:
                self._listen(client)
            (room,) = self._watcher.asks("rooms", {}, "rooms")["rooms"]
            del self._watcher.seen[:]
            return bool(room["people"] == STAYING + 2)  # the watcher, and the operator

        until(alone, "all guests are gone")

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), PATIENCE)

    def _stays(self) -> socket.socket:
        self._count += 1
        client = self._stack.enter_context(self._connect())
        client.sendall(b"stays%d\n" % self._count)
        return client

    def _listen(self, client: socket.socket) -> None:
        client.setblocking(False)
        with suppress(BlockingIOError):
            while data := client.recv(65536):
                self._server.events += data.count(b"\n")

    def _line_person(self, name: str) -> None:
        with self._connect() as client:
            client.sendall(f"{name}\nhello\nall\n/who\nFIN\n".encode())
            while client.recv(65536):
                pass

    def _program(self, name: str) -> None:
        with Bot(self._port, name=name) as bot:
            for number in range(10):
                bot.send("say", {"text": f"word{number}", "id": str(number)})
            bot.until("settled", id="9")
            bot.send("quit", {})
            bot.rest()

    def _cut(self, name: str) -> None:
        # A client of a busy machine that is silent for 0.3 s is greeted as a person, which is no HTTP: that happens, too.
        with suppress(InvalidMessage), Bot(self._port, "websocket", name=name, history=5) as bot:
            bot.send("say", "and now I am cut")

    def _breaks_off(self, name: str) -> None:
        with self._connect() as client:
            hello: dict[str, Any] = {"hello": {"name": name, "bot": True}}
            client.sendall(json.dumps(hello).encode() + b'\n{"say": "I never read"}\n{"say": "ha')
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def test_a_chat_holds_no_more_after_hours(tmp_path: Path) -> None:
    where = ("--on", "127.0.0.1:0", "--store", f"sqlite:{tmp_path / 'chat.sqlite'}", "--rate", "none")
    with ExitStack() as stack, soaked("chat", *where) as server:
        party = Party(server, stack)
        levels = soak(server, party.happens, party.settle, least=400)
        print(*levels, sep="\n")
        assert flat(levels, 300), "\n".join(map(str, levels))

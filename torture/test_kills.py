"""SIGKILL at random moments: the chat loses nothing that it has acknowledged, also while a new release takes over; workers of a
server are replaced, and the clients of the others notice nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from blocking_support import until
from chat_live import PATIENCE, SECONDS
from chat_support import Chat
from chat_talkers import Talker, check_store, found
from prise.errors import PriseError
from prise.handover import restart
from test_torture import ended, read_line, serving

ROUNDS = max(2, int(SECONDS))
WORKERS_KILLED = max(2, int(SECONDS * 0.6))
"""Few: one that dies young is replaced a little later each time."""
MODELS = [("threads", "function"), ("processes", "function"), ("select", "generator"), ("asyncio", "coroutine")]


@pytest.mark.parametrize("seed", range(2))
def test_a_chat_that_is_killed_has_what_it_acknowledged(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    store = tmp_path / "chat.sqlite"
    talkers = [Talker(f"talker{number}") for number in range(4)]

    async def meet(port: int, most: int, process: subprocess.Popen[bytes] | None) -> list[bool]:
        """Everybody talks until so much is acknowledged; then the house is killed, in the middle of it."""
        target = sum(len(talker.acknowledged) for talker in talkers) + most

        def enough() -> bool:
            if sum(len(talker.acknowledged) for talker in talkers) < target:
                return False
            if process is None:
                return True
            process.kill()
            return False

        return await asyncio.gather(*(talker.talk(port, enough) for talker in talkers))

    kept = 0
    for _round in range(ROUNDS):
        with Chat(store) as chat:
            assert not any(asyncio.run(meet(chat.port, dice.randrange(1, 3000), chat.process)))
        count = check_store(store, talkers)
        assert count >= kept
        kept = count
    with Chat(store) as chat:
        assert all(asyncio.run(meet(chat.port, 10, None)))
        asyncio.run(meet(chat.port, 0, None))  # all have seen the last one's last words
        chat.terminate()
    assert check_store(store, talkers) == sum(len(talker.acknowledged) for talker in talkers)
    last = talkers[0].seen
    assert all(set(last) - set(talker.seen) == set() for talker in talkers), (
        "who was there from the start misses nothing"
    )
    for text in dice.sample(sorted(last.values()), 20):
        assert found(store, text) == 1


class House:
    """`prise chat --handover` at a port of its own choice, and all processes that it becomes."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.store, self.path = folder / "chat.sqlite", str(folder / "take")
        self._log = (folder / "log").open("w+")
        self.pids: list[int] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "prise", "chat", "--on", f"127.0.0.1:{self.port}", "--rate", "none"),
                *("--store", f"sqlite:{self.store}", "--handover", self.path),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._processes.append(process)
        self.pids = [process.pid]
        until(lambda: self.answers() or process.poll() is not None, "the house opens")
        assert process.poll() is None, self.said()

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return os.path.exists(self.path)
        return False

    def family(self) -> list[int]:
        """The processes of the house that are alive, the oldest first. All are in the session of the first."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                pid, fields = int(status.parent.name), status.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self._processes[-1].pid and fields[0] != "Z":
                    found.append((int(fields[19]), pid))
        return [pid for _since, pid in sorted(found)]

    def said(self) -> str:
        self._log.seek(0)
        return self._log.read()[-4000:]

    def stop(self, number: int = signal.SIGTERM) -> None:
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        until(lambda: not self.family(), "all end")
        for process in self._processes:
            process.wait(PATIENCE)

    def close(self) -> None:
        if self._processes:
            self.stop(signal.SIGKILL)
        self._log.close()


@pytest.mark.parametrize("victim", ["old", "new", "both"])
def test_a_kill_while_a_new_release_takes_over(tmp_path: Path, victim: str) -> None:
    """Whichever dies, and when: somebody serves, or a new one can start; nothing acknowledged is lost."""
    dice = random.Random(victim)
    house = House(tmp_path)
    talkers = [Talker(f"talker{number}") for number in range(3)]

    async def over_again(talker: Talker, done: asyncio.Event) -> None:
        while not await talker.talk(house.port, done.is_set):
            await asyncio.sleep(0.02)  # nothing tells when somebody listens again

    async def main() -> None:
        house.start()
        done = asyncio.Event()
        talking = [asyncio.create_task(over_again(talker, done)) for talker in talkers]
        for _round in range(2 * ROUNDS):
            pids = house.family()
            renewal = asyncio.create_task(asyncio.to_thread(_restarted, house.path))
            while len(house.family()) == len(pids) and not renewal.done():
                await asyncio.sleep(0.005)  # the new release is being started
            await asyncio.sleep(dice.uniform(0.0, 0.7))
            family = house.family()
            for pid in family if victim == "both" else family[:1] if victim == "old" else family[1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await renewal
            async with asyncio.timeout(PATIENCE):
                while (left := house.family()) and not (len(left) == 1 and await asyncio.to_thread(house.answers)):
                    await asyncio.sleep(0.02)
            if not left:
                await asyncio.to_thread(house.start)
        done.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*talking)

    try:
        asyncio.run(main())
        asyncio.run(_last_look(house.port, talkers))
        house.stop()
        assert check_store(house.store, talkers) == sum(len(talker.acknowledged) for talker in talkers)
        assert len({tuple(sorted(talker.seen.items())) for talker in talkers if 1 in talker.seen}) == 1
        assert "Traceback" not in house.said(), house.said()
    finally:
        house.close()


def _restarted(path: str) -> None:
    with suppress(PriseError, OSError):  # it was killed, or its successor
        restart(path, PATIENCE)


async def _last_look(port: int, talkers: list[Talker]) -> None:
    for talker in talkers:
        assert await talker.talk(port, lambda: True)


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_killed_workers_are_replaced_and_nobody_else_notices(model: str, spelling: str) -> None:
    dice = random.Random(model)
    with serving(model, spelling, "workers=2", "drain_time=2") as server:
        until(lambda: len(server.children()) == 2, "two workers")
        for number in range(WORKERS_KILLED):
            clients = [server.connect() for _each in range(6)]
            try:
                for client in clients:  # whoever serves it, it is somebody
                    client.sendall(b"hello\n")
                    assert read_line(client) == b"hello\n"
                before = set(server.children())
                dead = dice.choice(sorted(before))
                os.kill(dead, signal.SIGKILL)
                until(lambda: len(set(server.children()) - before) == 1, "it is replaced")  # noqa: B023
                assert set(server.children()) & before == before - {dead}
                for client in clients:
                    try:
                        client.sendall(b"still there?\n")
                        answer = read_line(client)
                    except ConnectionError:
                        answer = b""
                    # With processes each connection has a process of its own, which outlives its worker for a while.
                    assert answer == b"still there?\n" or ended(client)
                assert server.answers(), f"round {number}"
            finally:
                for client in clients:
                    client.close()
        assert server.stop().count("ended with") >= WORKERS_KILLED

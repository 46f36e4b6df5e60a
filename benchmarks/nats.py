"""Several chat nodes on NATS: how long from saying on one node to seeing on another, and how many messages a second.

A message is seen when it has gone through JetStream and is committed in the archive of the node that shows it, which is what
takes the time: its disk is part of the figure. The row *JetStream alone* is the same way without prise and without archives.
`nats-server` runs here too, with its data in the same folder. Each node is a process.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.results import Column, Report, interleaved
from benchmarks.servers import Entry

ALONE = "JetStream alone"
NODES = "prise, two nodes"
PACE = 0.005  # seconds between messages when the delay is measured
WAITING = 128  # messages on their way when the rate is measured, as in a chat house

MEDIAN = Column("median", "delay, median", "ms", (ALONE,))
SLOWEST = Column("p99", "delay, 99 %", "ms", (ALONE,))
RATE = Column("rate", "stored", "messages/s", (ALONE,), digits=0, best=max)


class Notes:
    """A house that notes how long messages took. It belongs to one of two processes."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.settled_count = 0
        self.place = asyncio.Semaphore(WAITING)

    def arrived(self, messages: Any) -> None:
        now = time.monotonic()  # the same clock for all processes of a machine
        self.delays += [now - float(message.text) for message in messages]

    def settled(self, messages: Any, error: Any) -> None:
        if error is not None:
            raise harness.Failure(str(error))
        for _ in messages:
            self.settled_count += 1
            self.place.release()

    def learned(self, facts: Any) -> None:
        pass

    def linked(self, error: Any) -> None:
        pass

    def met(self, node: str, people: Any) -> None:
        pass


async def _opened(kind: str, url: str, path: str, notes: Notes) -> tuple[Any, Any]:
    """How this kind says something, and how it ends."""
    if kind == NODES:
        from prise.chat.events import Message
        from prise.chat.store.archive import Archive
        from prise.chat.store.nats import NatsStore

        store = NatsStore(Archive(Path(path)), url)
        await store.start(notes)
        return (lambda text: store.append(Message("room", time.time(), "name", "id", text))), store.stop
    import nats
    from nats.js import api

    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="bare", subjects=["bare"], max_age=86_400)

    async def arrived(message: Any) -> None:
        notes.delays.append(time.monotonic() - float(message.data))

    await stream.subscribe(
        "bare", cb=arrived, ordered_consumer=True, config=api.ConsumerConfig(deliver_policy=api.DeliverPolicy.NEW)
    )

    def say(text: str) -> None:
        task = asyncio.ensure_future(publish(text))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def publish(text: str) -> None:
        await stream.publish("bare", text.encode())
        notes.settled([None], None)

    tasks: set[asyncio.Future[None]] = set()
    return say, client.close


async def _listen(kind: str, url: str, path: str) -> None:
    """The other node: reports the delays of what it has seen since it was last asked."""
    notes = Notes()
    _, stop = await _opened(kind, url, path, notes)
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(notes.delays), flush=True)
        notes.delays = []
    await stop()


async def _talk(kind: str, url: str, path: str, other: subprocess.Popen[str], seconds: float) -> dict[str, float]:
    notes = Notes()
    say, stop = await _opened(kind, url, path, notes)
    assert other.stdin is not None
    assert other.stdout is not None

    async def seen() -> list[float]:
        other.stdin.write("\n")  # type: ignore[union-attr]
        other.stdin.flush()  # type: ignore[union-attr]
        return list(json.loads(await asyncio.to_thread(other.stdout.readline)))  # type: ignore[union-attr]

    async def paced(count: int) -> list[float]:
        delays: list[float] = []
        for _ in range(count):
            await notes.place.acquire()
            say(f"{time.monotonic()}")
            await asyncio.sleep(PACE)
        async with asyncio.timeout(10):
            while len(delays) < count:
                delays += await seen()
        return sorted(delays)

    await paced(50)  # warm
    delays = await paced(int(max(seconds, 1.0) / PACE))
    before, begun = notes.settled_count, time.monotonic()
    while time.monotonic() < begun + seconds:
        await notes.place.acquire()
        say(f"{time.monotonic()}")
    rate = (notes.settled_count - before) / (time.monotonic() - begun)
    for _ in range(WAITING):  # all are stored
        await notes.place.acquire()
    await stop()
    return {
        MEDIAN.key: delays[len(delays) // 2] * 1000,
        SLOWEST.key: delays[len(delays) * 99 // 100] * 1000,
        RATE.key: rate,
    }


@contextmanager
def _server(folder: str) -> Iterator[str]:
    program = shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin") or "nats-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names; the reference is measured anyway."""
    entries = [Entry(ALONE, "bare", (), "nats-server"), Entry(NODES, "prise", (), "nats-server")]

    def once(entry: Entry) -> dict[str, float]:
        with tempfile.TemporaryDirectory(prefix="prise-bench-") as folder, _server(folder) as url:
            command = [sys.executable, "-m", "benchmarks.nats", entry.name, url, f"{folder}/other.sqlite"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
                assert other.stdout is not None
                if other.stdout.readline() != "ready\n":
                    raise harness.Failure("the other node did not start")
                return asyncio.run(_talk(entry.name, url, f"{folder}/node.sqlite", other, seconds))

    wanted = [entry for entry in entries if entry.wanted(only, ALONE)]
    method = {"seconds": seconds, "rounds": rounds, "pace": f"{1 / PACE:g}/s", "on their way": WAITING}
    title = "From saying on one chat node to seeing on another, through NATS JetStream"
    return Report("nats", title, method, (MEDIAN, SLOWEST, RATE), interleaved(wanted, rounds, once))


if __name__ == "__main__":
    asyncio.run(_listen(*sys.argv[1:4]))

"""The chat's store: messages that are on the disk per second, and how long one waits for what was said among a million.

It runs in this process, on the server's CPU: what is measured is a file, a thread that writes and one that reads.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import harness
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import Entry

ARCHIVE, PLAIN = "prise chat's store", "lines, fdatasync"
DEPTHS = (1, 10, 128)
MESSAGES = 1_000_000
ROOMS = 10
PAGE = 50
ASKED = 30  # how often each question is asked in one round; the median counts
VOCABULARY = 20_000

COMMITTED = tuple(
    Column(f"committed {depth}", f"{depth} in flight", "durable messages/s", (PLAIN,), digits=0, best=max)
    for depth in DEPTHS
)
RARE = Column("rare", "search in 1,000,000, a rare word", "ms", ())
COMMON = Column("common", "a word in a tenth of them, the last 100", "ms", ())
HISTORY = Column("page", f"a page of {PAGE}, anywhere", "ms", ())
COLUMNS = (*COMMITTED, RARE, COMMON, HISTORY)
ENTRIES = (Entry(PLAIN, "bare", ()), Entry(ARCHIVE, "prise", ()))


@contextmanager
def _folder() -> Iterator[Path]:
    """On a disk: /tmp may be memory."""
    harness.BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="store-", dir=harness.BUILD))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _committed(depth: int, seconds: float, add: Callable[[int], None], done: threading.Semaphore) -> float:
    """Messages a second, of which so many are on their way: `add` takes the next one, `done` is released for each."""
    begin = time.monotonic()
    count = 0
    while time.monotonic() < begin + seconds:
        done.acquire()
        add(count)
        count += 1
    for _each in range(depth):
        done.acquire()
    return count / (time.monotonic() - begin)


def _archive(depth: int, seconds: float) -> float:
    from prise.chat.events import Message
    from prise.chat.store.archive import Archive

    done = threading.Semaphore(depth)
    with _folder() as folder:
        archive = Archive(folder / "chat.sqlite")
        archive.open(lambda batch: done.release(len(batch.done)))
        try:
            text = "le chat dort sur le toit de la maison et personne ne le voit depuis ce matin, sauf le voisin"
            return _committed(
                depth,
                seconds,
                lambda number: archive.add(Message("salon", time.time(), "alice", "a", f"{text} {number}")),
                done,
            )
        finally:
            archive.close()


def _plain(depth: int, seconds: float) -> float:
    """What the disk allows: as many lines as have come in, then one fdatasync(2)."""
    done = threading.Semaphore(depth)
    news = threading.Condition()
    lines: list[bytes] = []
    ended = False

    def write() -> None:
        while True:
            with news:
                news.wait_for(lambda: lines or ended)
                if not lines:
                    return
                batch = lines[:]
                lines.clear()
            os.write(file, b"".join(batch))
            os.fdatasync(file)
            done.release(len(batch))

    def add(number: int) -> None:
        with news:
            lines.append(b"%-120d\n" % number)
            news.notify()

    with _folder() as folder:
        file = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            return _committed(depth, seconds, add, done)
        finally:
            with news:
                ended = True
                news.notify()
            writer.join()
            os.close(file)


def _fill(path: Path, count: int) -> None:
    """As many messages as one asks for, of words as rare as words are (Zipf's law), always the same."""
    from prise.chat.events import Message
    from prise.chat.store.archive import Archive

    chance = random.Random(1)
    words = [f"mot{number}" for number in range(VOCABULARY)]
    weights = [1 / (number + 10) for number in range(VOCABULARY)]
    people = [f"p{number}" for number in range(200)]
    free = threading.Semaphore(4)
    archive = Archive(path)
    archive.open(lambda batch: free.release())
    try:
        for start in range(0, count, 5_000):
            numbers = range(start, min(start + 5_000, count))
            chosen = iter(chance.choices(words, weights, k=8 * len(numbers)))
            batch = []
            for number in numbers:
                text = " ".join(next(chosen) for _each in range(8))
                if number % 10 == 0:
                    text += " commun"
                if number % 100_000 == 50_000:
                    text += " unique"
                author = people[number % len(people)]
                batch.append(Message(f"r{number % ROOMS}", 1.7e9 + number, author, author, text))
            free.acquire()
            archive.add_all(batch)
    finally:
        archive.close()


async def _asked(path: Path, count: int) -> dict[str, float]:
    """The medians of each question's times, in ms."""
    from prise.chat.store.archive import Archive

    archive = Archive(path)
    archive.open(lambda batch: None)
    rooms = [f"r{number}" for number in range(ROOMS)]
    chance = random.Random(2)
    times: dict[str, list[float]] = {"rare": [], "common": [], "page": []}
    try:
        for _each in range(ASKED):
            questions = {
                "rare": archive.search("unique", rooms, 100),
                "common": archive.search("commun", rooms, 100),
                "page": archive.read(
                    chance.choice(rooms), before=chance.randrange(PAGE + 1, count // ROOMS), count=PAGE
                ),
            }
            for key, question in questions.items():
                begin = time.perf_counter()
                found = await question
                times[key].append((time.perf_counter() - begin) * 1e3)
                wanted = {"rare": max(1, count // 100_000), "common": 100, "page": PAGE}[key]
                if len(found) != wanted:
                    raise harness.Failure(f"{key}: {len(found)} messages were found, not {wanted}")
    finally:
        archive.close()
    return {key: statistics.median(values) for key, values in times.items()}


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. A tenth of the messages is searched when each load is to run for less than a second."""
    count = MESSAGES if seconds >= 1 else MESSAGES // 10
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {harness.SERVER_CPU})
    try:
        with _folder() as folder:
            path = folder / "million.sqlite"
            _fill(path, count)

            def once(entry: Entry) -> dict[str, float]:
                commit = _archive if entry.name == ARCHIVE else _plain
                figures = {f"committed {depth}": commit(depth, seconds / 2) for depth in DEPTHS}
                return figures | (asyncio.run(_asked(path, count)) if entry.name == ARCHIVE else {})

            rows = interleaved([entry for entry in ENTRIES if entry.wanted(only, PLAIN)], rounds, once)
            size = path.stat().st_size
    finally:
        os.sched_setaffinity(0, before)
    method = {
        "committed": "messages of 100 B, each on the disk (synchronous=FULL) before it counts",
        "searched": f"{count:,} messages of 9 words in {ROOMS} rooms, {size / 1e6:.0f} MB",
        "seconds": seconds / 2,
        "rounds": rounds,
    }
    title = "The chat's store: durable messages per second, search and history"
    goals = tuple(Goal(ARCHIVE, column, 1_000.0) for column in COMMITTED[-1:])
    return Report("store", title, method, COLUMNS, rows, goals)

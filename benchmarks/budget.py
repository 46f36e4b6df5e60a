"""Where each microsecond of a message goes: a ladder of servers from bare system calls to prise, and sampled stacks.

Each rung of the ladder (peers/ladder.py) does one thing more than the one below, so that the difference between two is what
that thing costs. All are measured in one run, in request-response, with the kernel's share (the system time of the process)
beside. Then stacks of prise's own servers are sampled under the same load: who was running, as a share of the same cost,
and as flame graphs (`results/flame-*.svg`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import flame, harness
from benchmarks.flame import Stack
from benchmarks.harness import Load, Server
from benchmarks.results import FOLDER, Column, Report, Row, interleaved
from benchmarks.servers import Entry

LOAD = Load(500, 1024, 1)
C_LOOP = "C epoll"
GENERATOR = "prise select, generator"
COROUTINE = "prise select, coroutine"
UVLOOP = "prise asyncio + uvloop, coroutine"
RUNGS = (
    "Python: the calls alone",
    "+ connections, errors, the end",
    "+ text: decode, split, encode",
    "+ framing with its limit",
    "+ deadlines and counters",
    "+ outbox and backpressure",
    "+ a generator in its own context",
)
BELOW = {COROUTINE: GENERATOR, UVLOOP: COROUTINE, f"{GENERATOR}, bytes": GENERATOR}
"""What these are compared with; the others, with the row above them."""

TOTAL = Column("total", "all", "µs/message", (C_LOOP,))
KERNEL = Column("kernel", "in the kernel", "µs/message", derived=True)
PROGRAM = Column("program", "in the program", "µs/message", derived=True)
ADDS = Column("adds", "more than the one before", "µs/message", derived=True)
TITLE = "Where the CPU time of a message goes, request-response (less is better)"
SAMPLED = "Sampled stacks"
BURSTS = 4  # a round: all servers wait side by side, and have the load in turns this short, so that all meet the same machine
LONGEST, SHORTEST = 8.0, 2.0  # seconds of sampling

KINDS = {"kernel": "bare", "interpreter": "platform", "prise": "prise"}
PARTS = (
    # (name in the table, kind, parts of a frame's name); the first that fits the innermost frames is it
    ("send(2)", "kernel", ("send (libc", "send64 (libc")),
    ("recv(2)", "kernel", ("recv (libc", "recv64 (libc")),
    ("epoll_wait(2)", "kernel", ("epoll_wait (libc", "epoll_pwait (libc")),
    ("modules socket and select, GIL", "interpreter", ("socketmodule", "selectmodule", "_socket.", "select.")),
    ("the user's conversation", "prise", ("prise_servers.py",)),
    ("prise: framing, text", "prise", ("prise/framing",)),
    ("prise: loop", "prise", ("prise/loops",)),
    ("asyncio's task", "interpreter", ("_asynciomodule", "asyncio/")),
    ("prise: delivering and sending", "prise", ("generator.py", "asynchronous.py", "looped_writing.py")),
    ("prise: the turn (times, counts, state)", "prise", ("prise/connection",)),
    ("all else", "interpreter", ("",)),
)
COLOURS = {
    "(libc": "#ced4da",
    "socketmodule": "#a5d8ff",
    "selectmodule": "#a5d8ff",
    "_asyncio": "#a5d8ff",
    "prise_servers.py": "#b2f2bb",
    "prise/framing": "#ffd8a8",
    "prise/": "#ffa94d",
    "": "#e9ecef",
}


@dataclass
class Budget(Report):
    """The report, with the flame graphs, by the name of their file."""

    graphs: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        super().write()
        for name, picture in self.graphs.items():
            (FOLDER / f"flame-{name}.svg").write_text(picture, encoding="utf-8")


def entries() -> list[Entry]:
    """The ladder, from the bottom."""

    def module(name: str, kind: str, *command: str) -> Entry:
        return Entry(name, kind, (sys.executable, "-m", *command))

    def prise(name: str, *options: str) -> Entry:
        return module(name, "prise", "benchmarks.prise_servers", *options)

    ladder = "benchmarks.peers.ladder"
    return [
        Entry(C_LOOP, "bare", (harness.compiled("epoll_echo"),)),
        *(module(name, "bare", ladder, "--rung", str(number)) for number, name in enumerate(RUNGS)),
        prise(GENERATOR, "--model", "select", "--spelling", "generator"),
        prise(COROUTINE, "--model", "select", "--spelling", "coroutine"),
        prise(UVLOOP, "--model", "asyncio", "--spelling", "coroutine", "--uvloop"),
        module(f"{GENERATOR}, bytes", "prise", ladder, "--prise"),
    ]


def measure(rounds: int, seconds: float, only: list[str]) -> Budget:
    """Measures the ladder, then samples. only: parts of names of servers; C is measured anyway."""
    busy = os.getloadavg()[0]
    wanted = [entry for entry in entries() if entry.wanted(only, C_LOOP)]

    spent: dict[str, list[tuple[float, float]]] = {}  # (user, system) of each burst, by the name of the server
    burst = seconds / BURSTS
    with contextlib.ExitStack() as running:
        servers: dict[str, Server] = {}

        def once(entry: Entry) -> dict[str, float]:
            if entry.name not in servers:
                servers[entry.name] = running.enter_context(harness.running(list(entry.command)))
                harness.warm_up(servers[entry.name])
            server = servers[entry.name]
            with harness.load(server, LOAD, burst) as generator:
                before, user, system = server.cpu(), *split(server)
                answer = generator.run()
                total = (server.cpu() - before) / answer["messages"] * 1e6
                later = split(server)
            spent.setdefault(entry.name, []).append((later[0] - user, later[1] - system))
            return {"total": total}

        rows = interleaved(wanted, rounds * BURSTS, once)
    _add_shares(rows, spent)
    _add_differences(rows)
    graphs: dict[str, str] = {}
    columns = [TOTAL, KERNEL, PROGRAM, ADDS]
    parts = {name: Row(Entry(name, KINDS[kind], ())) for name, kind, _ in PARTS}
    for row in rows:
        total = row.best(TOTAL)
        if row.entry.name not in (GENERATOR, COROUTINE, UVLOOP) or total is None:
            continue
        column = Column(row.entry.name, row.entry.name, "µs/message", group=SAMPLED, derived=True)
        columns.append(column)
        stacks = sampled(row.entry, min(max(SHORTEST, 3 * seconds), LONGEST))
        for name, share in shares(stacks).items():
            parts[name].figures[column.key] = [share * total]
        graphs[file_name(row.entry.name)] = flame.svg(f"{row.entry.name}: {LOAD}", stacks, COLOURS)
    method = {
        "load": str(LOAD),
        "seconds": seconds,
        "rounds": f"{rounds}, each of {BURSTS} turns",
        "the kernel's share": "from the process's user and system time",
        "others on the machine": f"a load average of {busy:.1f} at the beginning",
        "samples": f"py-spy, {flame.RATE} a second, on the load's CPU",
        **harness.pinning(),
    }
    rows += [row for row in parts.values() if row.figures]
    return Budget("budget", TITLE, method, tuple(columns), rows, graphs=graphs)


def split(server: Server) -> tuple[float, float]:
    """(user, system) seconds of the server, which is one process, in hundredths."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / harness.TICKS, int(fields[12]) / harness.TICKS


def _add_shares(rows: list[Row], spent: dict[str, list[tuple[float, float]]]) -> None:
    """Of all rounds together: the system counts in hundredths of a second."""
    for row in rows:
        total = row.best(TOTAL)
        user, system = map(sum, zip(*spent.get(row.entry.name, [(0.0, 0.0)]), strict=True))
        if total and user + system:
            kernel = total * system / (user + system)
            row.figures |= {"kernel": [kernel], "program": [total - kernel]}


def _add_differences(rows: list[Row]) -> None:
    """The median of the differences inside each turn, which swings less than the difference of the best."""
    by_name = {row.entry.name: row for row in rows}
    before: Row | None = None
    for row in rows:
        below = by_name.get(BELOW[row.entry.name]) if row.entry.name in BELOW else before
        before = row
        if below and not (row.failure or below.failure):
            pairs = zip(row.figures["total"], below.figures["total"], strict=True)
            row.figures["adds"] = [median(mine - other for mine, other in pairs)]


def file_name(server: str) -> str:
    """Of a flame graph."""
    return "-".join(word for word in server.replace(",", " ").split() if word.isalnum() and word != "prise")


def sampled(entry: Entry, seconds: float) -> list[Stack]:
    """The stacks of a server under the load."""
    with harness.running(list(entry.command)) as server:
        harness.warm_up(server)
        # The load goes on a little longer than the sampling, which has symbols to read first.
        with harness.load(server, LOAD, seconds + 4) as generator, ThreadPoolExecutor(1) as pool:
            working = pool.submit(generator.run)
            stacks = flame.sample(server.pid, seconds, harness.LOAD_CPU)
            working.result()
    return stacks


def shares(stacks: Sequence[Stack]) -> dict[str, float]:
    """Each part's share of the samples: that of the innermost frame that belongs to one."""
    counts: Counter[str] = Counter()
    for frames, count in stacks:
        counts[_part(frames)] += count
    whole = sum(counts.values())
    return {name: counts[name] / whole for name, _, _ in PARTS if counts[name]}


def _part(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for name, _, marks in PARTS[:-1]:
            if any(mark in frame for mark in marks):
                return name
    return PARTS[-1][0]

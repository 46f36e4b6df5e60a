"""Memory of a server for each connection that has said one line and then nothing more."""

from __future__ import annotations

from benchmarks import harness, servers
from benchmarks.harness import Load
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import THREADS, Entry

STREAMS = "asyncio streams"
MEMORY = Column("bytes", "memory", "bytes/connection", (STREAMS,), digits=0)
LOOPS = ("prise select", "prise asyncio")
SPARE_FILES = 100  # besides the connections


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Opens the connections, reads the server's memory, closes them. seconds: below 1, a tenth of the connections will do."""
    most = 10_000 if seconds >= 1 else 1_000
    connections = min(most, harness.raise_file_limit() - SPARE_FILES)
    threads = min(THREADS, connections)
    entries = [entry for entry in servers.idle() if entry.wanted(only, STREAMS)]

    def once(entry: Entry) -> dict[str, float]:
        count = threads if entry.threaded else connections
        with harness.running(list(entry.command)) as server:
            harness.warm_up(server)
            before = server.memory()
            with harness.load(server, Load(count, 100, 1)) as generator:
                generator.run()
                return {MEMORY.key: (server.memory() - before) / count}

    goals = tuple(Goal(entry.name, MEMORY, 0.6, STREAMS) for entry in entries if entry.name.startswith(LOOPS))
    method = {
        "connections": f"{connections:,}; {threads:,} where each is a thread",
        "rounds": rounds,
        "memory": "PSS of the server; what the kernel keeps, the kernel's stacks of threads among it, is not counted",
    }
    title = "Memory of the server per idle connection (less is better)"
    return Report("idle", title, method, (MEMORY,), interleaved(entries, rounds, once), goals)

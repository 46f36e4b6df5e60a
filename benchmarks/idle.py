"""Memory of a server for each connection that has said one line and then nothing more."""

from __future__ import annotations

from benchmarks import harness, servers
from benchmarks.harness import Load
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import Entry

STREAMS = "asyncio streams"
MEMORY = Column("bytes", "memory", "bytes/connection", (STREAMS,), digits=0)
SPARE_FILES = 100  # besides the connections


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Opens the connections, reads the server's memory, closes them. seconds: of no use here, the load is silence."""
    connections = min(10_000, harness.raise_file_limit() - SPARE_FILES)
    entries = [entry for entry in servers.idle() if entry.wanted(only, STREAMS)]

    def once(entry: Entry) -> dict[str, float]:
        with harness.running(list(entry.command)) as server:
            harness.warm_up(server)
            before = server.memory()
            with harness.load(server, Load(connections, 100, 1)) as generator:
                generator.run()
                return {MEMORY.key: (server.memory() - before) / connections}

    goals = tuple(Goal(entry.name, MEMORY, 0.6, STREAMS) for entry in entries if entry.kind == "prise")
    method = {"connections": connections, "rounds": rounds, "memory": "PSS of the server; the kernel's is not in it"}
    title = "Memory of the server per idle connection (less is better)"
    return Report("idle", title, method, (MEMORY,), interleaved(entries, rounds, once), goals)

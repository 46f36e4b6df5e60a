"""What a message costs as the load grows: with the connections, with its size; and what a second worker brings."""

from __future__ import annotations

from benchmarks import harness, servers
from benchmarks.harness import CPUS, Load
from benchmarks.results import Column, Report, interleaved
from benchmarks.servers import REFERENCE, THREADS, Entry

MIB = 1 << 20
SIZES = {"16 B": 16, "256 B": 256, "4 KiB": 4096, "64 KiB": 65536, "1 MiB": MIB}
BY_COUNT = {f"{count:,}": Load(count, 1024, 1) for count in (1, 10, 100, 1000, 10_000)}
BY_SIZE = {name: Load(10, size, 1) for name, size in SIZES.items()}
TOGETHER = Load(100, 1024, 1, apart=False)
WORKERS = (1, 2)

COUNT_COLUMNS = tuple(
    Column(name, name, "µs/message", (REFERENCE,), group="Connections", at=load.connections)
    for name, load in BY_COUNT.items()
)
SIZE_COLUMNS = tuple(
    Column(name, name, "µs/message", (REFERENCE,), group="Size of a message", at=load.size)
    for name, load in BY_SIZE.items()
)
MIB_COLUMNS = tuple(
    Column(f"{name}, MiB", name, "ms/MiB", (), 3, group="The same for each MiB", at=load.size, derived=True)
    for name, load in BY_SIZE.items()
)
WORKER_COLUMNS = tuple(
    Column(
        f"{count} workers", f"{count} worker{'s' if count > 1 else ''}", "messages/s", (REFERENCE,), 0, max, "Workers"
    )
    for count in WORKERS
)
MORE = Column("more", "2 workers ÷ 1", "×", (), best=max, group="Workers", derived=True)
TITLE = "As the load grows: CPU time of the server per line (less is better), lines per second (more)"


def _costs(entry: Entry, seconds: float) -> dict[str, float]:
    figures = {}
    with harness.running(list(entry.command)) as server:
        harness.warm_up(server)
        for key, wanted in (BY_COUNT | BY_SIZE).items():
            if entry.threaded and wanted.connections > THREADS:
                continue
            with harness.load(server, wanted, seconds) as generator:
                before = server.cpu()
                answer = generator.run()
                used = server.cpu() - before
            figures[key] = used / answer["messages"] * 1e6
            if key in BY_SIZE:
                figures[f"{key}, MiB"] = used / (answer["messages"] * wanted.size) * MIB * 1e3
    return figures


def _rate(entry: Entry, seconds: float) -> float:
    with harness.running(list(entry.command), cpus=set(CPUS)) as server:
        harness.warm_up(server)
        with harness.load(server, TOGETHER, seconds) as generator:
            answer = generator.run()
    return answer["messages"] / answer["seconds"]


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison, an eighth of the time for each load.

    only: parts of names of servers; the reference is measured anyway.
    """
    harness.raise_file_limit()
    each = seconds / 8
    entries = [entry for entry in servers.growing(2 * MIB) if entry.wanted(only, REFERENCE)]
    commands = {count: {entry.name: entry for entry in servers.workers(count)} for count in WORKERS}

    def once(entry: Entry) -> dict[str, float]:
        figures = _costs(entry, each)
        if entry.name in commands[1]:
            rates = {count: _rate(commands[count][entry.name], each) for count in WORKERS}
            figures |= {f"{count} workers": rate for count, rate in rates.items()}
            figures["more"] = rates[2] / rates[1]
        return figures

    method = {
        "connections": f"lines of 1 KiB, one in flight on each; {THREADS:,} at the most where each is a thread",
        "size": "10 connections, one line in flight on each",
        "workers": f"{TOGETHER}; server and load share all {len(CPUS)} CPUs, and both sleep when there is nothing to do",
        "seconds": each,
        "rounds": rounds,
        **harness.pinning(),
    }
    columns = (*COUNT_COLUMNS, *SIZE_COLUMNS, *MIB_COLUMNS, *WORKER_COLUMNS, MORE)
    return Report("scale", TITLE, method, columns, interleaved(entries, rounds, once))

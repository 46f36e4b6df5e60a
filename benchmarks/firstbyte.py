"""How long a new client waits for its first byte, while thousands of connections are open and some of them talk."""

from __future__ import annotations

from benchmarks import harness, servers
from benchmarks.results import Column, Report, interleaved
from benchmarks.servers import REFERENCE, THREADS, Entry

OPEN, ACTIVE = 5_000, 500
EVERY = 0.004  # seconds between two newcomers
PACES = {"calm": 5_000, "busy": 0}  # lines a second of those who talk together; 0: one in flight on each
GROUPS = {
    "calm": f"{ACTIVE} of {OPEN:,} say {PACES['calm']:,} lines a second together",
    "busy": f"{ACTIVE} of {OPEN:,} have one line in flight each",
}
COLUMNS = tuple(
    column
    for kind, group in GROUPS.items()
    for column in (
        Column(f"{kind} median", "median", "µs", (REFERENCE,), 0, group=group),
        Column(f"{kind} high", "p99", "µs", (REFERENCE,), 0, group=group),
    )
)
TITLE = f"From connecting to the first byte, with {OPEN:,} connections open (less is better)"


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; the reference is measured anyway. Below a second for each load,
    a tenth of the connections will do.
    """
    harness.raise_file_limit()
    program = harness.compiled("visits")
    many = OPEN if seconds >= 1 else OPEN // 10
    threads = min(THREADS, many)
    entries = [entry for entry in servers.growing() if entry.wanted(only, REFERENCE)]

    def once(entry: Entry) -> dict[str, float]:
        figures = {}
        with harness.running(list(entry.command)) as server:
            harness.warm_up(server)
            for kind, lines in PACES.items():
                count = threads if entry.threaded else many
                wanted = ("first", server.port, count, count * ACTIVE // OPEN, lines, EVERY, seconds)
                with harness.generating(server, program, wanted, seconds) as generator:
                    answer = generator.run()
                    figures[f"{kind} median"] = answer["median"]
                    figures[f"{kind} high"] = answer["high"]
        return figures

    method = {
        "loads": f"{1 / EVERY:.0f} clients a second come, say a line of 100 B, have it back and leave; from when they are due",
        "open": f"{many:,}; {threads:,} where each is a thread; a tenth of them talk",
        "seconds": seconds,
        "rounds": rounds,
        **harness.pinning(),
    }
    return Report("firstbyte", TITLE, method, COLUMNS, interleaved(entries, rounds, once))

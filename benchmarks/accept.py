"""What a connection costs to come and go: with a line there and back, and in bursts that say nothing."""

from __future__ import annotations

from benchmarks import harness, servers
from benchmarks.results import Column, Report, interleaved
from benchmarks.servers import REFERENCE, Entry

AT_ONCE = {"talk": 50, "burst": 500}
GROUPS = {
    "talk": "One line there and back, 50 clients at a time",
    "burst": "Nothing said, 500 clients at once",
}
COLUMNS = tuple(
    column
    for kind, group in GROUPS.items()
    for column in (
        Column(f"{kind} CPU", "for the server's CPU", "connections/CPU s", (REFERENCE,), 0, max, group),
        Column(f"{kind} rate", "by the clock", "connections/s", (REFERENCE,), 0, max, group),
    )
)
TITLE = "Connections that come and go (more is better)"


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison, half of the time for each load. only: parts of names of servers; the reference is always there."""
    harness.raise_file_limit()
    program, each = harness.compiled("visits"), seconds / 2
    entries = [entry for entry in servers.growing() if entry.wanted(only, REFERENCE)]

    def once(entry: Entry) -> dict[str, float]:
        figures = {}
        with harness.running(list(entry.command)) as server:
            harness.warm_up(server)
            for kind, count in AT_ONCE.items():
                with harness.generating(server, program, (kind, server.port, count, each), each) as generator:
                    before = server.cpu()
                    answer = generator.run()
                    figures[f"{kind} CPU"] = answer["visits"] / (server.cpu() - before)
                    figures[f"{kind} rate"] = answer["visits"] / answer["seconds"]
        return figures

    method = {
        "a visit": "connect, perhaps a line of 100 B there and back, shut down one side, wait until the server has closed",
        "seconds": each,
        "rounds": rounds,
        **harness.pinning(),
    }
    return Report("accept", TITLE, method, COLUMNS, interleaved(entries, rounds, once))

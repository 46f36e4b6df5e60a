"""Deliveries per second of CPU of a server that sends each line to everyone, with 1,000 receivers and one sender."""

from __future__ import annotations

from benchmarks import harness, servers
from benchmarks.harness import Load
from benchmarks.results import Column, Report, interleaved
from benchmarks.servers import Entry

BROADCAST = "asyncio broadcast"
LOADS = {"one at a time": Load(1001, 100, 1, "fanout"), "burst": Load(1001, 100, 16, "fanout")}
COLUMNS = (
    Column("one at a time", "one line at a time", "deliveries/CPU s", (BROADCAST,), digits=0, best=max),
    Column("burst", "16 lines in flight", "deliveries/CPU s", (BROADCAST,), digits=0, best=max),
)


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; the reference is measured anyway."""
    entries = [entry for entry in servers.fanout() if entry.wanted(only, BROADCAST)]

    def once(entry: Entry) -> dict[str, float]:
        figures = {}
        with harness.running(list(entry.command)) as server:
            harness.warm_up(server, "fanout")
            for key, wanted in LOADS.items():
                with harness.load(server, wanted, seconds) as generator:
                    before = server.cpu()
                    answer = generator.run()
                    figures[key] = answer["messages"] / (server.cpu() - before)
        return figures

    method = {
        "loads": "1 sender and 1,000 receivers, all of whom get each line of 100 B, the sender too",
        "seconds": seconds,
        "rounds": rounds,
        **harness.pinning(),
    }
    title = "Lines delivered to 1,001 connections per CPU second of the server (more is better)"
    return Report("fanout", title, method, COLUMNS, interleaved(entries, rounds, once))

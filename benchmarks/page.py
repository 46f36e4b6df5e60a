"""What is said told to 300 over WebSocket: `prise chat`'s page, which stores each message first, beside bare broadcasts."""

from __future__ import annotations

from benchmarks import harness, servers
from benchmarks.chat import checked, loading
from benchmarks.results import Column, Report, interleaved
from benchmarks.servers import BROADCAST, Entry

PEOPLE = 300
RATE = 50
DEPTH = 64
FLOOD = Column("flood", f"{DEPTH} in flight", "deliveries/s", (BROADCAST,), digits=0, best=max)
COST = Column("cost", "the same", "deliveries/CPU s", (BROADCAST,), digits=0, best=max)
MEDIAN = Column("median", "50 messages/s: median until the last one has it", "ms", (BROADCAST,))
HIGH = Column("high", "the same: p99", "ms", (BROADCAST,))
TITLE = "Text messages to 300 clients over WebSocket"


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; the reference is measured anyway."""
    entries = [entry for entry in servers.pages() if entry.wanted(only, BROADCAST)]

    def once(entry: Entry) -> dict[str, float]:
        kind = "page" if entry.kind == "prise" else "websocket"
        with harness.running(list(entry.command)) as server:
            people = {"clients": PEOPLE, "seconds": seconds / 2}
            with loading(server, kind, depth=DEPTH, **people) as load:
                load.run()  # warm
                before = server.cpu()
                answer = checked(load.run())
                used = server.cpu() - before
            figures = {"flood": answer["deliveries"] / answer["seconds"], "cost": answer["deliveries"] / used}
            with loading(server, kind, rate=RATE, visit=1, **people) as load:
                paced = checked(load.run())
            return figures | {"median": paced["median"], "high": paced["high"], "load": answer["busy"]}

    rows = interleaved(entries, rounds, once)
    method = {
        "loads": f"one of {PEOPLE} clients says 100 B; the others' copies are counted",
        "seconds": seconds / 2,
        "rounds": rounds,
        "the load's share of its CPU": f"{max((max(row.figures.get('load', [0])) for row in rows), default=0):.0%}",
        **harness.pinning(),
    }
    return Report("page", TITLE, method, (FLOOD, COST, MEDIAN, HIGH), rows)

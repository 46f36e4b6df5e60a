"""CPU time of a server for each line it echoes over TLS."""

from __future__ import annotations

from benchmarks import messages, servers
from benchmarks.harness import Load
from benchmarks.results import Report
from benchmarks.servers import ASYNCIO, ASYNCIO_STREAMS, UVLOOP

LOADS = {
    "one in flight": Load(200, 100, 1, "tls"),
    "16 in flight": Load(50, 100, 16, "tls"),
}
COLUMNS = messages.columns(LOADS, ASYNCIO, ASYNCIO_STREAMS, UVLOOP)
TITLE = "CPU time of the server per line echoed over TLS (less is better)"


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; the references are measured anyway."""
    entries = [entry for entry in servers.tls() if entry.wanted(only, ASYNCIO, ASYNCIO_STREAMS, UVLOOP)]
    rows = messages.measure(entries, LOADS, rounds, seconds)
    goals = messages.below(rows, COLUMNS, 1.0, ASYNCIO) + messages.below(rows, COLUMNS, 1.0, ASYNCIO_STREAMS)
    return messages.report("tls", TITLE, LOADS, COLUMNS, rows, goals, rounds, seconds)

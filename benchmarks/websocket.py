"""CPU time of a server for each text message it echoes over WebSocket."""

from __future__ import annotations

from benchmarks import messages, servers
from benchmarks.harness import Load
from benchmarks.results import Report
from benchmarks.servers import WEBSOCKETS

LOADS = {
    "one in flight": Load(200, 100, 1, "websocket"),
    "16 in flight": Load(50, 100, 16, "websocket"),
}
COLUMNS = messages.columns(LOADS, WEBSOCKETS)
TITLE = "CPU time of the server per message echoed over WebSocket (less is better)"


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; the references are measured anyway."""
    entries = [entry for entry in servers.websocket() if entry.wanted(only, WEBSOCKETS)]
    rows = messages.measure(entries, LOADS, rounds, seconds)
    goals = messages.below(rows, COLUMNS, 1.0, WEBSOCKETS)
    return messages.report("websocket", TITLE, LOADS, COLUMNS, rows, goals, rounds, seconds)

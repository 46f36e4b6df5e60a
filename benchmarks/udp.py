"""CPU time of a server for each datagram it echoes."""

from __future__ import annotations

from benchmarks import messages, servers
from benchmarks.harness import Load
from benchmarks.results import Report
from benchmarks.servers import DATAGRAMS, RECVFROM

LOADS = {  # no more in flight than fit into a socket's default buffer of 208 KiB, where each takes more than its bytes
    "one in flight": Load(50, 1024, 1, "udp"),
    "16 in flight": Load(10, 100, 16, "udp"),
}
COLUMNS = messages.columns(LOADS, RECVFROM, DATAGRAMS)
TITLE = "CPU time of the server per datagram echoed (less is better)"


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; the references are measured anyway."""
    entries = [entry for entry in servers.udp() if entry.wanted(only, RECVFROM, DATAGRAMS)]
    rows = messages.measure(entries, LOADS, rounds, seconds)
    goals = messages.below(rows, COLUMNS, 1.5, RECVFROM) + messages.below(rows, COLUMNS, 1.0, DATAGRAMS)
    return messages.report("udp", TITLE, LOADS, COLUMNS, rows, goals, rounds, seconds)

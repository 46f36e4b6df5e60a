"""CPU time of a server for each line it echoes, under two loads."""

from __future__ import annotations

from benchmarks import messages, servers
from benchmarks.harness import Load
from benchmarks.results import Goal, Report, Row
from benchmarks.servers import REFERENCE, UVLOOP

LOADS = {"request-response": Load(500, 1024, 1), "pipelined": Load(50, 100, 16)}
SINGLE, PIPELINED = COLUMNS = messages.columns(LOADS, REFERENCE, UVLOOP)
TITLE = "CPU time of the server per line echoed (less is better)"


def goals(rows: list[Row]) -> list[Goal]:
    """What the project set out to reach."""
    found = [
        Goal("prise select, generator", SINGLE, 1.3, REFERENCE),
        Goal("prise select, coroutine", SINGLE, 1.4, REFERENCE),
        Goal("prise asyncio + uvloop, coroutine", SINGLE, 1.5, UVLOOP),
        Goal("prise asyncio + uvloop, coroutine", SINGLE, 1.0, "uvloop streams"),
    ]
    ours = [row.entry.name for row in rows if row.entry.kind == "prise"]
    for name in ours:
        if name.startswith(("prise select", "prise asyncio")):
            found.append(Goal(name, PIPELINED, 0.4 if name.endswith("generator") else 0.6, UVLOOP))
            found.append(Goal(name, PIPELINED, 1.0, "Twisted"))
    frameworks = [
        (best, row.entry.name) for row in rows if row.entry.kind == "framework" and (best := row.best(SINGLE))
    ]
    if frameworks:  # below the cheapest is below every one
        found += [Goal(name, SINGLE, 1.0, min(frameworks)[1]) for name in ours]
    return found


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; the two references are measured anyway."""
    entries = [entry for entry in servers.echo() if entry.wanted(only, REFERENCE, UVLOOP)]
    rows = messages.measure(entries, LOADS, rounds, seconds)
    return messages.report("echo", TITLE, LOADS, COLUMNS, rows, goals(rows), rounds, seconds)

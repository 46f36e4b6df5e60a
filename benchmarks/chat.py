"""A chat room of 1,000: how long until the last one has what was said; one who stalls; 10,000 who are silent.

Each server is spoken to in its own language: `prise chat` as by people with nc (the silent ones as by programs, which say what
room they want), ngircd in IRC, the tutorial's server in lines.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks import harness, servers
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import NGIRCD, PRISE_CHAT, TUTORIAL, Entry

PEOPLE = 1_000
RATE = 50
IDLE, IDLE_ROOMS = 10_000, 100
FLOOD = 150_000_000
FLOOD_PEOPLE, STALLED = 20, 1
FLOOD_TIME, OTHERS_TIME = 60, 6  # seconds at the most: ngircd would take minutes
GIVE_UP = 3.0  # seconds in which nobody is told anything: the room stands still
MIB = 1 << 20

CROWD, STALL = "1,000 in a room, 50 messages/s", "One stalls in 150 MB"
MEDIAN = Column("median", "median", "ms", (NGIRCD,), digits=1, group=CROWD)
HIGH = Column("high", "p99", "ms", (NGIRCD,), digits=1, group=CROWD)
COST = Column("cost", "cost", "CPU µs/delivery", (NGIRCD,), group=CROWD)
GROWTH = Column("growth", "memory grows by", "MiB", (), digits=1, group=STALL)
ARRIVED = Column("arrived", "the others get", "MB", (), digits=0, best=max, group=STALL)
HARM = Column("harm", "their p99 ÷ that without who stalls", "×", (), group=STALL)
SILENT = Column("idle", "memory", "KiB/client", (NGIRCD,), digits=1, group="10,000 silent")
COLUMNS = (MEDIAN, HIGH, COST, GROWTH, ARRIVED, HARM, SILENT)
TITLE = "A chat room: from saying something until the last one has it, one who stalls, and memory"


def _kind(entry: Entry) -> str:
    return {NGIRCD: "irc", TUTORIAL: "plain"}.get(entry.name, "lines")


def loading(server: harness.Server, kind: str, **wanted: Any) -> Any:
    """The load of chat_load.c, with everybody in; see there for what can be wanted."""
    harness.raise_file_limit()
    arguments = [f"kind={kind}", f"port={server.port}", *(f"{name}={value}" for name, value in wanted.items())]
    seconds = float(wanted.get("seconds", 0)) + 2 * float(wanted.get("patience", 10))
    return harness.generating(server, harness.compiled("chat_load"), arguments, seconds)


def checked(answer: dict[str, float]) -> dict[str, float]:
    """What the load counted. Raises Failure when not all of it has arrived."""
    if answer["complete"] < answer["messages"]:
        raise harness.Failure(f"only {answer['complete']} of {answer['messages']} messages reached everybody")
    return answer


def resident(server: harness.Server, *, most: bool = False) -> int:
    """Bytes in memory (VmRSS), or the most there have been (VmHWM); see proc(5)."""
    total = 0
    for pid in server.pids():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:" if most else "VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def _room(entry: Entry, seconds: float) -> dict[str, float]:
    with harness.running(list(entry.command)) as server:
        with loading(server, _kind(entry), clients=PEOPLE, rate=RATE, seconds=seconds) as load:
            before = server.cpu()
            answer = checked(load.run())
            cost = (server.cpu() - before) / answer["deliveries"] * 1e6
            return {"median": answer["median"], "high": answer["high"], "cost": cost, "load": answer["busy"]}


def _flood(entry: Entry, flood: int) -> dict[str, float]:
    # A line of IRC has 512 bytes. The tutorial's server takes what it reads for one message, so it is given one at a time.
    wanted = {"size": 400 if entry.name == NGIRCD else 4_000, "depth": 1 if entry.name == TUTORIAL else 16}
    if entry.name == TUTORIAL:
        wanted["size"] = 1_000
    wanted |= {"bytes": flood, "seconds": FLOOD_TIME if entry.kind == "prise" else OTHERS_TIME}
    with harness.running(list(entry.command)) as server:
        with loading(server, _kind(entry), clients=FLOOD_PEOPLE, **wanted) as load:
            without = checked(load.run())
        people = {"clients": FLOOD_PEOPLE + STALLED, "stalled": STALLED, "visit": 1}
        with loading(server, _kind(entry), **people, patience=GIVE_UP, **wanted) as load:
            before = resident(server)
            answer = load.run()
            growth = resident(server, most=True) - before
    arrived = answer["complete"] * wanted["size"]
    figures = {"growth": max(growth, 4096) / MIB, "arrived": arrived / 1e6}
    return figures | ({"harm": answer["high"] / without["high"]} if answer["complete"] == answer["messages"] else {})


def _idle(entry: Entry, clients: int) -> dict[str, float]:
    kind = "objects" if entry.kind == "prise" else _kind(entry)
    with harness.running(list(entry.command)) as server:
        with loading(server, kind, clients=10, rooms=2):
            pass
        before = server.memory()
        with loading(server, kind, clients=clients, rooms=IDLE_ROOMS, visit=1):
            return {"idle": (server.memory() - before) / clients / 1024}


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; ngircd is measured anyway. The flood and the silence take one round,
    and less of them when each load is to run for less than a second."""
    entries = [entry for entry in servers.chats() if entry.wanted(only, NGIRCD)]
    quick = seconds < 1
    clients = min(1_000 if quick else IDLE, harness.raise_file_limit() - 100)
    flood = FLOOD // 10 if quick else FLOOD
    done: set[str] = set()

    def once(entry: Entry) -> dict[str, float]:
        figures = _room(entry, seconds)
        if entry.name not in done:
            done.add(entry.name)
            figures |= _flood(entry, flood)
            if entry.name != TUTORIAL:
                figures |= _idle(entry, clients)
        return figures

    rows = interleaved(entries, rounds, once)
    method = {
        "the room": f"{PEOPLE:,} clients, one of whom says 100 B {RATE} times a second; the others' copies are counted",
        "seconds": seconds,
        "rounds": rounds,
        "the load's share of its CPU": f"{max((max(row.figures.get('load', [0])) for row in rows), default=0):.0%}",
        "the flood": f"{FLOOD_PEOPLE} clients and one who stops to read, {flood / 1e6:.0f} MB to each",
        "silent": f"{clients:,} clients in {IDLE_ROOMS} rooms",
        **harness.pinning(),
        "ngircd": _version(),
    }
    goals = (
        Goal(PRISE_CHAT, HIGH, 50.0),
        Goal(PRISE_CHAT, HIGH, 1.0, NGIRCD),
        Goal(PRISE_CHAT, GROWTH, 16.0),
        Goal(PRISE_CHAT, HARM, 1.25),
    )
    return Report("chat", TITLE, method, COLUMNS, rows, goals)


def _version() -> str:
    if shutil.which("ngircd") is None:
        return "not installed"
    said = subprocess.run(["ngircd", "--version"], capture_output=True, text=True, check=False).stdout
    return said.partition("-")[0].strip().removeprefix("ngIRCd ")

"""A connection changes hands: how long it takes until the other process has said that it has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from benchmarks import harness
from benchmarks.peers.handover_ways import PENDING, SIZES
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import Entry

BARE = "sendmsg, recvmsg, one byte back"
STANDARD = "multiprocessing.reduction"
TO_PHP = "prise, a socket, to PHP"
TO_PYTHON = "prise, a socket"
NAMES = {
    "bare": (BARE, "bare"),
    "multiprocessing": (STANDARD, "platform"),
    "python": (TO_PYTHON, "prise"),
    "connection": ("prise, a connection", "prise"),
    "asyncio": ("prise, await hand_over", "prise"),
    "php": (TO_PHP, "prise"),
}
PLACES = {"one": "On one CPU", "two": "On two CPUs"}
COLUMNS = tuple(
    Column(f"{place} {size}", f"{size or 'no'} B pending", "µs", (BARE,), digits=1, group=where)
    for place, where in PLACES.items()
    for size in SIZES
)
TITLE = "A connection changes hands: time until that is acknowledged (less is better)"
MOST_TIME = 120.0


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of ways; the bare one is measured anyway."""
    entries = [
        Entry(name, kind, (sys.executable, "-m", "benchmarks.peers.handover_ways", way), "php" if way == "php" else "")
        for way, (name, kind) in NAMES.items()
    ]
    each = seconds / 4

    def once(entry: Entry) -> dict[str, float]:
        figures: dict[str, float] = {}
        for place in PLACES:
            command = [*entry.command, place, str(each)]
            try:
                done = subprocess.run(
                    command,
                    cwd=harness.FOLDER.parent,
                    env=os.environ,
                    capture_output=True,
                    text=True,
                    timeout=MOST_TIME,
                )
            except subprocess.TimeoutExpired:
                raise harness.Failure("it did not end in time") from None
            if done.returncode:
                raise harness.Failure(done.stderr[-2000:].strip() or f"it ended with exit code {done.returncode}")
            figures |= json.loads(done.stdout)
        return figures

    php = (
        shutil.which("php")
        and subprocess.run(["php", "-r", "echo PHP_VERSION;"], capture_output=True, text=True).stdout
    )
    method = {
        "loads": "a fresh duplicate of one Unix socket each time; the figure is the median from the call until our copy is "
        f"closed; {PENDING} B pending: were read from it already and go along (prise: out of a connection; others: behind the "
        "descriptor)",
        "seconds": each,
        "rounds": rounds,
        "CPUs": f"one: {harness.LOAD_CPU}; two: giver {harness.LOAD_CPU}, taker {harness.SERVER_CPU}",
        "PHP": php or "-",
    }
    rows = interleaved([entry for entry in entries if entry.wanted(only, BARE)], rounds, once)
    goals = (Goal(TO_PHP, COLUMNS[0], 33.0), Goal(TO_PYTHON, COLUMNS[0], 33.0))
    return Report("handover", TITLE, method, COLUMNS, rows, goals)

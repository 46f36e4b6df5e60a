"""Relays TCP to TCP: how much passes, what it costs, and how long a byte takes there and back."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess

from benchmarks import harness, servers
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import SOCAT, SOCAT_LARGE, Entry

GIB = 1 << 30
BLOCK = 64 * 1024
PROGRAMS = {"socat": "-V", "ncat": "--version"}
STREAMS = {"one": 1, "many": 50}
COLUMNS = (
    Column("one rate", "throughput", "GiB/s", (SOCAT, SOCAT_LARGE), best=max, group="1 stream"),
    Column("one CPU", "cost", "CPU s/GiB", (SOCAT, SOCAT_LARGE), digits=3, group="1 stream"),
    Column("many rate", "throughput", "GiB/s", (SOCAT, SOCAT_LARGE), best=max, group="50 streams"),
    Column("many CPU", "cost", "CPU s/GiB", (SOCAT, SOCAT_LARGE), digits=3, group="50 streams"),
    Column("turn", "median", "µs", (SOCAT,), digits=1, group="1 byte there and back"),
)
TITLE = "A relay between two TCP connections: bytes per second, CPU time per GiB, latency"


def version(program: str, option: str) -> str:
    """The number, or what there is to read instead."""
    said = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = re.search(r"version (\S+)", said.stdout + said.stderr, re.IGNORECASE)
    return found[1] if found else "of unknown version"


def goals() -> tuple[Goal, ...]:
    """What the project set out to reach: at least the throughput, at most half of the cost."""
    found = []
    for column in COLUMNS[:4]:
        factor = 1.0 if column.best is max else 0.5
        found += [Goal("prise relay", column, factor, reference) for reference in column.references]
    return tuple(found)


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of relays; the references are measured anyway."""
    entries = [entry for entry in servers.relays() if entry.wanted(only, SOCAT, SOCAT_LARGE)]
    program = harness.compiled("relay_load")

    def once(entry: Entry) -> dict[str, float]:
        figures = {}
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            with harness.running([*entry.command, str(listener.getsockname()[1])]) as relay:
                for key, streams in STREAMS.items():
                    wanted = ("streams", listener, relay.port, streams, BLOCK, seconds)
                    with harness.generating(relay, program, wanted, seconds) as generator:
                        before = relay.cpu()
                        answer = generator.run()
                        used = relay.cpu() - before
                        figures[f"{key} rate"] = answer["bytes"] / answer["seconds"] / GIB
                        figures[f"{key} CPU"] = used / answer["bytes"] * GIB
                wanted = ("turns", listener, relay.port, 1, 1, seconds)
                with harness.generating(relay, program, wanted, seconds) as generator:
                    figures["turn"] = generator.run()["median"]
        return figures

    method = {
        "loads": f"1 stream and 50 streams, written in blocks of {BLOCK // 1024} KiB; then 1 byte there and 1 back",
        "seconds": seconds,
        "rounds": rounds,
        **harness.pinning(),
        **{program: version(program, option) for program, option in PROGRAMS.items() if shutil.which(program)},
    }
    return Report("relay", TITLE, method, COLUMNS, interleaved(entries, rounds, once), goals())

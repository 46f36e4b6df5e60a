"""From one process to another of the same machine: how long a message takes there and back, and how much passes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys

from benchmarks import harness
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import Entry

STANDARD = "multiprocessing.Pipe"
SHARED = "prise, shared memory"
IN_PLACE = "prise, shared memory, made in place"
NAMES = {
    "pipe": ("pipe(2)", "bare"),
    "unix": ("Unix socket", "bare"),
    "tcp": ("TCP, localhost", "bare"),
    "multiprocessing": (STANDARD, "platform"),
    "zeromq": ("pyzmq, ipc", "framework"),
    "inline": ("prise, through the socket", "prise"),
    "shared": (SHARED, "prise"),
    "in-place": (IN_PLACE, "prise"),
}
KIB, MIB = 1024, 1024 * 1024
LATENCIES = {"64 B": 64, "1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": MIB}
STREAMS = {"64 B": 64, "1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": MIB, "16 MiB": 16 * MIB, "256 MiB": 256 * MIB}
LATENCY_COLUMNS = tuple(
    Column(f"latency {size}", name, "µs", (STANDARD,), digits=1, group="There and back")
    for name, size in LATENCIES.items()
)
STREAM_COLUMNS = tuple(
    Column(f"stream {size}", name, "GB/s", (STANDARD,), digits=3, best=max, group="One way")
    for name, size in STREAMS.items()
)
TITLE = "From one process to another: time there and back (less is better), and bytes per second (more is better)"
MOST_TIME = 120.0


def goals() -> tuple[Goal, ...]:
    """What the project set out to reach: small messages as fast as `multiprocessing.Pipe`, large ones five times as fast."""
    small = [Goal(SHARED, column, 1.0, STANDARD) for column in LATENCY_COLUMNS[:2]]
    small += [Goal(SHARED, column, 1.0, STANDARD) for column in STREAM_COLUMNS[:2]]
    large = [Goal(name, column, 5.0, STANDARD) for name in (SHARED, IN_PLACE) for column in STREAM_COLUMNS[3:]]
    return (*small, *large)


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of ways; `multiprocessing.Pipe` is measured anyway."""
    entries = [
        Entry(name, kind, (sys.executable, "-m", "benchmarks.peers.ipc_ways", way))
        for way, (name, kind) in NAMES.items()
    ]
    each = seconds / 4
    wanted = [*(f"latency={size}" for size in LATENCIES.values()), *(f"stream={size}" for size in STREAMS.values())]

    def once(entry: Entry) -> dict[str, float]:
        command = [*entry.command, str(each), *wanted]
        with subprocess.Popen(
            command,
            cwd=harness.FOLDER.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that the process at the other end can be ended with it
        ) as process:
            try:
                said, errors = process.communicate(timeout=MOST_TIME)
            except subprocess.TimeoutExpired:
                raise harness.Failure("it did not end in time") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise harness.Failure(errors[-2000:].strip() or f"it ended with exit code {process.returncode}")
        figures: dict[str, float] = json.loads(said)
        return figures

    method = {
        "loads": "there and back: one message in flight, as large back, median; bytes per second: one side only sends; "
        "the receiver touches every page; the sender's message lies ready and is sent again and again, in place: in sealed "
        "shared memory; multiprocessing.Pipe: send_bytes, recv_bytes; pipe, Unix, TCP: into a buffer that is used again; ZeroMQ: "
        "not copied, at most 16 messages queued",
        "seconds": each,
        "rounds": rounds,
        "pinned": f"sender to CPU {harness.LOAD_CPU}, receiver to CPU {harness.SERVER_CPU}",
        "pyzmq": importlib.metadata.version("pyzmq"),
    }
    columns = (*LATENCY_COLUMNS, *STREAM_COLUMNS)
    rows = interleaved([entry for entry in entries if entry.wanted(only, STANDARD)], rounds, once)
    return Report("ipc", TITLE, method, columns, rows, goals())

"""What the system knows of the processes of a server: CPU time, memory, open files. From /proc; elsewhere of this process alone.

A process of the model processes has a child for each conversation: their CPU time and memory are added to its own, so that
there are as many series as there are workers, however many connections come and go.
"""

from __future__ import annotations

import os
import resource
import time
from functools import cache
from typing import NamedTuple

_PROC = "/proc"

MOST_CHILDREN = 2_000
"""Children that are looked at; some 10 microseconds for each."""

# Places in /proc/PID/stat (proc(5)) behind the name of the program, which may hold anything but is in parentheses.
_UTIME, _STIME, _CUTIME, _CSTIME, _START, _RSS = 11, 12, 13, 14, 19, 21


class Usage(NamedTuple):
    """Of one process with its children. cpu: seconds. memory: resident bytes; what processes share is counted in each.

    open_files, most_files: of the process alone. started: seconds since 1970. None: not known here.
    """

    cpu: float
    memory: int | None = None
    open_files: int | None = None
    most_files: int | None = None
    started: float | None = None


def usage(pid: int, with_children: bool = True) -> Usage | None:
    """None for a process that is gone, or of which nothing is known here.

    The CPU time of a child that ends while this is read may be missing in it: the next one has it again.
    """
    fields = _stat(pid)
    if fields is None:
        return _own_usage() if pid == os.getpid() else None
    times = [_UTIME, _STIME, _CUTIME, _CSTIME] if with_children else [_UTIME, _STIME]
    ticks = sum(int(fields[place]) for place in times)
    pages = int(fields[_RSS])
    if with_children:
        for child in _children(pid)[:MOST_CHILDREN]:
            theirs = _stat(child)
            if theirs is not None:
                ticks += sum(int(theirs[place]) for place in times)
                pages += int(theirs[_RSS])
    hertz = os.sysconf("SC_CLK_TCK")
    return Usage(
        ticks / hertz,
        pages * os.sysconf("SC_PAGE_SIZE"),
        _open_files(pid),
        _most_files(pid),
        _boot_time() + int(fields[_START]) / hertz,
    )


def _own_usage() -> Usage:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(own.ru_utime + own.ru_stime, most_files=_most_files(0))


def _stat(pid: int) -> list[bytes] | None:
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def _children(pid: int) -> list[int]:
    try:
        with open(f"{_PROC}/{pid}/task/{pid}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []  # it is gone, or this kernel does not tell (CONFIG_PROC_CHILDREN)


def _open_files(pid: int) -> int | None:
    folder = f"{_PROC}/{pid}/fd"
    try:
        return os.stat(folder).st_size or len(os.listdir(folder))  # the size is their number since Linux 6.2
    except OSError:
        return None


def _most_files(pid: int) -> int | None:
    try:
        soft = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    except (OSError, AttributeError):
        return None
    return None if soft == resource.RLIM_INFINITY else soft


@cache
def _boot_time() -> float:
    """Once: the clock may be set later, and a process has not started at another time for that."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

"""What is told to a scraper of a server: its counts, and what the system knows of its processes."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import prise
from prise.core.counters import Counters, Stats
from prise.observe.exposition import Reading
from prise.observe.processes import usage
from prise.servers.service import Service


def reading(
    service: Service,
    counters: Counters,
    processes: Mapping[str, int],
    draining: bool = False,
    workers: int = 1,
    restarts: int | None = None,
) -> Reading:
    """processes: name and process id of each; a supervisor's children are the workers, which have names of their own."""
    limit = service.limits.connections
    used = {name: usage(pid, with_children=name != "supervisor") for name, pid in processes.items()}
    return Reading(
        Stats.of(counters),
        {
            "version": prise.__version__,
            "python": platform.python_version(),
            "model": service.model,
            "workers": str(workers),
        },
        [(name, each) for name, each in used.items() if each is not None],
        draining,
        None if limit is None else limit * workers,
        restarts,
    )

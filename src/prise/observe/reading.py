"""What is told to a scraper of a server: its counts, and what the system knows of its processes."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping

import prise
from prise.core.counters import Counters, Stats
from prise.observe.exposition import Reading
from prise.observe.processes import Usage, usage
from prise.servers.service import Service


class Reader:
    """Reads one server, again and again. workers: how many processes run its model."""

    def __init__(self, service: Service, workers: int = 1) -> None:
        self._limit = None if service.limits.connections is None else service.limits.connections * workers
        self._info = {
            "version": prise.__version__,
            "python": platform.python_version(),
            "model": service.model,
            "workers": str(workers),
        }
        self._before: dict[str, Usage] = {}

    def read(
        self, counters: Counters, processes: Mapping[str, int], draining: bool = False, restarts: int | None = None
    ) -> Reading:
        """processes: name and process id of each; a supervisor's children are the workers, which have names of their own."""
        self._before = dict(self._usages(processes))
        return Reading(Stats.of(counters), self._info, list(self._before.items()), draining, self._limit, restarts)

    def _usages(self, processes: Mapping[str, int]) -> Iterator[tuple[str, Usage]]:
        for name, pid in processes.items():
            used = usage(pid, with_children=name != "supervisor")
            if used is None:
                continue
            before = self._before.get(name)
            if before is not None and before.started == used.started and before.cpu > used.cpu:
                used = used._replace(cpu=before.cpu)  # a counter that falls is taken for one that has begun anew
            yield name, used

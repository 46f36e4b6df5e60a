"""Deadlines as data: who must be looked at when. No clock here: the time comes in as an argument.

Each item has at most one live entry in a heap. Moving a deadline *later* (every byte moves the idle deadline) touches nothing
but the item's own fields: when the old entry comes up, the item says when it really wants to be called. So a message costs
no heap operation. Moving one *earlier* pushes a new entry and leaves the old one dead. Dead entries are swept out when they
outnumber the live ones, so the heap is never more than twice as large as the table of connections.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Protocol

NEVER = float("inf")


class Timed(Protocol):
    """Something with deadlines. scheduled: when its live entry is due; the heap's own note, NEVER at first."""

    scheduled: float


class Deadlines:
    """A table of deadlines in seconds of any monotonic clock."""

    __slots__ = ("_dead", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = count()
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, item: Timed, when: float) -> bool:
        """Looks at `item` at `when` at the latest. True when its entry had to move."""
        if when >= item.scheduled:
            return False
        if item.scheduled != NEVER:
            self._bury()
        item.scheduled = when
        heapq.heappush(self._heap, (when, next(self._order), item))
        return True

    def cancel(self, item: Timed) -> None:
        """Forgets `item`."""
        if item.scheduled != NEVER:
            item.scheduled = NEVER
            self._bury()

    def next(self) -> float:
        """When the earliest entry is due, NEVER if there is none."""
        while self._heap and self._heap[0][0] != self._heap[0][2].scheduled:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else NEVER

    def due(self, now: float) -> Iterator[Timed]:
        """The items whose entry has come up; each must be scheduled again if it wants to be called again."""
        while self.next() <= now:
            item = heapq.heappop(self._heap)[2]
            item.scheduled = NEVER
            yield item

    def _bury(self) -> None:
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].scheduled]
            heapq.heapify(self._heap)
            self._dead = 0

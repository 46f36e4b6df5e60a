"""Counters in memory that forked processes share, so that `server.stats()` sums over all of them.

Each row has one writer, so no lock is needed; a reader may see a row between two additions, never a torn number (eight aligned
bytes). The table has a fixed size: a process gets a row before it is forked and its parent takes the row over when it ends.
"""

from __future__ import annotations

import mmap

from prise.core.counters import FIELDS, Counters

_WIDTH = len(FIELDS)


class Board:
    """rows: how many. Anonymous shared memory, freed with the last process that has it."""

    def __init__(self, rows: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, max(rows, 1) * _WIDTH * 8)).cast("q")
        self.rows = rows

    def read(self, row: int) -> Counters:
        return Counters(self._cells[row * _WIDTH : (row + 1) * _WIDTH])

    def write(self, row: int, counters: Counters) -> None:
        # `accepted` and `closed` stand first and are written last: who sees a connection closed sees all that it counted.
        values = counters.values()
        for place in (*range(2, _WIDTH), 0, 1):
            self._cells[row * _WIDTH + place] = values[place]

    def shared(self, row: int) -> Counters:
        """Counters that live in the row itself: slower than plain ones, and visible to everybody at once."""
        shared = _Shared()
        shared.cells = self._cells[row * _WIDTH : (row + 1) * _WIDTH]
        return shared

    def sum(self) -> Counters:
        return Counters(sum(self._cells[place::_WIDTH]) for place in range(_WIDTH))


class _Shared(Counters):
    __slots__ = ("cells",)

    cells: memoryview

    def __init__(self) -> None:
        pass  # the cells already hold the values


def _cell(place: int) -> property:
    def get(self: _Shared) -> int:
        value: int = self.cells[place]
        return value

    def put(self: _Shared, value: int) -> None:
        self.cells[place] = value

    return property(get, put)


for _place, _name in enumerate(FIELDS):
    setattr(_Shared, _name, _cell(_place))

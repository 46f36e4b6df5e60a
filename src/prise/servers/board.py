"""Counters in memory that forked processes share, so that `server.stats()` sums over all of them.

Each row has one writer, so no lock is needed; a reader may see a row between two additions, never a torn number (eight aligned
bytes). The table has a fixed size: a process gets a row before it is forked and its parent takes the row over when it ends.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import cast

from prise.core.counters import FIELDS, Counters

_WIDTH = len(FIELDS)


class Board:
    """rows: how many. Anonymous shared memory, freed with the last process that has it."""

    def __init__(self, rows: int) -> None:
        self._memory = mmap.mmap(-1, (rows * _WIDTH + 1) * 8)
        self._cells = memoryview(self._memory).cast("q")
        self.rows = rows

    @property
    def others(self) -> bool:
        """Another release has the listeners as well. Who serves knows; the parent, which has bound them, learns it here."""
        return bool(self._cells[-1])

    @others.setter
    def others(self, others: bool) -> None:
        self._cells[-1] = others

    def read(self, row: int) -> Counters:
        return Counters(self._cells[row * _WIDTH : (row + 1) * _WIDTH])

    def write(self, row: int, counters: Counters) -> None:
        # `accepted` and `closed` stand first and are written last: who sees a connection closed sees all that it counted.
        values = counters.values()
        for place in (*range(2, _WIDTH), 0, 1):
            self._cells[row * _WIDTH + place] = values[place]

    def shared(self, row: int) -> Counters:
        """Counters that live in the row itself, visible to everybody at once."""
        return cast(Counters, _Row.from_buffer(self._memory, row * _WIDTH * 8))

    def sum(self) -> Counters:
        return Counters(sum(self._cells[place : self.rows * _WIDTH : _WIDTH]) for place in range(_WIDTH))


class _Row(ctypes.Structure):
    """What is written as an attribute is in the row: at the cost of a plain attribute, which properties of our own, eight
    calls for a message, were far above.
    """

    _fields_ = tuple((name, ctypes.c_int64) for name in FIELDS)

    values = Counters.values

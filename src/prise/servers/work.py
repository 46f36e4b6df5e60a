"""What a model is given to run: the same for all four. Each model's file has one entry, `run(work)`, which returns when the
server has drained or was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prise.core.counters import Counters
from prise.servers.board import Board
from prise.servers.control import Control
from prise.servers.service import Service
from prise.transports import Listening


@dataclass(slots=True)
class Work:
    """service: what is served. listeners: bound already. control: how it is told to stop.

    counters: of this process. live: further counters that count now (a thread's, a child's); the model sets it.
    board, first_row: shared memory, where this process has the rows from `first_row` on: one for itself, the rest for
    children; None where nothing is shared.
    """

    service: Service
    listeners: Sequence[Listening]
    control: Control
    counters: Counters = field(default_factory=Counters)
    live: Callable[[], list[Counters]] = list
    board: Board | None = None
    first_row: int = 0
    child_rows: int = 0

    def publish(self) -> None:
        """Makes this process's counts visible to its parent."""
        if self.board is not None:
            self.board.write(self.first_row, Counters.sum([self.counters, *self.live()]))

    def snapshot(self) -> Counters:
        """All counts, as far as this process knows them."""
        return Counters.sum([self.counters, *self.live()])

    def close_listeners(self) -> None:
        """This process accepts no more. A Unix path is removed by whoever bound it, not here."""
        for listening in self.listeners:
            listening.close(unlink=False)

"""What a model is given to run: the same for all four. Each model's file has one entry, `run(work)`, which returns when the
server has drained or was cut."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prise.core.counters import Counters
from prise.servers.board import Board
from prise.servers.control import Control
from prise.servers.service import Service
from prise.transports import Listening

if TYPE_CHECKING:
    from prise.handover.received import Received


@dataclass(slots=True)
class Work:
    """service: what is served. listeners: bound already. control: how it is told to stop.

    counters: of this process. live: further counters that count now (a thread's, a child's); the model sets it, and holds
    `counting` while it moves counts from there to `counters`.
    board, first_row: shared memory, where this process has the rows from `first_row` on: one for itself, the rest for
    children; None where nothing is shared. inherited: connections that an old release has left to this one.
    bequeathed: a new release has the listeners, and with them the paths of Unix sockets.
    """

    service: Service
    listeners: Sequence[Listening]
    control: Control
    counters: Counters = field(default_factory=Counters)
    live: Callable[[], list[Counters]] = list
    counting: threading.RLock = field(default_factory=threading.RLock)
    board: Board | None = None
    first_row: int = 0
    child_rows: int = 0
    inherited: list[Received] = field(default_factory=list)
    bequeathed: bool = False

    def bequeath(self) -> None:
        """A new release has the listeners from here on."""
        self.bequeathed = True
        if self.board is not None:
            self.board.others = True

    def publish(self) -> None:
        """Makes this process's counts visible to its parent."""
        if self.board is not None:
            self.board.write(self.first_row, self.snapshot())

    def snapshot(self) -> Counters:
        """All counts, as far as this process knows them. From any thread."""
        with self.counting:
            return Counters.sum([self.counters, *self.live()])

    def close_listeners(self) -> None:
        """This process accepts no more. A Unix path is removed by the process that bound it, and by no other."""
        for listening in self.listeners:
            listening.close(unlink=not self.bequeathed)

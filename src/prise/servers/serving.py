"""What is served where: checked and bound in the caller's thread, then run by one of the models in this process or in workers."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prise.address import Address
from prise.core.conversation import Conversation
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.multiplex import Multiplex
from prise.errors import UsageError
from prise.framing import Framing
from prise.layers.base import LayerFactory
from prise.servers.board import Board
from prise.servers.control import Control
from prise.servers.forking import private
from prise.servers.reloading import reload, try_to_reload
from prise.servers.service import Service
from prise.servers.work import Work
from prise.transports import Listening, bind, call, layers
from prise.transports.base import OnceListening
from prise.transports.datagrams import DatagramListening
from prise.transports.fd import adopt

if TYPE_CHECKING:
    from prise.handover.received import Received
    from prise.handover.succession import Succession
    from prise.observe.exposition import Reading
    from prise.observe.metrics import Metrics
    from prise.observe.observer import Observer
    from prise.servers.supervisor import Supervisor

log = logging.getLogger("prise")

AnyAddress = str | int | tuple[Any, ...] | Address


class Serving:
    """What is served where, checked; and how it is run in this process."""

    def __init__(
        self,
        conversation: Conversation | Multiplex,
        addresses: Sequence[AnyAddress],
        framing: str | Framing,
        model: str | None,
        workers: int,
        limits: Limits | None,
        layers: Sequence[LayerFactory],
        tls: Any,
        drain_time: float,
        handover: str | Succession | None = None,
        metrics: AnyAddress | None = None,
        observer: Observer | None = None,
    ) -> None:
        if isinstance(handover, str):
            from prise.handover.succession import Succession

            handover = Succession(handover)
        self.succession = handover
        self.service = Service.of(
            conversation, framing=framing, model=model, limits=limits, layers=layers, observer=observer
        )
        if not isinstance(workers, int) or workers < 1:
            raise UsageError("workers must be a whole number from 1 on, not {workers!r}", workers=workers)
        self.workers = workers
        self.tls = tls
        self.drain_time = drain_time
        self.where = [Address.parse(address) for address in addresses or (":50000",)]
        self.listeners: list[Listening] = []
        self.addresses: list[Address] = []
        self.work: Work | None = None
        self.board: Board | None = None
        self._others = False  # what `_shared` says while there is no board
        self.metrics: Metrics | None = None
        if metrics is not None:
            from prise.observe.metrics import Metrics

            self.metrics = Metrics(Address.parse(metrics))

    @property
    def forks(self) -> bool:
        """True when the conversations run in other processes than this one."""
        return self.workers > 1 or self.service.model == "processes"

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Binds all addresses, or none; a Unix path that we made is removed at the end."""
        self.listeners = []
        _bound.add(self)
        try:
            inheritance = None
            if self.succession is not None:
                inheritance = self.succession.inherit(self.service.model in ("select", "asyncio") and self.workers == 1)
            self._shared = inheritance is not None  # until `take_over`, the old release may go on
            for address in self.where:
                found = inheritance.listening_at(str(address)) if inheritance is not None else []
                self.listeners += [self._adopted(address, each) for each in found] or self._bind(address)
            if self.metrics is not None:
                found = inheritance.listening_at(self.metrics.name) if inheritance is not None else []
                self.metrics.bind(self.tls, [self._adopted(self.metrics.address, each) for each in found])
            self.addresses = [listening.address for listening in self.listeners]
            yield
        finally:
            _bound.discard(self)
            self.close_listeners()
            if self.metrics is not None:
                self.metrics.close(unlink=not self._shared)
            if self.succession is not None:
                private.discard(self.succession.fileno())
                self.succession.close()

    def _adopted(self, address: Address, received: Received) -> Listening:
        """A listener that an old release has left to us."""
        try:
            chosen = layers(address, server=True, tls=self.tls)
            listening = adopt(received.socket, path=address.path if address.scheme == "unix" else None)
        except BaseException:
            received.close()
            raise
        call(listening, address)
        listening.asked = address
        listening.layers = chosen
        return listening

    def take_over(self, control: Control) -> list[Received]:
        """What was inherited is ours from here on; a successor may ask for it. Returns the connections."""
        succession = self.succession
        if succession is None:
            return []
        succession.commit()
        self._shared = False
        private.add(succession.fileno())  # else children would keep it open
        succession.wake = control.wake
        control.succession = succession
        return succession.inheritance.take_connections() if succession.inheritance is not None else []

    def _bind(self, address: Address) -> list[Listening]:
        asked = address
        if self.workers > 1 and address.scheme == "udp" and address.option("reuseport") is None:
            address = replace(address, options=(*address.options, ("reuseport", "yes")))
        listeners = bind(address, tls=self.tls)
        try:
            for listening in listeners:
                listening.asked = asked
                if self.workers > 1 and isinstance(listening, OnceListening):
                    raise UsageError(
                        "{address} is one connection, which one process serves: leave out workers", address=address
                    )
                if isinstance(listening, DatagramListening):
                    self.service.pipeline(listening.layers, True)  # which refuses what needs a stream
                    if self.workers > 1:
                        listening.share(self.workers)
        except BaseException:
            for listening in listeners:
                listening.close()
            raise
        return listeners

    def close_listeners(self) -> None:
        """In this process; while another one has them too, it goes on accepting."""
        for listening in self.listeners:
            listening.close(unlink=not self._shared)

    @property
    def _shared(self) -> bool:
        """Another process has the listeners as well, and needs their paths: an old release, or a new one."""
        return self._others if self.board is None else self.board.others

    @_shared.setter
    def _shared(self, shared: bool) -> None:
        if self.board is None:
            self._others = shared
        else:
            self.board.others = shared

    @property
    def _all_listeners(self) -> list[Listening]:
        return [*self.listeners, *(self.metrics.listeners if self.metrics is not None else ())]

    def reload(self) -> None:
        """Reads certificates again; connections that exist are not touched. Raises UsageError, and then the old ones stay."""
        reload(self._all_listeners)

    def try_to_reload(self) -> None:
        """The same where nobody takes an exception: it is logged."""
        try_to_reload(self._all_listeners)

    def _try_to_reload_metrics(self) -> None:
        """In a supervisor, which serves nothing else."""
        if self.metrics is not None:
            with suppress(UsageError, OSError):  # the workers say why
                reload(self.metrics.listeners)

    def close_others(self) -> None:
        """In a forked process: the listeners of other servers, which would accept, from our copy, long after they have ended."""
        for other in _bound - {self}:
            other.close_listeners()
            if other.metrics is not None:
                other.metrics.close()

    def prepare(self, control: Control) -> Work:
        """The work of a model that runs in this process."""
        work = self.work = Work(self.service, self.listeners, control, inherited=self.take_over(control))
        self._answer_scrapers(control, lambda: work.board.sum() if work.board is not None else work.snapshot())
        return work

    def _answer_scrapers(
        self, control: Control, counts: Callable[[], Counters], supervisor: Supervisor | None = None
    ) -> None:
        if self.metrics is None:
            return
        from prise.observe.reading import Reader

        reader = Reader(self.service, self.workers)

        def read() -> Reading:
            processes = {"server": os.getpid()}
            restarts = None
            if supervisor is not None:
                workers = sorted(supervisor.processes.items())
                processes = {"supervisor": os.getpid(), **{f"worker-{number}": pid for number, pid in workers}}
                restarts = supervisor.restarts
            return reader.read(counts(), processes, control.draining, restarts)

        self.metrics.start(read)
        control.metrics = self.metrics

    def run(self, control: Control, board: Board | None = None) -> Counters:
        """Runs the model, with its workers if there are several, until `control` ends it."""
        model = importlib.import_module(f"prise.servers.{self.service.model}")
        if self.workers == 1:
            control.on_reload = self.try_to_reload
            work = self.prepare(control)
            if board is not None:
                work.board, work.child_rows = board, self._rows - 1
            model.run(work)
            return work.snapshot()
        from prise.servers.blocking import leave_listeners
        from prise.servers.supervisor import Supervisor

        board = board or self.make_board()
        self.take_over(control)

        def worker(number: int, control: Control) -> None:
            self.close_others()
            control.on_reload = self.try_to_reload
            for listening in self.listeners:
                if isinstance(listening, DatagramListening):
                    listening.become_worker(number)
            first = number * self._rows
            before = board.read(first)  # of the worker that died in our place: the counts go on
            before.closed = before.accepted
            work = Work(self.service, self.listeners, control, before, board=board, first_row=first)
            work.child_rows = self._rows - 1
            model.run(work)

        def on_turn() -> None:
            board.others = leave_listeners(control, self.listeners) or board.others

        supervisor = Supervisor(
            worker, self.workers, control, self.drain_time, self.close_listeners, on_turn, self._try_to_reload_metrics
        )
        self._answer_scrapers(control, board.sum, supervisor)
        supervisor.run()
        return final(board)

    @property
    def _rows(self) -> int:
        """Rows of shared counters for one worker: its own, and one for each child."""
        if self.service.model != "processes":
            return 1
        from prise.servers.processes import child_rows

        return 1 + child_rows(self.service.limits.connections)

    def make_board(self) -> Board:
        board = Board(self.workers * self._rows)
        board.others = self._shared
        self.board = board
        return board


_bound: set[Serving] = set()
"""The servers of this process that listen now."""


def final(board: Board) -> Counters:
    """The counts when all processes have ended, and so have the connections that a killed one could not count as closed."""
    total = board.sum()
    total.closed = total.accepted
    return total

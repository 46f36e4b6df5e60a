"""`serve`, which owns the process, and `listen`, which serves in the background: the ways in.

Everything is checked and bound here, in the caller's thread, so that what cannot work is an exception and not a log line.
Then one of the models runs: in this thread (serve), in a thread of its own (listen), in the running asyncio loop
(`async with listen(...)`), or in forked processes (the model processes, and workers=N).
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self

from prise.address import Address
from prise.connection.blocking import in_running_loop
from prise.core.conversation import Conversation
from prise.core.counters import Counters, Stats
from prise.core.limits import Limits
from prise.core.multiplex import Multiplex
from prise.errors import UsageError
from prise.framing import Framing
from prise.layers.base import LayerFactory
from prise.servers.board import Board
from prise.servers.control import Control, tell, tell_to_reload
from prise.servers.forking import close_private, fork, how_ended, on_sigterm, private, reap
from prise.servers.service import Service
from prise.servers.work import Work
from prise.transports import Listening, bind

log = logging.getLogger("prise")

DRAIN_TIME = 10.0

AnyAddress = str | int | tuple[Any, ...] | Address


def serve(
    conversation: Conversation | Multiplex,
    *addresses: AnyAddress,
    framing: str | Framing = "lines",
    model: str | None = None,
    workers: int = 1,
    limits: Limits | None = None,
    layers: Sequence[LayerFactory] = (),
    tls: Any = None,
    drain_time: float = DRAIN_TIME,
    ready: Callable[[list[Address]], object] | None = None,
) -> Stats:
    """Serves a conversation until SIGTERM or SIGINT, and returns the final counts.

    conversation: a function, generator function or coroutine function that takes a connection, or a `Multiplex` of them.
    addresses: where to listen; default ":50000" (loopback).
    framing: how bytes become messages; a name ("lines", "prefixed:4 | json") or a Framing.
    model: "threads", "processes", "select" or "asyncio"; by default the one that fits the spelling.
    workers: processes that run the model side by side on the same addresses.
    limits: what peers may take. layers: factories of layers between the bytes and the framing.
    tls: a `TLS` for the addresses `tls:` and `wss:` (their own options go before). SIGHUP has it read its files again.
    drain_time: seconds that conversations get to end after the first signal; the second signal cuts.
    ready: called with the bound addresses (real ports) before the first connection is accepted.

    Raises UsageError, SpellingError, AddressError, BindError before anything is served. Outside the main thread there are no
    signals, so nothing ends it: use `listen` there.
    """
    if in_running_loop():
        raise UsageError("serve() would stop the running asyncio loop: use `async with prise.listen(...)` in it")
    server = _Server(conversation, addresses, framing, model, workers, limits, layers, tls, drain_time)
    with server.bound():
        control = Control(drain_time=drain_time)
        try:
            with _signals(control, drain_time), _reload_on_hangup(control):
                if ready is not None:
                    ready(server.addresses)
                return Stats.of(server.run(control))
        finally:
            control.close()


def listen(
    conversation: Conversation | Multiplex,
    *addresses: AnyAddress,
    framing: str | Framing = "lines",
    model: str | None = None,
    workers: int = 1,
    limits: Limits | None = None,
    layers: Sequence[LayerFactory] = (),
    tls: Any = None,
    drain_time: float = DRAIN_TIME,
) -> Server:
    """Serves in the background, for tests, notebooks and programs with other things to do; the arguments are those of `serve`.

    Use it as `with listen(...) as server:` or, for the model asyncio on the running loop, `async with listen(...)`.
    Leaving the block drains. Without a block: `listen(...).start()` and `stop()`. It touches no signals.
    """
    return Server(_Server(conversation, addresses, framing, model, workers, limits, layers, tls, drain_time))


class _Server:
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
    ) -> None:
        self.service = Service.of(conversation, framing=framing, model=model, limits=limits, layers=layers)
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
            for address in self.where:
                self.listeners += bind(address, tls=self.tls)
            self.addresses = [listening.address for listening in self.listeners]
            yield
        finally:
            _bound.discard(self)
            self.close_listeners()

    def close_listeners(self) -> None:
        """In this process; while another one has them too, it goes on accepting."""
        for listening in self.listeners:
            listening.close()

    def reload(self) -> None:
        """Reads certificates again; connections that exist are not touched. Raises UsageError, and then the old ones stay."""
        for listening in self.listeners:
            for factory in listening.layers:
                again = getattr(factory, "reload", None)
                if again is not None:
                    again()

    def try_to_reload(self) -> None:
        """The same where nobody takes an exception: it is logged."""
        try:
            self.reload()
            log.info("the certificates were read again")
        except (UsageError, OSError) as error:
            log.error("the certificates could not be read again, the old ones stay: %s", error)

    def close_others(self) -> None:
        """In a forked process: the listeners of other servers, which would accept, from our copy, long after they have ended."""
        for other in _bound - {self}:
            other.close_listeners()

    def prepare(self, control: Control) -> Work:
        """The work of a model that runs in this process."""
        self.work = Work(self.service, self.listeners, control)
        return self.work

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
        from prise.servers.supervisor import Supervisor

        board = board or self.make_board()

        def worker(number: int, control: Control) -> None:
            self.close_others()
            control.on_reload = self.try_to_reload
            first = number * self._rows
            before = board.read(first)  # of the worker that died in our place: the counts go on
            before.closed = before.accepted
            work = Work(self.service, self.listeners, control, before, board=board, first_row=first)
            work.child_rows = self._rows - 1
            model.run(work)

        Supervisor(worker, self.workers, control, self.drain_time, self.close_listeners).run()
        return final(board)

    @property
    def _rows(self) -> int:
        """Rows of shared counters for one worker: its own, and one for each child."""
        if self.service.model != "processes":
            return 1
        from prise.servers.processes import child_rows

        return 1 + child_rows(self.service.limits.connections)

    def make_board(self) -> Board:
        return Board(self.workers * self._rows)


_bound: set[_Server] = set()
"""The servers of this process that listen now."""


def final(board: Board) -> Counters:
    """The counts when all processes have ended, and so have the connections that a killed one could not count as closed."""
    total = board.sum()
    total.closed = total.accepted
    return total


class Server:
    """A server in the background. `addresses` are the bound ones, with real ports.

    Leaving the `with` block drains for `drain_time` seconds at the most; `stop()` cuts at once. A server serves once.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._binding: AbstractContextManager[None] | None = None
        self._control: Control | None = None
        self._thread: threading.Thread | None = None
        self._task: Any = None
        self._pid = 0
        self._pipe = -1
        self._board: Board | None = None
        self._failure: BaseException | None = None
        self._final: Counters | None = None
        self._ending = threading.Lock()

    @property
    def addresses(self) -> list[Address]:
        """Where it listens; empty before it is started."""
        return list(self._server.addresses)

    @property
    def address(self) -> Address:
        """The first address: for the usual server, which has one."""
        if not self._server.addresses:
            raise UsageError("the server is not started: use `with prise.listen(...) as server:`, or start() it")
        return self._server.addresses[0]

    def start(self) -> Self:
        """Binds and serves. Raises what binding raises, and then it may be tried again."""
        with self._bound():
            if self._server.forks:
                self._fork()
            else:
                self._thread = threading.Thread(
                    target=self._run, args=(self._prepare(),), name="prise-server", daemon=True
                )
                self._thread.start()
        return self

    def stats(self) -> Stats:
        """The counts so far, over all processes and workers."""
        if self._final is not None:
            return Stats.of(self._final)
        if self._board is not None:
            return Stats.of(self._board.sum())
        work = self._server.work
        return Stats.of(work.snapshot() if work is not None else Counters())

    def reload(self) -> None:
        """Reads the certificates of `tls:` and `wss:` addresses again; who is connected notices nothing.

        Raises UsageError when they cannot be read or do not fit together; then the old ones stay in use.
        """
        self._server.reload()
        if self._pid:
            tell_to_reload(self._pipe)

    def drain(self, timeout: float | None = None) -> Stats:
        """Stops accepting, lets conversations end (their input ends), cuts what is left after `timeout` seconds.

        Waits until that is done and returns the final counts. Only in an `async with` block, whose end waits, it returns at once.
        """
        self._order(self._server.drain_time if timeout is None else timeout)
        return self._join()

    def stop(self) -> Stats:
        """Closes everything now; otherwise like `drain`."""
        self._order(0.0)
        return self._join()

    @contextmanager
    def _bound(self) -> Iterator[None]:
        """Binds for good, unless what comes next fails."""
        if self._binding is not None:
            raise UsageError("the server was started already; a server serves once: call listen() again")
        binding = self._server.bound()
        binding.__enter__()
        self._binding = binding
        try:
            yield
        except BaseException:
            self._binding = None
            if self._control is not None:
                self._control.close()
            binding.__exit__(None, None, None)
            raise

    def _prepare(self) -> Work:
        self._control = Control(drain_time=self._server.drain_time)
        return self._server.prepare(self._control)

    def _order(self, seconds: float) -> None:
        if self._control is not None:
            self._control.drain(seconds)
        elif self._pid:
            self._server.close_listeners()  # our copies; what waits there would wait for nobody
            tell(self._pipe, seconds)

    def _join(self) -> Stats:
        if self._binding is None or self._task is not None:
            return self.stats()
        with self._ending:
            if self._thread is not None:
                self._thread.join()
            if self._pid:
                if status := reap(self._pid):
                    log.error("the server process %d ended with %s", self._pid, how_ended(status))
                self._pid = 0
                close_private(self._pipe)
            self._end()
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return self.stats()

    def _end(self) -> None:
        if self._final is None:
            work = self._server.work
            self._final = final(self._board) if self._board is not None else work.snapshot() if work else Counters()
            if self._control is not None:
                self._control.close()
            assert self._binding is not None
            self._binding.__exit__(None, None, None)

    def _run(self, work: Work) -> None:
        try:
            importlib.import_module(f"prise.servers.{self._server.service.model}").run(work)
        except BaseException as error:
            log.exception("the server failed")  # now, and not only when somebody joins us
            self._failure = error
            work.close_listeners()

    def _fork(self) -> None:
        """A supervisor of its own, so that this process, which may have threads, forks once and never again."""
        self._board = self._server.make_board()
        read, self._pipe = os.pipe()
        private.add(self._pipe)

        def body() -> None:
            self._server.close_others()
            control = Control(read, self._server.drain_time)
            on_sigterm(lambda: control.drain(self._server.drain_time))
            self._server.run(control, self._board)

        try:
            self._pid = fork(body)
        except OSError:
            close_private(self._pipe)
            raise
        finally:
            os.close(read)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()

    async def __aenter__(self) -> Self:
        if self._server.service.model != "asyncio" or self._server.forks:
            return self.start()
        import asyncio

        from prise.servers.asyncio import run_async

        with self._bound():
            self._task = asyncio.create_task(run_async(self._prepare()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        if self._task is None:
            await asyncio.get_running_loop().run_in_executor(None, self.drain)
            return
        self._order(self._server.drain_time)
        try:
            await self._task
        finally:
            self._end()


@contextmanager
def _reload_on_hangup(control: Control) -> Iterator[None]:
    """SIGHUP reads the certificates again, in this process or in its workers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda number, frame: control.on_reload())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


@contextmanager
def _signals(control: Control, drain_time: float) -> Iterator[None]:
    """SIGTERM and SIGINT drain; the second one cuts. Only where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if control.draining:
            control.cut()
        else:
            control.drain(drain_time)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not installed by Python

"""`Server`: a server in the background, in a thread, on the running asyncio loop, or in processes; what `listen` returns."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self

from prise.address import Address
from prise.core.counters import Counters, Stats
from prise.errors import UsageError
from prise.servers.board import Board
from prise.servers.control import Control, tell, tell_to_reload
from prise.servers.forking import close_private, fork, how_ended, on_sigterm, private, reap
from prise.servers.serving import Serving, final
from prise.servers.work import Work

log = logging.getLogger("prise")


class Server:
    """A server in the background. `addresses` are the bound ones, with real ports.

    Leaving the `with` block drains for `drain_time` seconds at the most; `stop()` cuts at once. A server serves once.
    """

    def __init__(self, server: Serving) -> None:
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

    @property
    def metrics(self) -> Address | None:
        """Where its metrics are read (`listen(metrics=...)`), with the real port; None where they are not."""
        metrics = self._server.metrics
        return metrics.listeners[0].address if metrics is not None and metrics.listeners else None

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
                    log.error(
                        "the server process %(process)d ended with %(status)s",
                        {"process": self._pid, "status": how_ended(status)},
                    )
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

"""A pool of workers: programs that are started once, and to which accepted connections are handed, one at a time to each.

    async with Pool(["php", "worker.php"], ":50000", workers=4) as pool:        serve([...], ":50000") blocks, and minds signals
        await pool.over.wait()

    accept -> (TLS, in a thread) -> waiting, at most `queue` -> handed to a worker that is idle -> ready again

The pool keeps a copy of each connection while a worker has it: so that on a drain its input can be ended, so that it is closed
when the worker dies, and so that what the peer still says at the end is read away, instead of making the kernel send a
reset, which could destroy the last answer. staff.py has the workers, and poolworker.py says how they are talked to; in which
language they are written is their own business.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from prise.address import Address, AddressLike
from prise.connection.blocking import Connection
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import PriseError, UsageError
from prise.framing import framing_of
from prise.handover.poolworker import GRACE
from prise.handover.staff import Staff
from prise.handover.visitor import PoolStats, Visitor
from prise.handover.wire import drive_async
from prise.servers.accept import PAUSE, Acceptor
from prise.servers.reloading import try_to_reload
from prise.transports import Listening, bind, keeps_messages

__all__ = ["Pool", "PoolStats", "serve"]

log = logging.getLogger("prise")

MOST_HANDSHAKES = 100
"""Threads in which TLS is set up; more connections wait for one, within their time."""


class Pool:
    """Accepts on these addresses, and hands what comes to workers.

    argv: the program of a worker, without a shell. addresses: by default ":50000". workers: how many; by default one for each
    CPU. A conversation has its worker to itself, so this is also how many go on at the same time.
    queue: connections that may wait for a worker; the next ones are closed at once, and counted. wait: seconds that each may
    wait (None: as long as it likes). limits: `connections`, `connections_per_peer`, `handshake_time` and `linger_time` hold;
    what happens inside a conversation is the worker's business. tls: for addresses that need it; the pool then passes on the
    clear text, through two threads for each connection. drain_time: seconds that conversations get to end.
    env: of the workers; by default ours.

    addresses: where it listens, with real ports. over: is set when it has ended. Raises UsageError.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *addresses: AddressLike,
        workers: int | None = None,
        queue: int = 100,
        wait: float | None = 60.0,
        limits: Limits | None = None,
        tls: Any = None,
        drain_time: float = 10.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if not argv or isinstance(argv, (str, bytes)):
            raise UsageError("argv is a list of words, the program first: use shlex.split() for a command line")
        workers = len(os.sched_getaffinity(0)) if workers is None else workers
        for name, value, least in (("workers", workers, 1), ("queue", queue, 0)):
            if value < least:
                raise UsageError("{name} must be at least {least}, not {value}", name=name, least=least, value=value)
        self.over = asyncio.Event()
        self.addresses: list[Address] = []
        self._asked = [Address.parse(address) for address in addresses or (":50000",)]
        self._drain_time = drain_time
        self._limits, self._tls = limits or Limits(), tls
        self._counters = Counters()
        self._listeners: list[Listening] = []
        self._watched: list[Listening] = []
        self._acceptor = Acceptor([], self._limits, self._counters, time.monotonic)
        self._visitors: set[Visitor] = set()
        self._staff = Staff(list(argv), env, workers, queue, wait, self._parted)
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(MOST_HANDSHAKES, "prise-handshake")
        self._draining, self._cut = asyncio.Event(), asyncio.Event()

    # -- its life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Listens and starts the workers. Raises BindError, HandoverError when a worker does not become ready."""
        try:
            for address in self._asked:
                self._listeners += bind(address, tls=self._tls)
            for listening in self._listeners:
                _refuse_unfit(listening)
            await self._staff.start()
        except BaseException:
            for listening in self._listeners:
                listening.close()
            raise
        self.addresses = [listening.address for listening in self._listeners]
        self._acceptor = Acceptor(self._listeners, self._limits, self._counters, time.monotonic)
        self._watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain(None if kind is None else 0.0)
        await self.over.wait()

    def drain(self, seconds: float | None = None) -> None:
        """Accepts no more and ends the input of every conversation; cuts those that are left after so many seconds.

        seconds: by default the `drain_time`. `over` is set in the end. Another call may hasten it, no more.
        """
        asyncio.get_running_loop().call_later(self._drain_time if seconds is None else seconds, self._cut.set)
        if not self._draining.is_set():
            self._draining.set()
            self._do(self._end())

    def reload(self) -> None:
        """New workers in place of the old ones, each after its conversation; and the certificates are read again.

        First one worker is tried: when it does not become ready, that is logged, and the old ones stay.
        """
        try_to_reload(self._listeners)
        self._do(self._staff.replace())

    def stats(self) -> PoolStats:
        """What has been counted so far."""
        counted, staff = self._counters, self._staff
        refused = {"per_peer": counted.refused_per_peer, "resources": counted.refused_resources, "queue": staff.refused}
        return PoolStats(
            open=len(self._visitors),
            waiting=len(staff.waiting),
            workers=len(staff.workers),
            total=counted.accepted,
            restarts=staff.restarts,
            refused=refused,
            errors={
                "conversation": staff.failed,
                "worker": staff.lost,
                "handshake": counted.error_handshake,
            },
        )

    async def _end(self) -> None:
        self._acceptor.stop()
        self._watch()
        for listening in self._listeners:
            listening.close()
        for visitor in self._visitors:
            visitor.end_input()
        self._staff.dismiss()
        cut = asyncio.create_task(self._cut.wait())
        await _unless(cut, self._staff.places)
        await _unless(cut, self._others())
        cut.cancel()
        await self._staff.kill()
        for task in (others := self._others()):
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for visitor in list(self._visitors):
            self._leave(visitor)
        # What was relayed has its last words to deliver: the threads of relay.py.
        until = time.monotonic() + GRACE
        for thread in threading.enumerate():
            if thread.name.startswith("prise-relay"):
                await asyncio.to_thread(thread.join, max(until - time.monotonic(), 0.0))
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.over.set()

    def _others(self) -> list[asyncio.Task[None]]:
        """What goes on in the background, but for who asks."""
        return [task for task in self._tasks if task is not asyncio.current_task()]

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        """In the background; a task that nobody holds may vanish."""
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- who comes ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Watches the listeners while more may come in."""
        loop = asyncio.get_running_loop()
        wanted = [each for each in self._acceptor.listeners if not each.exhausted] if self._acceptor.wants_more else []
        if wanted != self._watched:
            for listening in self._watched:
                loop.remove_reader(listening)
            for listening in wanted:
                loop.add_reader(listening, self._accept, listening)
            self._watched = wanted

    def _accept(self, listening: Listening) -> None:
        for sock, sockaddr, key in self._acceptor.accept(listening):
            try:
                if not listening.layers:
                    self._arrived(Visitor(sock, sockaddr, key))
                    continue
                pipeline = Pipeline(framing_of("chunks"), self._limits.message_size, listening.layers)
                connection = Connection(sock, pipeline, self._limits, sockaddr=sockaddr)
                visitor = Visitor(sock.dup(), sockaddr, key, connection)
            except Exception as error:  # out of descriptors, or a layer that cannot be made
                sock.close()
                self._acceptor.release(key)
                self._acceptor.exhausted(f"cannot take a connection: {error}")
                continue
            self._visitors.add(visitor)
            self._do(self._set_up(visitor))
        if self._acceptor.paused_until:
            asyncio.get_running_loop().call_later(PAUSE, self._watch)
        self._watch()

    async def _set_up(self, visitor: Visitor) -> None:
        """TLS, or whatever the address asks for, within `Limits.handshake_time`."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, visitor.handshake)
        except (PriseError, OSError) as error:
            self._counters.error_handshake += 1
            log.info("connection from %(peer)s: %(error)s", {"peer": visitor.peer, "error": error})
            self._leave(visitor)
        else:
            self._arrived(visitor)

    def _arrived(self, visitor: Visitor) -> None:
        self._visitors.add(visitor)
        if self._draining.is_set():
            visitor.end_input()
        self._staff.take(visitor)

    def _parted(self, visitor: Visitor, linger: bool) -> None:
        """It is over, or there is nobody for it. linger: its last words are on their way."""
        if linger and visitor.connection is None:
            self._do(self._linger(visitor))
        elif visitor in self._visitors:
            self._leave(visitor)

    async def _linger(self, visitor: Visitor) -> None:
        with suppress(PriseError, OSError):
            await drive_async(visitor.read_away(), visitor.sock, self._limits.linger_time)
        if visitor in self._visitors:  # it was not cut meanwhile
            self._leave(visitor)

    def _leave(self, visitor: Visitor) -> None:
        self._visitors.remove(visitor)
        visitor.close()
        self._acceptor.release(visitor.key)
        if self._acceptor.over:  # standard input, say: nobody else can come
            self.drain()
        self._watch()


def serve(
    argv: Sequence[str],
    *addresses: AddressLike,
    ready: Callable[[list[Address]], object] | None = None,
    meanwhile: Callable[[Pool], Coroutine[Any, Any, None]] | None = None,
    **options: Any,
) -> PoolStats:
    """Serves with a `Pool`, until SIGTERM or SIGINT drains it; a second one cuts. SIGHUP is its `reload`. Blocks.

    ready: is called with the addresses once connections are taken. meanwhile: a coroutine function that runs until the end.
    options: those of `Pool`. Raises what entering a `Pool` raises.
    """

    async def main() -> PoolStats:
        loop = asyncio.get_running_loop()
        async with Pool(argv, *addresses, **options) as pool:
            stops = 0

            def stop() -> None:
                nonlocal stops
                stops += 1
                pool.drain(None if stops == 1 else 0.0)

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            loop.add_signal_handler(signal.SIGHUP, pool.reload)
            other = asyncio.create_task(meanwhile(pool)) if meanwhile is not None else None
            if ready is not None:
                ready(pool.addresses)
            await pool.over.wait()
            if other is not None:
                other.cancel()
        return pool.stats()

    return asyncio.run(main())


def _refuse_unfit(listening: Listening) -> None:
    """Raises UsageError for addresses whose connections cannot be handed on."""
    if keeps_messages(listening.socket):
        raise UsageError(
            "{address} takes messages, and what is handed to a worker is a stream", address=listening.address
        )
    if listening.layers and Pipeline(framing_of("chunks"), 1, listening.layers).keeps_messages:
        raise UsageError(
            "what comes through {address} are messages, not a stream of bytes that a worker could be handed",
            address=listening.address,
        )


async def _unless(cut: asyncio.Task[Any], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Waits for all of these, until the cut comes."""
    if tasks:
        ended = asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait([cut, ended], return_when=asyncio.FIRST_COMPLETED)

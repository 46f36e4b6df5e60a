"""The workers of a pool (pool.py): started, given something to do, mourned, replaced; and the queue before them.

Each has a place, which a task of its own keeps filled. A worker that dies is started anew, after pauses that grow until
conversations succeed again. It takes its connection along; one that it was only offered goes to somebody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from prise.errors import HandoverError, HandoverUncertain, PriseError
from prise.handover.channel import TIMEOUT
from prise.handover.poolworker import Worker
from prise.handover.visitor import MOST_TRIES, Visitor

log = logging.getLogger("prise")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a worker that died is started again; they double until a conversation ends well."""


class Staff:
    """argv, env: of each worker. size: how many. queue, wait: see `Pool`.

    part: is called when a connection is over, or there is nobody for it; with True when what its peer still says is to be
    read away. Counts, as in `PoolStats`: refused (queue), restarts, lost (worker), failed (conversation).
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        size: int,
        queue: int,
        wait: float | None,
        part: Callable[[Visitor, bool], None],
    ) -> None:
        self._argv, self._env, self._size = argv, env, size
        self._queue, self._wait, self._part = queue, wait, part
        self.workers: set[Worker] = set()
        self.waiting: deque[Visitor] = deque()
        self.places: list[asyncio.Task[None]] = []
        self.refused = self.restarts = self.lost = self.failed = 0
        self._idle: deque[Worker] = deque()
        self._draining = asyncio.Event()
        self._said = float("-inf")

    async def start(self) -> None:
        """All of them, at the same time. Raises HandoverError when one does not become ready, and then there are none."""
        starting = [self._start(number + 1) for number in range(self._size)]
        # All of them are waited for: what is cancelled while it starts would be nobody's process.
        for outcome in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(outcome, BaseException):
                await asyncio.gather(*(worker.end() for worker in self.workers))
                raise outcome
        self.places = [asyncio.create_task(self._fill(worker)) for worker in self.workers]

    def dismiss(self) -> None:
        """They go when nothing waits any more; `places` are done then."""
        self._draining.set()
        for worker in list(self._idle):
            _tell(worker, None)

    async def kill(self) -> None:
        """They go now. What waits is the caller's."""
        for worker in self.workers:
            worker.kill()
        for place in self.places:
            place.cancel()
        await asyncio.gather(*self.places, return_exceptions=True)

    async def _start(self, number: int) -> Worker:
        worker = await Worker.start(number, self._argv, self._env)
        self.workers.add(worker)
        return worker

    async def _fill(self, worker: Worker) -> None:
        """Keeps one place filled: with this worker, when it is gone with the next one, and so on."""
        pause = FIRST_PAUSE
        while True:
            dismissed = False
            try:
                dismissed = await self._employ(worker)
            finally:
                await worker.end()
                self.workers.discard(worker)
                if worker.visitor is not None:
                    self._part(worker.visitor, False)
            if not dismissed and self._mourn(worker):
                pause = FIRST_PAUSE if worker.served else min(pause * 2, LONGEST_PAUSE)
                await self._rest(pause)
            while not self._draining.is_set():
                try:
                    worker = await self._start(worker.number)
                    break
                except HandoverError as error:
                    log.error(
                        "worker %(worker)d: %(error)s; trying again in %(delay).1f s",
                        {"worker": worker.number, "error": error, "delay": pause},
                    )
                    await self._rest(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return

    async def _employ(self, worker: Worker) -> bool:
        """Hands it one connection after the other. True when it is no longer needed, False when it has died."""
        while (visitor := await self._next(worker)) is not None:
            try:
                parcel = visitor.parcel()
            except PriseError as error:
                log.info("connection from %(peer)s: %(error)s", {"peer": visitor.peer, "error": error})
                self._part(visitor, False)
                continue
            visitor.tries += 1
            try:
                await worker.channel.give(parcel, None, TIMEOUT)
            except HandoverUncertain:
                worker.visitor = visitor
                worker.kill()  # it may have it, but does not say so
                return False
            except HandoverError:
                if visitor.tries < MOST_TRIES:
                    self.take(visitor)
                else:
                    self._part(visitor, False)
                return False
            worker.visitor = visitor
            try:
                ready = await worker.channel.ready(None)
            except HandoverError:
                return False
            worker.visitor = None
            worker.served += 1
            if ready.error:
                self.failed += 1
                log.error(
                    "connection from %(peer)s: the conversation failed: %(error)s",
                    {"peer": visitor.peer, "error": ready.error},
                )
            self._part(visitor, ready.ended)
        return worker.stale or self._draining.is_set()

    async def _next(self, worker: Worker) -> Visitor | None:
        """What this worker is to do; None when there is nothing more for it, or it has died."""
        if worker.stale:
            return None
        if self.waiting:
            visitor = self.waiting.popleft()
            if visitor.timer is not None:
                visitor.timer.cancel()
            return visitor
        if self._draining.is_set():
            return None
        loop = asyncio.get_running_loop()
        descriptor = worker.channel.fileno()
        worker.wake = loop.create_future()
        self._idle.append(worker)
        loop.add_reader(descriptor, _tell, worker, None)  # an idle worker has nothing to say but its end
        try:
            return await worker.wake
        finally:
            loop.remove_reader(descriptor)
            if worker in self._idle:
                self._idle.remove(worker)

    def _mourn(self, worker: Worker) -> bool:
        """Counts and says that it has died. False for an `exit()` in a conversation, which means the end of that alone."""
        visitor = worker.visitor
        if visitor is not None and worker.exit_code == 0:
            return False
        self.restarts += 1
        self.lost += visitor is not None
        whose = f", and with it the connection from {visitor.peer}" if visitor is not None else ""
        log.error("worker %d has died (%s)%s", worker.number, worker.died_of(), whose)
        return True

    async def _rest(self, seconds: float) -> None:
        """A pause, unless a drain begins."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), seconds)

    async def replace(self) -> None:
        """Others in their place, if one can be started; each goes after its conversation."""
        try:
            trial = await Worker.start(0, self._argv, self._env)
        except HandoverError as error:
            log.error("the workers stay as they are: %(error)s", {"error": error})
            return
        for worker in self.workers:
            worker.stale = True
            _tell(worker, None)
        log.info("the workers are replaced")
        await trial.end()

    def take(self, visitor: Visitor) -> None:
        """It goes to a worker, or waits for one, or is refused."""
        while self._idle:
            worker = self._idle.popleft()
            if _tell(worker, visitor):
                return
        if len(self.waiting) >= self._queue:
            self._refuse(visitor, f"{len(self.waiting)} connections wait for a worker already")
            return
        self.waiting.append(visitor)
        if self._wait is not None:
            visitor.timer = asyncio.get_running_loop().call_later(self._wait, self._tire_of, visitor)

    def _tire_of(self, visitor: Visitor) -> None:
        self.waiting.remove(visitor)
        self._refuse(visitor, f"no worker was free for {self._wait:g} s")

    def _refuse(self, visitor: Visitor, why: str) -> None:
        self.refused += 1
        now = time.monotonic()
        if now - self._said >= 1.0:
            self._said = now
            log.warning(
                "connection from %(peer)s refused: %(reason)s (refused so far: %(refused)d)",
                {"peer": visitor.peer, "reason": why, "refused": self.refused},
            )
        self._part(visitor, False)


def _tell(worker: Worker, visitor: Visitor | None) -> bool:
    """Wakes up a worker that has nothing to do. False when it is not waiting."""
    if worker.wake is None or worker.wake.done():
        return False
    worker.wake.set_result(visitor)
    return True

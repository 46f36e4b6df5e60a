"""How a server on a loop leaves everything to a new release: step by step, in turns of the loop.

    accepting stops; who can be moved is paused, and finishes with the message that it has
    the program's own `leaving` is called, which brings its house in order (asyncio only)
    what was said goes out
    all of it is given to the heir, in one piece; nobody is served meanwhile, some milliseconds
    the rest drains; or, when the heir fails, everybody goes on here

Moved are connections whose conversation has set `connection.state` and may still speak. Each step has a deadline; who is not
ready stays, and is drained here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prise.connection.looped_parting import PartingConnection
from prise.errors import PriseError
from prise.handover.succession import Succession

if TYPE_CHECKING:
    from prise.servers.looped import LoopServer

log = logging.getLogger("prise")

REST_TIME = 2.0
"""Seconds until the messages that are being dealt with must be; and again, until what was said must have been taken."""

LEAVING_TIME = 5.5
"""Seconds that the program's own `leaving` may take. With the others of here it is what the heir waits for (READY_TIME)."""

STEP = 0.005
"""Seconds between two looks."""


class Leaving:
    """One attempt. at(when): has `step` called then. over(moved): called at the end; moved: the heir has it all."""

    def __init__(
        self, server: LoopServer, succession: Succession, at: Callable[[float], None], over: Callable[[bool], None]
    ) -> None:
        self._server = server
        self._succession = succession
        self._at = at
        self._over = over
        self._movers: list[PartingConnection] = []
        self._phase: Callable[[], bool] = self._at_rest
        self._until = server.loop.time() + REST_TIME
        self._task: Any = None

    def begin(self) -> None:
        if self._succession.wants_connections:
            for connection in list(self._server.connections):
                if connection.state is None or connection._sent_eof:  # half closed: a successor could not speak
                    continue
                if isinstance(connection, PartingConnection):
                    try:
                        connection.pause()
                    except PriseError:
                        continue  # it is ending
                    self._movers.append(connection)
        self.step()

    def step(self) -> None:
        while self._phase():
            pass

    def _later(self) -> bool:
        """Whether to wait a little longer."""
        now = self._server.loop.time()
        if now >= self._until:
            return False
        self._at(now + STEP)
        return True

    def _next(self, phase: Callable[[], bool]) -> bool:
        self._phase = phase
        self._until = self._server.loop.time() + REST_TIME
        return True

    # -- the phases: each is called until it is over, and returns whether to go on at once ---------------------------

    def _at_rest(self) -> bool:
        if not all(connection.at_rest or connection.closed for connection in self._movers) and self._later():
            return False
        for connection in self._movers:
            if not (connection.closed or connection.at_rest):
                connection.unpause()
        self._movers = [each for each in self._movers if not each.closed and each.at_rest]
        leaving = self._succession.leaving
        if leaving is None:
            return self._next(self._written)
        import asyncio

        async def leave() -> Any:
            return await asyncio.wait_for(leaving(), LEAVING_TIME)

        self._task = asyncio.ensure_future(leave())
        self._task.add_done_callback(lambda task: self._server.loop.call(self.step))
        return self._next(self._in_order)

    def _in_order(self) -> bool:
        if not self._task.done():
            return False
        if self._task.cancelled() or (error := self._task.exception()) is not None:
            why = "cancelled" if self._task.cancelled() else str(error) or type(error).__name__
            log.error("this server cannot leave: %(error)s", {"error": why})
            self._succession.refuse_heir("it cannot leave")
            return self._end(False)
        return self._next(self._written)

    def _written(self) -> bool:
        if any(connection.unsent for connection in self._movers if not connection.closed) and self._later():
            return False
        return self._end(self._bequeath())

    def _bequeath(self) -> bool:
        going = []
        for connection in self._movers:
            if connection.closed:
                continue
            state = connection.state
            try:
                told = {"state": state() if callable(state) else state, "facts": connection._pipeline.facts()}
            except Exception as error:  # the program's own function
                log.error(
                    "connection %(connection)d stays: %(error)s",
                    {"connection": connection.id, "error": str(error) or type(error).__name__},
                )
                continue
            going.append((str(connection.asked), connection, told))
        work = self._server.work
        listeners = work.control.bequest(work.listeners)
        return self._succession.bequeath(listeners, going, self._task.result() if self._task is not None else None)

    def _end(self, moved: bool) -> bool:
        for connection in self._movers:
            if moved and connection.closed:
                try:
                    connection.moved()
                except Exception:  # out of the conversation's `finally`; the others are to leave all the same
                    log.exception("connection %(connection)d has failed at its end", {"connection": connection.id})
                self._server.tell_over(connection)
            elif not connection.closed and connection.paused:
                connection.unpause()
        self._over(moved)
        return False

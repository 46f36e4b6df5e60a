"""What a loop does with a connection for `await`: it wakes who waits, and runs a server's conversation.

On our own loop the conversation's coroutine is stepped here; on asyncio a Task runs it. See waiter.py for how both wait. A
coroutine that awaits anything else on our own loop gets SpellingError, which names the cure, raised at that `await`.
"""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from functools import partial
from typing import Any

from prise.connection.host import Host
from prise.connection.looped import OPEN
from prise.connection.looped_files import SendingFiles
from prise.connection.waiter import Waiter
from prise.core.conversation import Conversation, foreign_awaitable, needs_asyncio
from prise.core.pipeline import Pipeline


class WakingConnection(SendingFiles):
    """The machinery; users meet `AsyncConnection`."""

    __slots__ = ("_conversation", "_coroutine", "_inbox", "_reader", "_receive_until", "_task", "_waiters")

    def __init__(
        self,
        sock: socket.socket,
        pipeline: Pipeline,
        host: Host,
        conversation: Conversation | None = None,
        sockaddr: Any = None,
    ) -> None:
        super().__init__(sock, pipeline, host, sockaddr)
        self._conversation = conversation
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._task: Any = None
        self._inbox: list[Any] = []  # the next message last: the decoder's own list is turned round, not copied
        self._reader = Waiter(self)
        self._waiters: list[Waiter] = []  # tasks that wait for the outbox to go out; each looks again when it is woken
        self._receive_until = 0.0

    # -- waking ------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return bool(self._inbox)

    @property
    def away(self) -> bool:
        return not self._reader.waiting

    @property
    def at_rest(self) -> bool:
        return self._reader.waiting

    def deliver(self, messages: list[Any]) -> bool:
        reader = self._reader
        messages.reverse()
        self._inbox = messages + self._inbox if self._inbox else messages
        if reader.waiting:
            if self._coroutine is not None:
                self.step()
            else:
                reader.wake()
            if reader.waiting and not self._inbox:
                return False
        return True

    def deliver_end(self, error: BaseException | None) -> None:
        if self._reader.waiting:
            self._reader.wake()
        if self._sent_eof:
            self.drained()

    def on_deadline(self, now: float) -> float:
        if self._receive_until and self._receive_until <= now and self._reader.waiting:
            self._run_turn(self._reader.wake)
        when = super().on_deadline(now)
        return min(when, self._receive_until) if self._receive_until > now else when

    def drained(self) -> None:
        for waiter in tuple(self._waiters):
            waiter.wake()

    def _set_up(self) -> None:
        super()._set_up()
        if self._reader.waiting and not self._inbox:
            self._within(self._reader.wake)

    def closed_now(self) -> None:
        self._file = None
        for waiter in (self._reader, *self._waiters):
            if waiter.waiting:
                self._loop.call(partial(self._within, waiter.wake))
        if self._task is not None and not self._task.done():
            self._loop.call(self._stop_task)
        elif self._coroutine is not None:
            self._loop.call(self._stop_coroutine)

    # -- running a server's conversation --------------------------------------------------------------------------------

    @property
    def asyncio_loop(self) -> Any:
        """asyncio's loop; None on our own."""
        return getattr(self._loop, "asyncio", None)

    def start(self) -> None:
        if self._conversation is None:
            return
        self._conversation = self._pipeline.conversation or self._conversation
        if self._loop.wakes_tasks:
            self._task = self.asyncio_loop.create_task(self._conversation(self))
            self._task.add_done_callback(self._task_done)
            return
        self._run_turn(self._start)

    def _start(self) -> None:
        assert self._conversation is not None
        self._coroutine = self._conversation(self)
        self.step()

    def step(self) -> None:
        """Runs the coroutine until it waits for this connection again (only where no asyncio does that)."""
        conversation = self._coroutine
        if conversation is None:
            return
        try:
            trap = conversation.send(None)
            while trap is not self._reader and trap not in self._waiters:
                trap = conversation.throw(foreign_awaitable("select"))
        except StopIteration:
            self._finished(None)
        except BaseException as raised:
            error = raised
            if needs_asyncio(raised):
                error = foreign_awaitable("select")
                error.__cause__ = raised
            self._finished(error)
            if not isinstance(error, Exception):
                raise  # KeyboardInterrupt and the like are not ours to swallow; asyncio raises them itself

    def moved(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif self._coroutine is not None:
            self._stop_coroutine()

    def _stop_coroutine(self) -> None:
        """The connection is closed and the conversation still waits: it ends here, its `finally` clauses run."""
        if self._coroutine is not None:
            conversation, self._coroutine = self._coroutine, None
            try:
                self._within(conversation.close)
            except BaseException as raised:
                self._host.ended(self, raised)
            else:
                self._host.ended(self, self._error)

    def _stop_task(self) -> None:
        if self._task is not None and self._eof and not self._reader.waiting:
            self._task.cancel()

    def _task_done(self, task: Any) -> None:
        self._finished(self._error if task.cancelled() else task.exception())

    def _finished(self, error: BaseException | None) -> None:
        self._coroutine = self._task = None
        self._inbox.clear()
        self._blame(error)
        if self._state == OPEN:
            self.finish()
        self._host.ended(self, error)

"""What a coroutine awaits when its connection has nothing for it yet. Two worlds understand it:

- on our own loop the connection steps the coroutine itself; the Waiter that comes out of `coroutine.send` only says "not yet".
- on asyncio a Task runs the coroutine; to the Task the Waiter is a future (it has `_asyncio_future_blocking`, takes the Task's
  callback and context, and answers `result` and `cancel`). The callback is called straight from the turn in which the
  message arrived, so a message costs neither a Future nor a trip through the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

from prise.errors import UsageError

if TYPE_CHECKING:
    from prise.connection.asynchronous_waking import WakingConnection


class Waiter:
    """One reason to wait, of one coroutine. `waiting` while it does.

    asyncio's contract for an object that is awaited in its Task (asyncio/tasks.py, `__step`): `_asyncio_future_blocking`,
    `_loop`, `add_done_callback(callback, context=)`, `result`, `cancel(msg=)`.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_connection", "_context", "_loop", "waiting")

    def __init__(self, connection: WakingConnection) -> None:
        self._connection = connection
        self._loop = connection.asyncio_loop
        self._asyncio_future_blocking = False
        self._callback: Callable[[Any], Any] | None = None
        self._context: Context | None = None
        self._cancelled = False
        self.waiting = False

    def __await__(self) -> Generator[Waiter, None, None]:
        self.prepare()
        try:
            yield self
        finally:
            self.waiting = False

    def prepare(self) -> None:
        """Before it is yielded. Raises UsageError when somebody waits already."""
        if self.waiting:
            raise UsageError("another task waits for this connection already", peer=self._connection.peer)
        self._asyncio_future_blocking = self.waiting = True

    def wake(self) -> None:
        """Lets the coroutine go on, now. Only from a turn of the loop, never from within another conversation."""
        callback, context = self._callback, self._context
        if callback is not None:
            self._callback = self._context = None
            assert context is not None
            context.run(callback, self)
        elif self.waiting:
            self._connection.step()

    def add_done_callback(self, callback: Callable[[Any], Any], *, context: Context) -> None:
        self._callback, self._context = callback, context

    def result(self) -> None:
        if self._cancelled:
            from asyncio import CancelledError

            self._cancelled = False
            raise CancelledError

    def cancel(self, msg: Any = None) -> bool:
        self._cancelled = True
        self._loop.call_soon(self.wake)
        return True

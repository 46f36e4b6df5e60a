"""What is said, on its way through the store: it goes there first and is shown, to its author too, once it comes back.

Whatever anybody has seen is in the history, in the order in which it was seen. The store settles in the order in
which it was given, so what waits for it is a queue; its length is bounded, and whoever fills it waits, nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from prise import PriseError, UsageError
from prise.chat.events import Message
from prise.chat.store.base import MOST_WAITING, Store


class Talk:
    """The messages of this node that are on their way to the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places = asyncio.Semaphore(MOST_WAITING)
        self._waiting: deque[asyncio.Future[Message]] = deque()
        self.open = True
        self._going_on = asyncio.Event()
        self._going_on.set()
        self.cut_off: PriseError | None = None

    async def post(self, message: Message) -> asyncio.Future[Message]:
        """Gives a message to the store; waits while too much waits already.

        What it returns is done when the message was shown: the message, numbered, or the PriseError why nobody has
        seen it. Raises UsageError when the house is closed, and at once while the node is cut off from the others.
        """
        if self.cut_off is not None:
            raise self.cut_off
        await self._places.acquire()
        if not self._going_on.is_set():
            await self._going_on.wait()
        if not self.open:
            self._places.release()
            raise UsageError("the house is closed")
        settled: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting.append(settled)
        self._store.append(message)
        return settled

    def settled(self, messages: Sequence[Message], error: PriseError | None) -> None:
        """The store has done with the oldest messages that waited."""
        for message in messages:
            waiting = self._waiting.popleft()
            self._places.release()
            if waiting.done():  # whoever waited may be gone
                continue
            if error is None:
                waiting.set_result(message)
            else:
                waiting.set_exception(error)
                waiting.exception()  # whether anybody looks is their business

    async def close(self, patience: float) -> None:
        """Nothing more is taken; waits until all is settled, this many seconds at the most."""
        self.open = False
        if self._waiting:
            await asyncio.wait(tuple(self._waiting), timeout=patience)

    async def pause(self, patience: float) -> None:
        """What is said from now on waits for `resume`. Returns when all before it is settled. Raises TimeoutError."""
        self._going_on.clear()
        if self._waiting:
            _, late = await asyncio.wait(tuple(self._waiting), timeout=patience)
            if late:
                raise TimeoutError("the store has not settled what was said")

    def resume(self) -> None:
        self._going_on.set()

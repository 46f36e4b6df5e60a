"""Work that waits for a disk or costs processor time, in a thread, so that the event loop serves the others meanwhile.

`Stream` turns a generator into the body of a response: each step runs in a thread, and the next one only when the client
has taken what the last one made. So what is in memory is one piece, however slow the client and however long the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from threading import Lock


class Stream:
    """The pieces of a generator as a response's body. `aclose` (the conversation calls it) closes the generator, early or not.

    For one reader. The generator runs in threads, never in two at once.
    """

    def __init__(self, pieces: Generator[bytes]) -> None:
        self._pieces = pieces
        self._running = Lock()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(self._step)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        await asyncio.to_thread(self._close)

    def _step(self) -> bytes | None:
        with self._running:
            return next(self._pieces, None)

    def _close(self) -> None:
        # A reader that was cancelled leaves its step running in the thread; a generator in mid-step cannot be closed.
        with self._running:
            self._pieces.close()

"""Answers that come bit by bit: `Stream` (items) and `Content` (bytes) for `for`, and the same with Async before for `async for`.

Nothing is held but what one read of the network has brought; unless the session is used for something else before the end: then
the rest is read first, up to a bound, so that `for message in box.list(): box.get(message.name)` does what it says.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from prise.errors import PriseError, UsageError
from prise.protocols.steps import Flow, Steps

T = TypeVar("T")
R = TypeVar("R")

MOST_SKIPPED = 1024 * 1024
"""Bytes of an answer that is left in the middle which are read away; of a longer one, the session is closed instead."""

MOST_HELD = 64 * 1024 * 1024
"""Bytes of an answer that are read ahead for the session to be free."""


def completed(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine over blocking links: they never suspend, so it ends within its first step."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking session was suspended")


class _Streamed(Generic[T]):
    """What both colours share: the procedure that begins the answer, then the steps that produce its items.

    size, name, kind: see `Flow`; known once it has begun.
    """

    def __init__(self, session: Any, steps: Steps[Flow[T]]) -> None:
        self._session = session
        self._first: Steps[Flow[T]] | None = steps
        self._steps: Steps[None] | None = None
        self._leaving: Callable[[], Steps[None]] | None = None
        self._endless = False
        self._items: deque[T] = deque()
        self._lost: PriseError | None = None  # it ended elsewhere than in its reader's hands, who is to hear of it
        self.size: int | None = None
        self.name: str | None = None
        self.kind: str | None = None

    async def _begin(self) -> None:
        first, self._first = self._first, None
        if first is None:
            return
        flow: Flow[T] = await self._session._begin(first)
        self.size, self.name, self.kind = flow.size, flow.name, flow.kind
        self._steps, self._leaving, self._endless = flow.steps, flow.leave, flow.endless
        self._session._stream = self

    async def _next(self) -> T:
        """The next item. Raises StopAsyncIteration behind the last."""
        if self._first is not None:
            await self._begin()
        while not self._items:
            if self._lost is not None:
                lost, self._lost = self._lost, None
                raise lost
            if self._steps is None:
                raise StopAsyncIteration
            await self._read()
        return self._items.popleft()

    async def _read(self) -> Sequence[T]:
        """The next items, if there are any, into the queue."""
        mover = self._session._mover
        mover.refuse_if_busy()  # whoever uses it goes on reading
        try:
            values = await mover.next_items(self._steps)
        except BaseException:
            await self._end()
            raise
        if values is None:
            await self._end()
            return ()
        self._items.extend(values)
        new: Sequence[T] = values
        return new

    async def _hold(self) -> bool:
        """Reads the rest, for the session to be free for something else; False where there is too much of it."""
        if self._endless and self._steps is not None:
            await self._depart(self._steps)
        begun, unpacked = self._came(), 0  # what came packed (HTTP) may be a thousand times as much
        try:
            while self._steps is not None and max(self._came() - begun, unpacked) < MOST_HELD:
                unpacked += sum(len(item) for item in await self._read() if isinstance(item, bytes))
        except PriseError as error:
            self._lost = error  # behind what has come, lest half of it is taken for the whole
            raise
        return self._steps is None

    def _came(self) -> int:
        """Bytes that have come on this session, and those that were packed in them."""
        session = self._session
        return int(session._mover.received + session.reader.unpacked)

    async def _end(self) -> None:
        self._steps = None
        if self._session._stream is self:
            self._session._stream = None
            if self._session.alone:
                await self._session._close()

    async def _depart(self, steps: Steps[None]) -> None:
        """Leaves it in the middle in the protocol's own way. What has come stays with its reader."""
        assert self._leaving is not None
        try:
            steps.close()
            await self._session._mover.run(self._leaving())
        finally:
            await self._end()

    async def _leave(self) -> None:
        """Leaves it in the middle, as the protocol does; else a short rest is read away, and at a long one the session ends."""
        if self._first is not None:
            self._first.close()
            self._first = None
        self._items.clear()
        mover, steps = self._session._mover, self._steps
        if steps is None:
            return
        mover.refuse_if_busy()
        begun, until = self._came(), math.inf if mover.timeout is None else time.monotonic() + mover.timeout
        try:
            if self._leaving is not None and not self._session.alone:
                await self._depart(steps)
                return
            while self._came() - begun < MOST_SKIPPED and time.monotonic() < until and not self._session.alone:
                if await mover.next_items(steps) is None:
                    return
            mover.break_off()
        except PriseError:
            pass  # the session says so at its next use
        finally:
            steps.close()
            await self._end()

    async def _lose(self) -> None:
        """Its session ends, in the middle of it."""
        self._lost = UsageError("the session was closed before this was read to its end", peer=self._session.target)
        if not self._session._mover.busy:  # else whoever reads it hears of it from the connection
            await self._leave()


class Stream(_Streamed[T]):
    """Items to iterate over. Also a context manager; `close()` leaves it early."""

    def __init__(self, session: Any, steps: Steps[Flow[T]]) -> None:
        super().__init__(session, steps)
        completed(self._begin())  # a no of the server is raised by the call, not by the first item

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._items:
            return self._items.popleft()
        try:
            return completed(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Leaves it; harmless at its end."""
        completed(self._leave())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Content(Stream[bytes]):
    """Bytes, piece by piece. size: in bytes, None where the server does not say."""

    def read(self) -> bytes:
        """All of it, in memory."""
        return b"".join(self)

    def save(self, path: str | os.PathLike[str], append: bool = False) -> int:
        """Writes all of it to a file; returns how many bytes that were. append: behind what the file holds (a resumed get)."""
        with Path(path).open("ab" if append else "wb") as file:
            return sum(file.write(piece) for piece in self)


class AsyncStream(_Streamed[T]):
    """Items to iterate over with `async for`. `await` it to have it begin (and `size`); also an async context manager."""

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._begun().__await__()

    async def _begun(self) -> Self:
        await self._begin()
        return self

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._items:
            return self._items.popleft()
        return await self._next()

    async def close(self) -> None:
        """Leaves it; harmless at its end."""
        await self._leave()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncContent(AsyncStream[bytes]):
    """Bytes, piece by piece. size: in bytes, None where the server does not say."""

    async def read(self) -> bytes:
        """All of it, in memory."""
        return b"".join([piece async for piece in self])

    async def save(self, path: str | os.PathLike[str], append: bool = False) -> int:
        """Writes all of it to a file; returns how many bytes that were. append: behind what the file holds."""
        written = 0
        with Path(path).open("ab" if append else "wb") as file:  # noqa: ASYNC230 - a local file, piece by piece
            async for piece in self:
                written += file.write(piece)
        return written

"""What the user of a protocol holds: `Session` for `with`, `AsyncSession` for `async with`, and how their methods come about.

A protocol's class has procedures (steps.py), each marked with what becomes of it:

    @procedure   def stat(self) -> Steps[Stat]              session.stat() -> Stat         await session.stat()
    @streaming   def over(self) -> Steps[Flow[Overview]]    for o in session.over():       async for o in session.over():
    @content     def get(self, name) -> Steps[Flow[bytes]]  session.get(name) -> Content   async for piece in session.get(name):

In a procedure another one is run by `yield from self.stat.steps()`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from prise.connection.blocking import in_running_loop
from prise.errors import PriseError, UsageError
from prise.protocols.contents import AsyncContent, AsyncStream, Content, Stream, completed
from prise.protocols.links import AsyncLinks, BlockingLinks
from prise.protocols.mover import Mover, Way
from prise.protocols.steps import Flow, Steps
from prise.protocols.talk import Options, Talk
from prise.protocols.target import Target

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

FAREWELL = 3.0
"""Seconds that the server has for its farewell."""


class BaseSession(Talk):
    """What both colours share. connection: the prise connection, with `peer`, `local`, `tls`."""

    def __init__(self, target: Target, options: Options, way: Way = Way()) -> None:  # noqa: B008 - it is frozen
        super().__init__(target, options)
        self._mover = Mover(BlockingLinks() if isinstance(self, Session) else AsyncLinks(), target, way)
        self._stream: Any = None  # what is being read
        self._was_opened = False
        self.alone = False  # for one thing only: opens by itself, and is closed behind it

    @property
    def connection(self) -> Any:
        """The main connection. Raises UsageError before the session is open, and once it is closed."""
        return self._mover.main

    @property
    def usable(self) -> bool:
        """False once it is closed, or an answer broke off in the middle: nothing more can be asked then, and another session is
        needed."""
        return self._mover.usable and self._mover.is_open

    def abort(self) -> None:
        """Cuts it at once, without a farewell. From any thread: what waits for an answer raises ConnectionLost."""
        self._mover.break_off()

    async def _open(self) -> None:
        if self._was_opened:
            raise UsageError("a session is opened once: make another one with prise.open", peer=self.target)
        self._was_opened = True
        try:
            await self._mover.open()
            self.agreed = self._mover.main.tls
            self.local = self._mover.main.local
            self.encrypted = self.agreed is not None
            await self._mover.run(self.hello())
        except BaseException:
            await self._mover.close()
            raise

    async def _close(self) -> None:
        mover = self._mover
        stream, self._stream = self._stream, None
        try:
            if mover.busy:  # another thread or task waits for an answer: it hears that none will come
                mover.break_off()
            mover.timeout = min(FAREWELL, FAREWELL if mover.timeout is None else mover.timeout)
            if stream is not None:
                await stream._lose()
            if self.usable:
                await mover.run(self.bye())
        except PriseError:
            pass  # the work is done: a farewell that fails changes nothing
        finally:
            await mover.close()

    async def _run(self, steps: Steps[R]) -> R:
        """One procedure to its result."""
        if self.alone:
            try:
                await self._open()
                alone: R = await self._mover.run(steps)
                return alone
            finally:
                await self._close()
        await self._make_way(steps)
        result: R = await self._mover.run(steps)
        return result

    async def _begin(self, steps: Steps[R]) -> R:
        """The procedure that an answer begins with which comes bit by bit."""
        if self.alone:
            await self._open()
        else:
            await self._make_way(steps)
        try:
            result: R = await self._mover.run(steps)
            return result
        except BaseException:
            if self.alone:
                await self._close()
            raise

    async def _make_way(self, steps: Generator[Any, Any, Any]) -> None:
        """An answer that is still being read steps aside for another command: its rest is read, and held for its reader."""
        self._mover.refuse_if_busy()
        if self._stream is not None and not await self._stream._hold():
            steps.close()
            raise UsageError(
                "a long answer is still being read on this session: read it to its end or close() it, or open a second session"
            )


class Session(BaseSession):
    """Blocking. Made by `prise.open`; one thread owns it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.failed = error is not None
        self.close()

    def open(self) -> Self:
        """Connects, encrypts, logs in: what `with` does. Raises what that raises."""
        if in_running_loop():
            raise UsageError(
                "a blocking session inside a running asyncio loop would stop everything in it: use `async with`"
            )
        completed(self._open())
        return self

    def close(self) -> None:
        """Says farewell and closes. Twice is harmless."""
        completed(self._close())


class AsyncSession(BaseSession):
    """For `await`. Made by `prise.open`; one task owns it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.failed = error is not None
        await self.close()

    async def open(self) -> Self:
        """Connects, encrypts, logs in: what `async with` does. Raises what that raises."""
        await self._open()
        return self

    async def close(self) -> None:
        """Says farewell and closes. Twice is harmless."""
        await self._close()


class _Marked(Generic[P, R]):
    """A procedure in its class. What it becomes on an instance depends on the instance's colour."""

    def __init__(self, function: Callable[Concatenate[Any, P], Steps[R]]) -> None:
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def _bound(self, talk: Any, blocking: type[_Bound[P, R]], asynchronous: type[_Bound[P, R]]) -> Any:
        """What the procedure is on this talk; without one (on the class) itself."""
        if talk is None:
            return self
        kind = blocking if isinstance(talk, Session) else asynchronous if isinstance(talk, AsyncSession) else _Bound
        return kind(self, talk)


class _Bound(Generic[P, R]):
    """A procedure of one talk."""

    def __init__(self, marked: _Marked[P, R], talk: Any) -> None:
        self._function, self._talk = marked.function, talk
        self.__doc__ = marked.__doc__
        self.__name__ = marked.__name__

    def steps(self, *args: P.args, **kwargs: P.kwargs) -> Steps[R]:
        """The procedure itself, for another one to run."""
        return self._function(self._talk, *args, **kwargs)

    def takes(self, argument: str) -> bool:
        """Whether there is an argument of that name: not every protocol can go on in the middle (`offset`)."""
        code = self._function.__code__
        return argument in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


class BlockingProcedure(_Bound[P, R]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        run: Coroutine[Any, Any, R] = self._talk._run(self.steps(*args, **kwargs))
        return completed(run)


class AsyncProcedure(_Bound[P, R]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        run: Coroutine[Any, Any, R] = self._talk._run(self.steps(*args, **kwargs))
        return run


class procedure(_Marked[P, R]):
    """One result."""

    @overload
    def __get__(self, talk: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, talk: Session, owner: Any) -> BlockingProcedure[P, R]: ...
    @overload
    def __get__(self, talk: AsyncSession, owner: Any) -> AsyncProcedure[P, R]: ...
    @overload
    def __get__(self, talk: Talk, owner: Any) -> _Bound[P, R]: ...
    def __get__(self, talk: Any, owner: Any) -> Any:
        return self._bound(talk, BlockingProcedure, AsyncProcedure)


class BlockingStreaming(_Bound[P, Flow[T]]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        return Stream(self._talk, self.steps(*args, **kwargs))


class AsyncStreaming(_Bound[P, Flow[T]]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[T]:
        return AsyncStream(self._talk, self.steps(*args, **kwargs))


class streaming(_Marked[P, Flow[T]]):
    """Items, one after the other, as they come."""

    @overload
    def __get__(self, talk: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, talk: Session, owner: Any) -> BlockingStreaming[P, T]: ...
    @overload
    def __get__(self, talk: AsyncSession, owner: Any) -> AsyncStreaming[P, T]: ...
    @overload
    def __get__(self, talk: Talk, owner: Any) -> _Bound[P, Flow[T]]: ...
    def __get__(self, talk: Any, owner: Any) -> Any:
        return self._bound(talk, BlockingStreaming, AsyncStreaming)


class BlockingContent(_Bound[P, Flow[bytes]]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Content:
        return Content(self._talk, self.steps(*args, **kwargs))


class AsyncContents(_Bound[P, Flow[bytes]]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncContent:
        return AsyncContent(self._talk, self.steps(*args, **kwargs))


class content(_Marked[P, Flow[bytes]]):
    """Bytes, piece by piece, with their size where it is known."""

    @overload
    def __get__(self, talk: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, talk: Session, owner: Any) -> BlockingContent[P]: ...
    @overload
    def __get__(self, talk: AsyncSession, owner: Any) -> AsyncContents[P]: ...
    @overload
    def __get__(self, talk: Talk, owner: Any) -> _Bound[P, Flow[bytes]]: ...
    def __get__(self, talk: Any, owner: Any) -> Any:
        return self._bound(talk, BlockingContent, AsyncContents)

"""Runs a conversation of any spelling over a blocking connection: for the models threads and processes.

A plain function gets the connection itself. A generator is stepped, and what it says to messages that came together is
written together. A coroutine gets a skin whose awaitables never suspend, because the connection below blocks: so there is no
loop at all, and whatever does come out of the coroutine is somebody else's awaitable, which is refused.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from prise.connection.base import END, BaseConnection
from prise.connection.blocking import Connection
from prise.core.conversation import Conversation, Spelling, foreign_awaitable, last_word, needs_asyncio
from prise.errors import FrameError, TooSlow, UsageError


def converse(conversation: Conversation, spelling: Spelling, connection: Connection, model: str) -> None:
    """Runs the conversation to its end. Raises what it raises."""
    if spelling == "function":
        conversation(connection)
    elif spelling == "generator":
        _run_generator(conversation, connection)
    else:
        _run_coroutine(conversation, connection, model)


class _Skin(BaseConnection):
    """Shows a blocking connection under another colour."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.id = connection.id
        self._sock, self._sockaddr = connection._sock, connection._sockaddr
        self._peer, self._local = connection.peer, None

    @property
    def encoding(self) -> object:
        return self._connection.encoding

    def encode(self, message: Any) -> bytes:
        return self._connection.encode(message)

    def post_encoded(self, data: bytes) -> bool:
        return self._connection.post_encoded(data)

    def abort(self) -> None:
        self._connection.abort()


class BridgedGeneratorConnection(_Skin):
    """What a generator conversation is given in a blocking model; like `GeneratorConnection`."""

    __slots__ = ("ended", "outbox")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.outbox: list[bytes] = []
        self.ended = False

    def send(self, message: Any) -> None:
        self.outbox.append(self.encode(message))

    def receive(self, timeout: float | None = None) -> Any:
        raise UsageError("a generator conversation receives with `message = yield reply`, not with receive()")

    def close(self) -> None:
        self.ended = True


def _run_generator(conversation: Conversation, connection: Connection) -> None:
    skin = BridgedGeneratorConnection(connection)
    generator = conversation(skin)
    outbox, size = skin.outbox, 0
    counters, mark = connection._counters, connection._limits.outbox_mark

    def flush() -> None:
        if outbox:
            data = b"".join(outbox)
            counters.messages_sent += len(outbox)
            outbox.clear()
            connection._send_bytes(data)

    message: Any = None  # `send(None)` is how a generator starts
    try:
        while not skin.ended:
            reply = generator.send(message)
            if reply is not None:
                try:
                    outbox.append(connection.encode(reply))
                except UsageError as error:
                    last_word(generator, error)  # raised at the `yield` that gave it; comes out again
                    return
                size += len(outbox[-1])
            if not connection._inbox or size > mark:
                flush()
                size = 0
            try:
                message = connection._next()
            except (FrameError, TooSlow) as error:
                word = last_word(generator, error)
                break
            if message is END:
                word = last_word(generator)
                break
        else:
            word = last_word(generator)
    except StopIteration as stop:
        word = stop.value
    except Exception:
        flush()  # what it said before it failed
        raise
    finally:
        generator.close()
    if word is not None:
        skin.send(word)
    flush()


class BridgedAsyncConnection(_Skin):
    """What a coroutine conversation is given in a blocking model; like `AsyncConnection`."""

    __slots__ = ()

    async def receive(self, timeout: float | None = None) -> Any:
        return self._connection.receive(timeout)

    async def ask(self, message: Any, timeout: float | None = None) -> Any:
        return self._connection.ask(message, timeout)

    async def send(self, message: Any) -> None:
        self._connection.send(message)

    async def send_eof(self) -> None:
        self._connection.send_eof()

    async def close(self) -> None:
        self._connection.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        message = self._connection._next()
        if message is END:
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()


def _run_coroutine(conversation: Conversation, connection: Connection, model: str) -> None:
    coroutine = conversation(BridgedAsyncConnection(connection))
    try:
        coroutine.send(None)
        while True:  # it suspended: on something that is not ours
            coroutine.throw(foreign_awaitable(model))
    except StopIteration:
        return
    except RuntimeError as error:
        if needs_asyncio(error):
            raise foreign_awaitable(model) from error
        raise
    finally:
        coroutine.close()

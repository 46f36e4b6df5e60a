"""Any spelling over a blocking connection: for the models threads and processes.

A plain function gets the connection itself. A generator is stepped, and what it says to messages that came together is
written together. A coroutine gets a skin whose awaitables never suspend, because the connection below blocks: so there is no
loop at all, and whatever does come out of the coroutine is somebody else's awaitable, which is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self

from prise.connection.base import END, BaseConnection
from prise.connection.blocking import Connection
from prise.connection.parting import Detached, Way
from prise.core.conversation import Conversation, HandOver, Spelling, foreign_awaitable, last_word, needs_asyncio
from prise.errors import ConnectionLost, FrameError, PeerError, TooSlow, UsageError


def converse(conversation: Conversation, spelling: Spelling, connection: Connection, model: str) -> None:
    """Sets up the layers, then runs the conversation to its end. Raises what either raises."""
    connection.handshake()
    conversation = connection._pipeline.conversation or conversation
    try:
        if spelling == "function":
            conversation(connection)
        elif spelling == "generator":
            _run_generator(conversation, connection)
        else:
            _run_coroutine(conversation, connection, model)
    except BaseException as error:
        connection._blame(error)
        raise


class _Skin(BaseConnection):
    """Shows a blocking connection under another colour."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.id = connection.id
        self.state = connection.state
        self._sock, self._sockaddr = connection._sock, connection._sockaddr
        self._peer, self._local = connection.peer, connection._local
        self._pipeline, self._dialled = connection._pipeline, connection._dialled

    @property
    def lost(self) -> ConnectionLost | None:
        return self._connection.lost

    @property
    def unsent(self) -> int:
        return self._connection.unsent

    def post_encoded(self, data: bytes, flush: bool = False) -> bool:
        return self._connection.post_encoded(data, flush)

    def part(self, way: Way = "bare") -> Detached:
        return self._connection.part(way)

    def parted(self, keep: bool = False) -> None:
        self._connection.parted(keep)

    def stay(self) -> None:
        self._connection.stay()

    def abort(self) -> None:
        self._connection.abort()


class BridgedGeneratorConnection(_Skin):
    """What a generator conversation is given in a blocking model; like `GeneratorConnection`.

    outbox: what it has said to the messages of this turn. ended: it wants no more of them.
    """

    __slots__ = ("_size", "_thread", "ended", "outbox")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.outbox: list[bytes] = []
        self._size = 0  # bound: `Limits.outbox_mark` and one message
        self._thread = threading.get_ident()
        self.ended = False

    def send(self, message: Any) -> None:
        if self.ended:
            raise ConnectionLost("the connection is closed", operation="send", peer=self.peer)
        self.say(self.encode(message))

    def say(self, data: bytes) -> None:
        self.outbox.append(data)
        self._size += len(data)
        if self._size > self._connection._limits.outbox_mark:
            self.flush()

    def flush(self) -> None:
        """Sends what was said. Raises what `Connection.send` raises."""
        if self.outbox:
            messages, self.outbox = self.outbox, []
            self._size = 0
            self._connection._send_all(messages)

    def post_encoded(self, data: bytes, flush: bool = False) -> bool:
        if threading.get_ident() != self._thread or self.ended:
            return super().post_encoded(data, flush)
        if self._connection._gone:
            return False
        self.say(data)  # posted to itself: after what it said before
        return True

    def receive(self, timeout: float | None = None) -> Any:
        raise UsageError("a generator conversation receives with `message = yield reply`, not with receive()")

    def start_tls(self, tls: Any, name: str | None = None) -> None:
        self.flush()
        self._connection.start_tls(tls, name)

    def close(self) -> None:
        self.ended = True


def _run_generator(conversation: Conversation, connection: Connection) -> None:
    skin = BridgedGeneratorConnection(connection)
    generator = conversation(skin)
    try:
        word = _step_through(generator, skin)
        if isinstance(word, HandOver):
            skin.flush()
            connection.hand_over(word.channel, state=word.state)
        elif word is not None and not connection._gone:
            skin.say(skin.encode(word))
    except Exception:
        try:
            skin.flush()  # what it said before it failed
        except PeerError:
            pass
        raise
    finally:
        generator.close()
    skin.flush()


def _step_through(generator: Generator[Any, Any, Any], skin: BridgedGeneratorConnection) -> Any:
    """Gives the generator its messages and says its replies; returns its last word."""
    connection = skin._connection
    message: Any = None  # `send(None)` is how a generator starts
    while not skin.ended:
        try:
            reply = generator.send(message)
        except StopIteration as stop:
            return stop.value
        try:
            if reply is not None:
                data = connection._pipeline.encode(reply)
                if connection._inbox or skin.outbox:
                    skin.say(data)
                else:  # the usual case: there is nothing that it could be sent together with
                    connection._send_bytes(data, 1)
            if skin.outbox and not connection._inbox:
                skin.flush()
            message = connection._next()
        except ConnectionLost:
            break  # the peer left: the end of the input
        except (FrameError, TooSlow, UsageError) as error:
            return last_word(generator, error)  # raised at the `yield`; comes out again unless it is handled there
        if message is END:
            break
    return last_word(generator)


class BridgedAsyncConnection(_Skin):
    """What a coroutine conversation is given in a blocking model; like `AsyncConnection`."""

    __slots__ = ()

    async def receive(self, timeout: float | None = None) -> Any:
        return self._connection.receive(timeout)

    async def ask(self, message: Any, timeout: float | None = None) -> Any:
        return self._connection.ask(message, timeout)

    async def send(self, message: Any) -> None:
        self._connection.send(message)

    async def send_file(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        return self._connection.send_file(file, offset, count)

    async def send_eof(self) -> None:
        self._connection.send_eof()

    async def hand_over(
        self, channel: Any, *, state: Any = None, keep: bool = False, relay: bool = False, timeout: float | None = 5.0
    ) -> None:
        self._connection.hand_over(channel, state=state, keep=keep, relay=relay, timeout=timeout)

    async def detach(self) -> Detached:
        return self._connection.detach()

    async def start_tls(self, tls: Any, name: str | None = None) -> None:
        self._connection.start_tls(tls, name)

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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)


def _run_coroutine(conversation: Conversation, connection: Connection, model: str) -> None:
    coroutine = conversation(BridgedAsyncConnection(connection))
    try:
        coroutine.send(None)
        # It suspended, on something that is not ours. The refusal is raised there; one that is ignored is raised here.
        refusal = foreign_awaitable(model)
        coroutine.throw(refusal)
        raise refusal
    except StopIteration:
        return
    except RuntimeError as error:
        if needs_asyncio(error):
            raise foreign_awaitable(model) from error
        raise
    finally:
        coroutine.close()

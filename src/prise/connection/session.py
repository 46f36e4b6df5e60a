"""A session with one peer of a datagram server, on a loop: no descriptor of its own, and no read. It is given its datagrams.

`take` is the turn of a stream's `on_readable`: one datagram is one message, the conversation is stepped, and what it said goes
out, all in the turn that read the shared socket. The usual answer, one datagram, is sent by who read (servers/sessions.py),
for whom that is cheapest; all else takes the way of the stream's code. A datagram that comes when it is not this session's
turn (the conversation is busy elsewhere, or backpressure holds it) waits in a queue; the oldest is dropped where that is full.

What ends a session: its conversation, silence (`Limits.idle_time`), a drain. For the conversation the last two are the end of
its input, as if the peer had left.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from prise.connection.asynchronous import AsyncConnection
from prise.connection.generator import GeneratorConnection
from prise.connection.host import Host
from prise.connection.looped import OPEN
from prise.connection.packets import LoopedPackets, drop
from prise.core.conversation import Conversation
from prise.core.deadlines import NEVER
from prise.core.pipeline import Pipeline
from prise.errors import FrameError, TooSlow
from prise.framing.base import MOST_MESSAGES
from prise.transports.datagrams import Path

OVERHEAD = 256
"""Bytes that a datagram in a queue counts besides its own, so that empty ones are bounded as well."""


class Table(Protocol):
    """What a session asks of whoever reads the shared socket."""

    def wait(self, session: Session) -> None:
        """The socket was full: call `on_writable` when it takes more."""

    def forget(self, session: Session) -> None:
        """The session is closed."""


class Session(LoopedPackets):
    """The mixin; below it is joined with each spelling."""

    # No __slots__: two classes with slots of their own cannot be joined. The dict of a session is small.

    def __init__(
        self, path: Path, table: Table, pipeline: Pipeline, host: Host, conversation: Conversation, sockaddr: Any
    ) -> None:
        self._path = path
        self._table = table
        self._kept: deque[bytes] = deque()  # bound: `Limits.datagram_queue`
        self._kept_size = 0
        self._waits = False  # backpressure: nothing is taken
        self._decode = pipeline.feed
        super().__init__(path, pipeline, host, conversation, sockaddr)  # type: ignore[arg-type, call-arg]  # a Path will do

    @property
    def over(self) -> bool:
        """True when it takes no more datagrams: the next one begins a new session."""
        return self._state != OPEN or self._eof

    # -- datagrams ---------------------------------------------------------------------------------------------------

    def begin_with(self, data: bytes) -> None:
        """Starts with the first datagram; it counts before anything is said, which it pays for (transports/datagrams.py)."""
        self._path.heard(len(data))
        self.begin()
        if not self.over:
            if self.away or self._waits:
                self._keep(data)
            else:
                self._turn([data])

    def take(self, data: bytes, now: float) -> bytes | memoryview | None:
        """A datagram has come; the path has heard it, and who calls counts its bytes.

        Returns the answer where that is all there is to do: to be sent at once, or else to be given to `put_back`. The hot
        path of every datagram server.
        """
        self._active = now
        if self._again or self._waits or self._kept or self.away:
            self._keep(data)
            return None
        try:
            messages = self._decode(data)
        except FrameError as error:
            drop(self, error, self._counters)
            return None
        left = self._converse(messages)
        out = self._out
        if len(out) == 1 and not (left or self._blocked or self._state or self._eof):
            self._out_size = 0
            return out.pop()
        self._end_turn(left)
        return None

    def put_back(self, answer: bytes | memoryview) -> None:
        """The answer could not be sent just like that: sends it the way round, which finds out why."""
        self._out.append(answer)
        self._out_size += len(answer)
        self._end_turn(False)

    def _converse(self, messages: list[Any]) -> bool:
        """The conversation's turn; True when it has left some."""
        self._counters.messages_received += len(messages)
        self._in_turn = True
        try:
            left: bool = self.deliver(messages) if self._run is None else self._run(self.deliver, messages)
        finally:
            self._in_turn = False
        return left

    def _end_turn(self, left: bool) -> None:
        if self._out and not self._blocked:
            self._flush()
        if left or self._blocked or self._state or self._eof:
            self._settle()

    def _keep(self, data: bytes) -> None:
        self._kept.append(data)
        self._kept_size += len(data) + OVERHEAD
        while self._kept_size > self._limits.datagram_queue and len(self._kept) > 1:
            self._kept_size -= len(self._kept.popleft()) + OVERHEAD
            self._counters.dropped_queue += 1

    def _turn(self, datagrams: list[bytes]) -> None:
        messages: list[Any] = []
        for data in datagrams:
            try:
                messages += self._decode(data)
            except FrameError as error:
                drop(self, error, self._counters)
        if messages:
            self._end_turn(self._converse(messages))

    def on_again(self) -> None:
        queue = self._kept
        if self._state or self._waits or self.away or not (queue or self._input_ended) or self._eof:
            super().on_again()
            return
        self._again = False
        if queue:
            datagrams = [queue.popleft() for _ in range(min(len(queue), MOST_MESSAGES))]
            self._kept_size -= sum(map(len, datagrams)) + OVERHEAD * len(datagrams)
            self._turn(datagrams)
        if self._input_ended and not queue and not self._eof and not self._state:
            self._on_end()
        else:
            self._settle()

    # -- what a stream would leave to its socket -------------------------------------------------------------------------

    def _watch(self, reading: bool, writing: bool) -> None:
        self._waits = not reading
        if writing:
            self._table.wait(self)
        if reading and (self._kept or self._input_ended) and not (self._again or self.away):
            self._again = True
            self._loop.again(self)

    def _forget(self) -> None:
        self._loop.deadlines.cancel(self)
        self._kept.clear()
        self._table.forget(self)

    def end_input(self) -> None:
        if self._state == OPEN and not self._eof:
            self._input_ended = True
            if not self._again:
                self._again = True
                self._loop.again(self)

    def _patience(self, now: float) -> tuple[TooSlow | None, float]:
        late, when = super()._patience(now)
        if late is None or late.operation != "receive" or self._state != OPEN:
            return late, when
        if not self._eof:
            self._input_ended = True
            self._on_end()
        return None, NEVER


class GeneratorSession(Session, GeneratorConnection):
    """A session whose conversation is a generator."""

    away = False  # never; as an attribute, since it is asked for each datagram

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._enter: Callable[..., Any] = self._run or operator.call

    def take(self, data: bytes, now: float) -> bytes | memoryview | None:
        # As above, with the one step of `deliver` in place: this is what most datagrams need, and no more.
        if self._again or self._waits or self._kept or self._out:
            return super().take(data, now)
        self._active = now
        counters, decode, enter = self._counters, self._decode, self._enter
        try:
            (message,) = decode(data)
        except FrameError as error:
            drop(self, error, counters)
            return None
        counters.messages_received += 1
        answer: bytes | None = None
        self._in_turn = True
        try:
            reply = enter(self._step, message)
            if reply is not None:
                answer = enter(self._encode, reply)
                counters.messages_sent += 1
        except BaseException as error:
            enter(self._stopped, error)
        finally:
            self._in_turn = False
        if not (self._out or self._state or self._eof):
            return answer
        if answer is not None:  # the conversation has done more than answer
            self._out.append(answer)
            self._out_size += len(answer)
        self._end_turn(self._converse([]))
        return None


class AsyncSession(Session, AsyncConnection):
    """A session whose conversation is a coroutine."""

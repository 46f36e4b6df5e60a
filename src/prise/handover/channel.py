"""A channel: a Unix socket between two processes, over which connections change hands.

    sender    stops reading; sends the descriptor, what it had read, and a state     -> waits for the acknowledgement
    receiver  checks that it is one socket, acknowledges                             -> and only then has it

Whatever goes wrong has a name, and the connection is alive on one side at the most:

    HandoverError, HandoverRefused   not taken: it is still the sender's, and goes on there
    HandoverUncertain                no answer in time: the sender has closed its copy and the channel; the receiver closes
                                     its own when it cannot acknowledge
    HandoverProtocolError            for the receiver: what came is no handover; all that came with it is closed

A channel has one talk at a time, and an answer has no number. So each process has a channel of its own (one that was forked is
used on one side of the fork), and what goes to and fro goes one after the other.

Both colours share the steps (talk.py). See frame.py for the bytes and docs/handover.md for the whole.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from prise.closing import AsyncClosing, Closing
from prise.connection.asynchronous import AsyncConnection
from prise.errors import TooSlow, UsageError
from prise.handover.frame import encoded
from prise.handover.parcel import Parcel
from prise.handover.received import Received
from prise.handover.talk import AGAIN, TIMEOUT, BaseChannel, connecting, reaching, stopped
from prise.handover.wire import Frame, NothingYet, close_all, drive, drive_async, read, write

__all__ = ["TIMEOUT", "AsyncChannel", "Channel", "exchange_in_thread"]


class Channel(BaseChannel, Closing):
    """Blocks. `with Channel.connect(path) as channel: channel.send(connection)`. Threads may share one, forked processes not."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._talking = threading.Lock()

    @classmethod
    def connect(cls, path: str, timeout: float | None = TIMEOUT) -> Self:
        """Connects to the `Listener` at this path. timeout: seconds. Raises HandoverError when nobody is there."""
        with reaching(path) as sock:
            for _ in connecting(sock, path, timeout):
                time.sleep(AGAIN)
            return cls(sock)

    def send(
        self,
        connection: Any,
        *,
        state: Any = None,
        keep: bool = False,
        relay: bool = False,
        timeout: float | None = TIMEOUT,
    ) -> None:
        """Gives away a connection, and returns once the other process has it.

        connection: a prise connection that blocks (with what it has read), a socket, or a listening socket. On an event loop
        it is `await connection.hand_over(channel)`. state: what the other side is to know, as JSON says it. keep: our copy
        stays open; both then share the connection, and the peer sees its end when both have closed it. relay: what only this
        process can read and write (TLS) is passed on by it in clear, through two threads; without it that is refused.
        timeout: seconds.

        Raises HandoverError and HandoverRefused (it is still ours), HandoverUncertain (it is not), UsageError.
        """
        parcel = Parcel(connection, keep, relay)
        try:
            self.exchange(parcel, state, timeout)
        except BaseException as error:
            self._settle(parcel, error)
        parcel.let_go()

    def exchange(self, parcel: Parcel, state: Any, timeout: float | None) -> None:
        """The talk alone; what becomes of our copy is the caller's business (`parting`)."""
        with self._talking:
            drive(self._giving(parcel, state), self._sock, timeout)

    def tell(self, what: str, timeout: float | None = TIMEOUT, /, **fields: Any) -> None:
        """Sends a frame of another type, which nobody acknowledges: for a talk of one's own over the channel."""
        drive(write(self._sock, encoded(what, **fields)), self._sock, timeout)

    def hear(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The header of the next frame, whatever its type; None at the end. Descriptors that come with it are closed."""
        frame = self.next_frame(timeout)
        if frame is None:
            return None
        close_all(frame.descriptors)
        return frame.header

    def next_frame(self, timeout: float | None = None) -> Frame | None:
        """The next frame, whatever its type; its descriptors are the caller's. None at the end."""
        return drive(read(self._sock), self._sock, timeout)

    def receive(self, timeout: float | None = None) -> Received | None:
        """The next connection that is given to us, acknowledged; None when the other side has closed the channel.

        timeout: seconds to wait for it to begin; the rest has to come within 5. Raises TooSlow (nothing is lost, try again),
        HandoverProtocolError (nothing came of it; go on unless the channel is `closed`), HandoverError.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            drive(self._beginning(), self._sock, None if until is None else max(until - time.monotonic(), 0.0))
            try:
                with self._talking:
                    return drive(self._receiving(), self._sock, TIMEOUT)
            except NothingYet:
                pass  # another thread was quicker
            except TooSlow as late:
                raise stopped() from late


class AsyncChannel(BaseChannel, AsyncClosing):
    """The same on a running asyncio loop: `async with await AsyncChannel.connect(path) as channel: ...`"""

    def __init__(self, sock: socket.socket) -> None:
        import asyncio

        super().__init__(sock)
        self._talking = asyncio.Lock()
        self._expecting = False  # a task waits for what the other side gives

    @classmethod
    async def connect(cls, path: str, timeout: float | None = TIMEOUT) -> Self:
        """See `Channel.connect`."""
        import asyncio

        with reaching(path) as sock:
            for _ in connecting(sock, path, timeout):
                await asyncio.sleep(AGAIN)
            return cls(sock)

    async def send(
        self,
        connection: Any,
        *,
        state: Any = None,
        keep: bool = False,
        relay: bool = False,
        timeout: float | None = TIMEOUT,
    ) -> None:
        """See `Channel.send`. connection: also an `AsyncConnection`, then the same as its `hand_over`."""
        if isinstance(connection, AsyncConnection):
            await connection.hand_over(self, state=state, keep=keep, relay=relay, timeout=timeout)
        else:
            await self.give(Parcel(connection, keep, relay), state, timeout)

    async def give(self, parcel: Parcel, state: Any, timeout: float | None) -> None:
        """`send`, for what is wrapped up already."""
        with self.parting(parcel):
            self._refuse_if_expecting()
            async with self._talking:
                await drive_async(self._giving(parcel, state), self._sock, timeout)

    async def receive(self, timeout: float | None = None) -> Received | None:
        """See `Channel.receive`."""
        self._refuse_if_expecting()
        self._expecting = True
        try:
            async with self._talking:
                while True:
                    await drive_async(self._beginning(), self._sock, timeout)
                    try:
                        return await drive_async(self._receiving(), self._sock, TIMEOUT)
                    except NothingYet:
                        pass  # what came was for another process that has this channel
                    except TooSlow as late:
                        raise stopped() from late
        finally:
            self._expecting = False

    def _refuse_if_expecting(self) -> None:
        if self._expecting:
            raise UsageError(
                "a task waits already for what comes over this channel; give over another one, or when it has come",
                operation="hand over",
            )


def exchange_in_thread(
    channel: Channel, parcel: Parcel, state: Any, timeout: float | None, then: Callable[[], object]
) -> list[BaseException | None]:
    """The talk, in a thread of its own. Returns a list that will hold what came of it when `then` is called."""
    outcome: list[BaseException | None] = []

    def talk() -> None:
        error: BaseException | None = None
        try:
            channel.exchange(parcel, state, timeout)
        except BaseException as raised:
            error = raised
        outcome.append(error)
        then()

    threading.Thread(target=talk, name="prise-handover", daemon=True).start()
    return outcome

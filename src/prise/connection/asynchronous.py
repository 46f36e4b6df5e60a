"""A connection for `await`: clients on asyncio, and coroutine conversations on asyncio or on our own loop.

Here is what is called; what the loop does with it stands in asynchronous_waking.py. `receive` and `send` do not suspend when they
need not. When they must, they await a `Waiter` (waiter.py), which both worlds understand.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from types import TracebackType, coroutine
from typing import Any, Self

from prise.connection.asynchronous_waking import WakingConnection
from prise.connection.base import END, End
from prise.connection.files import PIECE, refuse_messages
from prise.connection.looped import CLOSED
from prise.connection.looped_files import Outgoing
from prise.connection.parting import Detached
from prise.connection.waiter import Waiter
from prise.errors import ConnectionLost, TooSlow


class AsyncConnection(WakingConnection):
    """An asynchronous connection: `async for message in connection`, `await connection.send(...)`."""

    __slots__ = ()

    # -- receiving ---------------------------------------------------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> Any:
        """The next message, or None when the peer has ended its side.

        timeout: seconds to wait; None waits as long as the limits allow. Raises TooSlow, FrameError. A message that is not
        there in time is not lost: receive again. (Where None can be a message, JSON null, iterate instead.)
        """
        if timeout is not None and not self._inbox:
            message = await self._receive_within(timeout)
            return None if message is END else message
        while not self._inbox:
            if (self._eof or not self._in_turn) and self._over():
                return None
            await self._reader
        return self._inbox.pop()

    def __aiter__(self) -> Self:
        return self

    @coroutine
    def __anext__(self) -> Generator[Waiter, None, Any]:
        # The same as `receive`, as one generator: an `async def` that awaits the reader would be two objects for each message.
        while not self._inbox:
            if (self._eof or not self._in_turn) and self._over():
                raise StopAsyncIteration
            reader = self._reader
            if reader.waiting:
                reader.prepare()  # which refuses a second one
            reader._asyncio_future_blocking = reader.waiting = True
            try:
                yield reader
            finally:
                reader.waiting = False
        return self._inbox.pop()

    async def ask(self, message: Any, timeout: float | None = None) -> Any:
        """Sends a message and returns the next one received; ConnectionLost if the peer ends without an answer."""
        await self.send(message)
        answer = await self._receive_within(timeout)
        if answer is END:
            raise self._lost or ConnectionLost("the peer closed without an answer", operation="ask", peer=self.peer)
        return answer

    async def _receive_within(self, timeout: float | None) -> Any | End:
        if self._reader.waiting:
            self._reader.prepare()  # which refuses a second one, before it touches the first one's time
        if timeout is not None:
            self._receive_until = self._loop.time() + timeout
            self._loop.at(self, self._receive_until)
        try:
            while not self._inbox:
                if self._over():
                    return END
                if self._receive_until and self._loop.time() >= self._receive_until:
                    raise TooSlow("no message in the time given", operation="receive", peer=self.peer)
                await self._reader
        finally:
            self._receive_until = 0.0
        return self._inbox.pop()

    def _over(self) -> bool:
        """True when no message can come any more; otherwise the caller must wait. Raises what ended the input."""
        if self._state or (self._eof and not self._decoder.more):
            self._end_told = True
            if self._error is not None and not isinstance(self._error, ConnectionLost):
                raise self._error
            return True
        if not self._in_turn and not self._reader.waiting:
            self._reader.waiting = True  # so that we do not count as away: what an earlier turn left comes now
            try:
                self.resume()
            finally:
                self._reader.waiting = False
        return False

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Sends one message. Suspends only while the peer leaves more than `Limits.outbox_mark` bytes unread.

        Cancelled while it is suspended, it has sent all the same: the message is in the outbox, whole.
        Raises TooSlow, ConnectionLost, and UsageError for a message that the framing cannot carry.
        """
        if self._state or self._sent_eof:
            self._refuse_if_ended()
        data = self._encode(message)
        self._counters.messages_sent += 1
        if self._in_turn:
            self._out.append(data)
            self._out_size += len(data)
        else:
            self._queue(data)
        if self._out_size > self._mark:
            await self._drain()

    async def _drain(self) -> None:
        if not self._blocked:
            self._active = self._time()
            self._flush()
        while self._stuck and not self._state:
            await self._outbox()
        if self._state or self._sent_eof:
            self._refuse_if_ended()

    async def _outbox(self) -> None:
        """Waits until the outbox has moved, or the connection is closed."""
        waiter = Waiter(self)
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)

    async def send_file(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Sends a file, or a part of it, as raw bytes behind everything sent so far; returns how many bytes that were.

        file: open, a descriptor or an object with fileno(); its own position neither matters nor moves. offset, count: bytes;
        count None: up to the end as it is now. Without layers the kernel copies the bytes itself (sendfile). The peer must
        take 64 KiB at least, or the rest, within `Limits.write_time`. What others post meanwhile follows the file. Reading
        a slow disk holds up the loop.

        Cancelled in the middle, it cuts the connection. Raises TooSlow, ConnectionLost; UsageError for what is no regular
        file or too short, and on transports that carry messages (WebSocket, UDP). After a file that became shorter meanwhile
        (UsageError, `details["sent"]` tells how far it came), the connection is cut.
        """
        refuse_messages(self)
        if self._shaking:
            await self.handshake()
        await self._file_sent()
        self._refuse_if_ended()
        part = Outgoing(file, offset, count)
        try:
            if part.count <= PIECE:
                data = part.read_all()
            else:
                self._begin_file(part)
                while self._file is part:
                    await self._outbox()
        except BaseException:
            if not part.done:
                self._file = None
                self.abort()
            raise
        if part.count <= PIECE:  # it goes out together with what was said just before
            self._queue(data)
            if self._out_size > self._mark:
                await self._drain()
        elif not part.done:
            lost = ConnectionLost("the connection is closed", operation="send_file", peer=self.peer)
            raise part.error or self._error or lost
        return part.count

    async def _file_sent(self) -> None:
        """Waits while another task sends a file."""
        while self._file is not None:
            await self._outbox()

    async def send_eof(self) -> None:
        """Ends our side, after what was sent, and keeps listening: the peer's input ends (half-close)."""
        await self._file_sent()
        self.send_eof_now()

    # -- changing hands ----------------------------------------------------------------------------------------------

    async def hand_over(
        self, channel: Any, *, state: Any = None, keep: bool = False, relay: bool = False, timeout: float | None = 5.0
    ) -> None:
        """Gives this connection, with what was read and not received, to the process at the other end of a channel.

        channel: a `handover.Channel` or, on asyncio, an `AsyncChannel`. state: what goes along, as JSON says it. keep: our
        copy stays open; both then share it. relay: see `Channel.send`. timeout: seconds that the other side has. Afterwards
        the connection is closed here and the conversation sees the end of its input, but goes on. Waits until the peer has
        taken what was sent.

        Raises HandoverError, HandoverRefused (it is still ours), HandoverUncertain (it is not), UsageError.
        """
        from prise.handover.channel import AsyncChannel, exchange_in_thread
        from prise.handover.parcel import Parcel

        await self._all_written()
        parcel = Parcel(self, keep, relay)
        if isinstance(channel, AsyncChannel):
            await channel.give(parcel, state, timeout)
            return
        # A blocking channel may block, so a thread waits for it: the loop has others to serve.
        with channel.parting(parcel):
            outcome = exchange_in_thread(channel, parcel, state, timeout, partial(self._loop.call, self._look_again))
            try:
                while not outcome:
                    await self._outbox()
            except BaseException:
                parcel.uncertain = not outcome  # the thread still talks
                raise
            if outcome[0] is not None:
                raise outcome[0]

    async def detach(self) -> Detached:
        """Takes the socket out of the connection, which is closed by it without a word to the peer: (socket, pending).

        The socket is blocking. Raises HandoverError where what was read cannot be given back, or only this process can read
        it (TLS). Waits until the peer has taken what was sent.
        """
        await self._all_written()
        parted = self.part()
        sock = self._duplicate()
        self.parted()
        return Detached(sock, parted.pending)

    async def _all_written(self) -> None:
        """Waits until the peer has taken everything."""
        if self._shaking:
            await self.handshake()
        await self._file_sent()
        self._refuse_if_ended()
        while self._out and not self._state:
            if not self._blocked:
                self._flush()
            if self._out:
                await self._outbox()
        self._refuse_if_ended()

    def _look_again(self) -> None:
        self._within(self.drained)

    def _undelivered(self) -> list[Any]:
        messages, self._inbox = self._inbox[::-1], []
        return messages

    def _give_back(self, messages: list[Any]) -> None:
        self._inbox = messages[::-1]

    # -- ending ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Sends what waits, then closes. In a server's conversation it returns at once and the rest is done for you."""
        self.finish()
        while self._conversation is None and self._state != CLOSED:
            await self._outbox()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blame(error)
        if self._blocked and error is not None and not isinstance(error, Exception):
            self.abort()  # cancelled: it does not wait for a slow peer
        await self.close()

    # -- the layers' handshakes --------------------------------------------------------------------------------------

    async def handshake(self) -> None:
        """Waits until the layers are set up. Raises HandshakeError, TLSError, TooSlow, ConnectionLost.

        `await connect(...)` and a server do it for you.
        """
        while self._shaking:
            if self._state or self._eof:
                raise self._error or ConnectionLost("the connection is closed", operation="connect", peer=self.peer)
            await self._reader
        if not self._started and self._error is not None:
            raise self._error

    async def start_tls(self, tls: Any, name: str | None = None) -> None:
        """From here on the connection is encrypted (STARTTLS): call it when both sides have agreed on it.

        tls: a `TLS`. name: the host that the certificate must be for; by default the one that was connected to. Raises
        TLSError, TooSlow, ConnectionLost; FrameError when the peer sent more in clear than what asked for it.
        """
        await self._file_sent()
        self._start_tls(tls, name, left=bool(self._inbox))
        if not self._in_turn and self._out and not self._blocked:
            self._flush()
        await self.handshake()

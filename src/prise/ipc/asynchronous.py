"""The asynchronous `ipc.AsyncConnection`: the same words, awaited. Nothing in it stops the loop.

What would take long is done by a thread: copying a large message into shared memory. Any task may send, one after the other;
one receives.
"""

from __future__ import annotations

import asyncio
import os
import socket
from types import TracebackType
from typing import Any, Self

from prise.connection.base import disconnect
from prise.core.limits import Limits
from prise.errors import ConnectionLost, TooSlow
from prise.ipc.base import CLOEXEC, DESCRIPTOR_ROOM, READ_SIZE, Link, Outgoing
from prise.ipc.frame import head
from prise.ipc.memory import no_memory, sealed_copy
from prise.ipc.sharing import LOCAL_LIMITS, Sharing

IN_THREAD = 1024 * 1024
"""Bytes from which on a thread copies; less takes less time than asking one."""

AT_ONCE = 256 * 1024
"""Bytes read or written before the other tasks have their turn."""


class AsyncConnection(Link):
    """`ipc.Connection` for a running event loop. Use it in an `async with` statement, or `close` it."""

    def __init__(self, sock: socket.socket, limits: Limits = LOCAL_LIMITS, sharing: Sharing | None = None) -> None:
        super().__init__(sock, limits, sharing)
        sock.setblocking(False)
        self._sending = asyncio.Lock()
        self._waiters: set[asyncio.Future[None]] = set()  # one that receives, one that sends

    # -- receiving ---------------------------------------------------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> memoryview | None:
        """The next message, or None when the peer has ended its side; see the blocking one. Raises the same."""
        if not self._inbox:
            try:
                async with asyncio.timeout(timeout):
                    await self._fill()
            except TooSlow:
                raise
            except TimeoutError:
                raise TooSlow("no message in the time given", operation="receive", peer=self.peer) from None
        return self._inbox.popleft() if self._inbox else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    async def ask(self, message: Any, timeout: float | None = None) -> memoryview:
        """Sends a message and returns the next one received; ConnectionLost if the peer ends without an answer."""
        await self.send(message)
        answer = await self.receive(timeout)
        if answer is None:
            raise self.lost or ConnectionLost("the peer closed without an answer", operation="ask", peer=self.peer)
        return answer

    async def _fill(self) -> None:
        """Reads until there is a message, or the end."""
        loop, limits = asyncio.get_running_loop(), self._limits
        begun, taken = None, 0
        while not self._inbox:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self._eof:
                if self.lost is not None and self._decoder.pending:
                    raise self.lost.with_traceback(None)
                return
            if begun is None and self._decoder.pending:
                begun = loop.time()
            try:
                taken += self._read()
            except BlockingIOError:
                if begun is None or limits.message_time is None:
                    left, bound, reason = limits.idle_time, limits.idle_time, "nothing arrived for {seconds:g} s"
                else:
                    left, bound = begun + limits.message_time - loop.time(), limits.message_time
                    reason = "a message was not complete after {seconds:g} s"
                if not await self._ready(writing=False, seconds=left):
                    self._doom(TooSlow(reason, operation="receive", peer=self.peer, seconds=bound))
                taken = 0
            except OSError as error:
                self._broke(error)
                self._ended()
            if taken > AT_ONCE:
                await asyncio.sleep(0)
                taken = 0

    def _read(self) -> int:
        rest = self._decoder.rest
        if rest is None:
            data, ancillary, told, _ = self._sock.recvmsg(READ_SIZE, DESCRIPTOR_ROOM, CLOEXEC)
            self._take(data, ancillary, told)
            return len(data)
        count, ancillary, told, _ = self._sock.recvmsg_into([rest[:AT_ONCE]], DESCRIPTOR_ROOM, CLOEXEC)
        self._take_filled(count, ancillary, told)
        return count

    async def _ready(self, *, writing: bool, seconds: float | None) -> bool:
        """Waits until the socket is ready or down; False when the time is over, or it was closed meanwhile."""
        if self.closed:
            return False
        loop, sock = asyncio.get_running_loop(), self._sock
        woken: asyncio.Future[None] = loop.create_future()
        watch, forget = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
        watch(sock, lambda: None if woken.done() else woken.set_result(None))
        self._waiters.add(woken)
        try:
            done, _ = await asyncio.wait([woken], timeout=seconds)
            return bool(done)
        finally:
            self._waiters.discard(woken)
            if not self.closed:  # `close` has forgotten it
                forget(sock)

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Sends one message, whole; see the blocking one. Raises the same. Cancelled within a message, it breaks off."""
        async with self._sending:
            outgoing = self._outgoing(message)
            try:
                if outgoing.source is not None or outgoing.buffer is not None:
                    await self._send_shared(outgoing)
                else:
                    await self._send_inline(outgoing)
            except ConnectionError as error:
                if isinstance(error, ConnectionLost):
                    raise
                raise self._cannot_send(error) from error

    async def _send_inline(self, outgoing: Outgoing) -> None:
        first = head(outgoing.size, outgoing.shape)
        while True:
            try:
                sent = self._sock.sendmsg([first, outgoing.body])
                break
            except BlockingIOError:
                await self._room(within=False)
        if sent < len(first):
            await self._send_rest(memoryview(first)[sent:])
            sent = len(first)
        await self._send_rest(memoryview(outgoing.body)[sent - len(first) :])

    async def _send_rest(self, rest: memoryview) -> None:
        """What is left of a message of which a part is out."""
        taken = 0
        try:
            while rest:
                try:
                    sent = self._sock.send(rest[:AT_ONCE])
                except BlockingIOError:
                    await self._room(within=True)
                else:
                    rest, taken = rest[sent:], taken + sent
                    if taken > AT_ONCE:
                        await asyncio.sleep(0)
                        taken = 0
        except asyncio.CancelledError:
            self.abort()  # nothing can follow half a message
            raise

    async def _room(self, *, within: bool) -> None:
        if not await self._ready(writing=True, seconds=self._limits.write_time):
            self._refuse_if_ended()
            raise self._too_slow(within=within)

    async def _send_shared(self, outgoing: Outgoing) -> None:
        if self._crowded(outgoing.size):
            before = self._narrow()
            try:
                await self._room(within=False)
            finally:
                if not self.closed:
                    self._widen(before)
            self._uncrowded()
        if outgoing.buffer is not None:
            await self._send_memory(outgoing.buffer.seal(), outgoing)
            return
        source = outgoing.source
        assert source is not None
        descriptor = sealed_copy(source) if outgoing.size < IN_THREAD else await self._copied_by_thread(source)
        try:
            self._refuse_if_ended()
            await self._send_memory(descriptor, outgoing)
        finally:
            os.close(descriptor)

    async def _copied_by_thread(self, source: memoryview) -> int:
        copying = asyncio.get_running_loop().run_in_executor(None, sealed_copy, source)
        try:
            return await asyncio.shield(copying)
        except asyncio.CancelledError:
            copying.add_done_callback(_close_result)
            raise

    async def _send_memory(self, descriptor: int, outgoing: Outgoing) -> None:
        while True:
            try:
                rest = self._send_descriptor(descriptor, outgoing)
                break
            except BlockingIOError:
                await self._room(within=False)
            except ConnectionError:
                raise
            except OSError as error:  # ETOOMANYREFS: as many descriptors are on their way as this user may have open
                raise no_memory(outgoing.size, error) from error
        await self._send_rest(memoryview(rest))

    # -- ending ------------------------------------------------------------------------------------------------------

    async def send_eof(self) -> None:
        """Ends our side and keeps listening: the peer's input ends (half-close)."""
        async with self._sending:
            self._sent_eof, self._small = True, -1
            disconnect(self._sock, socket.SHUT_WR)

    async def close(self) -> None:
        """Closes both directions; what was sent still arrives. Messages that were received stay. Closing twice is harmless."""
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.remove_writer(self._sock)
        self._close()
        for each in self._waiters:
            if not each.done():
                each.set_result(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _close_result(copying: asyncio.Future[int]) -> None:
    """Nobody wants the copy any more."""
    if not copying.cancelled() and copying.exception() is None:
        os.close(copying.result())

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

Both colours share the steps (wire.py). See frame.py for the bytes and docs/handover.md for the whole.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from reprlib import repr as shortened
from types import TracebackType
from typing import Any, NoReturn, Self

from prise.connection.asynchronous import AsyncConnection
from prise.connection.credentials import Credentials, peer_credentials
from prise.errors import HandoverError, HandoverProtocolError, HandoverRefused, HandoverUncertain, TooSlow, UsageError
from prise.handover.frame import TAKEN, encoded
from prise.handover.parcel import Parcel
from prise.handover.received import Received, check, unpacked
from prise.handover.wire import PEEK, READ, Frame, NothingYet, Steps, broken, close_all, drive, drive_async, read, write

TIMEOUT = 5.0
"""Seconds that the other process has for its part, by default."""

_AGAIN = 0.01
"""Seconds between two attempts to connect."""

_LONGEST_REASON = 500
"""Characters of why something was not taken."""


class BaseChannel:
    """What both colours are: a connected Unix stream socket, which the channel owns.

    credentials: of the process that connected it or, for who connected, that listens; None where the system does not say.
    """

    def __init__(self, sock: socket.socket) -> None:
        """sock: connected, AF_UNIX, SOCK_STREAM; it is the channel's from now on. Raises UsageError for another one."""
        if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
            raise UsageError("connections change hands over a Unix stream socket, not over {sock!r}", sock=sock)
        sock.setblocking(False)
        self._sock = sock
        self.credentials: Credentials | None = peer_credentials(sock)

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Two channels that are connected: one for a child, which gets it by `pass_fds` and `inherited`, or by fork."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    @classmethod
    def inherited(cls, fd: int = 3) -> Self:
        """The channel that this program was started with, as descriptor number `fd`. Raises UsageError, OSError."""
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        return cls(sock)

    @property
    def closed(self) -> bool:
        return self._sock.fileno() < 0

    def fileno(self) -> int:
        """The descriptor, for `select` and the like; -1 when closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """The other side sees the end. Closing twice is harmless."""
        self._sock.close()

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _giving(self, parcel: Parcel, state: Any) -> Steps[None]:
        if not parcel.claim():
            raise HandoverError("given up before it was begun", operation="hand over")
        self._nothing_said()
        told: dict[str, Any] = {"shared": True} if parcel.keep else {}
        told |= {"kind": parcel.kind, "peer": parcel.peer, "local": parcel.local, "state": state}
        data = encoded("handover", parcel.pending, **told)
        try:
            yield from write(self._sock, data, parcel.pending, [parcel.socket.fileno()])
        except BaseException:
            self.close()  # in the middle of a frame: it is of no more use
            raise
        parcel.uncertain = True
        yield READ  # it takes a while: trying at once would be in vain
        answer = yield from read(self._sock, len(TAKEN))
        # Who took it has said so before anything else: no answer means that nobody did.
        if answer is None:
            parcel.uncertain = False
            self.close()
            raise HandoverRefused(
                "the other process closed the channel without taking the connection", operation="hand over"
            )
        close_all(answer.descriptors)
        if answer.header["type"] != "ack":
            raise HandoverProtocolError(
                "an acknowledgement was due, and {type} came", type=shortened(answer.header["type"])
            )
        if answer.header.get("ok") is True:
            parcel.taken = True
            return
        parcel.uncertain = False
        reason = answer.header.get("error")
        raise HandoverRefused(
            "the other process did not take the connection: {reason}",
            operation="hand over",
            reason=reason[:_LONGEST_REASON] if isinstance(reason, str) else "-",
        )

    def _nothing_said(self) -> None:
        """Whatever is there before we ask is no answer to us. Raises HandoverError."""
        try:
            said = self._sock.recv(1, PEEK)
        except BlockingIOError:
            return
        except ConnectionResetError:
            said = b""
        except OSError as error:
            raise broken(error) from error
        if said:
            raise HandoverProtocolError(
                "the other process has said something already: it answers twice, or gives a connection itself; receive() it "
                "first",
                operation="hand over",
            )
        self.close()
        raise HandoverRefused("the other process has closed the channel", operation="hand over")

    @contextmanager
    def parting(self, parcel: Parcel) -> Iterator[None]:
        """Around the exchange: afterwards the parcel is where it belongs."""
        try:
            yield
        except BaseException as error:
            self._settle(parcel, error)
        parcel.let_go()

    def _settle(self, parcel: Parcel, error: BaseException) -> NoReturn:
        """Puts the parcel where it belongs after an exchange that failed, and raises what that means."""
        if parcel.taken:  # cancelled, after it was answered
            parcel.let_go()
            raise error
        if parcel.claim() or not parcel.uncertain:  # nobody has begun; or it is known that nobody has it
            parcel.take_back()
            if isinstance(error, TooSlow):
                raise HandoverError(
                    "the other process has not read what it was sent ({cause}); the connection is still ours",
                    operation="hand over",
                    cause=error.sentence(),
                ) from error
            raise error
        self.close()
        parcel.let_go()
        if isinstance(error, (HandoverError, TooSlow)):
            raise HandoverUncertain(
                "the other process has not said whether it took the connection ({cause}); our copy is closed",
                operation="hand over",
                cause=error.sentence(),
            ) from error
        raise error

    def _receiving(self) -> Steps[Received | None]:
        try:
            frame = yield from read(self._sock, patient=False)
        except NothingYet:
            raise
        except HandoverProtocolError as error:
            try:
                yield from self._answer(error)
            finally:
                self.close()  # where the next frame begins, nobody knows
            raise
        except BaseException:
            self.close()
            raise
        if frame is None:
            return None
        try:
            check(frame)
        except HandoverProtocolError as error:
            if frame.header["type"] == "ack":
                self.close()  # an answer that nobody has asked for; two who answered it would never end
            else:
                yield from self._answer(error)
            raise
        try:
            yield from write(self._sock, TAKEN)
        except BaseException:
            close_all(frame.descriptors)  # who sent it does not know that it arrived: it must not live on here
            self.close()
            raise
        return unpacked(frame, self.credentials)  # now, while the sender is being woken already

    def _answer(self, error: HandoverProtocolError) -> Steps[None]:
        """Says no, where that can still be heard."""
        try:
            yield from write(self._sock, encoded("ack", ok=False, error=error.sentence()[:_LONGEST_REASON]))
        except HandoverError:
            pass
        except BaseException:
            self.close()  # in the middle of it
            raise

    def _beginning(self) -> Steps[None]:
        """Waits until something is there: so long as nothing is, nothing is lost by giving up."""
        yield READ


class Channel(BaseChannel):
    """Blocks. `with Channel.connect(path) as channel: channel.send(connection)`. Threads may share one, forked processes not."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._talking = threading.Lock()

    @classmethod
    def connect(cls, path: str, timeout: float | None = TIMEOUT) -> Self:
        """Connects to the `Listener` at this path. timeout: seconds. Raises HandoverError when nobody is there."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            for _ in connecting(sock, path, timeout):
                time.sleep(_AGAIN)
            return cls(sock)
        except OSError as error:
            sock.close()
            raise nobody_there(path, error) from error
        except BaseException:
            sock.close()
            raise

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncChannel(BaseChannel):
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

        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            for _ in connecting(sock, path, timeout):
                await asyncio.sleep(_AGAIN)
            return cls(sock)
        except OSError as error:
            sock.close()
            raise nobody_there(path, error) from error
        except BaseException:
            sock.close()
            raise

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def stopped() -> HandoverProtocolError:
    """What has begun and is late is lost, unlike what has not begun."""
    return HandoverProtocolError("the other process stopped in the middle of a handover")


def connecting(sock: socket.socket, path: str, timeout: float | None) -> Iterator[None]:
    """Tries again and again while the listener's queue is full. Raises OSError.

    No event tells when there is room: unix(7), EAGAIN. (asyncio's own `sock_connect` takes such a socket for connected.)
    """
    sock.setblocking(False)
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, "too many wait there already") from None
            yield
        else:
            return


def nobody_there(path: str, error: OSError) -> HandoverRefused:
    return HandoverRefused(
        "nobody takes connections at {path}: {cause}", operation="connect", path=path, cause=error.strerror or error
    )

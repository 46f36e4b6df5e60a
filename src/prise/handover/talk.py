"""The talk over a channel, in steps that both colours go through (wire.py): one side gives, the other takes or refuses.

    giving      nothing may have been said; the frame goes out; the answer decides where the connection belongs (`_settle`)
    receiving   the frame is checked, and is ours once the acknowledgement is written

See channel.py for what each failure means.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from reprlib import repr as shortened
from typing import Any, NoReturn, Self

from prise.connection.credentials import Credentials, peer_credentials
from prise.errors import HandoverError, HandoverProtocolError, HandoverRefused, HandoverUncertain, TooSlow, UsageError
from prise.handover.frame import TAKEN, encoded
from prise.handover.parcel import Parcel
from prise.handover.received import Received, check, unpacked
from prise.handover.wire import LONGEST_PATH, PEEK, READ, NothingYet, Steps, broken, close_all, read, write

TIMEOUT = 5.0
"""Seconds that the other process has for its part, by default."""

AGAIN = 0.01
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


def stopped() -> HandoverProtocolError:
    """What has begun and is late is lost, unlike what has not begun."""
    return HandoverProtocolError("the other process stopped in the middle of a handover")


@contextmanager
def reaching(path: str) -> Iterator[socket.socket]:
    """A new socket, for `connecting`; closed when that fails. Raises HandoverRefused, for whatever the system says."""
    if (length := len(os.fsencode(path))) > LONGEST_PATH:
        raise HandoverRefused(
            "the path is too long: {length} bytes, a Unix socket has at most {most}; use a shorter or a relative path",
            operation="connect",
            peer=path,
            length=length,
            most=LONGEST_PATH,
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        yield sock
    except OSError as error:
        sock.close()
        raise HandoverRefused(
            "nobody takes connections at {path}: {cause}", operation="connect", path=path, cause=error.strerror or error
        ) from error
    except BaseException:
        sock.close()
        raise


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

"""Frames over a Unix socket, written once for both colours: each step says what it waits for, and a driver waits.

A step is a generator that yields READ or WRITE when the socket is not ready. `drive` waits with poll(2), `drive_async` on
asyncio. All of it is non-blocking in its calls (MSG_DONTWAIT), whatever mode the socket is in.
"""

from __future__ import annotations

import array
import os
import select
import socket
import sys
import time
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from prise.connection.base import LONGEST_WAIT
from prise.errors import HandoverError, HandoverProtocolError, TooSlow
from prise.handover.frame import LENGTH, MOST_DESCRIPTORS, TAKEN, decoded, header_size

LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""Bytes; `sun_path` of unix(7) without its closing zero."""

READ, WRITE = select.POLLIN, select.POLLOUT

# Numbers, not members of an enumeration: to add those costs as much as a system call.
_DONTWAIT = int(socket.MSG_DONTWAIT)
_CLOEXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))  # macOS lacks it, and descriptors are marked one by one
_SENDING = _DONTWAIT | int(getattr(socket, "MSG_NOSIGNAL", 0))
_RECEIVING = _DONTWAIT | _CLOEXEC
_CUT = int(socket.MSG_CTRUNC)
PEEK = _DONTWAIT | int(socket.MSG_PEEK)
_RIGHTS = int(socket.SOL_SOCKET), int(getattr(socket, "SCM_RIGHTS", 1))
_ITEM = array.array("i").itemsize
_ROOM = socket.CMSG_SPACE(MOST_DESCRIPTORS * _ITEM) if hasattr(socket, "CMSG_SPACE") else 0

T = TypeVar("T")
Steps = Generator[int, None, T]


class Frame(NamedTuple):
    """What arrived. descriptors: ours to close."""

    header: dict[str, Any]
    descriptors: list[int]
    pending: bytes


def write(sock: socket.socket, data: bytes, pending: bytes = b"", descriptors: Sequence[int] = ()) -> Steps[None]:
    """Sends a frame; the descriptors go with its first bytes. Raises HandoverError when the other side is gone."""
    parts: list[Any] = [data, pending] if pending else [data]
    rights = [(*_RIGHTS, array.array("i", descriptors))] if descriptors else []
    while parts:
        try:
            sent = sock.sendmsg(parts, rights, _SENDING)
        except BlockingIOError:
            yield WRITE
            continue
        except OSError as error:
            raise broken(error) from error
        rights = []
        while parts and sent >= len(parts[0]):
            sent -= len(parts.pop(0))
        if parts:
            parts[0] = memoryview(parts[0])[sent:]


class NothingYet(Exception):
    """Nothing has come, and nobody is to wait for it."""


def read(sock: socket.socket, shortest: int = LENGTH.size, patient: bool = True) -> Steps[Frame | None]:
    """The next frame; None when the other side has closed the channel between frames. Raises HandoverProtocolError.

    shortest: bytes that every frame has which may come now. They are asked for at once, so that it takes one call. patient:
    waits for the first byte; otherwise raises NothingYet where there is none.
    """
    descriptors: list[int] = []
    try:
        begun = yield from _beginning(sock, descriptors, shortest, patient)
        if not begun:
            return None
        if begun == TAKEN and not descriptors:  # the usual answer
            return Frame({"type": "ack", "ok": True}, descriptors, b"")
        left = header_size(begun[: LENGTH.size]) + LENGTH.size - len(begun)
        if left < 0:
            raise HandoverProtocolError("what came is too short for an answer")
        data = begun[LENGTH.size :]
        header = decoded(data + (yield from _exactly(sock, left)) if left else data)
        pending = (yield from _exactly(sock, header["pending"])) if header["pending"] else b""
        return Frame(header, descriptors, pending)
    except BaseException:
        close_all(descriptors)
        raise


def _beginning(sock: socket.socket, descriptors: list[int], most: int, patient: bool) -> Steps[bytes]:
    """The length, with what rides on it, and as much as is there up to so many bytes. b"" at the end."""
    data = b""
    while len(data) < LENGTH.size:
        try:
            piece, ancillary, flags, _ = sock.recvmsg(most - len(data), _ROOM, _RECEIVING)
        except BlockingIOError:
            if not (data or patient):
                raise NothingYet from None
            yield READ
            continue
        except ConnectionResetError:  # it closed with something of ours unread: what it had said came before this
            piece, ancillary, flags = b"", [], 0
        except OSError as error:
            raise HandoverProtocolError("the channel broke: {cause}", cause=error.strerror or error) from error
        for level, kind, value in ancillary:
            if (level, kind) == _RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(value[: len(value) - len(value) % _ITEM])
                descriptors.extend(numbers)
                if not _CLOEXEC:
                    for number in numbers:
                        os.set_inheritable(number, False)
        if flags & _CUT:
            raise HandoverProtocolError(
                "more than {most} descriptors came at once, or this process has no room for them (ulimit -n)",
                most=MOST_DESCRIPTORS,
            )
        if not piece:
            if data:
                raise _cut_short()
            return b""
        data += piece
    return data


def _exactly(sock: socket.socket, size: int) -> Steps[bytes]:
    pieces: list[bytes] = []
    while size:
        try:
            piece = sock.recv(min(size, 1 << 20), _DONTWAIT)
        except BlockingIOError:
            yield READ
            continue
        except OSError as error:
            raise HandoverProtocolError("the channel broke: {cause}", cause=error.strerror or error) from error
        if not piece:
            raise _cut_short()
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _cut_short() -> HandoverProtocolError:
    return HandoverProtocolError("the channel ended in the middle of a handover")


def broken(error: OSError) -> HandoverError:
    """What is to be raised when the system does not send, or cannot even look."""
    return HandoverError("the channel broke: {cause}", operation="hand over", cause=error.strerror or error)


def close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def drive(steps: Steps[T], sock: socket.socket, timeout: float | None) -> T:
    """Goes through the steps, blocking. Raises TooSlow, and what they raise."""
    until = left = None
    poll = None
    try:
        while True:
            try:
                event = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if poll is None:  # the time counts from the first wait: what comes before it takes none
                poll = select.poll()
                left = timeout
                until = None if timeout is None else time.monotonic() + timeout
            elif until is not None:
                left = max(until - time.monotonic(), 0.0)
            poll.register(_number(sock), event)
            if not poll.poll(None if left is None else min(left, LONGEST_WAIT) * 1000):
                raise _late(timeout)
    finally:
        steps.close()


async def drive_async(steps: Steps[T], sock: socket.socket, timeout: float | None) -> T:
    """Goes through the steps on the running asyncio loop. Raises TooSlow, and what they raise."""
    import asyncio

    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    event = next(steps)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
                ready = loop.create_future()
                watch, forget = (
                    (loop.add_reader, loop.remove_reader) if event == READ else (loop.add_writer, loop.remove_writer)
                )
                number = _number(sock)
                watch(number, _settle, ready)
                try:
                    await ready
                finally:
                    forget(number)
    except TimeoutError:
        raise _late(timeout) from None
    finally:
        steps.close()


def _number(sock: socket.socket) -> int:
    """The descriptor. Raises HandoverError when it is closed, by a handover that failed or by another thread."""
    number = sock.fileno()
    if number < 0:
        raise HandoverError("the channel is closed; open another one", operation="hand over")
    return number


def _settle(future: Any) -> None:
    if not future.done():
        future.set_result(None)


def _late(timeout: float | None) -> TooSlow:
    return TooSlow("the other process did not answer within {seconds:g} s", operation="hand over", seconds=timeout)

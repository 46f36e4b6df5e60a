"""`mem:name`: a server and its clients in one program, without any port or path. For tests, and between parts of a
program.

The connections are real (Unix socket pairs), so every model serves them. A listener is one end of a socket pair that
keeps message boundaries; `dial` makes a fresh pair and passes one end of it through the other end, as a descriptor
(SCM_RIGHTS, unix(7)). The name is known in this process, and in those forked from it after the bind.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from prise.address import Address
from prise.errors import BindError, ConnectError, TooSlow, UsageError
from prise.transports.base import Deadline, Endpoint, Listening, Steps, Wait

_KIND = socket.SOCK_DGRAM if sys.platform == "darwin" else socket.SOCK_SEQPACKET
_doors: dict[str, socket.socket] = {}  # name -> the end to knock at; bounded by the descriptors that it takes

FULL_PAUSE = 0.01
"""Seconds before a listener whose queue is full (a few hundred connections) is tried again."""


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    """None: the name means nothing to the system."""
    return []


class MemListening(Listening):
    __slots__ = ("_door",)

    def __init__(self, sock: socket.socket, address: Address, door: socket.socket) -> None:
        super().__init__(sock, address)
        self._door = door

    def accept(self) -> tuple[socket.socket, Any]:
        # Not socket.recv_fds: it drops its flags (CPython issue 107898), and so the descriptor would not be
        # close-on-exec.
        cloexec = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        _, ancillary, flags, _ = self.socket.recvmsg(1, socket.CMSG_SPACE(4), cloexec)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                connection = socket.socket(fileno=int.from_bytes(data[:4], sys.byteorder))
                if not cloexec:
                    connection.set_inheritable(False)
                return connection, ""
        # The kernel drops a descriptor that this process has no room for; its peer sees the end. As accept(2) would
        # say it:
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # the other end is closed

    def close(self, unlink: bool = True) -> None:
        if _doors.get(str(self.address.path)) is self._door:
            del _doors[str(self.address.path)]
        self._door.close()
        super().close()


def bind(address: Address, backlog: int) -> list[Listening]:
    try:
        inside, door = socket.socketpair(socket.AF_UNIX, _KIND)
    except OSError as error:
        raise BindError("the system refused: {error}", operation="bind", local=address, error=error.strerror) from error
    if _doors.setdefault(str(address.path), door) is not door:
        inside.close()
        door.close()
        raise BindError(
            "something in this program already listens here; choose another name", operation="bind", local=address
        )
    door.setblocking(False)
    return [MemListening(inside, address, door)]


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    door = _doors.get(str(address.path))
    if door is None:
        raise _nobody(address)
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise ConnectError("{error}", operation="connect", peer=address, error=error.strerror) from error
    connected = False
    try:
        ours.setblocking(False)
        right = theirs.fileno().to_bytes(4, sys.byteorder)
        while True:
            try:
                # At least one byte must go with it. Not socket.send_fds: it drops its flags too.
                door.sendmsg(
                    [b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, right)], getattr(socket, "MSG_NOSIGNAL", 0)
                )
            except OSError as error:
                # ETOOMANYREFS: as many descriptors are on their way as this process may have open.
                if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS):
                    raise _nobody(address) from error
            else:
                connected = True
                return ours
            now = time.monotonic()
            if now >= deadline.at:
                raise TooSlow(
                    "no answer within {seconds:g} s (the server is there, but has too many connections waiting)",
                    operation="connect",
                    peer=address,
                    seconds=deadline.seconds,
                )
            yield Wait((), min(now + FULL_PAUSE, deadline.at))
    finally:
        theirs.close()
        if not connected:
            ours.close()


def _nobody(address: Address) -> UsageError:
    return UsageError(
        "nothing listens here; listen first, in this same program (mem: reaches no other)",
        operation="connect",
        peer=address,
    )

"""`pipe:`: the connection to the process that started this one, which has made a pair of sockets (`prise.ipc.spawn`).

The variable PRISE_PIPE tells which descriptor it is: `5:81230`, its number and its inode, by which another descriptor that has
the number by chance is told apart; the number alone is accepted too. Whoever connects to it, or listens on it (for this one
conversation), takes it: the variable goes, so that the children of this process do not take it for theirs.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Sequence
from functools import partial

from prise.address import Address
from prise.errors import BindError, ConnectError
from prise.transports.base import Deadline, Endpoint, Listening, OnceListening, Steps

VARIABLE = "PRISE_PIPE"


def name_of(sock: socket.socket) -> str:
    """What the variable is to say of this socket, in a process that inherits it."""
    return f"{sock.fileno()}:{os.fstat(sock.fileno()).st_ino}"


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    """None: it is open already."""
    return []


def bind(address: Address, backlog: int) -> list[Listening]:
    if (found := _given()) is None:
        raise BindError(_MISSING, operation="bind", local=address, variable=VARIABLE)
    os.set_inheritable(found, False)
    return [OnceListening(address, partial(_take, address))]


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    yield from ()  # it is connected already
    sock = _take(address)
    sock.setblocking(False)
    return sock


_MISSING = (
    "the process that started this one has given it no connection (the variable {variable} names none); start it with "
    "prise.ipc.spawn"
)


def _take(address: Address) -> socket.socket:
    descriptor = _given()
    if descriptor is None:
        raise ConnectError(_MISSING, operation="connect", peer=address, variable=VARIABLE)
    del os.environ[VARIABLE]
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _given() -> int | None:
    """The descriptor that the variable names, if it is that socket."""
    words = re.fullmatch(r"([0-9]{1,9})(?::([0-9]{1,20}))?", os.environ.get(VARIABLE, ""), re.ASCII)
    if words is None:
        return None
    descriptor = int(words[1])
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    same = words[2] is None or int(words[2]) == found.st_ino
    return descriptor if same and stat.S_ISSOCK(found.st_mode) else None

"""`file:PATH`: a file, a named pipe (FIFO, fifo(7)) or a device, read or written as if it were the peer.

file:PATH               its content, from the beginning, then the end of input; sending to it fails
file,write:PATH         what is sent replaces what it held; it must exist
file,append:PATH        what is sent is added at its end; it must exist
file,create:PATH        the file is new: one that exists is refused. With write or append: new or not

A file is either read or written, never both. When it is written, the end of input that is received says that all of it was.
A FIFO is opened for reading, or with `write` or `append` for writing: then dialling waits until somebody reads it; what is read
begins when somebody writes, and ends when the last one has closed it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence

from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, TooSlow
from prise.transports.base import Deadline, Endpoint, Listening, Steps, Wait
from prise.transports.pump import pump

NO_READER_PAUSE = 0.02
"""Seconds before a FIFO that nobody reads is tried again; the kernel tells nobody when one comes."""


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    """None: a file is no place of the network."""
    return []


def bind(address: Address, backlog: int) -> list[Listening]:
    raise BindError(
        "a file cannot be listened on; listen elsewhere, and give it as the address to connect to",
        operation="bind",
        local=address,
    )


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    flags = _flags(address)
    writes = flags & os.O_ACCMODE == os.O_WRONLY
    while True:
        try:
            # Without O_NONBLOCK, opening a FIFO would wait for its other side.
            file = os.open(str(address.path), flags | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not _is_fifo(str(address.path)):
                raise _cannot_open(address, error, writes) from error
        now = time.monotonic()
        if now >= deadline.at:
            raise TooSlow(
                "nobody has opened this FIFO for reading within {seconds:g} s",
                operation="connect",
                peer=address.without_options(),
                seconds=deadline.seconds,
            )
        yield Wait((), min(now + NO_READER_PAUSE, deadline.at))
    if not writes and stat.S_ISDIR(os.fstat(file).st_mode):
        os.close(file)
        raise _cannot_open(address, OSError(errno.EISDIR, os.strerror(errno.EISDIR)), writes)
    try:
        sock = pump(None if writes else file, file if writes else None, name=str(address))
    except OSError as error:
        raise _cannot_open(address, error, writes) from error
    sock.setblocking(False)
    return sock


def _flags(address: Address) -> int:
    write, append, create = (bool(address.setting(name)) for name in ("write", "append", "create"))
    if write and append:
        raise AddressError("write replaces the content and append keeps it: give one of them", local=address)
    if write:
        return os.O_WRONLY | os.O_TRUNC | os.O_CREAT * create
    if append:
        return os.O_WRONLY | os.O_APPEND | os.O_CREAT * create
    return os.O_WRONLY | os.O_CREAT | os.O_EXCL if create else os.O_RDONLY


def _is_fifo(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _cannot_open(address: Address, error: OSError, writes: bool) -> ConnectError:
    if error.errno == errno.ENOENT and writes:
        reason = "there is no such file; to make it, add the option create, and look whether the folder exists"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        reason = "there is no such file"
    elif error.errno == errno.EEXIST:
        reason = "the file exists already; to replace its content add the option write, to add to it append"
    elif error.errno == errno.EISDIR:
        reason = "this is a folder, not a file"
    elif error.errno == errno.ENXIO:
        reason = "this is a socket; write unix: instead of file:"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "not allowed to write this file" if writes else "not allowed to read this file"
    else:
        reason = "{error}"
    return ConnectError(reason, operation="connect", peer=address.without_options(), error=error.strerror or error)

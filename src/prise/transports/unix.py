"""Unix stream sockets (unix(7)): a path in the file system, or on Linux an abstract name (`@name`).

Option `mode`: the permissions of the path, set before anybody can connect. Without it the umask decides, as for every
other file: the usual 022 lets only the owner connect, and a service that chose its umask or shares a group gets what
it set up. Option `backlog` (1024).

A path that a live server listens on is never taken. `bind` itself never replaces a file, so only a path that exists
already needs care: a connection tells whether somebody listens, and if nobody does, the path is removed. Between
these steps another server could do the same, or have bound but not yet listened. So the whole of it happens under an
exclusive flock(2) of the folder, which every prise server takes: no lock file is left behind. Where the folder cannot
be locked (no right to read it, a file system without locks, somebody else holds it), a dead path is reported, not
replaced.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, TooSlow, Unsupported
from prise.transports.base import Deadline, Endpoint, Listening, Steps, Wait

LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""Bytes: `sun_path` of sockaddr_un has 108 (104 on the BSDs), the last one is NUL."""

LOCK_TIME = 2.0
"""Seconds to wait for another server that is binding in the same folder."""

FULL_PAUSE = 0.005
"""Seconds before a full backlog is tried again; doubles up to `FULL_PAUSE_MOST`. The kernel tells nobody when it has
room."""

FULL_PAUSE_MOST = 0.1


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    if not hasattr(socket, "AF_UNIX"):
        raise Unsupported("this platform has no Unix sockets (AF_UNIX)", local=address)
    path = address.path or ""
    if not path:
        raise AddressError(
            "an unnamed Unix socket cannot be reached; give a path such as {example}", example="/run/x.sock"
        )
    if path.startswith("@") and sys.platform != "linux":
        raise Unsupported("abstract Unix names (@name) exist on Linux only; give a path", local=address)
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise AddressError(
            "the path is too long: {length} bytes, a Unix socket has at most {most}; use a shorter or a relative path",
            local=address,
            length=length,
            most=LONGEST_PATH,
        )
    return [Endpoint(socket.AF_UNIX, socket.SOCK_STREAM, 0, f"\0{path[1:]}" if path.startswith("@") else path)]


# -- Listening ---------------------------------------------------------------------------------------------------------


class UnixListening(Listening):
    """Knows which file is its own, and in which process, so that closing removes no other server's path."""

    __slots__ = ("_inode", "_path", "_pid")

    def __init__(self, sock: socket.socket, address: Address, path: str, inode: tuple[int, int]) -> None:
        super().__init__(sock, address)
        self._path = path  # absolute: the process may change its folder
        self._inode = inode
        self._pid = os.getpid()  # forked workers inherit this object, but the path is their parent's

    def close(self, unlink: bool = True) -> None:
        if unlink and self.socket.fileno() >= 0 and self._pid == os.getpid():
            # Before the socket closes: while it is open the kernel keeps its inode, so no other file can have the
            # number.
            with _locked_folder(self._path):
                try:
                    _remove(self._path, self._inode)
                except OSError:
                    pass  # gone, or the folder is no longer ours to change: the next server finds the path dead
        super().close()


def bind(address: Address, backlog: int) -> list[Listening]:
    ((_, _, _, name),) = resolve(address, passive=True)
    abstract = name.startswith("\0")
    path = os.path.abspath(name) if not abstract else ""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_bind(address, path, error) from error
    try:
        if abstract:
            sock.bind(name)
            sock.listen(address.setting("backlog", backlog))
            return [Listening(sock, address.without_options())]
        with _locked_folder(path) as locked:
            try:
                sock.bind(name)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _remove_dead(address, path, locked)
                sock.bind(name)
            status = os.lstat(path)
            inode = status.st_dev, status.st_ino
            try:
                if (mode := address.setting("mode")) is not None:
                    os.chmod(path, mode)
                # Only now: until a socket listens, connecting to it is refused, whatever its mode was.
                sock.listen(address.setting("backlog", backlog))
                return [UnixListening(sock, address.without_options(), path, inode)]
            except BaseException:
                _remove(path, inode)
                raise
    except OSError as error:
        sock.close()
        if isinstance(error, BindError):
            raise
        raise _cannot_bind(address, path, error) from error
    except BaseException:
        sock.close()
        raise


@contextmanager
def _locked_folder(path: str) -> Iterator[bool]:
    """Holds the exclusive lock of the folder that the path is in; yields False when it could not be had."""
    import fcntl

    try:
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        locked = False
        until = time.monotonic() + LOCK_TIME
        while not locked:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except OSError as error:
                if error.errno != errno.EWOULDBLOCK or time.monotonic() > until:
                    break
                time.sleep(0.01)
        try:
            yield locked
        finally:
            if locked:
                fcntl.flock(folder, fcntl.LOCK_UN)  # closing alone would not do if another thread forked meanwhile
    finally:
        os.close(folder)


def _remove(path: str, inode: tuple[int, int]) -> None:
    """Removes the path if it is still this very file."""
    status = os.lstat(path)
    if (status.st_dev, status.st_ino) == inode:
        os.unlink(path)


def _remove_dead(address: Address, path: str, locked: bool) -> None:
    """Removes the path if it is a socket and nobody listens on it; else says why not."""
    local = address.without_options()
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return  # its server has just left
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(
            "there is a file here already which is not a socket; it is left alone: choose another path",
            operation="bind",
            local=local,
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(address.path))  # as given: the absolute path may be too long
    if code == errno.ENOENT:
        return
    if code in (0, errno.EAGAIN, errno.EINPROGRESS):
        raise BindError(
            "something already listens here; stop it, or choose another path", operation="bind", local=local
        )
    if code != errno.ECONNREFUSED or not locked:
        raise BindError(
            "there is a socket here already and whether it is in use cannot be told; remove it by hand: {path}",
            operation="bind",
            local=local,
            path=path,
        )
    # Looked at again at the last moment, for servers that do not know our lock.
    _remove(path, (found.st_dev, found.st_ino))


def _cannot_bind(address: Address, path: str, error: OSError) -> BindError:
    if error.errno == errno.EADDRINUSE:
        reason = "something already listens here; stop it, or choose another path"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        reason = "the folder {folder} does not exist; create it first"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "not allowed to create a socket in {folder}"
    else:
        reason = "the system refused: {error}"
    return BindError(
        reason,
        operation="bind",
        local=address.without_options(),
        folder=os.path.dirname(path),
        error=error.strerror or error,
    )


# -- Dialling ----------------------------------------------------------------------------------------------------------


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    (endpoint,) = endpoints
    try:
        sock = socket.socket(endpoint.family, endpoint.type)
    except OSError as error:
        raise ConnectError("{error}", operation="connect", peer=address, error=error.strerror) from error
    connected = False
    try:
        sock.setblocking(False)
        pause = FULL_PAUSE
        while code := sock.connect_ex(endpoint.sockaddr):
            if code != errno.EAGAIN:
                raise _cannot_connect(address, code)
            now = time.monotonic()
            if now >= deadline.at:
                raise TooSlow(
                    "no answer within {seconds:g} s (the server is there, but has too many connections waiting)",
                    operation="connect",
                    peer=address.without_options(),
                    seconds=deadline.seconds,
                )
            yield Wait((), min(now + pause, deadline.at))
            pause = min(pause * 2, FULL_PAUSE_MOST)
        connected = True
        return sock
    finally:
        if not connected:
            sock.close()


def _cannot_connect(address: Address, code: int) -> ConnectError:
    if code == errno.ECONNREFUSED:
        reason = "connection refused (nothing listens on this socket)"
    elif code in (errno.ENOENT, errno.ENOTDIR):
        reason = "there is no such socket; is the server running?"
    elif code in (errno.EACCES, errno.EPERM):
        reason = "not allowed: the mode of the socket or of a folder on the way forbids it"
    elif code == errno.EPROTOTYPE:
        reason = "this socket is not a stream socket"
    else:
        reason = "{error}"
    return ConnectError(reason, operation="connect", peer=address.without_options(), error=os.strerror(code))


# -- Describing --------------------------------------------------------------------------------------------------------


def describe(family: int, sockaddr: object) -> Address:
    """The Address of a Unix sockaddr: abstract names come as bytes, an unnamed socket as ''."""
    if isinstance(sockaddr, bytes) and sockaddr.startswith(b"\0"):
        return Address("unix", path=f"@{os.fsdecode(sockaddr[1:])}")
    path = os.fsdecode(sockaddr) if isinstance(sockaddr, (str, bytes)) else ""
    return Address("unix", path=f"./{path}" if path.startswith("@") else path)

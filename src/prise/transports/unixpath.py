"""The path of a Unix socket that is listened on: made ours without stealing it, and removed at the end.

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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prise.address import Address
from prise.errors import BindError

LOCK_TIME = 2.0
"""Seconds to wait for another server that is binding in the same folder."""


class OwnPath:
    """Knows which file is ours, and in which process, so that removing it removes no other server's."""

    __slots__ = ("_inode", "_path", "_pid")

    def __init__(self, path: str) -> None:
        status = os.lstat(path)
        self._path = path  # absolute: the process may change its folder
        self._inode = status.st_dev, status.st_ino
        self._pid = os.getpid()  # forked workers inherit this object, but the path is their parent's

    def remove(self) -> None:
        """While the socket is still open: until then the kernel keeps its inode, so no other file can have the number."""
        if self._pid == os.getpid():
            with _locked_folder(self._path):
                try:
                    _remove(self._path, self._inode)
                except OSError:
                    pass  # gone, or the folder is no longer ours to change: the next server finds the path dead


def bind_path(sock: socket.socket, address: Address, path: str, open_to_others: Callable[[], object]) -> OwnPath:
    """Binds the socket to the address's path, which is absolute in `path`, replacing a dead socket there.

    open_to_others: called while the folder is locked, to set modes and to listen; if it fails the path is removed again.
    Raises BindError, OSError.
    """
    name = str(address.path)
    with _locked_folder(path) as locked:
        try:
            sock.bind(name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_dead(address, path, locked)
            sock.bind(name)
        own = OwnPath(path)
        try:
            open_to_others()
        except BaseException:
            _remove(path, own._inode)
            raise
        return own


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
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        # To connect a datagram socket disturbs nobody: to a server of connections it fails with EPROTOTYPE.
        code = probe.connect_ex(str(address.path))  # as given: the absolute path may be too long
    if code == errno.ENOENT:
        return
    if code in (0, errno.EPROTOTYPE, errno.EPERM):  # EPERM: a datagram socket that hears one other alone
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

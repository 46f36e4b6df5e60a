"""A file that is arriving: hidden beside the place where it will be, and there in one step when it is whole.

    part = Unfinished.begin(directory, name, identity)  ->  write, write...  ->  finish | keep | discard

Nobody ever sees half a file under its name: what is written has a name of its own (`.prise-….part`) in the same directory, so
the last step is a link(2) or rename(2). What was to go on later and never did is removed after `STALE` seconds.

Everything here blocks, so it is called in a thread. Two that write the same part are kept apart by flock(2), in all processes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import threading
import time
from typing import Final

from prise.web.entries import HIDDEN
from prise.web.folder import Opened

ENDING: Final = ".part"
STALE: Final = 24 * 3600
"""Seconds after the last byte, after which an upload can no longer be resumed."""

_SWEEP: Final = 3600  # seconds between two looks for stale ones in the same directory
_MOST_SWEPT: Final = 1000  # directories of which that is known
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # FAT, some network file systems

_swept: dict[tuple[int, int], float] = {}


class Busy(Exception):
    """Somebody else is sending the same upload at this moment."""


class Unfinished:
    """name: what it will be called. size: bytes that have arrived. Its methods may be called from any thread, also while another
    one runs: then they wait."""

    def __init__(self, directory: int, name: str, hidden: str, descriptor: int) -> None:
        self.name = name
        self.size = os.fstat(descriptor).st_size
        self._directory = directory
        self._hidden = hidden
        self._descriptor = descriptor
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, directory: Opened, name: str, identity: str | None) -> Unfinished:
        """A new one, empty. identity: under which it can be found again; None for one that is not kept.

        Raises Busy, OSError.
        """
        _sweep(directory)
        part = cls._open(directory, name, identity or secrets.token_hex(16), os.O_CREAT)
        try:
            os.ftruncate(part._descriptor, 0)
        except OSError:
            part.discard()
            raise
        part.size = 0
        return part

    @classmethod
    def again(cls, directory: Opened, name: str, identity: str) -> Unfinished:
        """One that was begun and kept. Raises FileNotFoundError, Busy, OSError."""
        return cls._open(directory, name, identity, 0)

    @classmethod
    def size_of(cls, directory: Opened, name: str, identity: str) -> int:
        """Bytes that have arrived; 0 where nothing has."""
        try:
            return os.stat(_hidden(name, identity), dir_fd=directory.descriptor, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    @classmethod
    def _open(cls, directory: Opened, name: str, identity: str, flags: int) -> Unfinished:
        hidden = _hidden(name, identity)
        own = os.dup(directory.descriptor)
        descriptor = -1
        try:
            flags |= os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(hidden, flags, 0o666, dir_fd=own)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy from None
            # Between opening and locking it may have been finished or removed by who had the lock before.
            named, opened = os.stat(hidden, dir_fd=own, follow_symlinks=False), os.fstat(descriptor)
            if named.st_ino != opened.st_ino:
                raise Busy
            return cls(own, name, hidden, descriptor)
        except BaseException as error:
            os.close(own)
            if descriptor >= 0:
                os.close(descriptor)
                if isinstance(error, FileNotFoundError):
                    raise Busy from None
            raise

    def write(self, data: bytes | bytearray) -> None:
        """Appends all of it. Raises OSError; nothing when it is closed already (whoever wrote was cancelled)."""
        with self._lock, memoryview(data) as view:
            done = 0
            while done < len(view) and self._descriptor >= 0:
                written = os.pwrite(self._descriptor, view[done:], self.size)
                done += written
                self.size += written

    def finish(self, *, replace: bool, durable: bool) -> tuple[bool, os.stat_result]:
        """Gives it its name. replace: also where something is; durable: it is on the disk (fsync) when this returns.

        Returns whether the name is new, and what the file is now. Raises FileExistsError, IsADirectoryError, OSError; then it
        is still open.
        """
        with self._lock:
            if durable:
                os.fsync(self._descriptor)
            new = self._replace() if replace else self._add()
            if durable:
                os.fsync(self._directory)
            status = os.fstat(self._descriptor)
            self._close()
            return new, status

    def _replace(self) -> bool:
        directory = self._directory
        try:
            there = os.stat(self.name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.name)
        os.rename(self._hidden, self.name, src_dir_fd=directory, dst_dir_fd=directory)
        return there is None

    def _add(self) -> bool:
        directory = self._directory
        try:
            # Unlike rename(2) it fails where something is, without a moment in between.
            os.link(self._hidden, self.name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # No hard links here: the name is taken first, and is an empty file for a moment.
            os.close(os.open(self.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory))
            os.rename(self._hidden, self.name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(self._hidden, dir_fd=directory)
        return True

    def keep(self) -> None:
        """Leaves it for later. May be called twice, like `discard`, and after `finish`."""
        with self._lock:
            self._close()

    def discard(self) -> None:
        """Removes it."""
        with self._lock:
            if self._descriptor >= 0:
                try:
                    os.unlink(self._hidden, dir_fd=self._directory)
                except OSError:
                    pass  # gone already, or the directory may not be written any more: the sweep comes later
                self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            os.close(self._directory)
            self._descriptor = self._directory = -1


def _hidden(name: str, identity: str) -> str:
    """Of a fixed length, since names may be as long as the system allows; and no secret of others can be guessed from it."""
    digest = hashlib.sha256(os.fsencode(name) + b"\0" + identity.encode()).hexdigest()
    return f"{HIDDEN}{digest[:32]}{ENDING}"


def _sweep(directory: Opened) -> None:
    """Removes what nobody will finish any more."""
    key = (directory.stat.st_dev, directory.stat.st_ino)
    now = time.monotonic()
    last = _swept.get(key)
    if last is not None and now - last < _SWEEP:
        return
    if len(_swept) >= _MOST_SWEPT:
        _swept.clear()
    _swept[key] = now
    oldest = time.time() - STALE
    with os.scandir(directory.descriptor) as found:
        stale = [each.name for each in found if each.name.startswith(HIDDEN) and each.name.endswith(ENDING)]
    for name in stale:
        try:
            if os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False).st_mtime < oldest:
                os.unlink(name, dir_fd=directory.descriptor)
        except OSError:
            continue

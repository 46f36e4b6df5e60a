"""A folder that is written to on behalf of somebody else: nothing outside of it can be reached, whatever the names.

Every step is taken relative to a folder that is open already, and refuses symbolic links (O_NOFOLLOW), so that neither a
link that is there nor one that is put there meanwhile leads out. A file is written as NAME.part, readable for its owner
only, and gets its name, mode and times when it is complete.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a pipe that was put there must not stop us


class Folder:
    """An open folder. Use it in a `with` statement. All methods raise OSError."""

    def __init__(self, path: str) -> None:
        try:
            os.mkdir(path)
        except FileExistsError:
            pass
        self._top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # a link that the user named is fine
        self._parent = ""
        self._parent_fd = os.dup(self._top)  # of the name used last: files of a folder come one after the other
        umask = os.umask(0o077)
        os.umask(umask)
        self._umask = umask

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._parent_fd)
        os.close(self._top)

    @property
    def free(self) -> int:
        """Bytes that may still be written."""
        system = os.fstatvfs(self._top)
        return system.f_bavail * system.f_frsize

    def look(self, name: str) -> os.stat_result | None:
        """What is there under this name, not following links; None when nothing is.

        Raises NotADirectoryError when something on the way is no folder, such as a link to one.
        """
        try:
            where, last = self._reach(name)
            return os.stat(last, dir_fd=where, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def make_folder(self, name: str) -> bool:
        """Makes a folder, and those above it; False when it was there."""
        where, last = self._reach(name, create=True)
        try:
            os.mkdir(last, dir_fd=where)
        except FileExistsError:
            os.close(os.open(last, _FOLDER, dir_fd=where))
            return False
        return True

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of a regular file."""
        where, last = self._reach(name, create=bool(flags & os.O_CREAT))
        descriptor = os.open(last, flags | _FILE, 0o600, dir_fd=where)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "not a regular file")
        return descriptor

    def dress(self, descriptor: int, mode: int, mtime: int | None) -> None:
        """Gives an open file its mode (as far as the umask allows) and its time (nanoseconds)."""
        os.fchmod(descriptor, mode & ~self._umask)
        if mtime is not None:
            try:
                os.utime(descriptor, ns=(mtime, mtime))
            except OverflowError:
                pass  # a year that this system does not have

    def dress_folder(self, name: str, mode: int, mtime: int | None) -> None:
        where, last = self._reach(name)
        descriptor = os.open(last, _FOLDER, dir_fd=where)
        try:
            self.dress(descriptor, mode, mtime)
        finally:
            os.close(descriptor)

    def place(self, part: str, name: str, overwrite: bool) -> None:
        """Gives a complete file its name; FileExistsError when that is taken and may not be overwritten."""
        where, last = self._reach(name)
        old = part.rpartition("/")[2]
        if not overwrite:
            try:
                os.link(old, last, src_dir_fd=where, dst_dir_fd=where, follow_symlinks=False)  # never replaces
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                if self.look(name) is not None:
                    raise FileExistsError(name) from None
            else:
                os.unlink(old, dir_fd=where)
                return
        os.replace(old, last, src_dir_fd=where, dst_dir_fd=where)

    def remove(self, name: str) -> None:
        where, last = self._reach(name)
        os.unlink(last, dir_fd=where)

    def _reach(self, name: str, create: bool = False) -> tuple[int, str]:
        """The open folder that a name is in, valid until the next call, and the last part of the name."""
        parent, _slash, last = name.rpartition("/")
        if parent != self._parent:
            here = os.dup(self._top)
            try:
                for step in parent.split("/") if parent else ():
                    if create:
                        try:
                            os.mkdir(step, dir_fd=here)
                        except FileExistsError:
                            pass
                    below = os.open(step, _FOLDER, dir_fd=here)
                    os.close(here)
                    here = below
            except BaseException:
                os.close(here)
                raise
            os.close(self._parent_fd)
            self._parent, self._parent_fd = parent, here
        return self._parent_fd, last

"""The way from a URL path to an open file or directory inside a folder, and to nothing outside it.

What is checked is what is opened: each part of the path is opened below the descriptor of the one before, without
following symbolic links (O_NOFOLLOW), so nobody can exchange a part between a check and its use. Where a link is in the
way, the system says what the whole path really is (realpath); if that lies inside the folder, its real parts are walked
in the same strict way, and otherwise it is refused.

A refused path looks like a missing one (FileNotFoundError), so that answers do not tell what lies outside or is hidden.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from functools import partial
from typing import Final

from prise.errors import UsageError

LONGEST_PART: Final = 255
"""Bytes of a name (NAME_MAX of Linux). Longer ones are not asked for."""
MOST_PARTS: Final = 100
"""Of a path: each costs a system call or two."""

_WALK: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
# O_NONBLOCK: a FIFO put where a file was a moment ago must not block us. Regular files do not care.
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_TRIES: Final = (
    4  # of a path with links: once to meet one, once along what it leads to, and more while somebody exchanges them
)
_OURS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO))  # they say nothing about the name
_MALFORMED: Final = re.compile("[\x00\ud800-\udfff]")


class Opened:
    """An open regular file or directory inside a folder. Whoever gets it closes it.

    descriptor: for reading. stat: what `os.fstat` says of it. parts: its path below the root, () for the root itself.
    """

    __slots__ = ("descriptor", "folder", "is_directory", "parts", "stat")

    def __init__(self, folder: Folder, parts: tuple[str, ...], descriptor: int, stat: os.stat_result) -> None:
        self.folder = folder
        self.parts = parts
        self.descriptor = descriptor
        self.stat = stat
        self.is_directory = is_directory(stat)

    @property
    def name(self) -> str:
        """The last part; "" for the root."""
        return self.parts[-1] if self.parts else ""

    def child(self, name: str) -> Opened:
        """What lies in this directory under that name, by the same rules. Raises as `Folder.open_parts`."""
        parts = (*self.parts, name)
        self.folder.check(parts)
        try:
            return self.folder.open_in(self.descriptor, parts)
        except _LinkInTheWay:
            return self.folder.open_parts(parts)

    def read(self, most: int) -> bytes:
        """The file's bytes, at most as many as it had when it was opened, or `most`."""
        return os.pread(self.descriptor, min(self.stat.st_size, most), 0)

    def keep(self) -> Callable[[], None]:
        """Leaves the descriptor open for somebody else: `close` does nothing from now on, what is returned closes it."""
        descriptor, self.descriptor = self.descriptor, -1
        return partial(os.close, descriptor)

    def close(self) -> None:
        """May be called twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Folder:
    """What is below `root`, a directory. Raises UsageError when it is none.

    dot_files: whether names that begin with a dot exist; `.well-known` at the top (RFC 8615) always does. A link with a
    plain name may point to one: somebody made it so.
    The root is opened anew each time, so a folder that a build replaces, or a link that is switched, is followed.
    """

    def __init__(self, root: str | os.PathLike[str], *, dot_files: bool = False) -> None:
        self.root = os.path.abspath(root)
        self.dot_files = dot_files
        if not os.path.isdir(self.root):
            raise UsageError("{folder} is no folder; name one that exists", folder=self.root)

    def split(self, path: str) -> tuple[str, ...]:
        """A decoded URL path as parts; the last is "" behind a final slash (that means: a directory); () for "/".

        Raises ValueError for one that no client writes by accident (NUL, not UTF-8), FileNotFoundError for one that
        cannot exist here.
        """
        if _MALFORMED.search(path):
            raise ValueError("NUL or invalid UTF-8 in a path")
        if path == "/":
            return ()
        if not path.startswith("/"):
            raise FileNotFoundError(path)
        parts = tuple(path[1:].split("/"))
        self.check(parts if parts[-1] else parts[:-1])
        return parts

    def check(self, parts: tuple[str, ...]) -> None:
        """Raises FileNotFoundError unless all parts are names that may exist here."""
        if len(parts) > MOST_PARTS:
            raise FileNotFoundError
        for index, part in enumerate(parts):
            # A backslash separates in the eyes of some browsers and systems; nobody needs it in a name.
            if not part or part in (".", "..") or "\\" in part or "\0" in part or "/" in part:
                raise FileNotFoundError
            if part[0] == "." and not self.dot_files and not (index == 0 and part == ".well-known"):
                raise FileNotFoundError
            if len(part) > LONGEST_PART // 4 and len(os.fsencode(part)) > LONGEST_PART:
                raise FileNotFoundError

    def open(self, path: str) -> Opened:
        """What a decoded URL path names. A path that ends with a slash names only a directory.

        Raises ValueError and FileNotFoundError as `split`, FileNotFoundError for what is missing, outside or neither file nor
        directory, PermissionError, and other OSErrors as they come (too many open files).
        """
        parts = self.split(path)
        if not parts or parts[-1]:
            return self.open_parts(parts)
        opened = self.open_parts(parts[:-1])
        if not opened.is_directory:
            opened.close()
            raise FileNotFoundError(path)
        return opened

    def open_parts(self, parts: tuple[str, ...]) -> Opened:
        """What these parts name, which `split` or `check` have found harmless. Raises as `open`."""
        root, real = self.root, parts
        for _ in range(_TRIES):
            try:
                return self._walk(root, real, parts)
            except _LinkInTheWay:
                root, real = self._real(parts)
        raise FileNotFoundError(*parts[-1:])

    def _real(self, parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Where these parts lead now, as the root's real path and the parts below it. FileNotFoundError when that is outside."""
        try:
            root = os.path.realpath(self.root)
            real = os.path.realpath(os.path.join(root, *parts))
        except OSError:  # a link that is none any more
            return self.root, parts
        if real == root:
            return root, ()
        inside = tuple(os.path.relpath(real, root).split(os.sep))
        if inside[0] == "..":
            raise FileNotFoundError(*parts[-1:])
        return root, inside

    def _walk(self, root: str, real: tuple[str, ...], parts: tuple[str, ...]) -> Opened:
        """Opens root/real, no part of it a link (else _LinkInTheWay), and calls it `parts`."""
        # The root itself may be a link: whoever named it chose it.
        directory = os.open(root, _WALK & ~os.O_NOFOLLOW)
        try:
            for part in real[:-1]:
                try:
                    deeper = os.open(part, _WALK, dir_fd=directory)
                except NotADirectoryError:  # a file, or a link (which Linux calls the same here)
                    if stat.S_ISLNK(os.stat(part, dir_fd=directory, follow_symlinks=False).st_mode):
                        raise _LinkInTheWay from None
                    raise FileNotFoundError(part) from None
                except OSError as error:
                    raise _translated(error, part) from None
                os.close(directory)
                directory = deeper
            return self.open_in(directory, parts, real[-1] if real else ".")
        finally:
            os.close(directory)

    def open_in(self, directory: int, parts: tuple[str, ...], name: str | None = None) -> Opened:
        """Opens one name (by default the last part) in an open directory. Raises as `open`, and _LinkInTheWay."""
        name = parts[-1] if name is None else name
        try:
            # Looked at first: opening a FIFO wakes its writer, and opening a device may do anything.
            kind = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if stat.S_ISLNK(kind):
                raise _LinkInTheWay
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise FileNotFoundError(name)
            descriptor = os.open(name, _OPEN, dir_fd=directory)
        except OSError as error:
            raise _translated(error, name) from None
        found = os.fstat(descriptor)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            os.close(descriptor)
            raise FileNotFoundError(name)
        return Opened(self, parts, descriptor, found)

    def path(self, parts: tuple[str, ...]) -> str:
        """Where that is in the file system. Only for looking: opening it would follow links."""
        return os.path.join(self.root, *parts)


class _LinkInTheWay(Exception):
    """A part is a symbolic link: the strict walk cannot go on."""


def _translated(error: OSError, name: str) -> OSError:
    """Names that the file system cannot have are missing, like others; what says something about us stays as it is."""
    if isinstance(error, PermissionError | FileNotFoundError) or error.errno in _OURS:
        return error
    return FileNotFoundError(name)


def is_directory(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode)

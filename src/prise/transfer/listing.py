"""What is to be sent: the files and folders that were named, with everything below the folders.

A file is known by its own name, what is in a folder by the folder's name and the way below it. Symbolic links are left
out, and noted, unless they are to be followed; so are pipes, sockets and devices.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from prise import UsageError
from prise.transfer.names import is_name
from prise.transfer.talk import MOST_ENTRIES, Entry


@dataclass(slots=True)
class Listing:
    """entries and, of each, where it is (or what it is read from). skipped: paths of links and special files left out."""

    entries: list[Entry] = field(default_factory=list)
    sources: list[str | BinaryIO] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def size(self) -> int | None:
        """Bytes in all; None when that is not known before the end."""
        return None if self.stream else sum(entry.size or 0 for entry in self.entries)

    @property
    def files(self) -> int:
        return sum(not entry.is_folder for entry in self.entries)

    @property
    def stream(self) -> bool:
        return any(entry.size is None for entry in self.entries)

    def add(self, source: str | BinaryIO, entry: Entry) -> None:
        if not is_name(entry.name):
            raise UsageError(
                "the name {name} cannot be sent: it has control characters, or is too long", name=repr(entry.name)
            )
        if len(self.entries) == MOST_ENTRIES:
            raise UsageError("these are more than {most} files; send an archive of them", most=MOST_ENTRIES)
        self.entries.append(entry)
        self.sources.append(source)


def standard_input(name: str = "stdin") -> Listing:
    """Standard input, whose length is not known; where it becomes a file, that has this name."""
    found = Listing()
    found.add(sys.stdin.buffer, Entry(name, size=None))
    return found


def listing(paths: Iterable[str], *, follow: bool = False) -> Listing:
    """Everything below these paths. follow: also through symbolic links.

    Raises UsageError for what cannot be sent or has the name of another; OSError for what cannot be read.
    """
    found = Listing()
    names: set[str] = set()
    for path in paths:
        name = os.path.basename(os.path.abspath(path))
        if not name or name in names:
            reason = "two of these are called {name}; send them one after the other" if name else "{path} has no name"
            raise UsageError(reason, name=repr(name), path=repr(path))
        names.add(name)
        _add(found, path, name, os.stat(path), follow, ())  # a link that was named is meant itself
    return found


def _add(
    found: Listing, path: str, name: str, status: os.stat_result, follow: bool, above: tuple[tuple[int, int], ...]
) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISREG(status.st_mode):
        found.add(path, Entry(name, False, status.st_size, mode, status.st_mtime_ns))
    elif stat.S_ISDIR(status.st_mode):
        here = status.st_dev, status.st_ino
        if here in above:  # a link that leads back up
            found.skipped.append(path)
            return
        found.add(path, Entry(name, True, 0, mode, status.st_mtime_ns))
        with os.scandir(path) as children:
            ordered = sorted(children, key=lambda child: child.name)
        for child in ordered:
            if child.is_symlink() and not (follow and os.path.exists(child.path)):
                found.skipped.append(child.path)
            else:
                _add(
                    found,
                    child.path,
                    f"{name}/{child.name}",
                    child.stat(follow_symlinks=follow),
                    follow,
                    (*above, here),
                )
    elif above:
        found.skipped.append(path)
    else:
        raise UsageError("{path} is neither a file nor a folder; give - to send standard input", path=repr(path))

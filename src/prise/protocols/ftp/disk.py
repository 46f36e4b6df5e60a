"""The local side of whole folders (trees.py): where files go that a server names, and which files are sent.

A server's names are not trusted: whatever it says, nothing is written outside the folder that the user has given. Links are not
followed, neither to write nor to read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from prise.errors import ProtocolError, UsageError
from prise.protocols.entry import Entry

Parts = tuple[str, ...]
"""A path under the folder, name by name."""

_FORBIDDEN = {"/", "\0", "\r", "\n", os.sep, os.altsep or os.sep, *(":" if os.name == "nt" else "")}


class LocalFolder:
    """A folder of this machine. It is made when something is written into it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def make(self, parts: Parts = ()) -> Path:
        """Makes a folder, and those above it; harmless where it is there. Raises UsageError where it leads out, OSError."""
        folder = self.path.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        self._refuse_outside(folder)
        return folder

    @contextmanager
    def writing(self, parts: Parts) -> Iterator[IO[bytes]]:
        """A file to write. What has that name is replaced when it is whole, and stays as it was when it does not become so."""
        folder = self.make(parts[:-1])
        partial = folder / f".{os.urandom(8).hex()}.part"
        try:
            with partial.open("xb") as file:
                yield file
            partial.replace(folder / parts[-1])
        finally:
            partial.unlink(missing_ok=True)

    def entries(self, parts: Parts = ()) -> list[Entry]:
        """What is in a folder, by name. Raises OSError."""
        with os.scandir(self.path.joinpath(*parts)) as found:
            return sorted((_entry(one) for one in found), key=lambda entry: entry.name)

    def _refuse_outside(self, folder: Path) -> None:
        if not folder.resolve().is_relative_to(self.path.resolve()):
            raise UsageError(
                "{folder} is a link that leads out of {path}: nothing is written there", folder=folder, path=self.path
            )


def check_name(name: str) -> None:
    """Raises ProtocolError for a name that would lead somewhere else, or is none."""
    if name in ("", ".", "..") or not _FORBIDDEN.isdisjoint(name):
        raise ProtocolError(
            "the server names a file {name!r}, which would lead out of its folder: nothing more is fetched",
            name=name[:80],
        )


def _entry(found: os.DirEntry[str]) -> Entry:
    if found.is_symlink():
        return Entry(found.name, "link")
    if found.is_dir(follow_symlinks=False):
        return Entry(found.name, "folder")
    if found.is_file(follow_symlinks=False):
        return Entry(found.name, "file", size=found.stat(follow_symlinks=False).st_size)
    return Entry(found.name, "other")

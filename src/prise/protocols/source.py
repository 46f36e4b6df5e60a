"""What `put` takes: bytes, text, a file, or pieces that somebody makes; and how long it is, where that is known."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from io import TextIOBase
from pathlib import Path
from typing import Any, TypeAlias

from prise.errors import PriseError, UsageError

PIECE = 256 * 1024
"""Bytes of a file that are read at once."""

Data: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str] | Source | Iterable[bytes] | Any"
"""bytes; a str is text (UTF-8); a path is a file; an open file (binary); or an iterable of bytes."""


class Failed(Exception):
    """What gives the data has failed, by an error of prise's: another session, say, whose content is copied here.

    It is no answer of the server that the data goes to, which waits for the rest; so it must not be taken for one.
    """

    def __init__(self, error: PriseError) -> None:
        super().__init__(error)
        self.error = error


class Source:
    """Pieces of bytes, to be read once. size: of all, None where it is not known. name: of the file, None likewise."""

    def __init__(self, pieces: Iterable[bytes], size: int | None = None, name: str | None = None) -> None:
        self._pieces = pieces
        self.size = size
        self.name = name

    @classmethod
    def of(cls, data: Data, offset: int = 0) -> Source:
        """From anything that `put` takes. offset: bytes of it to leave out. Raises UsageError, and OSError for a file."""
        if isinstance(data, Source):
            rest_size = None if data.size is None else max(data.size - offset, 0)
            return cls(_skip(data, offset), rest_size, data.name) if offset else data
        if isinstance(data, str):
            data = data.encode()
        if isinstance(data, bytes | bytearray | memoryview):
            rest = bytes(data)[offset:]
            return cls((rest,), len(rest))
        if isinstance(data, os.PathLike):
            path = Path(data)
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return cls(_read_path(path, offset), None, path.name)
            path.open("rb").close()  # one that cannot be read is to be found out before a server has been told of it
            return cls(_read_path(path, offset), max(status.st_size - offset, 0), path.name)
        if isinstance(data, TextIOBase):
            raise UsageError("the file is open for text; open it with mode 'rb'")
        if hasattr(data, "read"):
            return cls(_read_file(data, offset), _size_of(data, offset))
        if isinstance(data, Iterable):
            pieces: Any = data
            return cls(_skip(pieces, offset))
        raise UsageError(
            "what is sent is bytes, text, a path, an open file or an iterable of bytes, not {kind}",
            kind=type(data).__name__,
        )

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces:
                yield _as_bytes(piece)
        except PriseError as error:
            raise Failed(error) from None

    def read(self) -> bytes:
        """All of it: for messages, which are sent after a look at them."""
        try:
            return b"".join(self)
        except Failed as failure:  # nobody waits for the rest
            raise failure.error from None


def _read_path(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _read_file(file, offset)


def _read_file(file: Any, offset: int) -> Iterator[bytes]:
    if offset:
        file.seek(offset, os.SEEK_CUR)
    while piece := file.read(PIECE):
        yield piece


def _size_of(file: Any, offset: int) -> int | None:
    try:
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (AttributeError, OSError, ValueError):
        return None
    return max(int(end) - int(here) - offset, 0)


def _skip(pieces: Iterable[bytes], offset: int) -> Iterator[bytes]:
    for piece in map(_as_bytes, pieces):
        if offset < len(piece):
            yield piece[offset:]
        offset = max(offset - len(piece), 0)


def _as_bytes(piece: Any) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise UsageError("a piece of what is sent is {kind}, not bytes", kind=type(piece).__name__)
    return bytes(piece)

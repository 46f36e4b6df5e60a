"""A folder as one file to download: `?download=zip`, `tar` or `tar.gz`, made while it is sent.

    walk (what may be served, one entry after the other) -> zip or tar (a generator of bytes) -> threads.Stream

Nothing is collected: memory holds one piece of 256 KiB, the names of the folders on the way down and, for zip, its
directory. Sizes are not known before, so zip has its data descriptors (APPNOTE.TXT 4.4.4, bit 3) and tar needs none.

The rules are those of serving: no dot files, regular files alone, links only to what lies inside the root. A link to a
folder is followed, but not from inside another one, nor upwards: each thing is there once for each way to it that people see.

A file that cannot be read, or becomes shorter while it is sent, cannot stop an archive that is half sent. What is wrong is
told in a file at its end, PROBLEMS.txt, so that nobody takes it for complete.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from typing import IO, Final, NamedTuple, cast
from urllib.parse import quote

from prise.web.entries import HIDDEN
from prise.web.folder import MOST_PARTS, Opened
from prise.web.request import Request
from prise.web.response import Response
from prise.web.threads import Stream
from prise.web.types import content_type, packs_well

KINDS: Final = {"zip": "application/zip", "tar": "application/x-tar", "tar.gz": "application/gzip"}
"""What `?download=` may be, and its Content-Type."""

PIECE: Final = 256 * 1024
"""Bytes that are read, and sent, at once."""
MOST_IN_ZIP: Final = 1_000_000
"""Entries of a zip: its directory, which comes last, waits in memory (about 600 bytes for each). tar has no bound."""


_LEVEL: Final = 1  # of zlib: the network is near and several times faster than level 6, which saves a few per cent more
_MOST_PROBLEMS: Final = 1000
_BLOCK: Final = tarfile.BLOCKSIZE


class Entry(NamedTuple):
    """name: inside the archive, with "/" between its parts; None for `opened` tells of one that could not be opened."""

    name: str
    opened: Opened | None


def disposition(name: str) -> str:
    """The field Content-Disposition that has a browser save a file under this name (RFC 6266, RFC 8187)."""
    plain = "".join(each if each.isascii() and each.isprintable() and each not in '"\\/%' else "_" for each in name)
    whole = quote(os.fsencode(name).decode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}"


async def download(request: Request, directory: Opened, kind: str) -> Response:
    """The answer to `?download=kind` for an open directory, which the answer does not need any more.

    kind: of `KINDS`.
    """
    name = directory.name or os.path.basename(directory.folder.root) or "files"
    headers = [
        ("Content-Type", KINDS[kind]),
        ("Content-Disposition", disposition(f"{name}.{kind}")),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if request.method == "HEAD":
        return Response(200, headers, Stream(_nothing()))
    # A descriptor of its own: the thread that reads it may outlive the answer by one step.
    own = Opened(directory.folder, directory.parts, os.dup(directory.descriptor), directory.stat)
    pieces = {"zip": zip_of, "tar": tar_of, "tar.gz": tar_gz_of}[kind](own, name)
    # A generator that never began runs no `finally`, so its directory is closed here as well.
    return Response(200, headers, Stream(pieces), own.close)


def walk(directory: Opened, name: str) -> Generator[Entry]:
    """The folder and everything in it that may be served. The receiver closes what it gets, before it asks for the next."""
    return _walk(directory, name, (), through_link=False)


def _walk(directory: Opened, name: str, above: tuple[tuple[int, int], ...], *, through_link: bool) -> Generator[Entry]:
    try:
        yield Entry(f"{name}/", Opened(directory.folder, directory.parts, os.dup(directory.descriptor), directory.stat))
        above = (*above, (directory.stat.st_dev, directory.stat.st_ino))
        try:
            with os.scandir(directory.descriptor) as found:
                names = sorted((each.name, each.is_symlink()) for each in found)
        except OSError:
            yield Entry(f"{name}/", None)
            return
        for child, is_link in names:
            if child.startswith(HIDDEN):
                continue
            try:
                opened = directory.child(child)
            except PermissionError:
                yield Entry(f"{name}/{child}", None)
                continue
            except OSError:  # a dot file, a link to the outside, a device, or gone: it is not served either
                continue
            if not opened.is_directory:
                yield Entry(f"{name}/{child}", opened)
                continue
            linked = is_link or through_link
            upwards = (opened.stat.st_dev, opened.stat.st_ino) in above
            if upwards or (is_link and through_link) or len(above) > MOST_PARTS:
                opened.close()
                continue
            yield from _walk(opened, f"{name}/{child}", above, through_link=linked)
    finally:
        directory.close()


def zip_of(directory: Opened, name: str) -> Generator[bytes]:
    """A folder as a zip, in pieces. It closes the directory."""
    sink = _Sink()
    problems = _Problems()
    count = 0
    with (
        closing(walk(directory, name)) as entries,
        zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive,
    ):
        for entry in entries:
            opened = entry.opened
            if opened is None:
                problems.add(entry.name, "it could not be read")
                continue
            with opened:
                count += 1
                if count > MOST_IN_ZIP:
                    problems.add(entry.name, "a zip holds no more entries; take tar")
                    break
                info = _zip_info(entry.name, opened.stat)
                if opened.is_directory:
                    archive.writestr(info, b"")
                else:
                    with archive.open(info, "w") as writing:
                        for piece in _read(opened, entry.name, problems):
                            writing.write(piece)
                            if sink.size >= PIECE:
                                yield sink.take()
            if sink.size >= PIECE:
                yield sink.take()
        if problems.text:
            archive.writestr(f"{_utf8(name)}/PROBLEMS.txt", problems.text)
    yield sink.take()


def _zip_info(name: str, found: os.stat_result) -> zipfile.ZipInfo:
    # zip has local times, from 1980 to 2107, in steps of two seconds.
    when = time.localtime(found.st_mtime)[:6]
    when = min(max(when, (1980, 1, 1, 0, 0, 0)), (2107, 12, 31, 23, 59, 58))
    info = zipfile.ZipInfo(_utf8(name), when)
    info.create_system = 3  # Unix: the rights count
    info.external_attr = (stat.S_IFMT(found.st_mode) | _rights(found)) << 16
    if stat.S_ISDIR(found.st_mode):
        info.external_attr |= 0x10
        return info
    info.file_size = found.st_size  # decides whether 64 bits are needed; what is read is counted anew
    packs = packs_well(content_type(name.rpartition("/")[2]))
    info.compress_type = zipfile.ZIP_DEFLATED if packs else zipfile.ZIP_STORED
    return info


def tar_of(directory: Opened, name: str) -> Generator[bytes]:
    """A folder as a tar (POSIX pax), in pieces. It closes the directory."""
    sink = _Sink()
    problems = _Problems()
    with closing(walk(directory, name)) as entries:
        for entry in entries:
            opened = entry.opened
            if opened is None:
                problems.add(entry.name, "it could not be read")
                continue
            with opened:
                info = _tar_info(entry.name, opened.stat)
                sink.write(_tar_head(info))
                if not opened.is_directory:
                    left = info.size
                    for piece in _read(opened, entry.name, problems):
                        left -= len(piece)
                        sink.write(piece)
                        if sink.size >= PIECE:
                            yield sink.take()
                    # The size was announced: what is missing becomes zeros, as GNU tar does, and is told at the end.
                    while left > 0:
                        sink.write(bytes(min(left, PIECE)))
                        left -= PIECE
                        yield sink.take()
                    sink.write(bytes(-info.size % _BLOCK))
            if sink.size >= PIECE:
                yield sink.take()
    if problems.text:
        told = problems.text.encode("utf-8", "replace")
        info = tarfile.TarInfo(f"{name}/PROBLEMS.txt")
        info.size, info.mtime = len(told), int(time.time())
        sink.write(_tar_head(info) + told + bytes(-len(told) % _BLOCK))
    sink.write(bytes(2 * _BLOCK))
    yield sink.take()


def tar_gz_of(directory: Opened, name: str) -> Generator[bytes]:
    """`tar_of`, compressed."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    plain = tar_of(directory, name)
    try:
        for piece in plain:
            if packed := packer.compress(piece):
                yield packed
        yield packer.flush()
    finally:
        plain.close()


def _tar_info(name: str, found: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.rstrip("/"))
    # Who owns it here means nothing elsewhere, and is nobody's business.
    info.mode, info.mtime = _rights(found), int(found.st_mtime)
    if stat.S_ISDIR(found.st_mode):
        info.type = tarfile.DIRTYPE
    else:
        info.size = found.st_size
    return info


def _tar_head(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _read(opened: Opened, name: str, problems: _Problems) -> Generator[bytes]:
    """The bytes that the file had when it was opened; fewer when it became shorter, which is noted."""
    position, size = 0, opened.stat.st_size
    while position < size:
        try:
            piece = os.pread(opened.descriptor, min(PIECE, size - position), position)
        except OSError as error:
            problems.add(name, f"it could not be read from byte {position} on: {error.strerror}")
            return
        if not piece:
            problems.add(name, f"it became shorter while it was read: {position} bytes of {size}")
            return
        position += len(piece)
        yield piece


def _rights(found: os.stat_result) -> int:
    """Readable for all, and programs stay programs."""
    return 0o755 if stat.S_ISDIR(found.st_mode) or found.st_mode & 0o100 else 0o644


def _utf8(name: str) -> str:
    """zip knows no bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _nothing() -> Generator[bytes]:
    yield from ()


class _Problems:
    """What could not be packed as it should. Bounded."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, name: str, reason: str) -> None:
        if len(self._lines) < _MOST_PROBLEMS:
            self._lines.append(f"{_utf8(name)!r}: {reason}")
        else:
            self._more += 1

    @property
    def text(self) -> str:
        lines = [*self._lines, f"and {self._more} more"] if self._more else self._lines
        return "".join(f"{line}\n" for line in lines)


class _Sink(io.RawIOBase):
    """What `zipfile` writes to, and we take from. It cannot seek, so zipfile puts sizes behind the data. size: bytes to take."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return taken

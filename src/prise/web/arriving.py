"""A body on its way into a file: gathered, counted against what fits, written in a thread; and what names it may have."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from typing import Final

from prise.web.entries import HIDDEN
from prise.web.folder import LONGEST_PART, Opened
from prise.web.quota import Quota
from prise.web.request import Body, HttpError, Request
from prise.web.unfinished import Unfinished

PIECE: Final = 512 * 1024
"""Bytes that are gathered before a thread writes them."""

_NUMBER: Final = re.compile(r"[0-9]{1,18}")
# Control characters, what separates parts of a path somewhere, bytes that are no UTF-8, and what turns the writing round, so
# that "gpj.exe" is not shown as "exe.jpg".
_NOT_IN_NAMES: Final = re.compile("[\0-\x1f\x7f-\x9f/\\\\\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_DISK_SAYS_NO: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_name(name: str, *, dot_files: bool) -> None:
    """Raises HttpError for a name that no new file or folder may have."""
    if name in ("", ".", "..") or _NOT_IN_NAMES.search(name) or name != name.strip():
        raise HttpError("a name has no slashes, control characters, or spaces at its ends")
    if name.startswith(HIDDEN) or (name.startswith(".") and not dot_files):
        raise HttpError("names that begin with a dot are not taken here")
    if len(os.fsencode(name)) > LONGEST_PART:
        raise HttpError("a name has at most {most} bytes", most=LONGEST_PART)


def number_in(request: Request, name: str) -> int:
    """A field that is a number of bytes. Raises HttpError."""
    text = request.headers.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise HttpError("the field {name} is a number of bytes", name=name)
    return int(text)


class Room:
    """What fits. largest: bytes of one file, None for no bound but the disk's."""

    def __init__(self, largest: int | None, quota: Quota) -> None:
        self.largest = largest
        self.quota = quota

    def check(self, size: int, directory: Opened) -> None:
        """Before anything of it comes. Raises HttpError. Blocks: called in a thread."""
        self.check_size(size)
        self.quota.check(size, directory)

    def check_size(self, size: int) -> None:
        """Raises HttpError for a file that is too large."""
        if self.largest is not None and size > self.largest:
            raise HttpError("a file may have {most} bytes here", status=413, most=self.largest)


class Arriving:
    """Bytes on their way into a part of a file."""

    def __init__(self, room: Room, directory: Opened, part: Unfinished) -> None:
        self.part = part
        self._room = room
        self._directory = directory
        self._waiting = bytearray()

    async def receive(self, request: Request, body: Body, *, resumable: bool) -> bool:
        """The whole body. True when the file is whole with it.

        When it fails, what came is kept where it is resumable and would fit, and removed otherwise. Raises what iterating the
        body raises, HttpError, OSError.
        """
        length = number_in(request, "upload-length") if "upload-length" in request.headers else None
        complete = not resumable or request.headers.get("upload-complete") != "?0"
        try:
            async for piece in body:
                await self.take(piece)
            await self.flush()
            if not resumable and length is not None and self.part.size != length:
                raise HttpError("Upload-Length does not agree with the body")
        except BaseException as error:
            no_room = (isinstance(error, HttpError) and error.status in (413, 507)) or (
                isinstance(error, OSError) and error.errno in _DISK_SAYS_NO
            )
            if resumable and not no_room:
                self._keep()
            else:
                self.part.discard()
            raise
        return complete and (length is None or self.part.size == length)

    async def take(self, data: bytes) -> None:
        """Some bytes. Raises HttpError, OSError."""
        self._waiting += data
        self._room.check_size(self.part.size + len(self._waiting))
        if len(self._waiting) >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        """Writes what has gathered. Raises as `take`."""
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            await asyncio.to_thread(self._write, waiting)

    def _write(self, data: bytearray) -> None:
        self._room.quota.reserve(len(data), self._directory)
        self.part.write(data)

    def _keep(self) -> None:
        """What has come stays for later, if the disk takes it."""
        try:
            self._write(self._waiting)
        except (OSError, HttpError):
            pass
        self.part.keep()

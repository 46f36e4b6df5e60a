"""How much a folder may hold, and how much of the disk stays free."""

from __future__ import annotations

import os
import time
from typing import Final

from prise.web.folder import Opened
from prise.web.request import HttpError

_MEASURED: Final = 60.0  # seconds after which a folder is measured again; until then, what arrives is added


class Quota:
    """Asked before bytes are written. most: bytes in all files below root, None: no bound. keep_free: bytes of the file system.

    What other processes write counts after a minute. Blocks while it measures: called in a thread.
    """

    def __init__(self, root: str, most: int | None, keep_free: int) -> None:
        self.root = root
        self.most = most
        self.keep_free = keep_free
        self._used = 0
        self._when = float("-inf")

    def reserve(self, count: int, directory: Opened) -> None:
        """Before `count` bytes are written. Raises HttpError with status 507 when they do not fit."""
        self.check(count, directory)
        self._used += count

    def check(self, count: int, directory: Opened) -> None:
        """Whether so many would fit now; nothing is reserved. Raises as `reserve`."""
        if self.keep_free:
            disk = os.fstatvfs(directory.descriptor)
            if disk.f_bavail * disk.f_frsize - count < self.keep_free:
                raise HttpError("there is no room for this on the server's disk", status=507)
        if self.most is None:
            return
        now = time.monotonic()
        if now - self._when > _MEASURED:
            self._used, self._when = _size(self.root), now
        if self._used + count > self.most:
            raise HttpError(
                "this folder may hold {most} bytes, and there is no room for more", status=507, most=self.most
            )


def _size(root: str) -> int:
    total = 0
    for _, _, files, directory in os.fwalk(root):
        for name in files:
            try:
                total += os.stat(name, dir_fd=directory, follow_symlinks=False).st_size
            except OSError:  # gone meanwhile
                continue
    return total

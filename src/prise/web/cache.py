"""Small files that are asked for again and again, as bytes ready to send.

`HotFiles` answers with no coroutine and no thread, at the price of one stat: for every request it looks whether the file is
still the same, by device, inode, size and times, so an edited file is seen at once. Only requests that were there together,
in one round of the event loop, share a look: none of their clients can tell which came first. All forms of a file (as it
is, packed) are entries of their own. What was not used for longest goes first when the bytes are too many.

One thing a stat cannot see: two changes within a tick of the system's clock that keep the length. So a file that changed
only just now is not remembered yet (`settled`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from typing import Final, NamedTuple, TypeAlias

from prise.web.compression import accepted
from prise.web.conditional import FIELDS, evaluate
from prise.web.request import Request
from prise.web.response import Ready, Response, ready

LARGEST: Final = 64 * 2**10
"""Bytes of a file that may be remembered. Larger ones gain nothing: sendfile is as fast."""
MOST: Final = 64 * 2**20
"""Bytes of all that is remembered, each entry with what it costs beside its bytes."""
OVERHEAD: Final = 1500
"""Bytes that an entry costs beside its heads and body, about: the key, the table, the signature."""
LOOK_AGAIN: Final = 5.0
"""Seconds after which an entry is made anew, for what its stats do not show: a packed form that now lies beside the file."""

_TICK: Final = 20_000_000  # nanoseconds; the system's clock ticks every 4 ms (every 10 on some)
_SPECIAL: Final = FIELDS | {"range"}

Signature: TypeAlias = tuple[int, int, int, int, int]
Checks: TypeAlias = tuple[tuple[str, Signature | None], ...]
Key: TypeAlias = tuple[str, tuple[str, ...]]


class _Entry(NamedTuple):
    full: Ready
    bodiless: Ready
    unchanged: Ready
    tag: str
    changed: float
    checks: Checks
    size: int
    until: float


def signature(found: os.stat_result) -> Signature:
    """What changes when a file does; the time of the inode's change among it, which nobody can set back."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def settled(found: os.stat_result) -> bool:
    """Whether any further change would show in the signature: the last one is more than a tick ago."""
    return max(found.st_mtime_ns, found.st_ctime_ns) + _TICK < time.time_ns()


def key_of(request: Request) -> Key:
    """What decides about the bytes of an answer: the path, and the codings that the client takes."""
    field = request.headers.get("accept-encoding")
    return (request.path, accepted(field) if field else ())


class HotFiles:
    """Remembers at most `most` bytes of answers. For one event loop (or thread)."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.size = 0
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._looked: set[Key] = set()
        """What was looked at in this round of the loop; bound: a round has so many connections."""

    def get(self, request: Request) -> Ready | None:
        """The answer to GET or HEAD, or None when it is not here, not right any more, or not so simple."""
        method = request.method
        if (method != "GET" and method != "HEAD") or request.length != 0:
            return None
        key = key_of(request)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until < time.monotonic():
            self._drop(key)
            return None
        if key not in self._looked:
            for path, known in entry.checks:
                try:
                    found: Signature | None = signature(os.stat(path))
                except OSError:
                    found = None
                if found != known:
                    self._drop(key)
                    return None
            self._share_look(key)
        self._entries.move_to_end(key)
        if not request.headers.keys().isdisjoint(_SPECIAL):
            status = evaluate(request.headers, method, entry.tag, entry.changed)
            if status == 304:
                return entry.unchanged
            if status is not None or ("range" in request.headers and method == "GET"):
                return None
        return entry.full if method == "GET" else entry.bodiless

    def put(self, key: Key, answer: Response, unchanged: Response, tag: str, changed: float, checks: Checks) -> None:
        """Remembers an answer. unchanged: the 304. tag, changed: of what is answered. checks: paths, and what each must look
        like (None: missing)."""
        full, bodiless, short = ready(answer), ready(answer, head=True), ready(unchanged)
        size = len(full.rest) + len(bodiless.rest) + len(short.rest) + len(key[0]) + OVERHEAD
        if size > self.most:
            return
        self._drop(key)
        until = time.monotonic() + LOOK_AGAIN
        self._entries[key] = _Entry(full, bodiless, short, tag, changed, checks, size, until)
        self.size += size
        while self.size > self.most:
            self.size -= self._entries.popitem(last=False)[1].size

    def _share_look(self, key: Key) -> None:
        if not self._looked:
            try:
                asyncio.get_running_loop().call_soon(self._looked.clear)
            except RuntimeError:
                return  # no loop: there are no rounds
        self._looked.add(key)

    def _drop(self, key: Key) -> None:
        self._looked.discard(key)
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry.size

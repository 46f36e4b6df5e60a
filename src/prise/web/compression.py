"""Which coded form a client gets: what Accept-Encoding says, and gzip or zstd made on the fly.

`accepted` turns the field into codings, best first. `Packer` packs a file's bytes in a thread and remembers the outcome
(bounded, in bytes); requests for the same file that come meanwhile wait for the same thread. Forms that were made before
and lie beside the file (`page.html.br`) are found in site.py.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Final

EXTENSIONS: Final = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""Coding -> the ending of a file's form in it; the order is ours where the client has no wish: best first."""

LEAST: Final = 512
"""Bytes; below, the saving is less than a packet."""
MOST: Final = 4 * 2**20
"""Bytes; above, packing takes longer than most lines need for the difference, and the outcome must be kept in memory."""

_ELEMENT: Final = re.compile(
    r"[\t ]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[\t ]*(?:;[\t ]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[\t ]*)?"
)


@lru_cache(256)
def accepted(field: str) -> tuple[str, ...]:
    """The codings of ours that an Accept-Encoding field takes rather than the plain bytes, best first. () for none.

    An element that is not well formed is left out. Plain bytes are always possible in the end: who refuses them
    (`identity;q=0`) and knows none of ours gets them all the same, as RFC 9110 §12.5.3 allows.
    """
    qualities: dict[str, float] = {}
    for element in field.split(",")[:50]:
        match = _ELEMENT.fullmatch(element)
        if match:
            name = match[1].lower()
            qualities["gzip" if name == "x-gzip" else name] = float(match[2] or 1)
    others = qualities.get("*", 0.0)
    # Plain bytes that are not named are acceptable, but liked less than whatever is.
    plain = qualities.get("identity", 0.0)
    ours = [(qualities.get(coding, others), coding) for coding in EXTENSIONS]
    # Sorting is stable: among equals our order stays.
    return tuple(
        coding for quality, coding in sorted(ours, key=lambda each: -each[0]) if quality > 0 and quality >= plain
    )


def _gzip(data: bytes) -> bytes:
    # wbits 31: with gzip's head, whose time is 0: equal bytes give equal bytes, as the tag promises.
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def _zstd() -> Callable[[bytes], bytes] | None:
    """From Python 3.14 itself, or from the package `zstandard`, where there is one of them."""
    try:
        compress: Callable[[bytes], bytes] = import_module("compression.zstd").compress
        return compress
    except ImportError:
        pass
    try:
        compressor = import_module("zstandard").ZstdCompressor
    except ImportError:
        return None

    def packed(data: bytes) -> bytes:
        outcome: bytes = compressor(level=3).compress(data)  # one for each call: they must not be shared by threads
        return outcome

    return packed


class Packer:
    """Packs what is asked for and keeps it. most: bytes of what is kept. For one event loop.

    codings: what it can make, best first.
    """

    def __init__(self, most: int = 16 * 2**20) -> None:
        self.most = most
        self._makers: dict[str, Callable[[bytes], bytes]] = {"gzip": _gzip}
        zstd = _zstd()
        if zstd is not None:
            self._makers = {"zstd": zstd, "gzip": _gzip}
        self.codings = tuple(self._makers)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._under_way: dict[str, asyncio.Task[bytes]] = {}

    async def pack(self, tag: str, coding: str, read: Callable[[], bytes]) -> bytes:
        """What `read` gives, in that coding. tag: changes when the bytes do (the entity tag of the outcome).

        read: called in a thread, perhaps by another request's call, and not at all where the outcome is known.
        """
        known = self._kept.get(tag)
        if known is not None:
            self._kept.move_to_end(tag)
            return known
        task = self._under_way.get(tag)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._make, coding, read))
            self._under_way[tag] = task
            task.add_done_callback(lambda task: self._done(tag, task))
        # Shielded: one client that goes away must not take it from the others.
        return await asyncio.shield(task)

    def _make(self, coding: str, read: Callable[[], bytes]) -> bytes:
        return self._makers[coding](read())

    def _done(self, tag: str, task: asyncio.Task[bytes]) -> None:
        del self._under_way[tag]
        if task.cancelled() or task.exception() is not None:
            return
        packed = task.result()
        self._kept[tag] = packed
        self._size += len(packed)
        while self._size > self.most:
            self._size -= len(self._kept.popitem(last=False)[1])

"""Small forms of pictures for a listing: `?thumb=1`, made by Pillow (an extra) in a thread, and remembered.

A picture is untrusted: only formats of the web, only files and pixel counts below a bound are opened, two at once, so that a
small file that unpacks to gigabytes ("decompression bomb") costs nothing but its header.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import Any, Final

from prise.web.conditional import entity_tag, evaluate
from prise.web.folder import Opened
from prise.web.request import Request
from prise.web.response import Response, plain

SIDE: Final = 320
"""Pixels of the longer side."""
LARGEST: Final = 64 * 2**20
"""Bytes of a picture's file."""
MOST_PIXELS: Final = 50_000_000
"""Width times height; about 4 bytes of memory for each while it is made smaller."""
KEPT: Final = 16 * 2**20
"""Bytes of thumbnails that are remembered."""
EXTENSIONS: Final = frozenset((".jpg", ".jpeg", ".png", ".gif", ".webp"))

_AT_ONCE: Final = 2
_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP")


@cache
def available() -> bool:
    """Whether Pillow is installed."""
    try:
        import_module("PIL.Image")
    except ImportError:
        return False
    return True


class Thumbnails:
    """Makes and remembers them. For one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()  # b"": none can be made of this one
        self._size = 0
        self._making = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, request: Request, opened: Opened) -> Response:
        """The answer to GET or HEAD `picture?thumb=1`; the file is not needed any more after that. 404 where none can be made."""
        tag = entity_tag(opened.stat, "thumb")
        shared = [("ETag", tag), ("Cache-Control", "no-cache")]
        if evaluate(request.headers, request.method, tag, None) == 304:
            return Response(304, shared)
        data = self._kept.get(tag)
        if data is None:
            async with self._making:
                data = self._kept.get(tag)  # somebody else may have made it meanwhile
                if data is None:
                    # In a task of its own, on a descriptor of its own: who goes away must not close it under the thread.
                    own = Opened(opened.folder, opened.parts, os.dup(opened.descriptor), opened.stat)
                    data = await asyncio.shield(asyncio.create_task(self._make(tag, own)))
        else:
            self._kept.move_to_end(tag)
        if not data:
            return plain(404, "there is no small form of this", [("Cache-Control", "no-cache")])
        kind = "image/webp" if data[:4] == b"RIFF" else "image/jpeg"
        return Response(200, [("Content-Type", kind), ("X-Content-Type-Options", "nosniff"), *shared], data)

    async def _make(self, tag: str, opened: Opened) -> bytes:
        with opened:
            data = await asyncio.to_thread(_made, opened)
        self._remember(tag, data)
        return data

    def _remember(self, tag: str, data: bytes) -> None:
        self._kept[tag] = data
        self._size += len(data) + 200
        while self._size > KEPT:
            self._size -= len(self._kept.popitem(last=False)[1]) + 200


def _made(opened: Opened) -> bytes:
    """JPEG, or WebP where something is transparent; b"" for what is no picture of ours, broken, or too large. Blocks."""
    if opened.is_directory or opened.stat.st_size > LARGEST:
        return b""
    data = opened.read(LARGEST)
    image: Any = import_module("PIL.Image")
    turned: Any = import_module("PIL.ImageOps").exif_transpose
    try:
        with image.open(BytesIO(data), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                return b""
            picture.draft("RGB", (SIDE, SIDE))  # JPEG: decodes no more than is needed
            small = picture
            small.thumbnail((SIDE, SIDE))
            small = turned(small)
            transparent = small.mode in ("RGBA", "LA", "PA") or "transparency" in small.info
            small = small.convert("RGBA" if transparent else "RGB")
            out = BytesIO()
            if transparent:
                small.save(out, "WEBP", quality=75)
            else:
                small.save(out, "JPEG", quality=75, optimize=True)
            return out.getvalue()
    except Exception:  # Pillow raises what its decoders raise: OSError, ValueError, SyntaxError, struct.error...
        return b""

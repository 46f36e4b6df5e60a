"""What the pages of the web server load: style and scripts, under `/.prise/`. No file that is served can be meant by that:
names that begin with a dot are not served.

They are read once, and their addresses carry what they are made of (`listing.css?v=3f2a...`), so browsers keep them for a year.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from prise.web.request import Body, Request
from prise.web.response import Response, plain

PREFIX: Final = "/.prise/"

_KINDS: Final = {
    "icon.svg": "image/svg+xml",
    "listing.css": "text/css; charset=utf-8",
    "listing.js": "text/javascript; charset=utf-8",
}


@cache
def _read(name: str) -> tuple[bytes, str]:
    data = files(__name__).joinpath(name).read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:16]


def address(name: str) -> str:
    """Where a page finds an asset."""
    return f"{PREFIX}{name}?v={_read(name)[1]}"


async def handler(request: Request, body: Body) -> Response:
    """Answers below `PREFIX`: `Routes({assets.PREFIX: assets.handler, ...})`."""
    name = request.path.removeprefix("/")
    if name not in _KINDS:
        return plain(404)
    if request.method not in ("GET", "HEAD"):
        return plain(405, headers=[("Allow", "GET, HEAD")])
    data, version = _read(name)
    tag = f'"{version}"'
    shared = [("Cache-Control", "public, max-age=31536000, immutable"), ("ETag", tag)]
    if request.headers.get("if-none-match") == tag:
        return Response(304, shared)
    return Response(200, [("Content-Type", _KINDS[name]), ("X-Content-Type-Options", "nosniff"), *shared], data)

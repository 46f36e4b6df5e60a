"""A directory as an answer: a page for people (page.py), JSON for programs, an archive (archive.py) to take home.

    ?sort=name|size|date  ?order=asc|desc  ?filter=TEXT  ?page=N     what is shown, 1,000 entries on a page
    ?format=json|html     instead of what Accept says; JSON has everything unless a page is asked for
    ?download=zip|tar|tar.gz                                         the folder and what is below it

JSON is a list of objects: name, type ("directory" or "file"), size (bytes, null for a directory), modified (RFC 3339, UTC),
url (relative, null for a name that is no UTF-8 and so has none) and, for files, media_type.

Reading and sorting happen in a thread, at most `AT_ONCE` at a time, on a descriptor of the thread's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final
from urllib.parse import quote

from prise.locale import LANGUAGES
from prise.web import archive, readme
from prise.web.access import Permission
from prise.web.entries import PER_PAGE, Entry, Wish, scan, select
from prise.web.folder import Opened
from prise.web.negotiation import language, media_type, parameters
from prise.web.page import Page, Reader
from prise.web.request import Request
from prise.web.response import Response, plain
from prise.web.threads import Stream
from prise.web.types import content_type

AT_ONCE: Final = 2
"""Directories that are read at the same time."""

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: nothing from elsewhere, and nothing written into the page itself."""


class Listing:
    """Answers GET and HEAD for a directory; a `Listing` of site.py.

    permission: what a request may do, for the forms that are shown. login: whether who may not upload may log in to do so.
    archives: whether folders may be downloaded. For one event loop.
    """

    def __init__(
        self,
        permission: Callable[[Request], Permission] = lambda request: Permission.READ,
        *,
        login: bool = False,
        archives: bool = True,
    ) -> None:
        self._permission = permission
        self._login = login
        self._archives = archives
        self._reading = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, request: Request, directory: Opened) -> Response:
        query = parameters(request.query)
        kind = query.get("download")
        if kind is not None:
            if not self._archives or kind not in archive.KINDS:
                return plain(404, f"a folder can be had as {', '.join(archive.KINDS)}" if self._archives else "")
            return await archive.download(request, directory, kind)
        wanted = query.get("format") or media_type(request.headers.get("accept", ""), ("text/html", "application/json"))
        wish = Wish.of(query)
        if wanted.endswith("json"):
            return await self._json(directory, wish, paged="page" in query)
        reader = Reader(
            language=language(request.headers.get("accept-language", ""), LANGUAGES),
            permission=self._permission(request),
            login=self._login,
            archives=self._archives,
        )
        body = await self._in_thread(_page, directory, wish, reader)
        return Response(
            200,
            [
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Language", reader.language),
                ("Content-Security-Policy", POLICY),
                ("Referrer-Policy", "same-origin"),
                *_SHARED,
            ],
            body,
        )

    async def _json(self, directory: Opened, wish: Wish, *, paged: bool) -> Response:
        entries: list[Entry] = await self._in_thread(_selected, directory, wish)
        if paged:
            entries = entries[(wish.page - 1) * PER_PAGE : wish.page * PER_PAGE]
        return Response(200, [("Content-Type", "application/json"), *_SHARED], Stream(_as_json(entries)))

    async def _in_thread(self, work: Callable[..., Any], directory: Opened, *arguments: Any) -> Any:
        # The task goes on when the client has gone: it holds the descriptor, and its place among those at work.
        own = Opened(directory.folder, directory.parts, os.dup(directory.descriptor), directory.stat)
        return await asyncio.shield(asyncio.create_task(self._work(work, own, *arguments)))

    async def _work(self, work: Callable[..., Any], own: Opened, *arguments: Any) -> Any:
        with own:
            async with self._reading:
                return await asyncio.to_thread(work, own, *arguments)


_SHARED: Final = (
    ("Vary", "Accept, Accept-Language, Authorization"),
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
)


def _selected(directory: Opened, wish: Wish) -> list[Entry]:
    return select(scan(directory)[0], wish)


def _page(directory: Opened, wish: Wish, reader: Reader) -> bytes:
    everything, more = scan(directory)
    name = readme.name_in(everything)
    page = Page(
        parts=directory.parts,
        root=os.path.basename(directory.folder.root) or "/",
        entries=select(everything, wish),
        total=len(everything),
        more=more,
        wish=wish,
        readme=(name, readme.shown(directory, name)) if name is not None else None,
    )
    return page.html(reader).encode("utf-8", "replace")


def _as_json(entries: Sequence[Entry]) -> Generator[bytes]:
    """In pieces of PER_PAGE entries."""
    opening = "["
    for start in range(0, len(entries), PER_PAGE):
        yield (opening + ",\n".join(_json_of(each) for each in entries[start : start + PER_PAGE])).encode()
        opening = ",\n"
    yield b"]\n" if entries else b"[]\n"


def _json_of(entry: Entry) -> str:
    fields: dict[str, Any] = {
        "name": entry.name.encode("utf-8", "replace").decode() if not entry.reachable else entry.name,
        "type": "directory" if entry.is_directory else "file",
        "size": None if entry.is_directory else entry.size,
        "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.modified)),
        "url": f"./{quote(entry.name, safe='')}{'/' if entry.is_directory else ''}" if entry.reachable else None,
    }
    if not entry.is_directory:
        fields["media_type"] = content_type(entry.name)
    return json.dumps(fields)

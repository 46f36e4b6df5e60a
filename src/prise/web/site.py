"""A folder as answers: `Site(root)` is the handler that `prise web` serves, and the chat room's page comes from.

    path -> what lies there (finding.py, folder.py) -> which coded form (compression.py) -> has the client got it (conditional.py)
         -> which part (ranges.py) -> a Response; small ones are remembered as bytes (cache.py) for `Site.quick`

Reading is done here. What lists a directory and what writes are given as functions (`Listing`, `Writer`).
Nothing here waits for a disk in the event loop longer than it takes to open a file or to read 64 KiB; packing goes to a thread.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from prise.web import ranges
from prise.web.body import answer_to
from prise.web.cache import LARGEST, MOST, Checks, HotFiles, key_of, settled, signature
from prise.web.compression import EXTENSIONS, LEAST, Packer, accepted
from prise.web.compression import MOST as MOST_TO_PACK
from prise.web.conditional import entity_tag, evaluate, http_date, range_applies
from prise.web.finding import Finder, check
from prise.web.folder import Folder, Opened
from prise.web.headers import Extra, Fields
from prise.web.request import Body, HttpError, Request
from prise.web.response import FilePart, Ready, Response, plain
from prise.web.types import UNKNOWN, content_type, packs_well

_UPLOAD: Final = re.compile("(?:^|&)upload=")

log = logging.getLogger("prise.web")

Listing: TypeAlias = Callable[[Request, Opened], Awaitable[Response]]
"""Answers GET and HEAD for a directory without an index. The open directory stays open until the response is closed."""


class Writer(Protocol):
    """Answers the methods that change something. methods: which ones ("PUT"). It is also asked about uploads that go on:
    HEAD with `upload=` in the query."""

    methods: frozenset[str]

    async def __call__(self, request: Request, body: Body) -> Response: ...


class _Form(NamedTuple):
    """In which form a file is sent. varies: other clients may get another. beside: the file made before that is sent instead.
    packed: we code it ourselves, on the fly."""

    tag: str
    varies: bool = False
    coding: str = ""
    beside: Opened | None = None
    packed: bool = False


class _Changed(Exception):
    """The file was written to before all of it was packed: what was packed may be neither the old nor the new one."""


class Site:
    """Serves what lies below `root`, on one event loop (the model asyncio).

    index: names tried, in order, for a directory. pretty: `/about` finds about.html. spa: other paths whose last part has no
    dot find the root's index, as a single-page application wants. not_found: the root's file that is sent with a 404, when
    there is one. dot_files: see `Folder`. precompressed: a form `page.html.br` (.zst, .gz) that is not older is sent to who
    takes it. compress: text is packed on the fly. hot: bytes of small answers that are remembered, 0 for none.
    max_age: seconds for which a client need not ask again; None: it asks each time (no-cache), and is told when nothing changed.
    cors: True for any origin, or the one origin whose pages may read. headers: (name, value) more, or instead of ours.
    listing, writer: see `Listing`, `Writer`; without them a directory is not found and writing is not allowed.
    Raises UsageError for a root that is no folder and headers that are none.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        index: Sequence[str] = ("index.html",),
        pretty: bool = True,
        spa: bool = False,
        not_found: str = "404.html",
        dot_files: bool = False,
        precompressed: bool = True,
        compress: bool = True,
        hot: int = MOST,
        max_age: int | None = None,
        cors: bool | str = False,
        headers: Sequence[tuple[str, str]] = (),
        listing: Listing | None = None,
        writer: Writer | None = None,
    ) -> None:
        self.folder = Folder(root, dot_files=dot_files)
        self.finder = Finder(self.folder, index, pretty, spa)
        self.not_found = not_found
        self.precompressed = precompressed
        self.listing = listing
        self.writer = writer
        self.packer = Packer() if compress else None
        self.hot = HotFiles(hot)
        self.extra = Extra(cors, headers)
        self._caching = "no-cache" if max_age is None else f"max-age={max_age}"
        writes = sorted(writer.methods) if writer is not None else []
        self.allow = ", ".join(("GET", "HEAD", "OPTIONS", *writes))

    def quick(self, request: Request) -> Ready | None:
        """The whole answer where it is remembered and still right. Only for who may read everything: access is not asked."""
        return None if self._is_for_writer(request) else self.hot.get(request)

    async def __call__(self, request: Request, body: Body) -> Response:
        try:
            response = await self._answer(request, body)
        except HttpError as error:
            response = answer_to(error)  # here, so that it has the same fields as others
        # Not written into it: a listing or writer may keep its answers.
        return Response(response.status, self.extra.added(response.headers), response.body, response.close)

    async def _answer(self, request: Request, body: Body) -> Response:
        method = request.method
        if self.writer is not None and self._is_for_writer(request):
            return await self.writer(request, body)
        if method == "GET" or method == "HEAD":
            try:
                try:
                    return await self._read(request)
                except _Changed:
                    return await self._read(request, packing=False)
            except FileNotFoundError:
                return self._missing()
            except PermissionError:
                return _error(403)
            except OSError as error:  # out of descriptors or memory, a broken disk
                log.error(
                    "the answer to %(method)s %(target)s failed: %(error)s",
                    {"method": method, "target": ascii(request.target), "error": error},
                )
                return _error(503, ("Retry-After", "2"))
        if method == "OPTIONS":
            return Response(204, [("Allow", self.allow), *self.extra.preflight(request, self.allow)])
        return _error(405, ("Allow", self.allow))

    def _is_for_writer(self, request: Request) -> bool:
        method = request.method
        if self.writer is None or method == "GET":
            return False
        return method in self.writer.methods or (method == "HEAD" and _UPLOAD.search(request.query) is not None)

    async def _read(self, request: Request, packing: bool = True) -> Response:
        try:
            found = self.finder.find(request.path)
        except ValueError:
            return _error(400)
        if isinstance(found, str):
            where = f"{found}?{request.query}" if request.query else found
            return Response(301, [("Location", where), ("Cache-Control", "no-cache")])
        opened, checks = found
        if not opened.is_directory:
            return await self._file(request, opened, checks, packing)
        try:
            if self.listing is None:
                raise FileNotFoundError(request.path)
            response = await self.listing(request, opened)
        except BaseException:
            opened.close()
            raise
        response.close = _both(response.close, opened.close)
        return response

    async def _file(self, request: Request, found: Opened, checks: Checks, packing: bool) -> Response:
        """The answer to who asked for this open file; closes it, or leaves that to the answer."""
        sent = found
        try:
            kind = content_type(found.name)
            form = self._form(request, found, kind, packing)
            sent = form.beside or found
            changed = min(found.stat.st_mtime, time.time())  # a file from the future is from now (RFC 9110 §8.8.2.1)
            shared = [("ETag", form.tag), ("Cache-Control", self._caching)]
            if form.varies:
                shared.append(("Vary", "Accept-Encoding"))
            status = evaluate(request.headers, request.method, form.tag, changed)
            if status is not None:
                return Response(304, shared) if status == 304 else _error(status)
            fields = [("Last-Modified", http_date(changed)), *shared]
            if form.coding:
                fields.insert(0, ("Content-Encoding", form.coding))
            if not form.packed:
                fields.append(("Accept-Ranges", "bytes"))
                part = self._part(request, form.tag, changed, sent.stat.st_size)
                if part is not None:
                    return _partial(part, sent, kind, fields)
            fields.insert(0, ("Content-Type", kind))
            if form.packed:
                body = await self._packed(found, form)
            elif sent.stat.st_size > LARGEST:
                whole = FilePart(sent.descriptor, 0, sent.stat.st_size)
                return Response(200, fields, [whole], sent.keep())
            else:
                body = sent.read(LARGEST)
            if checks and len(body) <= LARGEST and settled(found.stat) and _steady(sent):
                if form.beside is not None:
                    checks = (*checks, check(form.beside))
                answer = Response(200, self.extra.added(fields), body)
                unchanged = Response(304, self.extra.added(shared))
                self.hot.put(key_of(request), answer, unchanged, form.tag, changed, checks)
            return Response(200, fields, body)
        finally:
            found.close()
            sent.close()

    def _form(self, request: Request, found: Opened, kind: str, packing: bool) -> _Form:
        """Which of a file's forms this client gets."""
        packs = packs_well(kind)
        plain_tag = entity_tag(found.stat)
        if not packs and kind != UNKNOWN:
            return _Form(plain_tag)  # pictures, archives: nobody packs them again, so nobody need look
        field = request.headers.get("accept-encoding")
        codings = accepted(field) if field else ()
        if self.precompressed:
            for coding in codings:
                beside = self._made_before(found, coding)
                if beside is not None:
                    return _Form(entity_tag(beside.stat, coding), True, coding, beside)
        # A part of what is packed on the fly would mean packing all of it for each part.
        if (
            packing
            and packs
            and self.packer
            and "range" not in request.headers
            and LEAST <= found.stat.st_size <= MOST_TO_PACK
        ):
            for coding in codings:
                if coding in self.packer.codings:
                    return _Form(entity_tag(found.stat, coding), True, coding, packed=True)
        return _Form(plain_tag, self.precompressed or (packs and self.packer is not None))

    def _made_before(self, found: Opened, coding: str) -> Opened | None:
        """page.html.br beside page.html, when it is not older."""
        try:
            beside = self.folder.open_parts((*found.parts[:-1], f"{found.name}{EXTENSIONS[coding]}"))
        except OSError:
            return None
        if not beside.is_directory and beside.stat.st_mtime_ns >= found.stat.st_mtime_ns:
            return beside
        beside.close()
        return None

    async def _packed(self, found: Opened, form: _Form) -> bytes:
        assert self.packer is not None

        def read() -> bytes:
            # In a thread, and perhaps for several requests: it has its own descriptor.
            with self.folder.open_parts(found.parts) as again:
                data = b"" if again.is_directory else again.read(MOST_TO_PACK)
                if signature(os.fstat(again.descriptor)) != signature(found.stat):
                    raise _Changed
                return data

        return await self.packer.pack(form.tag, form.coding, read)

    def _part(self, request: Request, tag: str, changed: float, size: int) -> list[ranges.Range] | None:
        """The parts that are asked for; [] where none of them exists, None for all of it."""
        field = request.headers.get("range")
        if field is None or request.method != "GET" or not range_applies(request.headers, tag, changed):
            return None
        return ranges.parse(field, size)

    def _missing(self) -> Response:
        """404, with the folder's own page for it where there is one."""
        try:
            page = self.folder.open_parts((self.not_found,)) if self.not_found else None
        except OSError:
            page = None
        if page is None or page.is_directory:
            if page is not None:
                page.close()
            return _error(404)
        fields = (("Content-Type", content_type(page.name)), ("Cache-Control", "no-cache"))
        return Response(404, fields, [FilePart(page.descriptor, 0, page.stat.st_size)], page.keep())


def _error(status: int, *fields: tuple[str, str]) -> Response:
    # A 404 or 405 without it may be remembered by the client for as long as it likes (RFC 9111 §4.2.2).
    return plain(status, headers=(("Cache-Control", "no-cache"), *fields))


def _partial(wanted: list[ranges.Range], sent: Opened, kind: str, fields: Fields) -> Response:
    """206, or 416 where nothing is left to send."""
    size = sent.stat.st_size
    if not wanted:
        return _error(416, ranges.unsatisfiable(size))
    own, body = ranges.partial(wanted, sent.descriptor, size, kind)
    return Response(206, [*own, *fields], body, sent.keep())


def _steady(opened: Opened) -> bool:
    """Whether nobody has written to a file since it was opened, nor just before."""
    return settled(opened.stat) and signature(os.fstat(opened.descriptor)) == signature(opened.stat)


def _both(first: Any, second: Callable[[], None]) -> Callable[[], None]:
    """One `Response.close` for two things."""

    def close() -> None:
        try:
            if first is not None:
                first()
        finally:
            second()

    return close

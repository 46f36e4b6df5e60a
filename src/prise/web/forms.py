"""What a browser's form sends: the files of multipart/form-data (RFC 7578), one after the other, as they arrive.

The parser is `python-multipart`'s, an extra: bytes in, callbacks out. It bounds the header fields of a part; here the number
of parts and the length of what is no file are bounded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncGenerator
from importlib import import_module
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from prise.web.request import Body, HttpError, Request

MOST_PARTS: Final = 1000
LONGEST_FIELD: Final = 64 * 1024
"""Bytes of all fields together that are no files."""

_BOUNDARY: Final = re.compile(
    r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE
)
_FILENAME: Final = re.compile(r';\s*filename="((?:[^"\\\r\n]|\\.)*)"', re.IGNORECASE)


class Begin(NamedTuple):
    """A file begins. name: as the browser sent it, without a path; not checked."""

    name: str


class End(NamedTuple):
    """The file ends: it is whole."""


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def files_of(request: Request, body: Body) -> AsyncGenerator[Begin | bytes | End]:
    """The files of a form: Begin, its bytes in pieces, End, and so on. A file field that was left empty is left out.

    Raises HttpError for what is no such form (501 without python-multipart), and what iterating the body raises.
    """
    found = _BOUNDARY.match(request.headers.get("content-type", ""))
    if found is None:
        raise HttpError("a form with files says where its parts end (multipart/form-data; boundary=...)")
    events: list[Begin | bytes | End] = []
    collector = _Collector(events)
    parser, wrong = _parser(found[1] or found[2], collector)
    async for piece in body:
        try:
            parser.write(piece)
        except wrong as error:
            raise HttpError("this form is not well formed") from error
        for event in events:
            yield event
        events.clear()
    if not collector.over:
        raise HttpError("this form ends before its end")


async def name_in(request: Request, body: Body) -> str:
    """The field `name` of an ordinary form (application/x-www-form-urlencoded); "" for none."""
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return ""
    text = (await body.read(LONGEST_FIELD)).decode("latin-1")
    try:
        return parse_qs(text, max_num_fields=100).get("name", [""])[-1]
    except ValueError:
        return ""


def _parser(boundary: str, collector: _Collector) -> tuple[Any, type[Exception]]:
    try:
        multipart = import_module("python_multipart.multipart")
        wrong: type[Exception] = import_module("python_multipart.exceptions").FormParserError
    except ImportError as error:
        raise HttpError(
            'forms with files need a package on the server: pip install "prise[web]"; PUT needs none', status=501
        ) from error
    callbacks = {name: getattr(collector, name) for name in dir(collector) if name.startswith("on_")}
    return multipart.MultipartParser(boundary, callbacks), wrong


class _Collector:
    """The parser's callbacks. over: the last boundary has come."""

    def __init__(self, events: list[Begin | bytes | End]) -> None:
        self.over = False
        self._events = events
        self._parts = 0
        self._other = 0  # bytes of fields that are no files
        self._field = b""
        self._value = b""
        self._disposition = ""
        self._file = False

    def on_part_begin(self) -> None:
        self._parts += 1
        self._disposition, self._file = "", False
        if self._parts > MOST_PARTS:
            raise HttpError("a form may have {most} parts", status=413, most=MOST_PARTS)

    def on_header_begin(self) -> None:
        self._field = self._value = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value.decode("utf-8", "surrogateescape")

    def on_headers_finished(self) -> None:
        found = _FILENAME.search(self._disposition)
        if found is None:
            return
        # Browsers write %22 for a quote (WHATWG HTML, "multipart/form-data encoding algorithm"), other programs \".
        name = re.sub(r"\\(.)", r"\1", found[1]) if '\\"' in found[1] else found[1]
        name = re.split(r"[/\\]", name.replace("%22", '"'))[-1].strip()
        if name:
            self._file = True
            # A name is the same whichever way its accents are written; macOS takes them apart.
            self._events.append(Begin(unicodedata.normalize("NFC", name)))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file:
            self._events.append(data[start:end])
            return
        self._other += end - start
        if self._other > LONGEST_FIELD:
            raise HttpError("the fields of a form may have {most} bytes", status=413, most=LONGEST_FIELD)

    def on_part_end(self) -> None:
        if self._file:
            self._events.append(End())

    def on_end(self) -> None:
        self.over = True

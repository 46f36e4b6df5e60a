"""The bodies of requests (bytes, JSON, forms, files), and the content codings of answers (RFC 9110 §8.4).

What is sent goes piece by piece, with its length where that is known. What is received is unpacked piece by piece, and no piece
is larger than PIECE, however small it came: a bomb of zeros bursts in the hands of whoever keeps all of it.
"""

from __future__ import annotations

import json as json_module
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from prise.errors import ConnectionLost, ProtocolError, UsageError
from prise.protocols.source import PIECE, Data, Source

CODINGS = "gzip, deflate"
PART = 16 * 1024
"""Bytes that are unpacked at a time."""
"""What is asked for: what the standard library can unpack within a bound."""


class Body:
    """What a request carries. size: in bytes, None where it is not known. kind: its Content-Type, None for the caller to say.

    asks: whether the server may be asked first if it wants it (Expect); some know no such question.
    again: True where it can be sent a second time (a redirect, a login); of pieces that somebody makes there is no second time.
    """

    def __init__(self, data: Data, kind: str | None = None) -> None:
        self._data = data
        self._source = Source.of(data)
        self._begun = False
        self.kind = kind
        self.size = self._source.size
        self.asks = True
        self.again = isinstance(data, str | bytes | bytearray | memoryview | os.PathLike)

    @property
    def ready(self) -> bool:
        """True while it can be sent."""
        return self.again or not self._begun

    def __iter__(self) -> Iterator[bytes]:
        """The pieces; none is empty. Raises UsageError where they are not as many bytes as `size` says."""
        if self._begun and self.again:
            self._source = Source.of(self._data)
        self._begun = True
        sent = 0
        for piece in self._source:
            sent += len(piece)
            if self.size is not None and sent > self.size:
                break
            if piece:
                yield piece
        if self.size is not None and sent != self.size:
            raise UsageError("what is sent has not the {size} bytes that it was said to have", size=self.size)


def make_body(data: Data | None, json: Any, form: Any, files: Mapping[str, Any] | None) -> Body | None:
    """The body of a request from the arguments of `request`. Raises UsageError for two at once."""
    given = [name for name, value in (("data", data), ("json", json), ("form", form)) if value is not None]
    if len(given) > 1 or (files and given not in ([], ["form"])):
        raise UsageError("a request has one body: {given}", given=" or ".join(given + ["files"] * bool(files)))
    if files:
        return _multipart(form or {}, files)
    if form is not None:
        return Body(urlencode(form, doseq=True).encode(), "application/x-www-form-urlencoded")
    if json is not None:
        return Body(json_module.dumps(json, ensure_ascii=False).encode(), "application/json")
    return None if data is None else Body(data)


def _multipart(form: Any, files: Mapping[str, Any]) -> Body:
    """A form with files (RFC 7578). files: name of the field -> what `put` takes, or (file name, what put takes)."""
    boundary = os.urandom(16).hex()
    parts: list[tuple[bytes, Source]] = []
    for field, value in form.items() if isinstance(form, Mapping) else form:
        parts.append((_part(boundary, field), Source.of(str(value))))
    for field, value in files.items():
        name, data = value if isinstance(value, tuple) else (None, value)
        source = Source.of(data)
        parts.append((_part(boundary, field, name or source.name or field), source))
    end = f"--{boundary}--\r\n".encode()
    sizes = [None if source.size is None else len(head) + source.size + 2 for head, source in parts]
    known = [size for size in sizes if size is not None]
    size = sum(known) + len(end) if len(known) == len(sizes) else None

    def pieces() -> Iterator[bytes]:
        for head, source in parts:
            yield head
            yield from source
            yield b"\r\n"
        yield end

    return Body(Source(pieces(), size), f"multipart/form-data; boundary={boundary}")


def _part(boundary: str, field: str, name: str | None = None) -> bytes:
    said = f'; filename="{_quoted(name)}"' if name is not None else ""
    kind = "Content-Type: application/octet-stream\r\n" if name is not None else ""
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(field)}"{said}\r\n{kind}\r\n'.encode(
        errors="surrogateescape"
    )


def _quoted(text: str) -> str:
    """As browsers do it, so that no name ends its header."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


class Decoder:
    """Takes the content coding of an answer away. coded: False where there is none. Raises ProtocolError for one that nobody
    asked for."""

    def __init__(self, codings: list[str]) -> None:
        wanted = [coding for coding in codings if coding != "identity"]
        if len(wanted) > 1 or (wanted and wanted[0] not in ("gzip", "x-gzip", "deflate")):
            raise ProtocolError(
                "the answer is packed as {coding}, which was not asked for", coding=", ".join(wanted)[:80]
            )
        self.coded = bool(wanted)
        self._deflate = wanted == ["deflate"]
        self._unpack: Any = None

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The pieces that these bytes complete."""
        return self._feed(data) if self.coded else (data,)

    def _feed(self, data: bytes) -> Iterator[bytes]:
        # In short parts: what is not used yet is copied for each piece that comes out, and for each member of a gzip file.
        for start in range(0, len(data), PART):
            yield from self._feed_part(data[start : start + PART])

    def _feed_part(self, data: bytes) -> Iterator[bytes]:
        full = False
        while data or full:
            if self._unpack is None:
                self._unpack = zlib.decompressobj(self._form(data))
            try:
                piece = self._unpack.decompress(data, PIECE)
            except zlib.error:
                raise ProtocolError("the packed body is damaged", operation="receive") from None
            # What is still held inside comes out only by asking again: a full piece may not be the last.
            data, full = self._unpack.unconsumed_tail, len(piece) == PIECE
            if self._unpack.eof:
                full = False
                data, self._unpack = self._unpack.unused_data, None  # a gzip file may have several members
            if piece:
                yield piece

    def _form(self, data: bytes) -> int:
        """For zlib: gzip, or the two things that servers call deflate (with zlib's head, as the RFC says, and without)."""
        if not self._deflate:
            return 16 + zlib.MAX_WBITS
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS

    def end(self) -> None:
        """Raises ConnectionLost where the body ended in the middle."""
        if self._unpack is not None:
            raise ConnectionLost("the packed body ends in the middle", operation="receive")

"""Bytes to requests: HTTP/1.1 (RFC 9112) as a framing of this library, without I/O.

    feed(data) -> [Request, BodyPiece, BodyPiece, Request, ...]

Behind a `Request` whose length is not 0 come the pieces of its body, the last one marked. Where the pieces are cut depends on
how the bytes arrive; what they hold together does not, nor does any `Request` or `HttpError`.

What bounds a slow client: `pending` is above 0 from the first byte of a head to its last, and while a body is not complete; so
`Limits.message_time` is the deadline of a head. A piece is given out when 16 KiB have gathered, or the body is over: within
`message_time` that much must come, which is a lowest rate (546 bytes/s at 30 s) without a clock of its own. Only a client that
waits for "100 Continue" has no such deadline until it goes on: it is our turn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prise.errors import FrameError
from prise.framing.base import MOST_MESSAGES, Framing
from prise.framing.buffered import BufferedDecoder, bytes_of
from prise.web.request import MOST_FIELDS, HttpError, Request, parse
from prise.web.request import field as field_of

__all__ = ["BodyPiece", "HttpError", "HttpRequests"]

LONGEST_HEAD = 16 * 1024
"""Bytes of a request's head with the empty line at its end; its trailers may have as many."""

GATHERED = 16 * 1024
"""Bytes of a body that make a piece, unless the body ends before."""

LONGEST_PIECE = 64 * 1024

_MOST_BLANK = 4  # empty lines before a request: some clients send one behind a body (RFC 9112 §2.2)
_LONGEST_LINE = 256  # bytes of the line before a chunk, with its extensions
_MOST_EXTENSIONS = 16 * 1024  # bytes of all chunk extensions of a body: nobody uses them but to keep servers busy
_KNOWN = 1024  # heads remembered
_LONGEST_KNOWN = 2 * 1024  # bytes of such a head: the memory of all of them stays under 10 MiB or so

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_FIRST = frozenset(b"!#$%&'*+.^_`|~-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\r")

_HEAD, _SIZED, _CHUNK, _DATA, _CHUNK_END, _TRAILERS, _BROKEN = range(7)


class BodyPiece(NamedTuple):
    """A piece of a body, at most 64 KiB; empty only when it is the last of a chunked one."""

    data: bytes
    last: bool


@dataclass(frozen=True)
class HttpRequests(Framing):
    """Requests, one way; what is sent is bytes, as they are (the conversation knows what an answer looks like).

    longest_body: bytes above which a body is refused with 413 before or while it comes; None: the handler decides.
    """

    streaming = True

    longest_body: int | None = None
    _known: dict[bytes, Request] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Heads without a body, as they were last read. Forgotten all at once when it is full: nothing to keep in order."""

    def decoder(self, limit: int) -> RequestDecoder:
        return RequestDecoder(limit, self._known, self.longest_body)

    def encode(self, message: Any, /) -> bytes:
        return message if type(message) is bytes else bytes_of(message)


class RequestDecoder(BufferedDecoder):
    """One client's requests. `_stage` says what comes next."""

    __slots__ = (
        "_blank",
        "_extensions",
        "_fields",
        "_gathered",
        "_known",
        "_left",
        "_longest_body",
        "_longest_head",
        "_longest_piece",
        "_pieces_from",
        "_stage",
        "_total",
        "_waits",
    )

    def __init__(self, limit: int, known: dict[bytes, Request], longest_body: int | None) -> None:
        super().__init__(limit)
        self._known = known
        self._longest_body = longest_body
        self._longest_head = min(LONGEST_HEAD, limit)
        self._pieces_from = min(GATHERED, limit)
        self._longest_piece = min(LONGEST_PIECE, limit)
        self._stage = _HEAD
        self._blank = 0  # empty lines before this request
        self._waits = False  # the client waits for "100 Continue"
        self._left = 0  # bytes to come of the body (sized), of the chunk, or of the trailers
        self._fields = 0  # trailer fields
        self._total = 0  # bytes of a chunked body
        self._extensions = 0
        self._gathered = bytearray()  # of a chunked body; bound: `LONGEST_PIECE`

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        if self._stage == _HEAD and not self._buffer and (request := self._known.get(data)) is not None:
            self._origin += len(data)
            self._blank = 0
            return [request]  # the usual read: one head, seen before
        self._append(data)
        if data and self._stage != _HEAD:
            self._waits = False
        messages: list[Any] = []
        message: Request | BodyPiece | None = None
        try:
            while len(messages) < most:
                if self._stage == _HEAD:
                    message = self._take_head()
                elif self._stage == _SIZED:
                    message = self._take_sized()
                else:
                    message = self._take_chunked()
                if message is None:
                    break
                messages.append(message)
        except FrameError as error:
            self._stage = _BROKEN
            self._gathered.clear()
            if error.offset is None:
                error.offset = self._origin + self._at
            return self._fail(error, messages)
        self.more = message is not None and self._at < len(self._buffer)
        self._settle()
        if self._stage != _HEAD and not self.more:
            self._waits = self._waits and not self.pending
            self.pending = 0 if self._waits else max(self.pending + len(self._gathered), 1)
        return messages

    def _last(self) -> list[Any]:
        stage, offset = self._stage, self._origin + self._at
        if stage == _HEAD and self._at == len(self._buffer):
            return []
        self._stage = _BROKEN
        if stage == _HEAD:
            raise HttpError("the input ended inside the head of a request", offset=offset)
        raise HttpError("the input ended inside the body of a request", offset=offset)

    # -- the head -----------------------------------------------------------------------------------------------------

    def _take_head(self) -> Request | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n", self._at):
            self._at += 2
            self._searched = 0
            self._blank += 1
            if self._blank > _MOST_BLANK:
                raise HttpError("there are too many empty lines before a request")
        at = self._at
        if at == len(buffer):
            return None
        end = buffer.find(b"\r\n\r\n", at + max(self._searched - 3, 0))
        if end < 0:
            self._check(at, len(buffer))
            self._searched = len(buffer) - at
            return None
        end += 4
        head = bytes(buffer[at:end])
        request = self._known.get(head)
        if request is None:
            self._check(at, end)
            request = parse(head)
            if request.length == 0 and len(head) <= _LONGEST_KNOWN:
                if len(self._known) >= _KNOWN:
                    self._known.clear()
                self._known[head] = request
        else:
            self._at, self._searched, self._blank = end, 0, 0
            return request
        if request.length != 0:
            self._begin_body(request)
        self._at, self._searched, self._blank = end, 0, 0
        return request

    def _check(self, at: int, end: int) -> None:
        """Refuses at once what can never become a head, so that nobody waits for its end; in the order of the bytes, so that it
        makes no difference how they arrive."""
        buffer = self._buffer
        if buffer[at] not in _FIRST:
            raise HttpError("this is not HTTP", offset=self._origin + at)
        seen = min(end, at + self._longest_head + 1)
        known = at + max(self._searched - 1, 0)
        bare = _BARE.search(buffer, known, seen - (buffer[seen - 1] == 13))  # behind the last \r may come its \n
        if bare is not None:
            raise HttpError("a line ends with CR LF, and neither comes alone", offset=self._origin + bare.start())
        if end - at > self._longest_head:
            if buffer.find(b"\r\n", at, seen) < 0:
                raise HttpError("the target is longer than a head may be", status=414)
            raise HttpError("the head is longer than {limit} bytes", status=431, limit=self._longest_head)

    def _begin_body(self, request: Request) -> None:
        self._waits = request.expects
        if request.length is None:
            self._stage = _CHUNK
            self._total = self._extensions = 0
        else:
            self._stage, self._left = _SIZED, request.length
            self._check_total(request.length)

    def _check_total(self, size: int) -> None:
        if self._longest_body is not None and size > self._longest_body:
            raise HttpError("the body is longer than {limit} bytes", status=413, limit=self._longest_body)

    # -- the body -----------------------------------------------------------------------------------------------------

    def _take_sized(self) -> BodyPiece | None:
        at, left = self._at, self._left
        here = len(self._buffer) - at
        if here < left and here < self._pieces_from:
            return None
        count = min(here, left, self._longest_piece)
        data = bytes(self._buffer[at : at + count])
        self._at += count
        self._left -= count
        if not self._left:
            self._stage = _HEAD
        return BodyPiece(data, not self._left)

    def _take_chunked(self) -> BodyPiece | None:
        """Goes through as many chunks as make a piece."""
        while True:
            if self._stage == _DATA:
                if self._take_data():
                    return self._piece(last=False)
                if self._stage == _DATA:
                    return None
            elif self._stage == _CHUNK_END:
                ending = self._buffer[self._at : self._at + 2]
                if not b"\r\n".startswith(ending):
                    raise HttpError("a chunk does not end with CR LF where its size says")
                if len(ending) < 2:
                    return None
                self._at += 2
                self._stage = _CHUNK
            elif self._stage == _CHUNK:
                line = self._line(_LONGEST_LINE)
                if line is None:
                    return None
                self._begin_chunk(line)
            else:
                line = self._line(self._left)
                if line is None:
                    return None
                if not line:
                    self._stage = _HEAD
                    return self._piece(last=True)
                self._check_trailer(line)

    def _take_data(self) -> bool:
        """Gathers what is here of a chunk; True when there is enough for a piece."""
        gathered, at = self._gathered, self._at
        count = min(len(self._buffer) - at, self._left, self._longest_piece - len(gathered))
        gathered += self._buffer[at : at + count]
        self._at += count
        self._left -= count
        if not self._left:
            self._stage = _CHUNK_END
        return len(gathered) >= self._pieces_from

    def _piece(self, last: bool) -> BodyPiece:
        data = bytes(self._gathered)
        self._gathered.clear()
        return BodyPiece(data, last)

    def _line(self, most: int) -> bytes | None:
        """The next line, without its CR LF; None while it is not complete. most: bytes with its end."""
        buffer, at = self._buffer, self._at
        newline = buffer.find(b"\n", at + self._searched, at + most)
        if newline < 0:
            if len(buffer) - at >= most:
                raise HttpError("a line between chunks, or the trailers, are too long")
            self._searched = len(buffer) - at
            return None
        if newline == at or buffer[newline - 1] != 13:
            raise HttpError("a line between chunks ends with CR LF")
        self._at, self._searched = newline + 1, 0
        return bytes(buffer[at : newline - 1])

    def _begin_chunk(self, line: bytes) -> None:
        matched = _SIZE.fullmatch(line)
        if matched is None:
            raise HttpError("the size of a chunk is not hexadecimal digits")
        size = int(matched[1], 16)
        self._extensions += len(line) - len(matched[1])
        if self._extensions > _MOST_EXTENSIONS:
            raise HttpError("there are too many chunk extensions")
        self._total += size
        self._check_total(self._total)
        self._stage, self._left = _DATA, size
        if not size:
            self._stage, self._left, self._fields = _TRAILERS, LONGEST_HEAD, 0

    def _check_trailer(self, line: bytes) -> None:
        """Trailers are checked and dropped: nothing here has a use for them."""
        self._left -= len(line) + 2
        self._fields += 1
        if self._fields > MOST_FIELDS:
            raise HttpError("there are more than {limit} trailer fields", status=431, limit=MOST_FIELDS)
        field_of(line.decode("latin-1"))

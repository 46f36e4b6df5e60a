"""HTTP/1.1 over one link (RFC 9112), and what is left of HTTP/1.0: a request goes out, then its answer comes in.

Strict where an answer's end is at stake (lengths, chunks, folded or broken headers), since a reader and a proxy in between who
do not agree on it can be played against each other.
"""

from __future__ import annotations

import re
from typing import Literal

from prise.errors import ConnectionLost, MessageTooLarge, ProtocolError
from prise.protocols.http.body import Body
from prise.protocols.http.message import NAME, Head, Headers, Request
from prise.protocols.reader import Reader
from prise.protocols.steps import Receive, Steps
from prise.protocols.talk import HIDDEN, Talk, cleaned

MOST_HEADERS = 500
MOST_HEAD = 256 * 1024  # bytes of all headers
LONGEST_CHUNK_LINE = 4096  # bytes
MOST_INTERIM = 20
"""Answers 1xx before the one that counts."""

PATIENCE = 1.0
"""Seconds that a server has to say whether it wants the body (Expect, RFC 9110 §10.1.1); others say nothing."""

LARGE = 1024 * 1024
"""Bytes of a body from which on the server is asked first."""

SECRETS = ("authorization", "proxy-authorization", "cookie", "set-cookie")
"""Headers whose values a trace does not show."""

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (.*))?", re.DOTALL)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}")


class HTTP1:
    """idle: the next request may be sent on this link. answered: the answer had begun when the last request ended."""

    version = "1.1"

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._reader = talk.reader = Reader()
        self.idle = True
        self.answered = False
        self._keep = False  # the link, behind this answer
        self._form: Literal["nothing", "length", "chunks", "rest"] = "nothing"
        self._left = 0  # bytes of the body, or of this chunk
        self._first_chunk = True

    def start(self) -> Steps[None]:
        """Nothing is said before the first request."""
        return
        yield

    def usable(self) -> Steps[bool]:
        """Whether the next request may be sent: a server that has closed meanwhile, or said something unasked, gets none."""
        if not self.idle or self._reader.pending:
            return False
        return (yield Receive(0.0)) is None

    def ask(self, request: Request) -> Steps[Head]:
        """Sends a request, and gives the head of its answer."""
        self.idle = self.answered = False
        self._keep = True
        body = request.body
        head = [f"{request.method} {request.path} HTTP/1.1", f"Host: {request.host}"]
        head += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "host"]
        if body is not None:
            head.append("Transfer-Encoding: chunked" if body.size is None else f"Content-Length: {body.size}")
        elif request.method in ("POST", "PUT", "PATCH"):
            head.append("Content-Length: 0")
        asks_first = body is not None and _asks_first(body)
        if asks_first:
            head.append("Expect: 100-continue")
        self._trace(">", head)
        data = "\r\n".join([*head, "", ""]).encode(errors="surrogateescape")  # a realm, a cookie: as it came
        lost: ConnectionLost | None = None
        early: Head | None = None
        try:
            if body is None:
                yield data
            elif asks_first:
                yield data
                early = (yield from self._early(PATIENCE)) or (yield from self._send(b"", body))
            else:
                early = yield from self._send(data, body)
        except ConnectionLost as error:
            lost, self._keep = error, False  # it may have said why before it closed
        try:
            answer = early or (yield from self._head())
            for _ in range(MOST_INTERIM):
                if answer.status >= 200:
                    break
                answer = yield from self._head()
            else:
                raise ProtocolError("the server goes on saying that an answer will come")
        except ConnectionLost as error:
            raise lost or error from None
        self._frame(request, answer)
        return answer

    def _early(self, seconds: float) -> Steps[Head | None]:
        """The final answer of a server that does not wait for the body; None where there is none within these seconds, or it
        says to go on (1xx), which may come late, and unasked."""
        if not (yield from self._input(seconds)):
            return None
        head = yield from self._head()
        if head.status < 200:
            return None
        self._keep = False  # whether the server still waits for the body, it alone knows
        return head

    def _send(self, head: bytes, body: Body) -> Steps[Head | None]:
        """The head's bytes with the body's; stops, and gives the answer, where the server answers before it has all."""
        chunked = body.size is None
        first = True
        for piece in body:
            if not first and (early := (yield from self._early(0.0))) is not None:
                return early
            yield head + (b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            first, head = False, b""
        if chunked or head:
            yield head + (b"0\r\n\r\n" if chunked else b"")
        return None

    def comes(self, seconds: float) -> Steps[bool]:
        """Whether more of the body, or its end, is here within these seconds."""
        return self._form == "nothing" or (yield from self._input(seconds))

    def _input(self, seconds: float) -> Steps[bool]:
        if self._reader.pending:
            return True
        data = yield Receive(seconds)
        if data is None:
            return False
        if not data:
            self._reader.ended = True
        self._reader.put_back(data)
        return True

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _head(self) -> Steps[Head]:
        line = yield from self._line()
        match = _STATUS.fullmatch(line)
        if match is None:
            raise ProtocolError("this is no answer of HTTP/1: {line!r}", line=cleaned(line[:80]))
        if match.group(2) == "101":
            raise ProtocolError("the server goes over to another protocol, which nobody asked for")
        self.answered = True
        lines: list[tuple[str, str]] = []
        size = 0
        while line := (yield from self._line()):
            size += len(line)
            if size > MOST_HEAD or len(lines) >= MOST_HEADERS:
                raise MessageTooLarge(
                    "the answer has more than {most} headers, or {limit} bytes of them",
                    most=MOST_HEADERS,
                    limit=MOST_HEAD,
                )
            name, colon, value = line.partition(":")
            if not colon or not NAME.fullmatch(name) or "\0" in value or "\r" in value:
                raise ProtocolError("this is no header: {line!r}", line=cleaned(line[:80]))
            lines.append((name, value.strip(" \t")))
        minor, status, reason = match.groups()
        head = Head(f"1.{minor}", int(status), cleaned(reason or ""), Headers(lines))
        self._trace("<", [match.group(), *(f"{name}: {value}" for name, value in lines)])
        return head

    def _line(self) -> Steps[str]:
        return (yield from self._reader.line()).decode(errors="surrogateescape")

    def _frame(self, request: Request, head: Head) -> None:
        """How the body ends (RFC 9112 §6.3), and whether the link can be used afterwards (§9.3)."""
        said = head.headers.words("connection")
        self._keep = self._keep and ("close" not in said if head.version == "1.1" else "keep-alive" in said)
        self._left, self._first_chunk = 0, True
        codings, lengths = head.headers.words("transfer-encoding"), set(head.headers.words("content-length"))
        if (not codings and "transfer-encoding" in head.headers) or (not lengths and "content-length" in head.headers):
            raise ProtocolError("the answer says neither how its body comes nor that it has none")
        if request.method == "HEAD" or head.status in (204, 304):
            self._form = "nothing"
        elif codings:
            if codings != ["chunked"] or head.version == "1.0":
                raise ProtocolError(
                    "the body comes as {coding}, which nobody asked for", coding=", ".join(codings)[:80]
                )
            self._form = "chunks"
            self._keep = self._keep and not lengths  # both: somebody may be playing tricks
        elif lengths:
            length = lengths.pop()
            if lengths or not _LENGTH.fullmatch(length):
                raise ProtocolError("the answer's length is no number: {length!r}", length=length[:40])
            self._form, self._left = "length", int(length)
        else:
            self._form = "rest"
        if self._form == "nothing" or (self._form == "length" and not self._left):
            self._end()

    def _end(self) -> None:
        self._form = "nothing"
        self.idle = self._keep

    def piece(self) -> Steps[bytes]:
        """The next bytes of the body; b"" behind its end."""
        reader = self._reader
        if self._form == "nothing":
            return b""
        if self._form == "rest":
            self._keep = False
            data = yield from reader.rest()
            if not data:
                self._end()
            return data
        if self._form == "chunks" and not self._left and not (yield from self._next_chunk()):
            return b""
        data = yield from reader.piece(self._left)
        self._left -= len(data)
        if not self._left and self._form == "length":
            self._end()
        return data

    def _next_chunk(self) -> Steps[bool]:
        reader = self._reader
        if not self._first_chunk and (yield from reader.line(LONGEST_CHUNK_LINE)):
            raise ProtocolError("a chunk of the body is longer than it was said to be")
        self._first_chunk = False
        line = yield from reader.line(LONGEST_CHUNK_LINE)
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise ProtocolError(
                "this is no length of a chunk: {line!r}", line=cleaned(line[:40].decode(errors="replace"))
            )
        self._left = int(match.group(1), 16)
        if self._left:
            return True
        for _ in range(MOST_HEADERS):
            if not (yield from reader.line()):  # trailers: nobody needs them
                self._end()
                return False
        raise ProtocolError("the body has more than {limit} trailers", limit=MOST_HEADERS)

    def _trace(self, direction: str, lines: list[str]) -> None:
        if self._talk.options.trace is not None:
            for line in lines:
                self._talk.trace(direction, shown(line))


def _asks_first(body: Body) -> bool:
    """Whether the server is asked if it wants this."""
    large = body.size is None or body.size > LARGE
    return body.asks and body.size != 0 and (large or not body.again)


def shown(line: str) -> str:
    """A header as a trace may show it."""
    name, colon, value = line.partition(":")
    if not colon or name.lower() not in SECRETS:
        return line
    kept = value.strip().partition("=" if "cookie" in name.lower() else " ")  # a cookie's name, or the scheme
    return f"{name}: {kept[0]}{kept[1]}{HIDDEN}"

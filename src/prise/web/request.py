"""What a client asks, as data: the head of an HTTP/1.1 request (RFC 9110, 9112), checked and taken apart.

Heads repeat (a browser sends the same one for each picture), so a `Request` is immutable and made once for equal bytes; what
belongs to one connection, its peer and the body, comes beside it, as a `Body`.

`parse` is strict: whatever two servers might read in two ways (RFC 9112 §11.2, request smuggling) is refused, not repaired.
The refusal is an `HttpError`, which knows the status that the client is answered.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from prise import Address, FrameError

LONGEST_TARGET = 8 * 1024
"""Characters of a request's target (RFC 9112 §3 asks for at least 8,000)."""

MOST_FIELDS = 100
"""Header fields of one request, and as many trailer fields."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# Bytes above 127 have no place in a target, but people type curl http://localhost/été.txt, and nobody reads them in two ways.
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([^\x00-\x20\x7f#]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rf"({_TOKEN}):([\t\x20-\x7e\x80-\xff]*)")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LENGTH = re.compile(r"[0-9]+")
_MOST_DIGITS = 18  # of a Content-Length; more is no file on this earth, and `int` of very long texts is slow


class HttpError(FrameError):
    """A request that is refused, and with which status (400 and above). A handler may raise it too, to be done with a request."""

    def __init__(self, reason: str, /, *, status: int = 400, offset: int | None = None, **rest: Any) -> None:
        super().__init__(reason, offset=offset, **rest)
        self.status = status


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request's head.

    method: as it was sent ("GET"). target: as it was sent, "/a%20b?c=d". path: decoded (UTF-8; other bytes as surrogates),
    without the query, beginning with "/", its "." and ".." segments not resolved; "*" for OPTIONS *. query: behind "?", not
    decoded, "" for none. minor: 0 or 1, of HTTP/1.x. headers: names in lower case; what came several times is joined with ", "
    (RFC 9110 §5.3); not to be changed, since equal requests share it. host: of the Host field, or of the target where that has
    one, "" when an HTTP/1.0 client sent none. length: of the body in bytes, 0 for none, None for chunked. keep_alive: the
    connection goes on after the answer. expects: the client waits for "100 Continue" before its body.
    """

    method: str
    target: str
    path: str
    query: str
    minor: int
    headers: dict[str, str]
    host: str
    length: int | None
    keep_alive: bool
    expects: bool


class Body(Protocol):
    """The body of one request, and whose it is. A handler that does not read it leaves it to the conversation.

    peer: who asks. secure: inside TLS. length: see `Request.length`.
    """

    @property
    def peer(self) -> Address: ...

    @property
    def secure(self) -> bool: ...

    @property
    def length(self) -> int | None: ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they arrive. Asked first, a client that expects it is told to go on.

        Raises FrameError for a body that breaks the rules or ends too early, ConnectionLost, TooSlow: let them pass, and the
        conversation answers what can be answered.
        """

    async def read(self, most: int) -> bytes:
        """The whole body. Raises MessageTooLarge when it is longer than `most` bytes, and what iterating raises."""


def parse(head: bytes) -> Request:
    """The request of a head, which ends with an empty line. Raises HttpError."""
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    matched = _REQUEST_LINE.fullmatch(first)
    if matched is None:
        raise HttpError("the first line is not METHOD TARGET HTTP/1.1")
    method, target, major, minor = matched.groups()
    if major != "1" or minor not in "01":
        raise HttpError("only HTTP/1.1 and HTTP/1.0 are served here", status=505)
    if len(target) > LONGEST_TARGET:
        raise HttpError("the target is longer than {limit} characters", status=414, limit=LONGEST_TARGET)
    headers = _headers(lines)
    new = minor == "1"
    host, path, query = _target(method, target, _host(headers, new))
    connection = _tokens(headers, "connection")
    length = _length(headers, new)
    return Request(
        method=method,
        target=target,
        path=path,
        query=query,
        minor=int(minor),
        headers=headers,
        host=host,
        length=length,
        keep_alive="close" not in connection and (new or "keep-alive" in connection),
        expects=_expects(headers, new) and length != 0,
    )


def field(line: str) -> tuple[str, str]:
    """Name, in lower case, and value of one field's line. Raises HttpError."""
    matched = _FIELD.fullmatch(line)
    if matched is None:
        if line[:1] in " \t":
            raise HttpError("a header field that goes on in the next line is not served (RFC 9112 §5.2)")
        raise HttpError("a header field is NAME: VALUE, without a space before the colon or control characters")
    name, value = matched.groups()
    return name.lower(), value.strip(" \t")


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > MOST_FIELDS:
        raise HttpError("there are more than {limit} header fields", status=431, limit=MOST_FIELDS)
    headers: dict[str, str] = {}
    for line in lines:
        name, value = field(line)
        if name in headers:
            if name in ("host", "content-length"):
                raise HttpError("the header field {name} comes twice", name=name)
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _tokens(headers: dict[str, str], name: str) -> list[str]:
    value = headers.get(name)
    return [token.strip(" \t") for token in value.lower().split(",")] if value else []


def _host(headers: dict[str, str], needed: bool) -> str:
    host = headers.get("host")
    if host is None:
        if needed:
            raise HttpError("an HTTP/1.1 request needs the header field Host")
        return ""
    if not _AUTHORITY.fullmatch(host):
        raise HttpError("the header field Host is not HOST or HOST:PORT")
    return host


def _target(method: str, target: str, host: str) -> tuple[str, str, str]:
    """Host, decoded path and query of one of the four forms (RFC 9112 §3.2)."""
    if method == "CONNECT":
        if not _AUTHORITY.fullmatch(target) or ":" not in target:
            raise HttpError("the target of CONNECT is HOST:PORT")
        return target, "", ""
    if target == "*":
        if method != "OPTIONS":
            raise HttpError("the target * is for OPTIONS alone")
        return host, "*", ""
    if not target.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or not _AUTHORITY.fullmatch(absolute[1]):
            raise HttpError("the target is neither /PATH nor http://HOST/PATH")
        host, target = absolute.groups()
        if not target.startswith("/"):
            target = f"/{target}"
    path, _, query = target.partition("?")
    return host, _decoded(path), query


def _decoded(path: str) -> str:
    raw = path.encode("latin-1")
    if "%" in path:
        if _BAD_ESCAPE.search(path):
            raise HttpError("in the target a % is not followed by two hexadecimal digits")
        raw = unquote_to_bytes(raw)
        if b"\0" in raw:
            raise HttpError("the target holds a NUL (%00)")
    return raw.decode("utf-8", "surrogateescape")


def _length(headers: dict[str, str], new: bool) -> int | None:
    """How the body's end is found (RFC 9112 §6.3). Anything that could be read in two ways is refused."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise HttpError("a request has Content-Length or Transfer-Encoding, not both")
        if not new:
            raise HttpError("HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != "chunked":
            raise HttpError("the only Transfer-Encoding served here is chunked", status=501)
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise HttpError("Content-Length is not a number")
    if len(length) > _MOST_DIGITS:
        raise HttpError("the body is too long", status=413)
    return int(length)


def _expects(headers: dict[str, str], new: bool) -> bool:
    expected = headers.get("expect")
    if expected is None:
        return False
    if expected.lower() != "100-continue":
        raise HttpError("the only Expect served here is 100-continue", status=417)
    return new  # RFC 9110 §10.1.1: from HTTP/1.0 it is ignored

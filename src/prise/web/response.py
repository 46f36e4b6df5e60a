"""What a client is answered, as data, and the bytes of its head.

The conversation adds what HTTP/1.1 itself needs: Date, Server, Content-Length or chunks, Connection. A handler that names one of
these itself, or puts a line's end into a field, gets UsageError, which its client sees as 500 and the log as what it is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

from prise import UsageError


@dataclass(frozen=True, slots=True)
class FilePart:
    """count bytes of an open file (a descriptor), from offset on; where possible they do not pass through this process."""

    descriptor: int
    offset: int
    count: int


Content: TypeAlias = bytes | Sequence[bytes | FilePart] | AsyncIterator[bytes]
"""A body: bytes, or parts of known length in their order, or pieces that are made while they are sent (then it goes in chunks).
No descriptor is closed by the conversation: `Response.close` does that."""


@dataclass(slots=True)
class Response:
    """status: 200 to 599. headers: (name, value) in the order to send them, without those that the conversation adds. body: see
    `Content`; of the answer to HEAD only its length is used. close: called once, when the answer is sent or cannot be: closes
    what the body needs.
    """

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: Content = b""
    close: Any = field(default=None, repr=False)


class Ready(NamedTuple):
    """A whole answer as bytes, for a request on a connection that goes on; made by `ready`, to be given many times.

    first: the status line. rest: its fields but for those of the moment (Date, Server), and its body. length: of the body.
    """

    status: int
    first: bytes
    rest: bytes
    length: int


def plain(status: int, text: str = "", headers: Sequence[tuple[str, str]] = ()) -> Response:
    """A short answer in plain text; by default the status in words."""
    body = f"{text or HTTPStatus(status).phrase}\n".encode()
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), body)


def ready(response: Response, *, head: bool = False) -> Ready:
    """An answer whose body is bytes, made once for many requests. head: for HEAD. Raises UsageError for what cannot be sent."""
    body = response.body
    if not isinstance(body, bytes):
        raise UsageError("only an answer whose body is bytes can be made ready, not {kind}", kind=type(body).__name__)
    bodiless = response.status in BODILESS
    fields = fields_of(response, () if bodiless else (("Content-Length", str(len(body))),))
    shown = b"" if head or bodiless else body
    return Ready(response.status, status_line(response.status), fields + b"\r\n" + shown, len(shown))


BODILESS = (204, 304)
"""Statuses of answers that end with their head (RFC 9112 §6.3)."""

_OURS = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@cache  # at most 400 of them, since others are refused
def status_line(status: int) -> bytes:
    """The first line of an answer. Raises UsageError for what is no final status."""
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise UsageError("the status of an answer is between 200 and 599, not {status!r}", status=status)
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def fields_of(response: Response, added: Sequence[tuple[str, str]]) -> bytes:
    """The header fields of an answer, and those that the conversation adds. Raises UsageError."""
    lines = []
    for name, value in response.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise UsageError(
                "the header field {name!r}: {value!r} cannot be sent: a name is letters, digits and hyphens, "
                "a value Latin-1 without control characters",
                name=name,
                value=value,
            )
        if name.lower() in _OURS:
            raise UsageError("the header field {name} is added by the conversation itself", name=name)
        lines.append(f"{name}: {value}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in added]
    return "".join(lines).encode("latin-1")


def length_of(body: Content) -> int | None:
    """Bytes of a body; None when only sending it will tell. Raises UsageError for what is no body."""
    if isinstance(body, bytes):
        return len(body)
    if isinstance(body, AsyncIterator):
        return None
    length = 0
    for part in body if isinstance(body, Sequence) else (None,):
        if isinstance(part, bytes):
            length += len(part)
        elif isinstance(part, FilePart):
            length += part.count
        else:
            raise UsageError(
                "a body is bytes, a sequence of bytes and FileParts, or an asynchronous iterator of bytes, not {kind}",
                kind=type(body).__name__,
            )
    return length

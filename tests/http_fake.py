"""HTTP servers that answer as a test says: conversations on prise's own server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import prise
from prise.errors import PriseError
from tls_support import server_tls

Conversation = Callable[[Any], Any]
LONG = b"x" * 60_000


@contextmanager
def server(conversation: Conversation, tls: bool = False, alpn: str | None = None) -> Iterator[str]:
    """Runs a conversation; gives its URL, without a slash at the end."""

    def until_they_leave(connection: Any) -> None:
        try:
            conversation(connection)
        except PriseError:
            pass  # the client has had enough: that is what is tested

    encryption: dict[str, Any] = {"tls": server_tls(**({"alpn": (alpn,)} if alpn else {}))} if tls else {}
    where = f"{'tls:' if tls else ''}localhost:0"
    with prise.listen(until_they_leave, where, framing="chunks", model="threads", **encryption) as running:
        yield f"http{'s' if tls else ''}://localhost:{running.address.port}"


def heads(connection: Any) -> Iterator[str]:
    """The requests that come, without their bodies."""
    received = b""
    for piece in connection:
        received += piece
        while b"\r\n\r\n" in received:
            head, _, received = received.partition(b"\r\n\r\n")
            yield head.decode()


def saying(*answers: bytes) -> Conversation:
    """A server that answers one request after the other with these, then closes."""

    def conversation(connection: Any) -> None:
        for said, _ in zip(answers, heads(connection), strict=False):
            connection.send(said)

    return conversation


def page(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def asked(url: str, timeout: float = 0.5, **options: Any) -> bytes:
    with prise.open(f"{url}/", timeout=timeout, **options) as web:
        return bytes(web.get("file").read())


ENDED_HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = ENDED_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

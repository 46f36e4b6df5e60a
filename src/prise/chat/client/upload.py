"""A file for everybody in a room: HTTP PUT (RFC 9110) to the house's own port, through a blocking connection in a thread.

The address and its TLS are those of the conversation, whatever it is (a Unix path, tls with a pin, wss), so it is written by
hand over `prise.connect`: one request, one answer, then the connection ends.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import prise
from prise.chat.client.fields import text

PIECE = 64 * 1024
LONGEST_ANSWER = 64 * 1024
ANSWER_TIME = 60.0

_WITHOUT_WEBSOCKET = {"ws": "tcp", "wss": "tls"}
_URLS = {"tcp": "http", "ws": "http", "tls": "https", "wss": "https"}


def http_address(address: prise.Address) -> prise.Address:
    """The address below its WebSocket."""
    scheme = _WITHOUT_WEBSOCKET.get(address.scheme)
    if scheme is None:
        return address
    options = tuple(each for each in address.options if each[0] not in ("compress", "origin", "protocol"))
    return replace(address, scheme=scheme, path=None, options=options)


def web_url(address: prise.Address, url: str) -> str:
    """The whole URL of a file, where a browser can reach the house; else what the house says."""
    scheme = _URLS.get(address.scheme)
    return f"{scheme}://{_host(address)}{url}" if scheme and url.startswith("/") else url


def _host(address: prise.Address) -> str:
    host = address.host or "localhost"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def upload(
    path: Path,
    room: str,
    token: str,
    address: prise.Address,
    connect: Callable[[prise.Address], prise.Connector],
    progress: Callable[[int, int], object],
) -> None:
    """Sends a file, which the house then shows in the room. Blocking.

    connect: makes a connector with the framing `chunks`. progress: told bytes sent, and all of them; from this thread.
    Raises UsageError for a file that cannot be read or that the house refuses (with its reason), PeerError.
    """
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            if not path.is_file():
                raise prise.UsageError("{path} is not a file", path=path)
            with connect(http_address(address)).open() as connection:
                try:
                    connection.send(_head(path.name, room, token, address, size))
                    sent = 0
                    while sent < size and (data := file.read(min(PIECE, size - sent))):
                        connection.send(data)
                        sent += len(data)
                        progress(sent, size)
                    if sent < size:
                        raise prise.UsageError("{path} has become shorter while it was sent", path=path)
                except prise.ConnectionLost:
                    answer = b""
                    with suppress(prise.PeerError):  # a refusal, before all was sent
                        answer = _answer(connection)
                    if not answer:
                        raise
                else:
                    answer = _answer(connection)
    except OSError as error:
        if isinstance(error, prise.PriseError):
            raise
        raise prise.UsageError(
            "{path} cannot be read: {reason}", path=path, reason=error.strerror or str(error)
        ) from None
    _check(answer)


def _head(name: str, room: str, token: str, address: prise.Address, size: int) -> bytes:
    if not token.isascii() or not token.isprintable():
        raise prise.UsageError("the house's token cannot be sent in HTTP")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return (
        f"PUT /files/{quote(name, safe='', errors='replace')}?room={quote(room, safe='', errors='replace')} HTTP/1.1\r\n"
        f"Host: {_host(address)}\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {size}\r\nConnection: close\r\n\r\n"
    ).encode("ascii", "replace")


def _answer(connection: prise.Connection) -> bytes:
    """All that comes, up to a bound."""
    answer = b""
    while len(answer) < LONGEST_ANSWER and (data := connection.receive(timeout=ANSWER_TIME)) is not None:
        answer += data
        head, found, body = answer.partition(b"\r\n\r\n")
        if found and len(body) >= _length(head):
            break
    return answer


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _colon, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value[:12])
    return LONGEST_ANSWER


def _check(answer: bytes) -> None:
    """Raises UsageError unless the answer says that all is well."""
    head, _found, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise prise.FrameError("the house's answer is not HTTP")
    if words[1] in (b"200", b"201", b"204"):
        return
    given: Any = None
    with suppress(ValueError, RecursionError):
        given = json.loads(body)
    why = text(given, "why")
    if why:
        raise prise.UsageError("the house does not take the file: {why}", why=why)
    raise prise.UsageError("the house does not take the file: HTTP status {status}", status=words[1].decode())


def path_of(typed: str) -> Path:
    """The path that a person means; ~ is the home directory."""
    return Path(os.path.expanduser(typed))


def length_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def in_thread(action: Callable[[], None]) -> asyncio.Future[None]:
    """Runs something that blocks, in a thread that does not keep the program alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(None)

    def run() -> None:
        failure: Exception | None = None
        try:
            action()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, failure)

    threading.Thread(target=run, name="upload", daemon=True).start()
    return done

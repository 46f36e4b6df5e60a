"""One request to a server that should speak HTTP (RFC 9112) or WebSocket (RFC 6455): only the head of the answer is read."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING

from prise import ConnectionLost, FrameError, HandshakeError, TLSError, TooSlow

if TYPE_CHECKING:
    from prise.checks.probe import Result
    from prise.checks.target import Target

HEAD_SIZE = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: ([^\r\n]*))?")
_KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


def check_http(result: Result, sock: socket.socket) -> None:
    status, reason, headers = _ask(sock, result.target, ("Connection: close",))
    result.facts["http"] = {
        "status": status,
        "reason": reason,
        "server": headers.get("server"),
        "location": headers.get("location"),
    }
    if status == 400 and not result.target.tls and "https" in (reason + headers["-rest"]).lower():
        raise FrameError("TLS is spoken here: check it with https: or --tls")


def check_websocket(result: Result, sock: socket.socket) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    wanted = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
    status, reason, headers = _ask(sock, result.target, wanted)
    result.facts["websocket"] = {"status": status, "reason": reason, "server": headers.get("server")}
    if status != 101:
        hint = (
            "this is HTTP, but no WebSocket at this path (it answers {status}); is the path right?"
            if status in (200, 404, 405, 426)
            else "the server does not open a WebSocket: it answers {status}; a login, or another path, may be needed"
        )
        raise HandshakeError(hint, status=status)
    accept = base64.b64encode(hashlib.sha1(key.encode() + _KEY_SUFFIX.encode()).digest()).decode()
    if headers.get("sec-websocket-accept") != accept:
        raise HandshakeError("the server says that it opens a WebSocket, but its answer does not fit the question")


def _ask(sock: socket.socket, target: Target, lines: tuple[str, ...]) -> tuple[int, str, dict[str, str]]:
    """Sends a GET and reads the head of the answer. "-rest" among the headers is the begin of what follows it."""
    host = target.address.host or "localhost"
    place = f"[{host.partition('%')[0]}]" if ":" in host else host
    if target.address.port not in (80, 443):
        place += f":{target.address.port}"
    if target.address.scheme == "unix":
        place = "localhost"
    request = "\r\n".join((f"GET {target.path} HTTP/1.1", f"Host: {place}", "User-Agent: prise", *lines, "", ""))
    data = b""
    try:
        sock.sendall(request.encode())
        while b"\r\n\r\n" not in data and len(data) < HEAD_SIZE and (piece := sock.recv(4096)):
            data += piece
            if not data.startswith(b"HTTP/"[: len(data)]):
                break
    except TimeoutError:
        raise TooSlow("connected, but there is no answer to an HTTP request; is it an HTTP server?") from None
    except ssl.SSLError as error:
        if "CERTIFICATE_REQUIRED" in (error.reason or ""):
            raise TLSError("the server wants a client certificate") from None
        raise TLSError("TLS broke: {error}", error=(error.reason or str(error)).lower().replace("_", " ")) from None
    except OSError:
        pass  # a reset: what came before it tells more
    if not data:
        raise ConnectionLost(
            "the server closes the connection without an answer to an HTTP request; does it want TLS (https:)?"
            if not target.tls
            else "the server closes the connection without an answer to an HTTP request"
        )
    match = _STATUS.match(data)
    if match is None:
        if data[:2] == b"\x15\x03":
            raise FrameError("TLS is spoken here: check it with https: or --tls")
        raise FrameError(
            "this is not HTTP; the answer begins with {data}", data=repr(data[:60].decode(errors="replace").strip())
        )
    head, _blank, rest = data.partition(b"\r\n\r\n")
    headers = {"-rest": rest[:4096].decode(errors="replace")}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    return int(match[1]), (match[2] or b"").decode("latin-1").strip(), headers

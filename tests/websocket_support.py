"""WebSocket by hand, for tests: heads and frames as RFC 6455 draws them, a socket that speaks nothing else, and two layers
that talk with each other without any socket. Nothing here is taken from the package that prise uses."""

from __future__ import annotations

import socket
import struct
from base64 import b64encode
from hashlib import sha1
from typing import Any, NamedTuple, Self

import prise
from prise.errors import PriseError
from prise.layers.base import Layer
from tls_support import Pair

PATIENCE = 10.0

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x37\xfa\x21\x3d"


def accept_of(key: str) -> str:
    """§4.2.2: what proves that the server has read the key."""
    return b64encode(sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()


def request(
    path: str = "/",
    *extra: str,
    host: str = "localhost:8088",
    method: str = "GET",
    version: str = "HTTP/1.1",
    **changes: Any,
) -> bytes:
    """A client's head. extra: lines; changes: other values of the header fields, None leaves one out (`upgrade=None`)."""
    fields: dict[str, str | None] = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    known = {"version_": "Sec-WebSocket-Version"} | {name.rpartition("-")[2].lower(): name for name in fields}
    for name, value in changes.items():
        fields[known[name]] = value
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"{method} {path} {version}", *lines, *extra, "", ""]).encode("latin-1")


def response(key: str, *extra: str, status: str = "101 Switching Protocols", accept: str | None = None) -> bytes:
    """A server's head that opens the WebSocket."""
    lines = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept or accept_of(key)}", *extra]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def key_in(head: bytes) -> str:
    """The key in a client's head."""
    return next(
        line[18:].strip() for line in head.decode().split("\r\n") if line.lower().startswith("sec-websocket-key")
    )


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, mask: bytes | None = MASK, reserved: int = 0, size: int = 0
) -> bytes:
    """§5.2. reserved: the three bits; size: 2 or 8 bytes of length even where fewer would do. mask None: as servers send."""
    head = bytes([fin << 7 | reserved << 4 | opcode])
    masked = 0 if mask is None else 0x80
    length = len(data)
    if size == 8 or (not size and length > 0xFFFF):
        head += bytes([masked | 127]) + struct.pack("!Q", length)
    elif size == 2 or (not size and length > 125):
        head += bytes([masked | 126]) + struct.pack("!H", length)
    else:
        head += bytes([masked | length])
    if mask is None:
        return head + data
    return head + mask + masking(data, mask)


def masking(data: bytes, mask: bytes) -> bytes:
    long = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(long, "big")).to_bytes(len(data), "big")


def closing(code: int | None = 1000, reason: bytes = b"", mask: bytes | None = MASK) -> bytes:
    """A Close; code None: an empty one."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason, mask=mask)


class Got(NamedTuple):
    """A frame that has arrived. masked: with a mask, as clients must."""

    fin: bool
    reserved: int
    opcode: int
    data: bytes
    masked: bool = False

    @property
    def code(self) -> int | None:
        """Why a Close was sent; None without a reason."""
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.data[:2])[0] if self.data else None


def parse(data: bytes) -> tuple[list[Got], bytes]:
    """The frames at the start of the bytes, and what is left. Also checks that lengths are written in the shortest way."""
    frames = []
    while len(data) >= 2:
        masked, length, start = data[1] & 0x80, data[1] & 0x7F, 2
        if length == 126:
            if len(data) < 4:
                break
            length, start = struct.unpack_from("!H", data, 2)[0], 4
            assert length > 125
        elif length == 127:
            if len(data) < 10:
                break
            length, start = struct.unpack_from("!Q", data, 2)[0], 10
            assert length > 0xFFFF
        mask = data[start : start + 4]
        start += 4 if masked else 0
        if len(data) < start + length:
            break
        body = data[start : start + length]
        body = masking(body, mask) if masked else body
        frames.append(Got(bool(data[0] & 0x80), data[0] >> 4 & 7, data[0] & 15, body, bool(masked)))
        data = data[start + length :]
    return frames, data


def frames_of(data: bytes) -> list[Got]:
    """The bytes are whole frames and nothing else."""
    frames, rest = parse(data)
    assert rest == b"", rest
    return frames


def status_of(head: bytes) -> int:
    """The status of an HTTP answer, which must be whole: its body as long as it says."""
    start, blank, body = head.partition(b"\r\n\r\n")
    assert blank
    assert start.startswith(b"HTTP/1.1 "), start
    length = next((int(line[15:]) for line in start.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
    assert len(body) == length
    return int(start[9:12])


class Raw:
    """A client that is nothing but a socket. head: the server's answer to the handshake."""

    def __init__(self, address: prise.Address, asked: bytes | None = None, step: int = 0) -> None:
        """asked: another head than the usual one, b"" for none. step: write so many bytes at a time."""
        self.step = step
        self._rest = b""
        self.head = b""
        self.sock = socket.create_connection((address.host, address.port), timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if asked is None:
            asked = request(address.path or "/", host=f"127.0.0.1:{address.port}")
        if asked:
            self.write(asked)
            self.head = self.until(b"\r\n\r\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def write(self, data: bytes) -> None:
        step = self.step or len(data) or 1
        try:
            for position in range(0, len(data), step):
                self.sock.sendall(data[position : position + step])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has said why, and that is what the test looks at

    def until(self, end: bytes) -> bytes:
        data = b""
        while end not in data:
            some = self.sock.recv(65536)
            if not some:
                return data
            data += some
        head, _, self._rest = data.partition(end)
        return head + end

    def receive(self) -> Got | None:
        """The next frame; None when the server has ended."""
        while True:
            frames, _ = parse(self._rest)
            if frames:
                found = frames[0]
                size = len(frame(found.opcode, found.data, mask=MASK if found.masked else None))
                self._rest = self._rest[size:]
                return found
            try:
                some = self.sock.recv(65536)
            except ConnectionResetError:
                some = b""
            if not some:
                assert self._rest == b""
                return None
            self._rest += some

    def all(self) -> list[Got]:
        """Every frame until the server ends."""
        return list(iter(self.receive, None))

    def rest(self) -> bytes:
        """Every byte until the server ends."""
        data, self._rest = self._rest, b""
        try:
            while some := self.sock.recv(65536):
                data += some
        except ConnectionResetError:
            pass
        return data


class WebSocketPair(Pair):
    """A client's layer and a server's: `heard` has their messages."""

    heard: Any

    def give(self, layer: Layer, data: bytes) -> None:
        if self.watch:
            self.watched[layer] += data
        step = self.step or len(data) or 1
        for position in range(0, len(data), step):
            if layer in self.errors:
                return
            try:
                self.heard[layer] = [*self.heard[layer], *layer.receive(data[position : position + step])]
            except PriseError as error:
                self.errors[layer] = error
            else:
                if layer.error is not None:
                    self.errors[layer] = layer.error

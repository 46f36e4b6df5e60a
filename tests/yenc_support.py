"""Writes yEnc, which prise only reads."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32


def encoded(data: bytes, line: int = 128) -> bytes:
    """Lines of about this length."""
    lines = []
    for start in range(0, len(data), line):
        text = bytearray()
        for byte in data[start : start + line]:
            byte = (byte + 42) % 256
            # What has to be escaped, and what many escape (a dot, a tab, a blank at the ends of a line).
            if byte in b"\0\r\n=" or (byte in b". \t" and not text):
                text += bytes([0x3D, (byte + 64) % 256])
            else:
                text.append(byte)
        lines.append(bytes(text) + b"\r\n")
    return b"".join(lines)


def whole(data: bytes, name: str) -> bytes:
    """A file in one article."""
    head = f"=ybegin line=128 size={len(data)} name={name}\r\n".encode()
    return head + encoded(data) + f"=yend size={len(data)} crc32={crc32(data):08x}\r\n".encode()


def parts_of(data: bytes, name: str, size: int) -> Iterator[bytes]:
    """A file in articles of so many bytes each."""
    total = -(-len(data) // size)
    for number in range(total):
        piece = data[number * size : (number + 1) * size]
        begin = number * size
        yield (
            (
                f"=ybegin part={number + 1} total={total} line=128 size={len(data)} name={name}\r\n"
                f"=ypart begin={begin + 1} end={begin + len(piece)}\r\n"
            ).encode()
            + encoded(piece)
            + (
                f"=yend size={len(piece)} part={number + 1} pcrc32={crc32(piece):08x} crc32={crc32(data):08x}\r\n"
            ).encode()
        )

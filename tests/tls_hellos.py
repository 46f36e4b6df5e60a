"""What hostile or broken clients send instead of a TLS handshake, made by hand (in the manner of tlsfuzzer's scripts).

`REFUSED` has whole scripts after which a server must give up; RFC 8446 §4.1.2 and §5.1 say what a hello and a record look like.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CLIENT_HELLO = 1
TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0301, 0x0302, 0x0303, 0x0304
CIPHERS = (0x1301, 0x1302, 0xC02B, 0xC02C)  # AES-GCM, of TLS 1.3 and of 1.2 with ECDSA
NAME, GROUPS, SIGNATURES, ALPN, VERSIONS, KEY_SHARE = 0, 10, 13, 16, 43, 51

Extensions = Sequence[tuple[int, bytes]]


def sized(content: bytes, width: int) -> bytes:
    """Content behind its own length, as TLS writes vectors."""
    return len(content).to_bytes(width, "big") + content


def record(kind: int, content: bytes, version: int = TLS_1_0) -> bytes:
    return struct.pack("!BHH", kind, version, len(content)) + content


def message(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + sized(content, 3)


def extensions(versions: Sequence[int] = (TLS_1_3, TLS_1_2)) -> list[tuple[int, bytes]]:
    """Those that any client sends."""
    groups = struct.pack("!HH", 0x001D, 0x0017)
    signatures = struct.pack("!HHH", 0x0403, 0x0804, 0x0401)
    return [
        (GROUPS, sized(groups, 2)),
        (SIGNATURES, sized(signatures, 2)),
        (VERSIONS, sized(b"".join(version.to_bytes(2, "big") for version in versions), 1)),
        (KEY_SHARE, sized(struct.pack("!H", 0x001D) + sized(bytes(range(32)), 2), 2)),
    ]


def with_extension(kind: int, content: bytes) -> list[tuple[int, bytes]]:
    """The usual ones, this one in the place of its kind."""
    return [each for each in extensions() if each[0] != kind] + [(kind, content)]


def hello(
    *,
    version: int = TLS_1_2,
    session: bytes = b"",
    ciphers: Sequence[int] = CIPHERS,
    compressions: bytes = b"\0",
    more: Extensions | None = None,
) -> bytes:
    """A ClientHello, without the record around it. version: the old field, in which TLS 1.3 also says 1.2."""
    content = version.to_bytes(2, "big") + bytes(32) + sized(session, 1)
    content += sized(b"".join(cipher.to_bytes(2, "big") for cipher in ciphers), 2) + sized(compressions, 1)
    listed = b"".join(
        kind.to_bytes(2, "big") + sized(body, 2) for kind, body in (extensions() if more is None else more)
    )
    return message(CLIENT_HELLO, content + sized(listed, 2))


def split(content: bytes, size: int) -> bytes:
    """One message in many records."""
    return b"".join(record(HANDSHAKE, content[position : position + size]) for position in range(0, len(content), size))


GOOD = record(HANDSHAKE, hello())
"""Answered with a ServerHello."""

REFUSED: dict[str, bytes] = {
    # Versions and ciphers
    "SSL 2 hello": bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(16),
    "SSL 3 hello": record(HANDSHAKE, hello(version=0x0300, more=()), version=0x0300),
    "TLS 1.0 hello": record(HANDSHAKE, hello(version=TLS_1_0, more=extensions()[:2])),
    "TLS 1.1 hello": record(HANDSHAKE, hello(version=TLS_1_1, more=extensions()[:2])),
    "only old versions listed": record(HANDSHAKE, hello(more=extensions((TLS_1_1, TLS_1_0)))),
    "only unknown versions listed": record(HANDSHAKE, hello(more=extensions((0x7F1C, 0x0A0A)))),
    "no version listed": record(HANDSHAKE, hello(more=extensions(()))),
    "downgraded (fallback SCSV)": record(HANDSHAKE, hello(ciphers=(*CIPHERS, 0x5600), more=extensions()[:2])),
    "no common cipher": record(HANDSHAKE, hello(ciphers=(0x0000, 0x0005, 0xFAFA))),
    "no cipher at all": record(HANDSHAKE, hello(ciphers=())),
    "no compression that is none": record(HANDSHAKE, hello(compressions=b"\1")),
    "no compressions at all": record(HANDSHAKE, hello(compressions=b"")),
    # Fields of the wrong size
    "session id too long": record(HANDSHAKE, hello(session=bytes(33))),
    "session id of 255 bytes": record(HANDSHAKE, hello(session=bytes(255))),
    "half a cipher": record(HANDSHAKE, message(CLIENT_HELLO, b"\3\3" + bytes(32) + b"\0" + sized(b"\x13\1\x13", 2))),
    "hello of zero bytes": record(HANDSHAKE, message(CLIENT_HELLO, b"")),
    "hello cut inside, length right": record(HANDSHAKE, message(CLIENT_HELLO, hello()[4:50])),
    "bytes behind the extensions": record(HANDSHAKE, message(CLIENT_HELLO, hello()[4:] + b"\0\0\0")),
    "hello that announces 16 MB": record(HANDSHAKE, b"\1\xff\xff\xff" + hello()[4:]) + split(bytes(150_000), 2**14),
    # Extensions
    "empty groups": record(HANDSHAKE, hello(more=with_extension(GROUPS, b""))),
    "empty signatures": record(HANDSHAKE, hello(more=with_extension(SIGNATURES, b""))),
    "empty versions": record(HANDSHAKE, hello(more=with_extension(VERSIONS, b""))),
    "empty key share": record(HANDSHAKE, hello(more=with_extension(KEY_SHARE, b""))),
    "empty name": record(HANDSHAKE, hello(more=with_extension(NAME, b""))),
    "empty ALPN": record(HANDSHAKE, hello(more=with_extension(ALPN, b""))),
    "name with a zero in it": record(
        HANDSHAKE, hello(more=with_extension(NAME, sized(b"\0" + sized(b"local\0host", 2), 2)))
    ),
    "key share of one byte": record(
        HANDSHAKE, hello(more=with_extension(KEY_SHARE, sized(b"\0\x1d" + sized(b"\1", 2), 2)))
    ),
    "key share of zeroes": record(
        HANDSHAKE, hello(more=with_extension(KEY_SHARE, sized(b"\0\x1d" + sized(bytes(32), 2), 2)))
    ),
    "the same extension twice": record(HANDSHAKE, hello(more=[*extensions(), extensions()[0]])),
    # Records and their order
    "record of the wrong type": record(99, hello()),
    "record of version 9": record(HANDSHAKE, hello(), version=0x0901),
    "record longer than allowed": record(HANDSHAKE, hello() + bytes(2**14 + 1 - len(hello()))),
    "record of 65535 bytes": struct.pack("!BHH", HANDSHAKE, TLS_1_0, 65535) + hello(),
    "empty handshake records": record(HANDSHAKE, b"") * 1000,
    "empty data records": record(DATA, b"") * 1000,
    "change cipher first": record(CHANGE_CIPHER, b"\1") * 1000,
    "data first": record(DATA, b"GET / HTTP/1.0\r\n\r\n"),
    "alert first": record(ALERT, b"\2\x28"),
    "close first": record(ALERT, b"\1\0"),
    "warnings without end": record(ALERT, b"\1\x5a") * 1000,
    "alert of three bytes": record(ALERT, b"\2\x28\0"),
    "finished first": record(HANDSHAKE, message(20, bytes(32))),
    "server hello": record(HANDSHAKE, message(2, hello()[4:])),
    "hello request": record(HANDSHAKE, message(0, b"")) * 100,
    "heartbeat (CVE-2014-0160)": record(24, b"\1\xff\xff"),
    "hello twice": GOOD * 2,
    "hello, then data": GOOD + record(DATA, bytes(100), TLS_1_2),
    "hello, then a flood of change cipher": GOOD + record(CHANGE_CIPHER, b"\1", TLS_1_2) * 1000,
    "hello, then an alert": GOOD + record(ALERT, b"\2\x28", TLS_1_2),
    "hello and something else in one record": record(HANDSHAKE, hello() + message(20, bytes(32))),
    # No TLS at all
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a line": b"hello, is anybody there?\n",
    "zeroes": bytes(10_000),
    "a PROXY header": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GOOD,
}
"""What is sent -> why no server may accept it."""

UNFINISHED: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"\x16",
    "half a header": GOOD[:3],
    "half a hello": GOOD[: len(GOOD) // 2],
    "hello without its last byte": GOOD[:-1],
    "hello, one byte a record, half of them": split(hello(), 1)[:300],
}
"""Sent before the client falls silent, or goes."""

ACCEPTED: dict[str, bytes] = {
    "an ordinary hello": GOOD,
    "one byte per record": split(hello(), 1),
    "session id of 32 bytes": record(HANDSHAKE, hello(session=bytes(32))),
    "an unknown extension": record(HANDSHAKE, hello(more=[*extensions(), (0xFAFA, bytes(1000))])),
    "a big unknown extension": split(hello(more=[(0xFAFA, bytes(60_000)), *extensions()[:3], extensions()[3]]), 2**14),
    "without extensions (TLS 1.2)": record(HANDSHAKE, hello(more=extensions()[:2])),
    "no key share that is known": record(HANDSHAKE, hello(more=with_extension(KEY_SHARE, b"\0\0"))),
}
"""Odd, but allowed: the server answers."""

"""The bytes of a PROXY header, read and written; `prise.layers.proxy` says when that is done and whom it is believed.

`size` finds where a header ends, `read` takes a complete one, `write` makes one. Strict: whatever is not exactly what
haproxy's doc/proxy-protocol.txt (sections 2.1 and 2.2) allows is a HandshakeError that says what was expected and found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeAlias

from prise.address import Address
from prise.errors import HandshakeError

SIGNATURE_1 = b"PROXY "
SIGNATURE_2 = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_1 = 107
"""Bytes of a v1 header, its CR LF included (section 2.1)."""
LONGEST_2 = 4096
"""Bytes that a v2 header may announce. The longest addresses are 216; the TLVs that are in use fill a few hundred."""

_ALL_PORTS = 65535
_UNIX_PATH = 108  # bytes of a path in v2, filled up with zeros
_CRC32C, _NOOP = 0x03, 0x04
# The 14th byte of v2, family and transport -> (scheme, bytes of one address). Others must be refused, or are unknown to all.
_FAMILIES = {
    0x11: ("tcp", 4),
    0x12: ("udp", 4),
    0x21: ("tcp", 16),
    0x22: ("udp", 16),
    0x31: ("unix", _UNIX_PATH),
    0x32: ("unix", _UNIX_PATH),
}

_IP: TypeAlias = "IPv4Address | IPv6Address"


class Header(NamedTuple):
    """What a PROXY header said; `info("proxy")` of a pipeline.

    version: 1 or 2. peer, local: of the original connection; both None when the load balancer speaks for itself (v2 LOCAL,
    a health check) or does not know (v1 UNKNOWN). tlvs: v2's additions, type -> value, the first of each type; 0x01 is the
    ALPN protocol, 0x02 the name that the client asked for, 0x05 an id of the connection, 0x20 what TLS there was.
    """

    version: int
    peer: Address | None
    local: Address | None
    tlvs: Mapping[int, bytes]


# -- Reading -----------------------------------------------------------------------------------------------------------


def could_begin(head: bytes | bytearray) -> bool:
    """Whether a header may begin like this; also when it is complete."""
    return any(each.startswith(head) or head.startswith(each) for each in (SIGNATURE_1, SIGNATURE_2))


def size(head: bytes | bytearray) -> int | None:
    """Bytes of the header that begins like this (see `could_begin`); None while that is not known yet.

    Raises HandshakeError for one that is too long.
    """
    if head.startswith(SIGNATURE_1):
        end = head.find(b"\r\n", 0, LONGEST_1)
        if end < 0 and len(head) >= LONGEST_1:
            raise _bad_1(head)
        return end + 2 if end >= 0 else None
    if not head.startswith(SIGNATURE_2) or len(head) < 16:
        return None
    announced = int.from_bytes(head[14:16])
    if announced > LONGEST_2:
        raise HandshakeError(
            "the PROXY header announces {size} bytes; {most} are allowed", size=announced, most=LONGEST_2
        )
    return 16 + announced


def read(header: bytes) -> Header:
    """What a complete header says. Raises HandshakeError."""
    return _read_1(header) if header.startswith(SIGNATURE_1) else _read_2(header)


# -- Reading v1 --------------------------------------------------------------------------------------------------------

_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")


def _read_1(header: bytes) -> Header:
    # What follows UNKNOWN is to be ignored up to the end of the line.
    if header == b"PROXY UNKNOWN\r\n" or header.startswith(b"PROXY UNKNOWN "):
        return Header(1, None, None, {})
    line = _LINE.fullmatch(header)
    if line is None:
        raise _bad_1(header)
    family = IPv4Address if line[1] == b"TCP4" else IPv6Address
    ports = int(line[4]), int(line[5])
    if max(ports) > _ALL_PORTS:
        raise _bad_1(header)
    try:
        hosts = str(family(line[2].decode())), str(family(line[3].decode()))
    except ValueError:
        raise _bad_1(header) from None
    return Header(1, Address("tcp", hosts[0], ports[0]), Address("tcp", hosts[1], ports[1]), {})


def _bad_1(header: bytes | bytearray) -> HandshakeError:
    return HandshakeError(
        "a PROXY header is a line like {example}, of at most {most} bytes, with addresses of its family and ports up to 65535; "
        "found {found}",
        example="'PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\\r\\n'",
        most=LONGEST_1,
        found=repr(bytes(header[:LONGEST_1])),
    )


# -- Reading v2 --------------------------------------------------------------------------------------------------------


def _read_2(header: bytes) -> Header:
    if header[12] not in (0x20, 0x21):
        raise HandshakeError(
            "the PROXY header has version {version}, command {command}; known are version 2, commands 0 and 1",
            version=header[12] >> 4,
            command=header[12] & 15,
        )
    # LOCAL (command 0) and an unknown family (0) hold nothing to rely on, whatever follows.
    if header[12] == 0x20 or header[13] == 0:
        return Header(2, None, None, {})
    if header[13] not in _FAMILIES:
        raise HandshakeError(
            "the PROXY header has the family {family}; known are {known}",
            family=f"0x{header[13]:02x}",
            known=" ".join(f"0x{each:02x}" for each in (0, *_FAMILIES)),
        )
    scheme, size = _FAMILIES[header[13]]
    end = 16 + 2 * size + (0 if scheme == "unix" else 4)
    if len(header) < end:
        raise HandshakeError(
            "the PROXY header has {found} bytes for its addresses; they take {expected}",
            found=len(header) - 16,
            expected=end - 16,
        )
    source, destination, ports = header[16 : 16 + size], header[16 + size : 16 + 2 * size], header[16 + 2 * size : end]
    tlvs = _read_tlvs(header, end)
    if scheme == "unix":
        return Header(2, _unix(source), _unix(destination), tlvs)
    peer = Address(scheme, str(ip_address(source)), int.from_bytes(ports[:2]))
    return Header(2, peer, Address(scheme, str(ip_address(destination)), int.from_bytes(ports[2:])), tlvs)


def _unix(path: bytes) -> Address:
    """An abstract name begins with NUL; any other path ends at the first one. Printed as unix(7) sockets are."""
    if path.startswith(b"\0"):
        name = path[1:].rstrip(b"\0")
        return Address("unix", path=f"@{os.fsdecode(name)}" if name else "")
    text = os.fsdecode(path.partition(b"\0")[0])
    return Address("unix", path=f"./{text}" if text.startswith("@") else text)


def _read_tlvs(header: bytes, start: int) -> Mapping[int, bytes]:
    tlvs: dict[int, bytes] = {}
    while start < len(header):
        value = start + 3
        end = value + int.from_bytes(header[start + 1 : value])
        if value > len(header) or end > len(header):
            raise HandshakeError(
                "the PROXY header's addition at byte {place} goes beyond its end, byte {end}",
                place=start,
                end=len(header),
            )
        kind = header[start]
        # The sum is taken with zeros in its own place (section 2.2.3). One is enough: each costs time.
        if kind == _CRC32C and (
            kind in tlvs or header[value:end] != crc32c(header[:value] + bytes(4) + header[end:]).to_bytes(4)
        ):
            raise HandshakeError("the checksum of the PROXY header is wrong; it was damaged or made up")
        if kind != _NOOP:
            tlvs.setdefault(kind, header[value:end])
        start = end
    return tlvs


def _crc_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(map(_crc_entry, range(256)))


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC (RFC 4960, appendix B), which zlib does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# -- Writing -----------------------------------------------------------------------------------------------------------


def write(version: int, source: Address, destination: Address) -> bytes:
    """A header of version 1 or 2. Its origin is unknown (v1 UNKNOWN, v2 LOCAL) where the addresses are not IP addresses with
    port numbers, nor, in v2, those of Unix sockets."""
    return _write_1(source, destination) if version == 1 else _write_2(source, destination)


def _ips(source: Address, destination: Address) -> tuple[_IP, _IP] | None:
    """Both as addresses of one family, or None. An IPv4 address beside an IPv6 one is written as IPv6: ::ffff:192.0.2.1."""
    if not isinstance(source.port, int) or not isinstance(destination.port, int):
        return None
    try:
        one, other = (ip_address((each.host or "").partition("%")[0]) for each in (source, destination))
    except ValueError:
        return None
    if one.version == other.version:
        return one, other
    return _as_ipv6(one), _as_ipv6(other)


def _as_ipv6(ip: _IP) -> IPv6Address:
    return ip if isinstance(ip, IPv6Address) else IPv6Address(0xFFFF00000000 | int(ip))


def _write_1(source: Address, destination: Address) -> bytes:
    ips = _ips(source, destination)
    if ips is None:
        return b"PROXY UNKNOWN\r\n"
    family = "TCP4" if ips[0].version == 4 else "TCP6"
    return f"PROXY {family} {ips[0]} {ips[1]} {source.port} {destination.port}\r\n".encode("ascii")


def _write_2(source: Address, destination: Address) -> bytes:
    command, family, body = 0x20, 0x00, b""
    ips = _ips(source, destination)
    if ips is not None:
        command, family = 0x21, 0x11 if ips[0].version == 4 else 0x21
        ports = (int(each.port or 0).to_bytes(2) for each in (source, destination))
        body = b"".join((ips[0].packed, ips[1].packed, *ports))
    elif source.scheme == destination.scheme == "unix":
        paths = [_path(each) for each in (source, destination)]
        if max(map(len, paths)) <= _UNIX_PATH:  # a longer one is not a socket's
            command, family, body = 0x21, 0x31, b"".join(path.ljust(_UNIX_PATH, b"\0") for path in paths)
    return SIGNATURE_2 + bytes((command, family)) + len(body).to_bytes(2) + body


def _path(address: Address) -> bytes:
    path = os.fsencode(address.path or "")
    return b"\0" + path[1:] if path.startswith(b"@") else path

"""What goes over a handover channel ("prise-handover 1"), without any I/O:

    length of the header   4 bytes, big-endian; the descriptors ride on these very bytes (SCM_RIGHTS, unix(7))
    header                 JSON, UTF-8
    pending                as many raw bytes as the header's "pending" says: read from the peer already, and in no message

    {"v": 1, "type": "handover", "kind": "stream", "peer": "tcp://...", "local": "tcp://...", "pending": 7, "state": ...}
    {"v": 1, "type": "ack", "ok": true}        {"v": 1, "type": "ack", "ok": false, "error": "..."}

"shared": true says that the sender's copy stays open, so that the socket's mode may be changed from there as well.
Unknown fields are ignored; an unknown version or type is refused. The addresses are information: the kernel knows better.
The PHP side of it is in php/src/Channel.php.
"""

from __future__ import annotations

import json
import struct
from reprlib import repr as shortened
from typing import Any

from prise.errors import HandoverProtocolError, UsageError

VERSION = 1

MOST_HEADER = 1024 * 1024
"""Bytes of a header, with the state in it."""

MOST_PENDING = 64 * 1024 * 1024
"""Bytes behind a header."""

MOST_DESCRIPTORS = 16
"""Descriptors that one frame may bring: more are an attack or a mistake. (The kernel's own limit is 253.)"""

LENGTH = struct.Struct(">I")

# A circle ends as what is too deep does; to look for circles costs more.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False).encode


def _no_number(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity, which Python's json takes and JSON does not have


_decode = json.JSONDecoder(parse_constant=_no_number).decode


def encoded(what: str, pending: bytes = b"", /, **fields: Any) -> bytes:
    """The length and the header of a frame of this type. Raises UsageError for what JSON cannot say, or too much of it."""
    header: dict[str, Any] = {"v": VERSION, "type": what, **fields}
    if pending:
        if len(pending) > MOST_PENDING:
            raise UsageError(
                "{size} bytes are pending, at most {most} can be handed over", size=len(pending), most=MOST_PENDING
            )
        header["pending"] = len(pending)
    try:
        data = _encode(header).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            "the state must be what JSON can say (numbers, texts, lists, objects with text keys): {cause}", cause=error
        ) from None
    if len(data) > MOST_HEADER:
        raise UsageError("a state of {size} bytes is too large, at most {most}", size=len(data), most=MOST_HEADER)
    return LENGTH.pack(len(data)) + data


TAKEN = encoded("ack", ok=True)
"""The acknowledgement. No other frame that answers a handover is shorter."""


def header_size(length: bytes) -> int:
    """From the first 4 bytes. Raises HandoverProtocolError."""
    (size,) = LENGTH.unpack(length)
    if not 2 <= size <= MOST_HEADER:
        raise HandoverProtocolError(
            "this is not a handover: it begins with {first!r}, no sensible length of a header", first=length
        )
    return int(size)


def decoded(data: bytes) -> dict[str, Any]:
    """A header; its "pending" is an int of sensible size. Raises HandoverProtocolError."""
    try:
        header = _decode(data.decode())
    except (ValueError, RecursionError):
        raise HandoverProtocolError("the header of a handover is not JSON") from None
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise HandoverProtocolError("the header of a handover must be an object with a type")
    if header.get("v") != VERSION:
        raise HandoverProtocolError(
            "the other side speaks version {theirs} of the handover, this one {ours}",
            theirs=shortened(header.get("v")),
            ours=VERSION,
        )
    pending = header.setdefault("pending", 0)
    if type(pending) is not int or not 0 <= pending <= MOST_PENDING:
        raise HandoverProtocolError("a header promises {pending} pending bytes", pending=shortened(pending))
    return header

"""Takes the transfer encoding off a part of a message, piece by piece (RFC 2045 §6.7 and §6.8)."""

from __future__ import annotations

import binascii
import re
from abc import ABC, abstractmethod

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")

MOST_HELD = 64 * 1024
"""Bytes of one line in quoted-printable that are held; the RFC allows 76."""


class Decoder(ABC):
    """`decode` gives what is ready, `end` the rest."""

    @abstractmethod
    def decode(self, data: bytes) -> bytes: ...

    def end(self) -> bytes:
        return b""


class _Plain(Decoder):
    def decode(self, data: bytes) -> bytes:
        return data


class _Base64(Decoder):
    """Skips what is no base64, as the RFC asks for, and what comes behind the padding: mailing lists put a footer there."""

    def __init__(self) -> None:
        self._rest = b""
        self._ended = False

    def decode(self, data: bytes) -> bytes:
        if self._ended:
            return b""
        data, padding, _ = data.partition(b"=")
        data = self._rest + _NOT_BASE64.sub(b"", data)
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        if padding:
            self._ended = True
            return binascii.a2b_base64(data[:whole]) + self.end()
        return binascii.a2b_base64(data[:whole])

    def end(self) -> bytes:
        rest, self._rest = self._rest, b""
        return binascii.a2b_base64(rest + b"=" * (4 - len(rest))) if len(rest) > 1 else b""


class _QuotedPrintable(Decoder):
    """By lines: a soft line end, `=` at its end, is known only with the line end itself."""

    def __init__(self) -> None:
        self._rest = b""

    def decode(self, data: bytes) -> bytes:
        data = self._rest + data
        whole = data.rfind(b"\n") + 1
        if len(data) - whole > MOST_HELD:
            # What may be the beginning of an escape is in the last bytes: "=", "=4", "=\r", and white space before them.
            whole = max(data.rfind(b"=", len(data) - 3), len(data) - 3)
        self._rest = data[whole:]
        return binascii.a2b_qp(data[:whole])

    def end(self) -> bytes:
        rest, self._rest = self._rest, b""
        return binascii.a2b_qp(rest)


def decoder_for(encoding: str) -> Decoder:
    """encoding: as BODYSTRUCTURE names it; for one that nobody knows, what comes is given as it is."""
    match encoding.upper():
        case "BASE64":
            return _Base64()
        case "QUOTED-PRINTABLE":
            return _QuotedPrintable()
        case _:
            return _Plain()

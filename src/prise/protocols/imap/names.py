r"""How values are written into commands: strings, dates, flags; and the names of mailboxes in modified UTF-7 (RFC 3501 §5.1.3).

    string("Entw\N{LATIN SMALL LETTER U WITH DIAERESIS}rfe")     a quoted string where it can be one, else a Literal
    mailbox_name("Été")        b'"&AMk-t&AOk-"'                  in UTF-8 where the server was told so (utf8=True)

A name of a server that is not as it should be has no str that would lead back to it; bytes are taken as they are.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from prise.errors import UsageError

LONGEST_QUOTED = 1000
"""Bytes of a quoted string; longer ones are literals. Lines of commands should have no more than 8192 (RFC 7162 §4)."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that go into a command with their size before them. binary: they may hold NUL (RFC 3516). waits: until the server
    asks for them."""

    pieces: Iterable[bytes]
    size: int
    binary: bool = False
    waits: bool = False

    @classmethod
    def of(cls, data: bytes) -> Literal:
        return cls((data,), len(data))


Word: TypeAlias = "str | bytes | Literal"
"""What commands are made of. str: as it is, in UTF-8."""


def string(text: str | bytes, utf8: bool = False) -> Word:
    """A string of any characters but NUL. utf8: quoted strings may have them all (RFC 6855, RFC 9051).
    Raises UsageError for NUL."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    if b"\0" in data:
        raise UsageError("a string of IMAP cannot hold NUL: {text!r}", text=str(text)[:80])
    if len(data) > LONGEST_QUOTED or b"\r" in data or b"\n" in data or not (utf8 or data.isascii()):
        return Literal.of(data)
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def mailbox_name(name: str | bytes, utf8: bool = False) -> Word:
    """A mailbox's name. Raises UsageError for one with CR, LF or NUL."""
    text = name if isinstance(name, str) else name.decode("latin-1")
    if "\r" in text or "\n" in text or "\0" in text:
        raise UsageError("a mailbox's name cannot hold line ends or NUL: {name!r}", name=str(name)[:80])
    return string(encoded(name, utf8) if isinstance(name, str) else name, utf8)


def encoded(name: str, utf8: bool = False) -> bytes:
    """A mailbox's name as a server has it: modified UTF-7, or UTF-8."""
    try:
        return name.encode() if utf8 else _NOT_PLAIN.sub(_shifted, name).encode("ascii")
    except UnicodeEncodeError:
        raise UsageError("a mailbox's name is text, not {name!r}", name=name[:80]) from None


def decoded_name(raw: bytes, utf8: bool = False) -> str:
    """A mailbox's name as people write it. `encoded` makes `raw` of it again, unless the server wrote it in a wrong way."""
    if utf8 or not raw.isascii():
        return raw.decode(errors="replace")
    return _SHIFTED.sub(_unshifted, raw.decode("ascii")) if b"&" in raw else raw.decode("ascii")


_NOT_PLAIN = re.compile(r"&|[^\x20-\x7e]+")
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")


def _shifted(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    coded = b2a_base64(match[0].encode("utf-16-be"), newline=False)
    return f"&{coded.rstrip(b'=').replace(b'/', b',').decode()}-"


def _unshifted(match: re.Match[str]) -> str:
    coded = match[1]
    if not coded:
        return "&"
    try:
        return a2b_base64(coded.replace(",", "/") + "=" * (-len(coded) % 4)).decode("utf-16-be")
    except (Error, UnicodeDecodeError):
        return match[0]


_FLAG = re.compile(r"\\?[^\x00-\x20\x7f-\U0010ffff(){%*\"\\\]]+")


def flag_list(flags: str | Iterable[str]) -> str:
    r"""Flags for a command: `("\Seen", "$Forwarded")`. Raises UsageError for what is none."""
    flags = (flags,) if isinstance(flags, str) else tuple(flags)
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            raise UsageError("{flag!r} is no flag: they are like {example}", flag=flag[:40], example=r"\Seen, $Junk")
    return f"({' '.join(flags)})"


def day(value: date) -> str:
    """A day, as SEARCH takes it: 1-Feb-2024."""
    return f"{value.day}-{MONTHS[value.month - 1]}-{value.year:04}"


def moment(value: datetime) -> str:
    """A date and a time, as APPEND takes it. Without a time zone it is taken as local."""
    if value.tzinfo is None:
        value = value.astimezone()
    return f'"{value.day:02}-{MONTHS[value.month - 1]}-{value:%Y %H:%M:%S %z}"'

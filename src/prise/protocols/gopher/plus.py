"""Gopher+ (its specification of July 1993), as far as it is read: the header of an answer, errors, and attributes. No I/O.

    +1234   so many bytes follow     +-1   a text that ends with a dot     +-2   all to the end     -...   an error

An attribute is a block: a line "+NAME: text", and lines that begin with a space.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from prise.errors import NotFound, ProtocolError, Refused
from prise.protocols.talk import cleaned
from prise.protocols.target import Target

Attributes: TypeAlias = dict[str, list[str]]
"""Name of a block ("INFO", "ADMIN", "VIEWS", "ABSTRACT"...) -> its lines."""

AllAttributes: TypeAlias = list[Attributes]
"""Those of each item of a menu."""

_HEADER = re.compile(rb"([+-])(-[12]|[0-9]{1,18})\s*")
_ERROR = re.compile(r"([0-9]{1,4})\b[^\n]*\n?(.*)", re.DOTALL)


class Header(NamedTuple):
    """failed: what follows is an error. size: in bytes, None where it is not known. dotted: the end is a line of one dot."""

    failed: bool
    size: int | None
    dotted: bool


def read_header(line: bytes) -> Header:
    """The first line of an answer. Raises ProtocolError for that of a server without Gopher+."""
    match = _HEADER.fullmatch(line)
    if match is None:
        raise ProtocolError(
            "this is no answer of Gopher+, so the server does not know it: {line!r}",
            line=cleaned(line[:80].decode(errors="replace")),
        )
    sign, size = match.groups()
    return Header(sign == b"-", None if size[:1] == b"-" else int(size), size == b"-1")


def refusal_in(text: bytes, target: Target) -> Refused:
    """The error that follows a header: a code and who is to be asked, then words."""
    found = _ERROR.match(cleaned(text.replace(b"\r\n", b"\n").decode(errors="replace")))
    code, words = found.groups() if found is not None else ("", "")
    kind = NotFound if code == "1" else Refused
    return kind(operation="Gopher+", peer=target, code=code, words=words.rstrip(".\n").strip())


def read_attributes(data: bytes) -> AllAttributes:
    """The blocks, those of each item for themselves: an item begins with its block INFO."""
    items: AllAttributes = []
    lines: list[str] = []
    for line in cleaned(data.replace(b"\r\n", b"\n").decode(errors="surrogateescape")).splitlines():
        if line.startswith("+"):
            name, _, text = line[1:].partition(":")
            if name == "INFO" or not items:
                items.append({})
            lines = items[-1].setdefault(name.upper(), [])
            line = text
        if line := line.removeprefix(" "):
            lines.append(line)
    return items

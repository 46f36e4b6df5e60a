r"""Takes a server's responses apart (RFC 9051 §7 and §9). No I/O: a response comes as the parts that were read of it.

    line, literal, line, ..., line        a literal stands between two lines, where the first ends with its size: {42}
    announced(line)                       that size, None where the response ends with this line
    parse(parts)                          Status: OK, NO, BAD, BYE, PREAUTH; Data: everything else; Continue: "go on"

In Data's values an atom or a number is a str, a string of either kind is bytes, NIL is None, a list is a list: so
"NIL" and NIL, "1" and 1 stay apart, and nothing is converted that nobody asks for. (An atom's bytes are its characters: latin-1.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from prise.errors import ProtocolError

MOST_DEPTH = 100
"""Lists in lists: what a message of mails within mails needs, and no more than functions may call each other for."""

MOST_VALUES = 500_000
"""Values of one response."""

LARGEST_NUMBER = 2**63 - 1
"""RFC 9051 §9, number64."""

Value: TypeAlias = "str | bytes | list[Value] | None"


class Status(NamedTuple):
    """tag: of the command that it answers, "*" for none. kind: OK, NO, BAD, BYE or PREAUTH. code, arguments: of what stands in
    brackets, "" where nothing does. words: for people; with the brackets, since they often say more than the words."""

    tag: str
    kind: str
    code: str
    arguments: str
    words: str


class Data(NamedTuple):
    """name: "LIST", "FETCH"... number: that stood before it, else 0. values: the rest; of a list of numbers alone (SEARCH, SORT)
    the one bytes value that has them all."""

    name: str
    number: int
    values: list[Value]


class Continue(NamedTuple):
    """words: for people, or a challenge in base64."""

    words: str


_STATUS = frozenset((b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"))
_LITERAL = re.compile(rb"(?:\A|[ (])~?\{(\d{1,20})\+?\}\Z")
_CODE = re.compile(rb"\[([^\s\]]+)(?: ([^\]]*))?\]")
_TOKEN = re.compile(
    rb""" *(?:(?P<literal>~?\{\d+\+?\}\Z)|(?P<atom>(?i:BODY|BINARY|BINARY\.SIZE)\[[^\[\]]*\](?:<\d+>)?|[^\s()"{][^\s()"]*)"""
    rb"""|(?P<open>\()|(?P<close>\))|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<wrong>[^ ])|\Z)""",
    re.DOTALL,
)
_ATOM, _OPEN, _CLOSE, _QUOTED, _LITERAL_AT = (
    _TOKEN.groupindex[name] for name in ("atom", "open", "close", "quoted", "literal")
)
_NIL = (b"NIL", b"nil")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def announced(line: bytes, first: bool) -> int | None:
    """The size of the literal that comes behind this line; None where there is none. first: it begins its response.

    A status has no literals, though its words may look like one.
    """
    if not line.endswith(b"}"):
        return None
    match = _LITERAL.search(line, max(line.rfind(b"{") - 2, 0))
    if match is None or (first and not (line.startswith(b"* ") and _word(line, 2).upper() not in _STATUS)):
        return None
    return int(match[1])


def parse(parts: Sequence[bytes]) -> Status | Data | Continue:
    """One response: see above. Raises ProtocolError."""
    line = parts[0]
    tag = _word(line, 0)
    at = len(tag) + 1
    if tag == b"+":
        return Continue(text_of(line[at:]))
    word = _word(line, at)
    kind = word.upper()
    if kind in _STATUS and tag:
        words = line[at + len(word) + 1 :]
        code = _CODE.match(words)
        return Status(
            text_of(tag),
            kind.decode("ascii"),
            "" if code is None else text_of(code[1]).upper(),
            "" if code is None else text_of(code[2] or b""),
            text_of(words),
        )
    number = 0
    if word.isdigit() and len(word) <= 10:
        number, at = int(word), at + len(word) + 1
        word = _word(line, at)
        kind = word.upper()
    if tag != b"*" or not kind[:1].isalpha():
        raise ProtocolError("the answer is none of IMAP: {line!r}", line=text_of(line[:80]))
    at += len(word) + 1
    if kind == b"SEARCH" or kind == b"SORT":
        return Data(kind.decode("ascii"), number, [line[at:]])
    return Data(kind.decode("ascii", "replace"), number, _values(parts, at))


def _word(line: bytes, at: int) -> bytes:
    """What stands before the next space."""
    end = line.find(b" ", at)
    return line[at:] if end < 0 else line[at:end]


def _values(parts: Sequence[bytes], start: int) -> list[Value]:
    values: list[Value] = []
    outer: list[list[Value]] = []
    append = values.append  # this loop is most of the work of a listing
    room = MOST_VALUES
    for index in range(0, len(parts), 2):
        line = parts[index]
        room -= line.count(b" ") + line.count(b"(") + line.count(b'"') + 1  # no fewer than the values in it
        if room < 0:
            raise ProtocolError("the answer has more than {limit} values", limit=MOST_VALUES)
        for match in _TOKEN.finditer(line, start):
            kind = match.lastindex
            if kind == _QUOTED:
                quoted = match[kind]
                append(_ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
            elif kind == _ATOM:
                atom = match[kind]
                append(None if atom in _NIL else atom.decode("latin-1"))
            elif kind == _OPEN:
                if len(outer) >= MOST_DEPTH:
                    raise ProtocolError("the answer has lists in more than {limit} lists", limit=MOST_DEPTH)
                inner: list[Value] = []
                append(inner)
                outer.append(values)
                values, append = inner, inner.append
            elif kind == _CLOSE and outer:
                values = outer.pop()
                append = values.append
            elif kind is None:
                break  # the end of this line
            elif kind == _LITERAL_AT and index + 2 < len(parts):
                append(parts[index + 1])
            else:
                raise ProtocolError("the answer cannot be taken apart: {line!r}", line=text_of(line[:80]))
        start = 0
    if outer:
        raise ProtocolError("the answer has a list without an end: {line!r}", line=text_of(parts[0][:80]))
    return values


# -- what a value is to be -------------------------------------------------------------------------------------------------


def text_of(value: Value) -> str:
    """A string or an atom as text: UTF-8, and what is not is kept (surrogateescape); "" for NIL and lists."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return value if isinstance(value, str) else ""


def bytes_of(value: Value) -> bytes:
    """A string or an atom as bytes; b"" for NIL and lists."""
    if isinstance(value, str):
        return value.encode("latin-1")
    return value if isinstance(value, bytes) else b""


def number_of(value: Value) -> int:
    """Raises ProtocolError for what is no number of IMAP."""
    if isinstance(value, str) and len(value) < 20 and value.isdecimal() and value.isascii():
        number = int(value)
        if number <= LARGEST_NUMBER:
            return number
    raise ProtocolError("where a number should be there is {value!r}", value=str(value)[:40])


def list_of(value: Value) -> list[Value]:
    """A list; an empty one for NIL. Raises ProtocolError for anything else."""
    if isinstance(value, list):
        return value
    if value is None:
        return []
    raise ProtocolError("where a list should be there is {value!r}", value=text_of(value)[:40])

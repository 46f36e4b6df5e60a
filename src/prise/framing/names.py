r"""Framings by name, as the command line and `serve(framing=…)` take them: NAME[:ARGUMENT][ | CODEC].

    lines                 text in UTF-8, the default          lines:latin-1        text in another encoding
    delimited:;           ends with ";" (escapes: \r \n \t \0 \\ \xNN)
    fixed:8               8 bytes each                        prefixed:4,little    a length in front (1, 2, 4, 8)
    varint  netstring  cobs  slip                             chunks               whatever arrives

A codec is text, text:ENCODING, json, msgpack or bytes. Without one, messages are bytes, except those of `lines`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from prise.errors import UsageError
from prise.framing.base import Codec, Framing
from prise.framing.chunks import Chunks
from prise.framing.cobs import Cobs
from prise.framing.delimited import Delimited
from prise.framing.fixed import Fixed
from prise.framing.lines import Lines
from prise.framing.netstring import Netstring
from prise.framing.prefixed import Prefixed
from prise.framing.slip import Slip
from prise.framing.varint import Varint


def _plain(make: Callable[[], Framing]) -> Callable[[str, str], Framing]:
    def build(what: str, argument: str) -> Framing:
        if argument:
            raise UsageError("{what!r}: nothing is expected behind the colon", what=what)
        return make()

    return build


def _lines(what: str, encoding: str) -> Framing:
    from prise.codecs import text

    return Lines() | text(encoding) if encoding else Lines()


def _delimited(what: str, argument: str) -> Framing:
    if not argument:
        raise UsageError("{what!r} needs its delimiter, for example delimited:; or delimited:\\r\\n\\r\\n", what=what)
    return Delimited(_unescape(what, argument))


def _fixed(what: str, argument: str) -> Framing:
    return Fixed(_number(what, argument))


def _prefixed(what: str, argument: str) -> Framing:
    size, _, order = argument.partition(",")
    chosen: Any = (_number(what, size) if size else 4, order.strip() or "big")
    return Prefixed(*chosen)


FRAMINGS: dict[str, Callable[[str, str], Framing]] = {
    "lines": _lines,
    "delimited": _delimited,
    "fixed": _fixed,
    "prefixed": _prefixed,
    "varint": _plain(Varint),
    "netstring": _plain(Netstring),
    "cobs": _plain(Cobs),
    "slip": _plain(Slip),
    "chunks": _plain(Chunks),
}
CODECS = ("text", "json", "msgpack", "bytes")

LONGEST_NAME = 1000
"""Characters. What is no name of a framing is quoted in the error."""

# The last "|" with a word behind it: the delimiter itself may be one ("delimited:|").
_SPELLING = re.compile(r"(?P<framing>.*?)(?:\s*\|\s*(?P<codec>[A-Za-z_][^|:]*)(?::(?P<argument>[^|]*))?)?", re.DOTALL)


def framing_of(what: str | Framing) -> Framing:
    """The framing of that name; a framing itself is returned as it is. Raises UsageError, with the nearest name."""
    if isinstance(what, Framing):
        return what
    if not isinstance(what, str):
        raise UsageError("a framing is a name or an object made by prise.framing, not {what!r}", what=what)
    if len(what) > LONGEST_NAME:
        raise UsageError("a framing's name of {size} characters: at most {limit}", size=len(what), limit=LONGEST_NAME)
    spelling = _SPELLING.fullmatch(what.strip())
    assert spelling is not None  # its first group takes anything
    name, _, argument = spelling["framing"].partition(":")
    name = name.strip()
    if name not in FRAMINGS:
        raise _unknown("framing", name, FRAMINGS)
    framing = FRAMINGS[name](what, argument)
    if spelling["codec"] is not None:
        return _coded(what, framing, spelling["codec"].strip(), (spelling["argument"] or "").strip())
    return framing_of("lines | text") if what.strip() == "lines" else framing


def _coded(what: str, framing: Framing, name: str, argument: str) -> Framing:
    from prise.codecs import json, msgpack, text

    if name not in CODECS:
        raise _unknown("codec", name, CODECS)
    if name == "text":
        return framing | (text(argument) if argument else text())
    if argument:
        raise UsageError("{what!r}: nothing is expected behind the colon", what=what)
    if name == "bytes":
        return framing
    codec: Codec = json() if name == "json" else msgpack()
    return framing | codec


def _number(what: str, digits: str) -> int:
    if not re.fullmatch(r" *[0-9]{1,18} *", digits):
        raise UsageError("{what!r} needs a number of bytes, for example fixed:8 or prefixed:4", what=what)
    return int(digits)


_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\x00", b"\\": b"\\"}


def _unescape(what: str, written: str) -> bytes:
    def replace(escape: re.Match[bytes]) -> bytes:
        code = escape[1]
        if code[:1] == b"x" and len(code) == 3:
            return bytes.fromhex(code[1:].decode())
        if code not in _ESCAPES:
            raise UsageError("{what!r}: the escapes of a delimiter are \\r \\n \\t \\0 \\\\ and \\xNN", what=what)
        return _ESCAPES[code]

    return re.sub(rb"\\(x[0-9A-Fa-f]{2}|.|\Z)", replace, written.encode("utf-8", "surrogateescape"), flags=re.DOTALL)


def _unknown(noun: str, name: str, known: Iterable[str]) -> UsageError:
    import difflib  # only when something was mistyped

    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, 1)
    details = {"name": name, "known": ", ".join(known)}
    if noun == "codec":
        if near:
            return UsageError(
                "unknown codec {name!r}; is {near!r} meant? The codecs are {known}", near=near[0], **details
            )
        return UsageError("unknown codec {name!r}; the codecs are {known}", **details)
    if near:
        return UsageError(
            "unknown framing {name!r}; is {near!r} meant? The framings are {known}", near=near[0], **details
        )
    return UsageError("unknown framing {name!r}; the framings are {known}", **details)

"""A message of mail or news (RFC 5322, MIME) taken apart, for a person: who wrote what, the text, what is attached.

The standard `email` package does the parsing. Messages are written by anybody, so whatever it stumbles over is shown as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from itertools import islice

from prise.reader.markup import text_of

SHOWN = ("From", "To", "Cc", "Newsgroups", "Date", "Subject")
"""The header that people read, in this order."""

MOST_PARTS = 200
"""Of one message; the rest is left out."""
MOST_HEADERS = 500
LONGEST_HEADER = 8000
"""Characters of one that are looked at: to decode it takes the square of its length."""
MOST_WORK = 20_000_000
"""Lines times multiparts, for the parser compares each line with the boundaries of all that it is in. It takes two seconds."""

_FOLD = re.compile(r"[\r\n]+[ \t]*")


@dataclass(frozen=True, slots=True)
class Attachment:
    """name: as the sender gave it, "" where he did not; never a path to write to. kind: its MIME type."""

    name: str
    kind: str
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Letter:
    """A message for people. header: what is shown of it; full: all of it. text: lines end in a newline alone."""

    header: list[tuple[str, str]] = field(default_factory=list)
    full: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    attachments: list[Attachment] = field(default_factory=list)


def read(data: bytes) -> Letter:
    """Never raises: what is no message is a text without a header."""
    if data.count(b"\n") * data.lower().count(b"multipart/") > MOST_WORK:
        return Letter(text=text(data))
    try:
        message = message_from_bytes(data)
        letter = _letter(message)
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError, MessageError):
        # What the package raises for messages that are nested too deep or broken in new ways is not documented.
        return Letter(text=text(data))
    if not letter.full:
        return Letter(text=text(data))
    return letter


def text(data: bytes, charset: str | None = None) -> str:
    """Bytes as text: in their charset if that is known, else UTF-8, else Latin-1, which fits everything."""
    for name in (charset, "utf-8"):
        if name is not None:
            try:
                return _lines(data.decode(name))
            except (LookupError, ValueError):
                pass  # no such charset, or not that one
    return _lines(data.decode("latin-1"))


def _lines(text: str) -> str:
    # Some charsets (UTF-7) can name half of a surrogate pair, which no terminal and no file name can.
    text = text.encode(errors="replace").decode()
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _letter(message: Message) -> Letter:
    letter = Letter()
    letter.full = [(name, header(str(value))) for name, value in islice(message.raw_items(), MOST_HEADERS)]
    found = {name.casefold(): value for name, value in reversed(letter.full)}
    letter.header = [(name, found[name.casefold()]) for name in SHOWN if found.get(name.casefold())]
    texts: list[str] = []
    _collect(message, texts, letter.attachments, [MOST_PARTS])
    letter.text = "\n\n".join(text.strip("\n") for text in texts if text.strip())
    return letter


def header(raw: str) -> str:
    """A header's value on one line, its encoded words (RFC 2047) decoded where they can be."""
    line = _FOLD.sub(" ", raw[:LONGEST_HEADER]).strip()
    # Bytes that are not ASCII, which the parser keeps as surrogates, are text all the same (RFC 6532).
    line = text(line.encode(errors="surrogateescape"))
    if "=?" not in line:
        return line
    try:
        parts = decode_header(line)
    except (MessageError, ValueError):  # broken base64
        return line
    return "".join(part if isinstance(part, str) else text(part, charset) for part, charset in parts)


def _collect(part: Message, texts: list[str], attachments: list[Attachment], left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        if left[0] == -1:
            texts.append("[...]")
        return
    for name in ("Content-Type", "Content-Disposition", "Content-Transfer-Encoding"):
        if len(str(part.get(name, ""))) > LONGEST_HEADER:
            del part[name]
    kind = part.get_content_type()
    payload = part.get_payload()
    if kind == "message/rfc822" and isinstance(payload, list):
        inner = payload[0].as_bytes() if payload and isinstance(payload[0], Message) else b""
        attachments.append(Attachment(_name(part) or "message.eml", kind, inner))
    elif isinstance(payload, list):
        parts = [each for each in payload if isinstance(each, Message)]
        if kind == "multipart/alternative" and parts:
            parts = [min(parts, key=_rank)]
        for each in parts:
            _collect(each, texts, attachments, left)
    else:
        data = part.get_payload(decode=True)
        if not isinstance(data, bytes):
            data = b""
        if not kind.startswith("text/") or part.get_content_disposition() == "attachment" or _name(part):
            attachments.append(Attachment(_name(part), kind, data))
        else:
            shown = text(data, part.get_content_charset())
            texts.append(text_of(shown) if kind == "text/html" else shown)


def _rank(part: Message) -> int:
    """Which of several forms of the same is read: the smallest."""
    kind = part.get_content_type()
    return 0 if kind == "text/plain" else 1 if kind.startswith("multipart/") else 2 if kind == "text/html" else 3


def _name(part: Message) -> str:
    name = part.get_filename()
    return "" if name is None else header(name)

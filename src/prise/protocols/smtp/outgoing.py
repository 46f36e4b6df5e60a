r"""A message on its way out: its header without Bcc, its lines ended by CR LF, its dots doubled; piece by piece.

A lone CR or LF never leaves: servers disagree whether "\n.\n" ends a message, and what one of them takes for the next
commands forges mail (SMTP smuggling, CVE-2023-51764). Only a message that says of itself that it is binary is sent as it is.

A message is gone through twice: first for its size and what is in it, then to be sent. Neither bytes nor a file are held a
second time; what can be read only once (an open file, an iterable) is read whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from email.errors import MessageError, MissingHeaderBodySeparatorDefect
from email.message import EmailMessage, Message
from email.parser import Parser
from email.policy import SMTP
from pathlib import Path
from typing import Any

from prise.errors import UsageError
from prise.protocols.source import PIECE, Data, Source

MOST_HEADER = 1024 * 1024
"""Bytes of a message's header."""

CHUNK = 1024 * 1024
"""Bytes of a message that one BDAT sends; each waits for its answer."""

LONGEST_NAME = 66
"""Characters of a person's name that has to be in quotes, with them: with a comma behind it, it fits on a line of 78."""

_END = re.compile(rb"\r\n|\r|\n")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_SPACED = re.compile(
    r"^([!-9;-~]+)[ \t]+:", re.MULTILINE
)  # an old spelling that the parser does not know (RFC 5322 §4.5)
_BCC = re.compile(rb"^(?:resent-)?bcc[ \t]*:.*\r\n(?:[ \t].*\r\n)*", re.IGNORECASE | re.MULTILINE)
_BINARY = re.compile(rb"^content-transfer-encoding[ \t]*:\s*binary\s*$", re.IGNORECASE | re.MULTILINE)


class Outgoing:
    """fields: the header, to look into; Bcc is still in it. size: bytes on the way, without the dots that are doubled. ascii: so
    are all of them. binary: the message says so, or has NUL in it. international: its header is in UTF-8, not in ASCII."""

    def __init__(self, message: Data | Message, eight_bits: bool = True) -> None:
        """eight_bits: whether the server takes them (8BITMIME); a message that is an object of Python's is written to suit.

        Raises UsageError for what is no message, OSError for a file.
        """
        if isinstance(message, Message):
            message = written(message, eight_bits)
        self._raw = _Raw(message)
        front = self._raw.front
        blank = _BLANK_LINE.search(front)
        if _FIELD.match(front) is None:
            raise UsageError("this is no message: it does not begin with a header such as `Subject: ...`")
        if blank is None and self._raw.is_longer:
            raise UsageError("the header of the message is longer than {limit} bytes", limit=MOST_HEADER)
        self._body = len(front) if blank is None else blank.end()
        header = b"".join(normalised((front[: self._body],)))
        self._header = _BCC.sub(b"", header if header.endswith(b"\r\n") else header + b"\r\n")
        self.fields = _parsed(header)
        self.international = not header.isascii() and _is_utf8(header)
        self.binary = _BINARY.search(header) is not None
        self._survey()

    def _survey(self) -> None:
        self.size, self.ascii, has_nul = 0, True, False
        for piece in self.pieces():
            self.size += len(piece)
            self.ascii = self.ascii and piece.isascii()
            has_nul = has_nul or b"\0" in piece
        if has_nul and not self.binary:
            self.binary = True
            self._survey()  # as it is, the size is another one

    def pieces(self) -> Iterator[bytes]:
        """The message, its lines ended by CR LF, also the last; a binary one as it is."""
        body = self._raw.pieces(self._body)
        if not self.binary:
            body = ended(normalised(body))
        # A short message is one piece, with its header.
        yield self._header + next(body, b"")
        yield from body

    def dotted(self) -> Iterator[bytes]:
        """The same as DATA wants it (RFC 5321 §4.5.2), with the dot at the end."""
        begins = True
        for piece in self.pieces():
            if begins and piece.startswith(b"."):
                piece = b"." + piece
            yield piece.replace(b"\r\n.", b"\r\n..")
            begins = piece.endswith(b"\r\n")
        yield b".\r\n"

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """The same for BDAT (RFC 3030): at most CHUNK bytes, and whether they are the last."""
        held = b""
        for piece in self.pieces():
            held += piece
            while len(held) > CHUNK:
                yield held[:CHUNK], False
                held = held[CHUNK:]
        yield held, True


def _parsed(header: bytes) -> Message:
    """Raises UsageError for a line that is no header: whatever stands behind it would be overlooked, such as a Bcc."""
    text = _SPACED.sub(r"\1:", header.decode(errors="surrogateescape"))
    fields: Message = Parser(policy=SMTP).parsestr(text, headersonly=True)
    if any(isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in fields.defects):
        raise UsageError("this is no message: a line before its first empty line is no header")
    return fields


def readable(path: Path) -> None:
    """Raises UsageError for a file that cannot be read."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError("{path} cannot be read: {reason}", path=path, reason=error.strerror or str(error)) from None


class _Raw:
    """What was given, to be read again from any place. front: how it begins. is_longer: there is more than that."""

    def __init__(self, message: Any) -> None:
        # A pipe can be read only once, whatever its path.
        self._path = Path(message) if isinstance(message, os.PathLike) and Path(message).is_file() else None
        self._data = b""
        if self._path is not None:
            with self._path.open("rb") as file:
                self.front = file.read(MOST_HEADER)
                self.is_longer = bool(file.read(1))
            return
        self._data = message if isinstance(message, bytes) else Source.of(message).read()
        self.front = self._data[:MOST_HEADER]
        self.is_longer = len(self._data) > MOST_HEADER

    def pieces(self, offset: int) -> Iterator[bytes]:
        if self._path is not None:
            return iter(Source.of(self._path, offset))
        return (self._data[start : start + PIECE] for start in range(offset, len(self._data), PIECE))


def written(message: Message, eight_bits: bool) -> bytes:
    """A message of the standard library's `email`, as bytes."""
    policy: Any = message.policy.clone(linesep="\r\n", cte_type="8bit" if eight_bits else "7bit")
    if isinstance(message, EmailMessage):
        _refuse_long_names(message)
        policy = policy.clone(utf8=policy.utf8 or _names_international(message))
    try:
        return message.as_bytes(policy=policy)
    # MessageError: a header with line ends in it; the last two: a body that is none.
    except (ValueError, LookupError, MessageError, AttributeError, TypeError) as error:
        raise UsageError("the message cannot be written: {reason}", reason=str(error)) from error


def _refuse_long_names(message: EmailMessage) -> None:
    """Python's `email` loses the quotes of a name that does not fit on a line: what is in it would then pass for addresses."""
    for value in message.values():
        for person in getattr(value, "addresses", ()):
            name = str(person).removesuffix(f" <{person.addr_spec}>")
            if len(name) > LONGEST_NAME and name.startswith('"'):
                raise UsageError(
                    "the name of {address} is longer than {limit} characters",
                    address=person.addr_spec,
                    limit=LONGEST_NAME - 2,
                )


def _names_international(message: EmailMessage) -> bool:
    """Whether an address in the header has other letters than ASCII: those can be written in UTF-8 only (RFC 6532)."""
    return any(
        not address.addr_spec.isascii() for header in message.values() for address in getattr(header, "addresses", ())
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def normalised(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Every CR, LF and CR LF becomes CR LF, and none is cut in two."""
    held = b""
    for piece in pieces:
        piece = held + piece if held else piece
        held = b"\r" if piece.endswith(b"\r") else b""
        piece = piece[:-1] if held else piece
        pairs = piece.count(b"\r\n")
        if piece.count(b"\n") != pairs or piece.count(b"\r") != pairs:
            piece = _END.sub(b"\r\n", piece)
        if piece:
            yield piece
    if held:
        yield b"\r\n"


def ended(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The last line has an end, too."""
    last = b"\r\n"
    for piece in pieces:
        yield piece
        last = piece
    if not last.endswith(b"\r\n"):
        yield b"\r\n"

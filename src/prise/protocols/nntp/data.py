"""What news servers tell, as values: groups, overviews, header lines, articles; and how articles are named in a command.

Header text is kept as it came (RFC 2047 words and all), and decoded only when it is looked at: of 100,000 overviews a reader
shows twenty.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from prise.errors import ProtocolError, UsageError
from prise.protocols.header import decoded_words
from prise.protocols.talk import cleaned

Which: TypeAlias = "int | str | tuple[int, int | None] | range | None"
"""Articles: a number; a message-id, with or without <>; "5", "5-", "5-9"; (5, 9) or (5, None), both ends included; a
range of Python; None: the current one."""

_NUMBERS = re.compile(r"[0-9]{1,16}(-([0-9]{1,16})?)?")
_ID = re.compile(r"<[^<>\s]{1,248}>")


class Place(NamedTuple):
    """What a URL names. group: or a pattern of groups; "" where none is named. article: its number or message-id, "" likewise."""

    group: str = ""
    article: str = ""

    @classmethod
    def read(cls, text: str) -> Place:
        if "@" in text:
            return cls("", f"<{text.strip('<>')}>")
        group, _, number = text.partition("/")
        return cls("", group) if group.isdecimal() else cls(group, number.strip("/"))

    @property
    def is_pattern(self) -> bool:
        return not self.group or any(character in self.group for character in "*?[,!")


class Group(NamedTuple):
    """What GROUP says. articles: about how many there are; first, last: their lowest and highest number."""

    name: str
    articles: int
    first: int
    last: int

    @property
    def numbers(self) -> range:
        """The numbers that articles can have; of an empty group none, in whichever of three ways it says so (RFC 3977
        §6.1.1.2)."""
        return range(self.first, self.last + 1) if self.articles else range(0)


class GroupLine(NamedTuple):
    """A line of LIST ACTIVE. status: "y" posting is allowed, "n" it is not, "m" moderated, or the server's own."""

    name: str
    last: int
    first: int
    status: str


class GroupCount(NamedTuple):
    """A line of LIST COUNTS (RFC 6048 §2.2). articles: about how many there are."""

    name: str
    last: int
    first: int
    articles: int
    status: str


class GroupTime(NamedTuple):
    """A line of LIST ACTIVE.TIMES: when a group was created here, and by whom."""

    name: str
    created: datetime
    creator: str


class Pointer(NamedTuple):
    """An article. number: in the group that is selected, 0 where it was asked for by its message-id."""

    number: int
    message_id: str


class Article(NamedTuple):
    """An article, or its head or body. data: as it is, lines end in CR LF."""

    number: int
    message_id: str
    data: builtins.bytes


class HeaderLine(NamedTuple):
    """One header field (or ":bytes", ":lines") of one article. value: as it came; `decoded_header` reads it."""

    number: int
    value: str


@dataclass(slots=True)
class Overview:
    """An article in brief (RFC 3977 §8.1). fields: Subject, From, Date, Message-ID, References, bytes, lines as they came, and
    whatever more the server keeps; the properties are these, decoded."""

    number: int
    fields: list[str]

    def _field(self, index: int) -> str:
        return self.fields[index] if index < len(self.fields) else ""

    @property
    def subject(self) -> str:
        return decoded_header(self._field(0))

    @property
    def from_(self) -> str:
        return decoded_header(self._field(1))

    @property
    def date(self) -> datetime | None:
        """None where what the author wrote is no date. One without a time zone is taken as UTC."""
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(self._field(2))
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        return date if date.tzinfo is not None else date.replace(tzinfo=UTC)

    @property
    def message_id(self) -> str:
        return self._field(3)

    @property
    def references(self) -> list[str]:
        """The message-ids of the thread, the oldest first."""
        return self._field(4).split()

    @property
    def lines(self) -> int | None:
        """Of the body; None where the server does not say."""
        return _count(self._field(6))

    @property
    def other(self) -> dict[str, str]:
        """Further fields, as "Xref": "...". Those that the server writes without their name are left out."""
        pairs = (field.partition(":") for field in self.fields[7:] if not field.startswith(":"))
        return {name: value.strip() for name, colon, value in pairs if colon}

    @property
    def bytes(self) -> int | None:
        """Of the article; None where the server does not say."""
        return _count(self._field(5))


def read_overviews(lines: Iterable[builtins.bytes]) -> list[Overview]:
    """Of OVER's lines. Raises ProtocolError for one that does not begin with a number."""
    found = []
    try:
        for line in lines:
            number, *fields = line.decode("utf-8", "surrogateescape").split("\t")
            found.append(Overview(int(number), fields))
    except ValueError:
        raise ProtocolError(
            "a line of the list does not begin with a number: {line!r}", operation="OVER", line=shown(line)
        ) from None
    return found


def read_header_lines(lines: Iterable[builtins.bytes]) -> list[HeaderLine]:
    """Of HDR's and XHDR's lines. XHDR repeats a message-id in place of the number, which is 0 here as with HDR."""
    found = []
    for line in lines:
        number, _, value = line.decode("utf-8", "surrogateescape").partition(" ")
        if number.isdecimal() and len(number) < 20:
            found.append(HeaderLine(int(number), value))
        elif number.startswith("<"):
            found.append(HeaderLine(0, value))
        else:
            raise ProtocolError(
                "a line of the list does not begin with a number: {line!r}", operation="HDR", line=shown(line)
            )
    return found


def decoded_header(text: str) -> str:
    """A header field as its author meant it (RFC 2047). Bytes that are not UTF-8 are taken as Latin-1, which never fails."""
    return decoded_words(plain(text))


def plain(text: str) -> str:
    """Text of a server, fit to be printed: what came in bytes that are not UTF-8 is taken as Latin-1."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode("latin-1")
    return text


def one_word(name: str) -> str:
    """A group's name as it stands in a command or a header. Raises UsageError for one that would be more than that."""
    if any(character.isspace() for character in name):
        raise UsageError("a group's name has no spaces: {name!r}", name=name[:80])
    return name


def wording(which: Which) -> str:
    """How articles are named in a command; "" for the current one. Raises UsageError for what names none."""
    text = ""
    match which:
        case None:
            return ""
        case int():
            text = str(which)
        case str():
            text = f"<{which}>" if "@" in which and not which.startswith("<") else which
        case range():
            text = f"{which.start}-{which[-1]}" if which.step == 1 and which else ""
        case (int(first), None | int() as last):
            text = f"{first}-{'' if last is None else last}"
    if not _NUMBERS.fullmatch(text) and not _ID.fullmatch(text):
        raise UsageError(
            "{which!r} names no article: give a number, a range of numbers or a message-id", which=str(which)[:80]
        )
    return text


def is_id(text: str) -> bool:
    """Whether a wording is a message-id."""
    return text.startswith("<")


def is_empty(which: Which) -> bool:
    """Whether these are no articles at all: the numbers of an empty group."""
    return isinstance(which, range) and not which


def numbers_of(words: Iterable[str], operation: str) -> list[int]:
    """Numbers of an answer. Raises ProtocolError."""
    found = list(words)
    if not all(word.isdecimal() and len(word) < 20 for word in found):
        raise ProtocolError(
            "numbers were to come, not {words!r}", operation=operation, words=cleaned(" ".join(found)[:80])
        )
    return [int(word) for word in found]


def shown(line: builtins.bytes) -> str:
    """The beginning of a line, for an error."""
    return cleaned(line[:80].decode(errors="replace"))


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 20 else None

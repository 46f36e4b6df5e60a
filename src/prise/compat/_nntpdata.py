"""The values and errors of the old `nntplib`, and how text becomes the one and the other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple


class GroupInfo(NamedTuple):
    """A group, in the server's words."""

    group: str
    last: str
    first: str
    flag: str


class ArticleInfo(NamedTuple):
    """An article, its head or its body; lines without their ends."""

    number: int
    message_id: str
    lines: list[bytes]


class NNTPError(Exception):
    """The root of them all. response: what the server said."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.response = args[0] if args else "No response given"


class NNTPReplyError(NNTPError):
    """An answer that does not belong to the command."""


class NNTPTemporaryError(NNTPError):
    """4xx: not now."""


class NNTPPermanentError(NNTPError):
    """5xx: not at all."""


class NNTPProtocolError(NNTPError):
    """An answer that is none."""


class NNTPDataError(NNTPError):
    """An answer with something wrong in it."""


def decode_header(header_str: str) -> str:
    """A header field in plain text (RFC 2047)."""
    from email.header import decode_header as words_of

    decoded = [
        text.decode(charset or "ascii") if isinstance(text, bytes) else text for text, charset in words_of(header_str)
    ]
    return "".join(decoded)


def article_of(data: Any) -> bytes:
    r"""What `post` and `ihave` take (bytes, a file, or lines), lines ended by \r\n."""
    lines: Iterable[bytes] = bytes(data).splitlines(keepends=True) if isinstance(data, bytes | bytearray) else data
    return b"".join(line.rstrip(b"\r\n") + b"\r\n" for line in lines)


def date_words(when: date, years_of_four_digits: bool) -> tuple[str, str]:
    """The two words that NEWGROUPS and NEWNEWS want. A date is its first moment."""
    if not isinstance(when, date):
        raise TypeError(f"the date parameter must be a date or datetime object, not '{type(when).__name__:40}'")
    time = f"{when:%H%M%S}" if isinstance(when, datetime) else "000000"
    day = f"{when.year:04}{when:%m%d}"
    return day if years_of_four_digits else day[2:], time


def groups_of(lines: Iterable[str]) -> list[GroupInfo]:
    return [GroupInfo(*line.split()) for line in lines]


_DESCRIPTION = re.compile(r"(\S+)[ \t]+(.*)")


def descriptions_of(lines: Iterable[str]) -> dict[str, str]:
    matches = (_DESCRIPTION.fullmatch(line.strip()) for line in lines)
    return {match[1]: match[2] for match in matches if match}


# Of every overview, whatever the server says (RFC 3977 §8.3).
FIRST_FIELDS = ["subject", "from", "date", "message-id", "references", ":bytes", ":lines"]
_OLD_NAMES = {"bytes": ":bytes", "lines": ":lines"}


def overview_fields(lines: Iterable[str]) -> list[str]:
    """The fields of LIST OVERVIEW.FMT. Raises NNTPDataError where the first seven are not as they have to be."""
    fields = []
    for line in lines:
        name = f":{line[1:].partition(':')[0]}" if line.startswith(":") else line.partition(":")[0]
        fields.append(_OLD_NAMES.get(name.lower(), name.lower()))
    if len(fields) < len(FIRST_FIELDS):
        raise NNTPDataError("LIST OVERVIEW.FMT response too short")
    if fields[: len(FIRST_FIELDS)] != FIRST_FIELDS:
        raise NNTPDataError("LIST OVERVIEW.FMT redefines default fields")
    return fields


def overviews_of(lines: Iterable[str], fields: list[str]) -> list[tuple[int, dict[str, str | None]]]:
    """(number, {field: value}) of each line. Raises NNTPDataError where a further field does not say its name."""
    found = []
    for line in lines:
        number, *values = line.split("\t")
        overview: dict[str, str | None] = {}
        for index, (field, value) in enumerate(zip(fields, values, strict=False)):
            if index >= len(FIRST_FIELDS) and not field.startswith(":"):
                start = f"{field}: "
                if value and not value.lower().startswith(start):
                    raise NNTPDataError("OVER/XOVER response doesn't include names of additional headers")
                overview[field] = value[len(start) :] if value else None
            else:
                overview[field] = value
        found.append((int(number), overview))
    return found


def netrc_login(host: str) -> tuple[str | None, str | None]:
    """User and password from ~/.netrc; None where it has none for this host."""
    from netrc import netrc

    try:
        found = netrc().authenticators(host)
    except OSError:
        found = None
    return (found[0], found[2]) if found else (None, None)

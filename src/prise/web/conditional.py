"""Has the client got it already? Entity tags, dates and the five If- fields, in the order of RFC 9110 §13.2.2.

A tag is made of what the file system says (inode, size, time of change in nanoseconds), so none of the file is read for
it. Each coded form of a file has a tag of its own, because the bytes differ and a tag without `W/` promises equal bytes
(§8.8.3).
"""

from __future__ import annotations

import os
import re
from calendar import timegm
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Final

FIELDS: Final = frozenset(("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"))

# An entity tag up to the next comma, or what may stand between two. Each match takes all it can, so a list is linear work.
_TAG_OR_GAP: Final = re.compile(r'(?P<weak>W/)?(?P<tag>"[\x21\x23-\x7e\x80-\U0010ffff]*")[\t ]*(?:,|$)|[\t ,]+')
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK: Final = r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d):(?P<second>[0-5]\d|60)"
_DATES: Final = (  # RFC 9110 §5.6.7: the one to send, and two older ones to understand
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_CLOCK} GMT", re.ASCII),
    re.compile(
        rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_CLOCK} GMT", re.ASCII
    ),
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})", re.ASCII),
)


def entity_tag(found: os.stat_result, coding: str = "") -> str:
    """The strong tag of a file as it is now, with its quotes. coding: of the form that is sent ("gzip"), "" for as it is.

    Two changes within one tick of the system's clock (4 ms) that keep the length give the same tag; so it is everywhere.
    """
    tag = f"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"
    return f'"{tag}-{coding}"' if coding else f'"{tag}"'


def http_date(seconds: float) -> str:
    """Seconds since 1970 as the date to send (IMF-fixdate)."""
    return formatdate(int(max(seconds, 0)), usegmt=True)


@lru_cache(64)
def parse_date(text: str) -> int | None:
    """An HTTP date, in any of its three forms, as seconds since 1970. None when it is no such date."""
    for form in _DATES:
        match = form.fullmatch(text)
        if match:
            year, day = int(match["year"]), int(match["day"])
            if len(match["year"]) == 2:  # RFC 850; as POSIX reads it: 69 to 99 are 19xx
                year += 1900 if year >= 69 else 2000
            if not 1 <= day <= 31 or year < 1:
                return None
            clock = (int(match["hour"]), int(match["minute"]), int(match["second"]))
            return timegm((year, _MONTHS.index(match["month"]) + 1, day, *clock))
    return None


def matches(field: str, tag: str, *, weakly: bool) -> bool:
    """Whether an If-Match or If-None-Match field names this tag. A field that is no list of tags names none.

    weakly: `W/"a"` and `"a"` are the same (§8.8.3.2), as If-None-Match wants; otherwise weak tags equal nothing.
    """
    field = field.strip("\t ")
    if field == "*":
        return True
    if not weakly and tag.startswith("W/"):
        return False
    plain, found, position = tag.removeprefix("W/"), False, 0
    while position < len(field):
        match = _TAG_OR_GAP.match(field, position)
        if not match:
            return False
        if match["tag"] == plain and (weakly or not match["weak"]):
            found = True
        position = match.end()
    return found


def evaluate(headers: Mapping[str, str], method: str, tag: str | None, changed: float | None) -> int | None:
    """What the client's conditions make of a request: 304, 412, or None for "go on".

    headers: with names in lower case. tag: of what would be sent, None where there is nothing (yet). changed: when it was, in
    seconds since 1970, None for unknown. If-Range is not asked here: see `range_applies`.
    """
    if headers.keys().isdisjoint(FIELDS):
        return None
    if (field := headers.get("if-match")) is not None:
        if tag is None or not matches(field, tag, weakly=False):
            return 412
    elif (
        (field := headers.get("if-unmodified-since")) is not None
        and changed is not None
        and (date := parse_date(field)) is not None
        and int(changed) > date
    ):
        return 412
    reads = method in ("GET", "HEAD")
    if (field := headers.get("if-none-match")) is not None:
        if tag is not None and matches(field, tag, weakly=True):
            return 304 if reads else 412
    elif (
        reads
        and (field := headers.get("if-modified-since")) is not None
        and changed is not None
        and (date := parse_date(field)) is not None
        and int(changed) <= date
    ):
        return 304
    return None


def range_applies(headers: Mapping[str, str], tag: str, changed: float) -> bool:
    """Whether If-Range lets a Range be answered (§13.1.5): the tag is the very same and strong, or the date exactly equal."""
    field = headers.get("if-range")
    if field is None:
        return True
    field = field.strip()
    if field.startswith(('"', "W/")):
        return field == tag and not tag.startswith("W/")
    return parse_date(field) == int(changed)

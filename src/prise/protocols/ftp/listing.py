"""Lists of files as servers write them, without I/O: MLSD (RFC 3659 §7), and what `ls -l` and `dir` print (LIST).

LIST has no standard. Its times are without a zone, to the minute, and those of the last half year without their year: they are
taken as UTC, and as past. A line that nobody understands becomes an entry of the kind "other", so that nothing is hidden.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from prise.errors import MessageTooLarge
from prise.protocols.entry import Entry

LONGEST_LINE = 16 * 1024  # bytes; paths have 4,096 on most systems
MOST_FACTS = 100

_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]{1,6})[0-9]{0,9})?")
_UNIX = re.compile(
    r"(?P<kind>[-a-zA-Z])(?P<mode>[-rwxsStTlL]{9})[.+@]? +(?:[0-9]+ +)?(?P<owner>[^ ]+) +(?:(?P<group>[^ ]+) +)?"
    r"(?:(?P<size>[0-9]{1,19})|[0-9]+, *[0-9]+) +"
    r"(?:(?P<month>[A-Za-z]{3}) +(?P<day>[0-9]{1,2}) +(?:(?P<year>[0-9]{4})|(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}))"
    r"|(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}) +(?P<clock>[0-9]{2}:[0-9]{2})) (?P<name>.+)"
)
_DOS = re.compile(
    r"(?P<a>[0-9]{2,4})-(?P<b>[0-9]{2})-(?P<c>[0-9]{2,4}) +(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}) ?(?P<half>[AaPp][Mm])? +"
    r"(?:(?P<folder><DIR>)|(?P<size>[0-9,.]{1,26})) +(?P<name>.+)"
)
_KINDS = {"-": "file", "d": "folder", "l": "link"}


class Lines:
    """Cuts what comes into lines, as text: UTF-8, and what is not is kept (surrogateescape)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes complete. Raises MessageTooLarge."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE or any(len(line) > LONGEST_LINE for line in lines):
            raise MessageTooLarge(
                "the server sent a line of more than {limit} bytes", operation="LIST", limit=LONGEST_LINE
            )
        return [line.removesuffix(b"\r").decode(errors="surrogateescape") for line in lines]

    def end(self) -> list[str]:
        """The last line, where nothing ended it."""
        return self.feed(b"\n") if self._rest else []


def read_facts(line: str) -> Entry | None:
    """A line of MLSD or MLST: "type=file;size=3;modify=20260101120000; name"; None for what is no such line.

    facts: all of them, by their names in lower case; target: of a link, where it is told.
    """
    told, space, name = line.partition(" ")
    if not space or not name:
        return None
    facts = {}
    for fact in told.split(";", MOST_FACTS)[:MOST_FACTS]:
        key, equals, value = fact.partition("=")
        if equals:
            facts[key.lower()] = value
    kind = facts.get("type", "file").lower()
    if (link := re.match(r"os\.unix=s(?:ym)?link(?::(.*))?", kind)) is not None:
        if link.group(1):
            facts["target"] = facts["type"].partition(":")[2]
        kind = "link"
    else:
        kind = {"file": "file", "dir": "folder", "cdir": "folder", "pdir": "folder"}.get(kind, "other")
    size = facts.get("size", "") if kind == "file" else ""
    return Entry(name, kind, size=read_size(size), modified=read_time(facts.get("modify", "")), facts=facts)


def read_entries(lines: list[str]) -> list[Entry]:
    """What is in a folder by MLSD, without itself and the one above."""
    entries = (entry for line in lines if (entry := read_facts(line)) is not None)
    return [entry for entry in entries if entry.facts.get("type", "").lower() not in ("cdir", "pdir")]


def read_line(line: str, now: datetime) -> Entry | None:
    """A line of LIST. None for one that is no file: a total, the folder itself, the one above. now: with a zone."""
    if (match := _UNIX.fullmatch(line)) is not None:
        entry = _read_unix(match, now)
    elif (match := _DOS.fullmatch(line)) is not None:
        entry = _read_dos(match)
    elif not line.strip() or re.fullmatch(r"total [0-9]+\w*", line, re.IGNORECASE):
        return None
    else:
        entry = Entry(line, "other")
    return None if entry.name in (".", "..") else entry


def read_size(text: str) -> int | None:
    """Bytes; None for what is no number that a file could have."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 else None


def read_time(text: str) -> datetime | None:
    """A time as RFC 3659 §2.3 writes it, YYYYMMDDHHMMSS[.fraction], which is UTC; None for what is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    *numbers, fraction = match.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    return _moment(year, month, day, hour, minute, min(second, 59), int((fraction or "").ljust(6, "0")))


def write_time(moment: datetime) -> str:
    """The same the other way. A time without a zone is local."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S").zfill(14)


def _read_unix(match: re.Match[str], now: datetime) -> Entry:
    facts = {"unix.mode": match["mode"], "unix.owner": match["owner"], "unix.group": match["group"]}
    kind, name = _KINDS.get(match["kind"], "other"), match["name"]
    if kind == "link":
        name, arrow, target = name.partition(" -> ")
        facts["target"] = target if arrow else None
    size = read_size(match["size"] or "") if kind == "file" else None
    known = {key: value for key, value in facts.items() if value is not None}
    return Entry(name, kind, size=size, modified=_unix_time(match, now), facts=known)


def _unix_time(match: re.Match[str], now: datetime) -> datetime | None:
    if match["date"]:
        return read_time(f"{match['date']}{match['clock']}00".replace("-", "").replace(":", ""))
    name, day = match["month"].lower(), int(match["day"])
    if name not in _MONTHS:
        return None
    month = _MONTHS.index(name)
    if match["year"]:
        return _moment(int(match["year"]), month, day)
    for year in range(now.year + 1, now.year - 9, -1):  # the last that is past, and has a 29th of February if need be
        found = _moment(year, month, day, int(match["hour"]), int(match["minute"]))
        if found is not None and found <= now + timedelta(days=1):  # the server may be ahead of us in the day
            return found
    return None


def _read_dos(match: re.Match[str]) -> Entry:
    first, second, third = (int(match[key]) for key in "abc")
    year, month, day = (first, second, third) if len(match["a"]) == 4 else (third, first, second)
    if year < 100:
        year += 1900 if year >= 70 else 2000
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    size = read_size(re.sub("[,.]", "", match["size"] or ""))
    modified = _moment(year, month, day, hour, int(match["minute"]))
    return Entry(match["name"], "folder" if match["folder"] else "file", size=size, modified=modified)


def _moment(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, fraction: int = 0
) -> datetime | None:
    try:
        return datetime(year, month, day, hour, minute, second, fraction, UTC)
    except ValueError:
        return None

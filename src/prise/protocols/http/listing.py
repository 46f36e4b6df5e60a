"""Folders as web servers show them: links on a page (nginx, Apache, Python's, lighttpd), or JSON (`prise web`, nginx).

A page is read as it comes; a link that leads below the page's own place is an entry, whatever the page looks like. What a page
says of sizes and dates is for people, so only forms that are exact are taken as such; the others are in `facts` as they stand.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from prise.errors import MessageTooLarge, ProtocolError, Unsupported
from prise.protocols.entry import Entry

MOST_JSON = 32 * 1024 * 1024
"""Bytes of a listing in JSON, which is read as a whole."""

MOST_NAMES = 1_000_000
"""Entries of one listing."""

BLOCK = 64 * 1024
"""Characters of a page that are parsed at once, at least: see `Page._step`."""

LONGEST_TAG = 1024 * 1024
"""Characters of what html.parser cannot finish: one tag, comment or script."""

_UNFIT = re.compile(
    r"[\x00-\x1f\x7f]|(?:\A|/)\.\.?(?:/|\Z)"
)  # a name that would lead out where somebody saves it (..%2F)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NGINX_DATE = re.compile(
    r"(\d\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d)"
)  # in UTC, unless its administrator says otherwise
_DATE = re.compile(r"\d{4}-[A-Za-z0-9]{2,3}-\d\d \d\d:\d\d(?::\d\d)?|\d\d-[A-Za-z]{3}-\d{4} \d\d:\d\d(?::\d\d)?")
_SIZE = re.compile(r"(?<![\w.:-])(\d+(?:\.\d+)?)\s?([KMGT]i?B?|B|bytes)?(?![\w.:-])", re.IGNORECASE)


def below(page: str) -> Callable[[str], str | None]:
    """A function that gives the path, percent-encoded, of a link that leads below the folder of this page; None for others."""
    base = urlsplit(page)
    folder = base.path[: base.path.rfind("/") + 1] or "/"

    def path_of(href: str) -> str | None:
        try:
            link = urlsplit(urljoin(page, href.strip()))
        except ValueError:
            return None
        same = (link.scheme, link.netloc) == (base.scheme, base.netloc) and not link.query
        return link.path if same and link.path.startswith(folder) and link.path not in (folder, base.path) else None

    return path_of


class Page:
    """An HTML page. `feed` and `end` give the entries that have been completed."""

    def __init__(self, page: str, name: Callable[[str], str]) -> None:
        """page: its URL. name: a path, percent-encoded -> what it is called in a listing."""
        self._parser = _Links()
        self._path_of, self._name = below(page), name
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: list[str] = []
        self._size = 0
        self._known: set[str] = set()

    def feed(self, data: bytes) -> Iterable[Entry]:
        text = self._decoder.decode(data)
        self._waiting.append(text)
        self._size += len(text)
        return self._parse() if self._size >= self._step else ()

    def end(self) -> Iterable[Entry]:
        entries = [*self._parse()]
        self._parser.link_ends()
        return [*entries, *self._entries()]

    @property
    def _step(self) -> int:
        """Characters that are parsed next. html.parser looks again at all that it could not finish: with as much again each
        time, a long tag is looked at a few times and not once for each block; at its bound it has to be over."""
        held = len(self._parser.rawdata)
        return min(max(BLOCK, held), LONGEST_TAG + 1 - held)

    def _parse(self) -> Iterator[Entry]:
        text, self._waiting, self._size = "".join(self._waiting), [], 0
        start = 0
        while start < len(text):
            end = start + self._step
            piece, start = text[start:end], end
            try:
                self._parser.feed(piece)
            except AssertionError:  # html.parser's, for a marked section that is none: <![x y
                raise ProtocolError("the page is no HTML", operation="list") from None
            if len(self._parser.rawdata) > LONGEST_TAG:
                raise ProtocolError("a tag of the page has no end", operation="list")
            yield from self._entries()

    def _entries(self) -> Iterator[Entry]:
        links, self._parser.links = self._parser.links, []
        for href, about in links:
            path = self._path_of(href)
            if path is None or path in self._known:
                continue
            if len(self._known) >= MOST_NAMES:
                raise MessageTooLarge("the page has more than {limit} links", operation="list", limit=MOST_NAMES)
            self._known.add(path)
            name = self._name(path)
            if name and not _UNFIT.search(name):
                yield _entry(name, about)


class _Links(HTMLParser):
    """links: (href, the text between it and the next link: nginx and Apache say there when it was changed, and its size)."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self._href: str | None = None
        self._inside = False
        self._text: list[str] = []
        self._room = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.link_ends()
            self._href = dict(attrs).get("href")
            self._inside, self._text, self._room = True, [], 200

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._href is not None and not self._inside and self._room > 0:
            self._text.append(data[: self._room])
            self._room -= len(data)

    def link_ends(self) -> None:
        if self._href is not None:
            self.links.append((self._href, " ".join(" ".join(self._text).split())))
            self._href = None


def _entry(name: str, about: str) -> Entry:
    facts: dict[str, str] = {}
    date = _DATE.search(about)
    modified: datetime | None = None
    rest = about
    if date is not None:
        rest = about[date.end() :]
        modified = _utc(date.group())
        if modified is None:
            facts["modified"] = date.group()
    size: int | None = None
    if found := _SIZE.search(rest) if date is not None else None:
        if found.group(2) is None and found.group(1).isdecimal() and len(found.group(1)) < 19:
            size = int(found.group(1))
        else:
            facts["size"] = found.group()
    return Entry(name, "folder" if name.endswith("/") else "file", size=size, modified=modified, facts=facts)


def _utc(text: str) -> datetime | None:
    """The date in nginx's form; None for those that do not tell their time zone."""
    match = _NGINX_DATE.fullmatch(text)
    if match is None:
        return None
    day, month, year, hour, minute = match.groups()
    try:
        return datetime(int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError:
        return None


class JSONListing:
    """What `prise web` and nginx (autoindex_format json) say."""

    def __init__(self, page: str, name: Callable[[str], str]) -> None:
        self._path_of, self._name = below(page), name
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterable[Entry]:
        self._size += len(data)
        if self._size > MOST_JSON:
            raise MessageTooLarge("the listing has more than {limit} bytes", operation="list", limit=MOST_JSON)
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[Entry]:
        try:
            found = json.loads(b"".join(self._pieces))
            return [entry for each in found if (entry := self._entry(each)) is not None]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Unsupported("this JSON is no list of files: get it instead") from None

    def _entry(self, said: dict[str, Any]) -> Entry | None:
        folder = said["type"] == "directory"
        href = said.get("url", f"./{quote(said['name'], safe='')}{'/' if folder else ''}")
        path = None if href is None else self._path_of(href)
        name = None if path is None else self._name(path)
        if not name or _UNFIT.search(name):
            return None
        size = said.get("size")
        kind = said.get("media_type")
        return Entry(
            name,
            "folder" if folder else "file",
            size=size if isinstance(size, int) and size >= 0 else None,
            modified=_date(said.get("modified") or said.get("mtime")),
            facts={"kind": kind} if isinstance(kind, str) else {},
        )


def _date(text: Any) -> datetime | None:
    """ISO 8601 (`prise web`), or that of HTTP (nginx)."""
    if not isinstance(text, str):
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
    return date if date.tzinfo is not None else None

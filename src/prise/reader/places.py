"""`Place`: where something is that can be looked at, on one server; its URL; and where an entry of its list leads.

Each protocol names things its own way (a selector, "group/number", a path), and here is all that the reader knows about it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from prise.cli.texts import visible
from prise.errors import UsageError
from prise.protocols.entry import Entry
from prise.protocols.target import SCHEMES, Target, decoded

READABLE = frozenset(("gopher", "nntp", "imap", "pop3", "ftp", "http"))
"""Protocols that the reader speaks."""

LISTS = frozenset(("menu", "group", "groups", "mailbox", "folder"))
LETTERS = frozenset(("article", "message"))
EITHER = frozenset(("link", "other"))
"""Kinds that may turn out to be a list."""
UNREADABLE = frozenset(("info", "error"))
"""Kinds of entries that are lines to read, and lead nowhere."""

LONGEST_NAME = 200
"""Bytes of a file's name; systems take 255, and something may be put behind it."""


@dataclass(frozen=True, slots=True)
class Place:
    """target: the server, and what its URL names. name: what `get` and `list` take; None: what the URL names. kind: that of an
    entry (see `Entry`), "groups" for all groups. words: what is searched for."""

    target: Target
    name: str | None = None
    kind: str = ""
    title: str = ""
    words: str | None = None

    @classmethod
    def of(cls, url: str) -> Place:
        """What a URL names. Raises AddressError, and UsageError for a protocol in which there is nothing to read."""
        target = Target.parse(url)
        if target.protocol not in READABLE:
            raise UsageError("in {scheme} there is nothing to read", peer=target, scheme=target.scheme)
        return cls(target, kind=_kind_of(target))

    @property
    def url(self) -> str:
        """For people: without a password."""
        if self.name is None or (self.name, self.target.protocol) == ("", "nntp"):
            return str(self.target)
        if self.target.protocol == "imap" and ";UID=" not in self.name:
            return str(self.target.at(_quoted(self.name)))
        if self.target.protocol == "imap":
            return str(self.target.at(self.name))
        words = "" if self.words is None else f"%09{_quoted(self.words)}"
        path, folder = self.name, ""
        if self.target.protocol == "http" and path.startswith("/"):
            path = path[1:]
        elif self.target.protocol == "http":
            folder = _folder(self.target)
        return str(self.target.at(folder + _quoted(path, "/:@!$&'()*+,=-._~") + words))

    def below(self, entry: Entry) -> Place:
        """Where an entry of this list leads, on the same server. Raises AddressError."""
        name, kind = entry.name, entry.kind
        match self.target.protocol:
            case "ftp":
                folder = self.name if self.name is not None else decoded(self.target.place)
                name = f"{folder.rstrip('/')}/{name}" if folder else name
            case "nntp" if kind == "article":
                name = f"{self.group}/{name}"
            case "imap" if kind == "message":
                name = f"{_quoted(self.mailbox)}/;UID={name}"
        return Place(self.target, name, kind, entry.title or entry.name)

    def searching(self, words: str) -> Place:
        """The same, for what is found there."""
        return replace(self, words=words)

    @property
    def group(self) -> str:
        """The group of news that a list of articles belongs to."""
        return self.name if self.name is not None else decoded(self.target.place)

    @property
    def mailbox(self) -> str:
        """The mailbox that a list of messages belongs to."""
        if self.name is not None:
            return self.name
        from prise.protocols.imap.place import read_place

        return read_place(self.target.place).mailbox or ""

    @property
    def ways(self) -> tuple[str, ...]:
        """How to look at it: "list" or "get", the more likely one first."""
        if self.kind in EITHER or (self.kind == "folder" and self.target.protocol in ("http", "ftp")):
            return "list", "get"
        if self.kind in LISTS or self.words is not None:
            return ("list",)
        return ("get", "list") if self.target.protocol == "ftp" and self.name is None else ("get",)


def elsewhere(url: str) -> Place | None:
    """The place that a link leads to; None where the reader cannot go there. Raises AddressError."""
    scheme = url.partition(":")[0].lower()
    return Place.of(url) if scheme in SCHEMES and SCHEMES[scheme].protocol in READABLE else None


def file_name(place: Place, said: str | None = None) -> str:
    """What a file of it might be called; never a path. said: by the server or the sender."""
    name = said or (place.name if place.name is not None else unquote(place.target.place)) or place.title
    name = name.rstrip("/").rpartition("/")[2].rpartition("\\")[2].removeprefix(";UID=").removeprefix("uid:")
    # It is shown where it can be changed, and what turns the order of its characters round would hide the `.exe`.
    name = "".join("_" if _is_odd(character) else character for character in name).lstrip(".~ ")
    if place.kind in LETTERS and "." not in name:
        name += ".eml"
    stem, dot, ending = name.rpartition(".")
    if len(ending) > 20:
        stem, dot, ending = name, "", ""
    while len((stem + dot + ending).encode()) > LONGEST_NAME:
        stem = stem[:-1]
    return stem + dot + ending or "file"


def _is_odd(character: str) -> bool:
    return character < " " or "\ud800" <= character <= "\udfff" or visible(character) != character


def _kind_of(target: Target) -> str:
    place = target.place
    match target.protocol:
        case "gopher":
            if "%09" in place or place[:1] in ("", "1"):
                return "menu"
            return {"7": "search", "0": "text", "h": "page"}.get(place[:1], "file")
        case "nntp":
            name = unquote(place)
            if "@" in name or "/" in name or name.isdecimal():
                return "article"
            return "group" if name and not any(character in name for character in "*?[,!") else "groups"
        case "imap":
            from prise.protocols.imap.place import read_place

            named = read_place(place)
            return "message" if named.uid is not None else "mailbox" if named.mailbox is not None else "folder"
        case "pop3":
            return "message" if place else "mailbox"
    return "folder" if place.endswith("/") or not place else "file"


def _quoted(text: str, safe: str = "") -> str:
    """Percent-encoded; bytes that are no UTF-8 as they came (PEP 383)."""
    try:
        return quote(text.encode(errors="surrogateescape"), safe=safe)
    except UnicodeEncodeError:  # another half of a surrogate pair
        return quote(text.encode(errors="replace"), safe=safe)


def _folder(target: Target) -> str:
    """What the names of a list are relative to, percent-encoded."""
    return target.place.partition("?")[0].rpartition("/")[0] + "/" if "/" in target.place else ""

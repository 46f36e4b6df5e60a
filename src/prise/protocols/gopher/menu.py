"""Gopher's menus (RFC 1436 §3): each line is an item, of a type, with a title, and where it is. No I/O.

    0A text<TAB>/hello.txt<TAB>example.org<TAB>70          type, title; selector; host; port (and "+" with Gopher+)

What is written of an item in a URL (RFC 4266), its type and its selector, is its name here: "0/hello.txt".
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from prise.errors import AddressError, ProtocolError, UsageError
from prise.protocols.entry import Entry
from prise.protocols.talk import cleaned
from prise.protocols.target import SCHEMES, Target, decoded, refuse_line_ends

KINDS = {
    "0": "text",
    "1": "menu",
    "2": "phonebook",
    "3": "error",
    "4": "file",
    "5": "file",
    "6": "file",
    "7": "search",
    "8": "telnet",
    "9": "file",
    "+": "mirror",
    "T": "telnet",
    "g": "image",
    "I": "image",
    "p": "image",
    ":": "image",
    "s": "sound",
    "<": "sound",
    ";": "video",
    "d": "document",
    "P": "document",
    "r": "document",
    "X": "document",
    "c": "document",
    "h": "page",
    "M": "message",
    "i": "info",
}
"""Item types: 0-9, +, T, g and I are the standard's, : ; < Gopher+'s, the others customs. Any other is a "file"."""

TEXTS = frozenset("017")
"""Types whose content ends with a line of one dot, as the standard has it; many servers send none."""

MEDIA_TYPES = {"0": "text/plain", "1": "application/gopher-menu", "7": "application/gopher-menu", "g": "image/gif"}

_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*://")
_PLAIN = "/:@!$&'()*+,;=-._~"  # in a URL's path: RFC 3986 §3.3
_PAGE = re.compile(r"/?URL:", re.IGNORECASE)
_ABSENT = re.compile(r"not found|n[o']t exist|no such|not available|unknown", re.IGNORECASE)


class Place(NamedTuple):
    """What is asked of a server. type: of the item; "" where nobody has said. words: of a search. plus: Gopher+'s last field."""

    type: str
    selector: str
    words: str | None = None
    plus: str | None = None

    @property
    def request(self) -> bytes:
        """The line to send, without its end."""
        fields = (self.selector, self.words, self.plus)
        line = "\t".join(field for field in fields if field is not None)
        try:
            return line.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raise UsageError("a command cannot hold half of a surrogate pair (U+D800 to U+DFFF)") from None

    @property
    def file_name(self) -> str | None:
        """What a file of it might be called."""
        name = self.selector.rstrip("/").rpartition("/")[2]
        return None if name in ("", ".", "..") else name

    def __str__(self) -> str:
        return self.type + self.selector


def place_of(target: Target, name: str | None = None) -> Place:
    """name: an item's type and selector; a selector alone, with a slash in front; or a URL of the same server. None: what the
    target names. Raises UsageError for what is elsewhere, and for a name that would end its command."""
    if name is None:
        return _place_of_url(target)
    if _ELSEWHERE.match(name):
        there = Target.parse(name) if name.partition(":")[0] in SCHEMES else None
        if there is None or (there.scheme, there.host.lower(), there.port) != (
            target.scheme,
            target.host.lower(),
            target.port,
        ):
            raise UsageError(
                "this is elsewhere, and no server is followed to another unasked: open {url} instead", url=cleaned(name)
            )
        return _place_of_url(there)
    refuse(name=name)
    return Place("", name) if name.startswith("/") else Place(name[:1] or "1", name[1:])


def _place_of_url(target: Target) -> Place:
    # The tab that parts the fields is written %09. Where there are no words, Gopher+'s field comes in their place.
    place, *fields = (decoded(field, "surrogateescape") for field in target.place.split("%09"))
    if len(fields) > 2:
        raise AddressError("a gopher URL has at most three fields: selector%09search%09gopher+")
    words, plus = [*fields, None, None][:2]
    return Place(place[:1] or "1", place[1:], None if plus and not words else words, plus)


def refuse(**values: str) -> None:
    """Raises UsageError for a value that would end its field, or its command."""
    refuse_line_ends(**values)
    for name, value in values.items():
        if "\t" in value:
            raise UsageError(
                "{name} cannot hold a tab, which would begin another field: {value!r}", name=name, value=value
            )


class Item(NamedTuple):
    """A line of a menu. port: -1 where it is no number of a port. plus: the server knows more about it, by Gopher+."""

    type: str
    title: str
    selector: str = ""
    host: str = ""
    port: int = -1
    plus: bool = False

    def entry(self, target: Target, peer: str | None, before: str = "0") -> Entry:
        """target, peer: the server whose menu it is, and its IP address. before: the type of the item before this one, which a
        mirror ("+") is another place of."""
        kind = KINDS.get(self.type, "file")
        title = cleaned(self.title)
        facts = {"type": self.type, "selector": self.selector, "host": self.host, "port": self.port, "plus": self.plus}
        url = None if kind in ("info", "error") else self._url(target, peer, before)
        if url == "" or kind in ("info", "error"):
            # Nobody can go there: it is a line to read.
            return Entry("", kind if kind == "error" else "info", title, facts=facts)
        return Entry(url or self.type + self.selector, kind, title, url=url, facts=facts)

    def _url(self, target: Target, peer: str | None, before: str) -> str | None:
        """None: it is on the same server. "": there is no such place."""
        if self.type == "h" and (page := _PAGE.match(self.selector)):
            url = self.selector[page.end() :]
            return url if _ELSEWHERE.match(url) and cleaned(url) == url and " " not in url else ""
        if not self.host or not 0 < self.port < 65536:
            return ""
        if KINDS.get(self.type) not in ("telnet", "phonebook", "mirror") and self._is_at(target, peer):
            return None
        host = f"[{self.host}]" if ":" in self.host else self.host
        try:
            where = quote(host, safe="[]:")
            Target.parse(f"gopher://{where}/")
        except ValueError:  # AddressError, or bytes that are not UTF-8
            return ""
        where += f":{self.port}" if self.port != 70 or self.type in "8T2" else ""
        if self.type in ("8", "T"):
            scheme, user = "telnet" if self.type == "8" else "tn3270", _quoted(self.selector, "")
            return f"{scheme}://{user + '@' if user else ''}{where}/"
        if self.type == "2":
            return f"cso://{where}/"
        kind = before if self.type == "+" else self.type
        return f"gopher://{where}/{_quoted(kind + self.selector, _PLAIN)}"

    def _is_at(self, target: Target, peer: str | None) -> bool:
        return self.port == target.port and self.host.lower() in (target.host.lower(), peer)


def read_item(line: bytes) -> Item:
    """A line of a menu. Raises ProtocolError for what is none."""
    fields = [field.decode(errors="surrogateescape") for field in line.split(b"\t")]
    kind, title = fields[0][:1], _title(line.partition(b"\t")[0])[1:]
    if kind in ("i", "3", ""):
        # Nobody goes there, so what they have behind the title is not looked at, if they have it at all.
        return Item(kind or "i", title)
    if len(fields) == 1 and title.lower().startswith("rror"):
        return Item("3", kind + title)  # so Gophernicus answers where it takes the request for one of a file
    if len(fields) < 4:
        raise ProtocolError("this is no line of a gopher menu: {line!r}", line=cleaned(_title(line[:80])))
    port = fields[3].strip()
    return Item(
        kind,
        title,
        fields[1],
        fields[2].strip(),
        int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1,
        "+" in fields[4:5],
    )


def error_in(answer: bytes) -> Item | None:
    """The error that a whole answer is, whatever was asked for: an item of type 3, with all its fields, and lines to read."""
    first, *others = answer.replace(b"\r\n", b"\n").split(b"\n")
    is_error = first[:1] == b"3" and first.count(b"\t") >= 3
    return read_item(first) if is_error and all(line[:1] in (b"i", b".", b"") for line in others) else None


def is_absent(words: str) -> bool:
    """Whether an error's words say that the thing is not there; gopher has no codes."""
    return _ABSENT.search(words) is not None


def _quoted(text: str, plain: str) -> str:
    return quote(text.encode(errors="surrogateescape"), safe=plain)


def _title(text: bytes) -> str:
    """Text of the time before UTF-8 is Latin 1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")

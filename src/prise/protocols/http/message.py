"""What is asked and answered, whichever version of HTTP carries it: `Headers`, `Request`, `Head`, and `Response` for the user."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from prise.errors import UsageError
from prise.protocols.http.body import Body
from prise.protocols.target import Target

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name, a method: token (RFC 9110 §5.6.2)."""

_CHARSET = re.compile(r"""charset\s*=\s*"?([\w.:-]+)""", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\r\n\0\ud800-\udc7f\udd00-\udfff]")
_OURS = ("content-length", "transfer-encoding", "connection", "expect", "te", "upgrade")
RESERVED = "%/:?[]@!$&'()*+,;=~"  # what a URL's place may hold as it is


class Headers(Mapping[str, str]):
    """Headers by name, in any case of letters. One that came several times is one, with commas (RFC 9110 §5.3); see `all`."""

    __slots__ = ("_values",)

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in lines:
            self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"

    def all(self, name: str) -> list[str]:
        """Each value under this name."""
        return list(self._values.get(name.lower(), ()))

    def words(self, name: str) -> list[str]:
        """The parts of a list with commas, in lower case."""
        return [word for word in (part.strip().lower() for part in self.get(name, "").split(",")) if word]


def host_of(target: Target) -> str:
    """What Host says of a URL (RFC 9110 §7.2). Raises UsageError where its host is no name."""
    name = target.host
    if ":" in name:
        name = f"[{name.partition('%')[0]}]"  # the zone is of this machine alone (RFC 6874 §1)
    elif not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            raise UsageError("{host} cannot be the name of a host", peer=target, host=repr(name[:80])) from None
    return name if target.port == (443 if target.tls else 80) else f"{name}:{target.port}"


@dataclass(slots=True)
class Request:
    """One request. target: its URL. headers: those beyond Host and Content-Length."""

    method: str
    target: Target
    headers: dict[str, str]
    body: Body | None = None

    @property
    def path(self) -> str:
        """The path and query, in ASCII, as a request says it (RFC 9112 §3.2.1)."""
        place, _, _fragment = self.target.place.partition("#")
        return "/" + quote(place, safe=RESERVED, errors="surrogateescape")

    @property
    def host(self) -> str:
        """What Host says: the URL's host, unless the caller names another one. Raises UsageError for what is no name."""
        for said, value in self.headers.items():
            if said.lower() == "host":
                return value
        return host_of(self.target)


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer. version: "1.0", "1.1" or "2". reason: the words behind the status, "" in HTTP/2."""

    version: str
    status: int
    reason: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    status: 200. reason: its words. headers: see `Headers`. url: where it came from in the end, and history: the URLs that
    redirected to there. http_version: "1.0", "1.1" or "2". content: the body, decoded; of one that is read piece by piece, empty.
    """

    status: int
    reason: str
    headers: Headers
    url: str
    http_version: str
    history: tuple[str, ...] = ()
    content: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """True for a status below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text, in the charset that its type names, else UTF-8; what does not decode is replaced."""
        named = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            return self.content.decode(named.group(1) if named else "utf-8", errors="replace")
        except (LookupError, UnicodeError):  # none for text, or one that cannot replace
            return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError for what is none."""
        try:
            return json.loads(self.content)
        except RecursionError:
            raise ValueError("this JSON is nested too deeply") from None


def url_of(target: Target) -> str:
    """The URL, without the user."""
    return str(replace(target, user=None))


def same_origin(one: Target, other: Target) -> bool:
    """Whether two URLs are of one server, by the same scheme (RFC 6454)."""
    return (one.tls, one.host.lower(), one.port) == (other.tls, other.host.lower(), other.port)


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """A caller's headers. Raises UsageError for what would be more than one header, or none, and for those that say where a
    body ends."""
    for name, value in (headers or {}).items():
        if name.lower() in _OURS:
            raise UsageError("the header {name} is written by prise itself", name=name)
        if not NAME.fullmatch(name):
            raise UsageError("{name} cannot be the name of a header", name=repr(name[:80]))
        if _FORBIDDEN.search(value):  # it may be a secret, read from a file with the line's end: it is not shown
            raise UsageError(
                "the header {name} cannot hold line ends, NUL, or half of a surrogate pair (U+D800 to U+DFFF)",
                name=name,
            )
    return dict(headers or {})
